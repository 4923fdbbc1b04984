"""Override values for Big Bang's charts of External Secrets and Vault, as a values file holds them.

The form is that of Big Bang 3 (docs of its package external-secrets, "Deploy Standardized ESO
ClusterSecretStore for Hashicorp Vault"). Big Bang 4 moves packages from `addons` to `packages` and
`istio` and `networkPolicies` below `bb-common`; its `scripts/migrate-values-3-to-4.sh` converts.
"""

from __future__ import annotations

from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.kube.istio import POD_LABEL, authorization
from vaultprov.kube.store import KubernetesLogin, StoreSpec

Values = dict[str, Any]


def external_secrets_values(spec: StoreSpec) -> Values:
    """Turns on egress to Vault, the pod label that Vault's policy asks for, and the store.

    A store with what the chart's list has no field for (`lacking`) is left out of it: then the
    ClusterSecretStore is to be applied itself. Raises ConfigError without a namespace to log in
    from.
    """
    if not spec.login.namespace:
        raise ConfigError(f"store {spec.name} needs the namespace that it logs in from")
    values: Values = {
        "networkPolicies": {"enabled": True},
        "upstream": {"podLabels": dict(POD_LABEL)},
    }
    if not lacking(spec):
        stores = {"enabled": True, "clusterSecretStoreList": [_store(spec)]}
        values["clusterSecretStoreConfiguration"] = stores
    return {"addons": {"externalSecrets": {"enabled": True, "values": values}}}


def _store(spec: StoreSpec) -> Values:
    return {
        "name": spec.name,
        "source": {
            "provider": "vault",
            "server": spec.server,
            "path": spec.path,
            "version": "v2",
            "auth": _auth(spec),
        },
    }


def vault_values(operand_namespace: str = "external-secrets", port: int = 8200) -> Values:
    """Lets the operand's namespace through the deny-all AuthorizationPolicy of the Vault chart."""
    policy = {
        "name": f"allow-{operand_namespace}",
        "enabled": True,
        "spec": authorization(operand_namespace, port),
    }
    values = {"istio": {"hardened": {"customAuthorizationPolicies": [policy]}}}
    return {"addons": {"vault": {"values": values}}}


def _auth(spec: StoreSpec) -> Values:
    login = spec.login
    if isinstance(login, KubernetesLogin):
        return {
            "type": "kubernetes",
            "mountPath": login.mount,
            "role": login.role,
            "serviceAccountRef": {"name": login.account, "namespace": login.namespace},
        }
    return {
        "type": "token",
        "secretName": login.secret,
        "namespace": login.namespace,
        "key": login.key,
    }


def lacking(spec: StoreSpec) -> list[str]:
    """What a store has that the chart's list of stores has no field for."""
    given = {
        "a Vault namespace": spec.vault_namespace,
        "a CA": spec.ca_pem or spec.ca,
        "conditions": spec.conditions,
        "retries": spec.retries,
        "a refresh interval": spec.refresh,
        "audiences": isinstance(spec.login, KubernetesLogin) and spec.login.audiences,
    }
    return [what for what, value in given.items() if value]
