# Copyright: the vaultprov authors
# Apache License 2.0
"""What the modules share: their options, and the way into the engine."""

from __future__ import annotations

import os
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    from vaultprov.ansible import engine
except ImportError:
    engine = None
    IMPORT_ERROR = traceback.format_exc()


def _from(*names):
    return (env_fallback, list(names))


CONNECTION = {
    "vault_addr": {"type": "str", "fallback": _from("BAO_ADDR", "VAULT_ADDR")},
    "vault_token": {"type": "str", "no_log": True, "fallback": _from("BAO_TOKEN", "VAULT_TOKEN")},
    "vault_namespace": {"type": "str", "fallback": _from("BAO_NAMESPACE", "VAULT_NAMESPACE")},
    "vault_cacert": {"type": "path", "fallback": _from("BAO_CACERT", "VAULT_CACERT")},
    "auth": {"type": "str", "choices": ["token", "approle", "jwt", "kubernetes"]},
    "auth_mount": {"type": "str"},
    "auth_role": {"type": "str"},
    "auth_role_file": {"type": "path"},
    "auth_secret": {"type": "str", "no_log": True, "fallback": _from("VAULTPROV_AUTH_SECRET")},
    "auth_secret_file": {"type": "path", "no_log": False},
    "kubeconfig": {"type": "path", "fallback": _from("KUBECONFIG")},
    "context": {"type": "str"},
    "config": {"type": "path"},
    "set": {"type": "dict"},
    "timeout": {"type": "str"},
}
CLUSTER = {
    "env": {"type": "str", "required": True},
    "cluster": {"type": "str", "required": True},
}
DESIRED = {
    "only": {"type": "str", "choices": ["vault", "cluster"]},
    "kubernetes_host": {"type": "str"},
    "kubernetes_ca_file": {"type": "path"},
    "reviewer": {"type": "str", "choices": ["secret", "token", "client", "jwt"]},
    "reviewer_jwt_file": {"type": "path", "no_log": False},
    "jwks_file": {"type": "path"},
    "cluster_uid": {"type": "str"},
    "service_account": {"type": "list", "elements": "str"},
    "scope": {"type": "str", "choices": ["environment", "cluster"]},
    "policy_set": {"type": "str"},
    "policy_dir": {"type": "path"},
    "no_oidc": {"type": "bool", "default": False},
    "no_store": {"type": "bool", "default": False},
    "store_token_file": {"type": "path", "no_log": False},
    "egress": {
        "type": "str",
        "choices": ["auto", "networkpolicy", "externalsecretsconfig", "none"],
    },
    "vault_cidr": {"type": "list", "elements": "str"},
    "exclusive": {"type": "bool", "default": False},
    "adopt": {"type": "bool", "default": False},
    "replace_cluster": {"type": "bool", "default": False},
    "bootstrap": {"type": "bool", "default": False},
    "no_verify": {"type": "bool", "default": False},
    "renew_reviewer": {"type": "bool", "default": False},
}


def run(use_case, argument_spec):
    """Runs one of the engine's use cases as a module, and leaves through Ansible's exits."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    if engine is None:
        module.fail_json(msg=missing_required_lib("vaultprov"), exception=IMPORT_ERROR)
    task = engine.Task(module.params, dict(os.environ), module.warn, module.check_mode)
    try:
        module.exit_json(**getattr(engine, use_case)(task))
    except engine.TaskFailed as failed:
        module.fail_json(msg=str(failed), **failed.result)
