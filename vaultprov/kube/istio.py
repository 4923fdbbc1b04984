"""Istio: who may speak to Vault through the mesh.

Istio judges by the client's identity, which it knows from mutual TLS alone: a rule about
namespaces matches nobody whose pods have no sidecar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaultprov.kube.decision import SYNC_WAVE
from vaultprov.kube.objects import LABELS, Object
from vaultprov.netpol import selects

# What Big Bang's Vault chart lets in (its policy
# allow-ingress-to-vault-port-8200-from-custom-app-ingress).
POD_LABEL = {"vault-ingress": "true"}


def authorization_policy(
    vault_namespace: str, operand_namespace: str, port: int, version: str = "v1"
) -> Object:
    """Lets the operand's namespace in to Vault's port.

    port: of Vault's pods, not of its Service. version: of security.istio.io, v1 since Istio 1.22.
    Right only where `is_isolated`: the first policy that allows anything denies all the rest.
    """
    return {
        "apiVersion": f"security.istio.io/{version}",
        "kind": "AuthorizationPolicy",
        "metadata": {
            "name": f"vaultprov-allow-{operand_namespace}",
            "namespace": vault_namespace,
            "labels": LABELS,
            "annotations": SYNC_WAVE,
        },
        "spec": authorization(operand_namespace, port),
    }


def authorization(operand_namespace: str, port: int) -> dict[str, Any]:
    """The spec of such a policy, which Big Bang's values hold, too."""
    source = {"source": {"namespaces": [operand_namespace]}}
    target = {"operation": {"ports": [str(port)]}}
    return {"action": "ALLOW", "rules": [{"from": [source], "to": [target]}]}


def is_isolated(
    policies: Iterable[Mapping[str, Any]],
    vault_namespace: str,
    vault_labels: Mapping[str, str],
    own: str = "",
    root: str = "istio-system",
) -> bool:
    """Whether an AuthorizationPolicy that allows concerns Vault's pods, so that others are denied.

    policies: AuthorizationPolicies. own: the name of ours, which does not count. root: the mesh's
    root namespace, whose policies concern every namespace. Rules: istio.io/latest/docs/concepts/
    security, "Implicit enablement". Raises `netpol.reading.Malformed` for a broken selector.
    """
    for policy in policies:
        metadata, spec = policy.get("metadata") or {}, policy.get("spec") or {}
        if metadata.get("namespace") not in (vault_namespace, root) or metadata.get("name") == own:
            continue
        # Without an action it is ALLOW, and without rules it allows nothing.
        allows = spec.get("action", "ALLOW") == "ALLOW"
        if allows and selects(spec.get("selector"), vault_labels, "spec.selector"):
            return True
    return False
