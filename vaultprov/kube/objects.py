"""Builders: pure functions that return the very manifests that are applied (and rendered)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vaultprov.model import ServiceAccount

LABELS = {"app.kubernetes.io/managed-by": "vaultprov"}
TOKEN_SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"

Object = dict[str, Any]


def namespace(name: str) -> Object:
    """A namespace; nothing is asked of one that exists."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": LABELS}}


def bare_namespace(name: str) -> Object:
    """A namespace that is only looked at (`kube-system`, whose uid identifies the cluster)."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service_account(account: ServiceAccount) -> Object:
    """A ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": account.name, "namespace": account.namespace, "labels": LABELS},
    }


def token_secret(account: ServiceAccount, name: str) -> Object:
    """A Secret that the token controller fills in (by hand since Kubernetes 1.24, KEP-2799)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": account.namespace,
            "labels": LABELS,
            "annotations": {ACCOUNT_ANNOTATION: account.name},
        },
        "type": TOKEN_SECRET_TYPE,
    }


def reviewer_binding(name: str, accounts: Iterable[ServiceAccount]) -> Object:
    """Lets the accounts review tokens, and nothing else."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": LABELS},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:auth-delegator",
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
            for account in sorted(accounts)
        ],
    }
