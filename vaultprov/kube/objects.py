"""Builders: pure functions that return the very manifests that are applied (and rendered)."""

from __future__ import annotations

from typing import Any

from vaultprov.model import ServiceAccount
from vaultprov.resource import KubeRight

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


def binding_rights() -> tuple[KubeRight, ...]:
    """Binding a role needs the verb `bind` on it, or every right that it gives (RBAC's rule)."""
    reviews = (
        KubeRight("create", "authentication.k8s.io", "tokenreviews", None),
        KubeRight("create", "authorization.k8s.io", "subjectaccessreviews", None),
    )
    rbac = "rbac.authorization.k8s.io"
    return (KubeRight("bind", rbac, "clusterroles", None, "system:auth-delegator", reviews),)


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


def reviewer_binding(name: str, account: ServiceAccount) -> Object:
    """Lets the account review tokens, and nothing else.

    One binding per account: a list of subjects that several runs share would be theirs in turn.
    """
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
        ],
    }
