# Copyright: the vaultprov authors
# Apache License 2.0
"""What the modules share: their options, and the way into the engine."""

from __future__ import annotations

import os
import signal
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import AnsibleFallbackNotFound

try:
    import vaultprov
    from vaultprov.ansible import engine

    INSTALLED = vaultprov.__version__
    IMPORT_ERROR = None
except ImportError:
    engine = INSTALLED = None
    IMPORT_ERROR = traceback.format_exc()

VERSION = "0.1.0"  # of this collection, which goes with the package of the same


def _first_set(*names):
    """The first of these variables that is not empty, as the command line reads them.

    Secrets have it here for Ansible to know them, and to show them nowhere.
    """
    for name in names:
        if os.environ.get(name):
            return os.environ[name]
    raise AnsibleFallbackNotFound


def _from(*names):
    return (_first_set, list(names))


def _stop(_signal, _frame):
    """A task that is ended leaves through the engine's clean-up: its Vault token is revoked."""
    raise SystemExit(143)


CONNECTION = {
    # Settings fall back in the engine, to the very variables of the command line.
    "vault_addr": {"type": "str"},
    "vault_token": {"type": "str", "no_log": True, "fallback": _from("BAO_TOKEN", "VAULT_TOKEN")},
    "vault_namespace": {"type": "str"},
    "vault_cacert": {"type": "path"},
    "auth": {"type": "str", "choices": ["token", "approle", "jwt", "kubernetes"]},
    "auth_mount": {"type": "str"},
    "auth_role": {"type": "str"},
    "auth_role_file": {"type": "path"},
    "auth_secret": {"type": "str", "no_log": True, "fallback": _from("VAULTPROV_AUTH_SECRET")},
    "auth_secret_file": {"type": "path", "no_log": False},
    "kubeconfig": {"type": "path"},
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
    "kubernetes_host": {"type": "str"},
    "kubernetes_ca_file": {"type": "path"},
    "reviewer": {"type": "str", "choices": ["secret", "token", "client", "jwt"]},
    "service_account": {"type": "list", "elements": "str"},
    "scope": {"type": "str", "choices": ["environment", "cluster"]},
    "policy_set": {"type": "str"},
    "policy_dir": {"type": "path"},
    "no_oidc": {"type": "bool", "default": False},
    "no_store": {"type": "bool", "default": False},
    "egress": {
        "type": "str",
        "choices": ["auto", "networkpolicy", "externalsecretsconfig", "none"],
    },
    "vault_cidr": {"type": "list", "elements": "str"},
}
LIVE = {
    "only": {"type": "str", "choices": ["vault", "cluster"]},
    "reviewer_jwt_file": {"type": "path", "no_log": False},
    "jwks_file": {"type": "path"},
    "cluster_uid": {"type": "str"},
    "store_token_file": {"type": "path", "no_log": False},
    "exclusive": {"type": "bool", "default": False},
    "adopt": {"type": "bool", "default": False},
    "replace_cluster": {"type": "bool", "default": False},
    "bootstrap": {"type": "bool", "default": False},
}


def run(use_case, argument_spec):
    """Runs one of the engine's use cases as a module, and leaves through Ansible's exits."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    if engine is None:
        module.fail_json(msg=missing_required_lib("vaultprov"), exception=IMPORT_ERROR)
    if INSTALLED != VERSION:
        module.fail_json(
            msg=f"the collection is {VERSION}, and vaultprov in {sys.executable} is {INSTALLED}. "
            f"Next: pip install vaultprov=={VERSION}"
        )
    # Of no setting nobody knows whether it is a secret; the task is refused, and shown by Ansible.
    module.no_log_values.update(engine.of_no_setting(module.params["set"]))
    signal.signal(signal.SIGTERM, _stop)
    modes = {"check": module.check_mode, "diff": module._diff}
    task = engine.Task(module.params, dict(os.environ), module.warn, **modes)
    try:
        module.exit_json(**getattr(engine, use_case)(task))
    except engine.TaskFailed as failed:
        module.fail_json(msg=str(failed), **failed.result)
