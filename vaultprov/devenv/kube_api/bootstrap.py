"""What exists before the first request: the system namespaces, and the default RBAC policy.

The rules are those of https://kubernetes.io/docs/reference/access-authn-authz/rbac/, as far as
something here depends on them.
"""

from collections.abc import Sequence

from vaultprov.devenv.kube_api.objects import Objects, Target, Writer
from vaultprov.devenv.kube_api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    RBAC_GROUP,
)
from vaultprov.devenv.kube_api.status import Object

_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH]
_ISSUER = ["/.well-known/openid-configuration", "/openid/v1/jwks", "/openid/v1/jwks/"]


def _may_create(group: str, *resources: str) -> Object:
    return {"apiGroups": [group], "resources": list(resources), "verbs": ["create"]}


def _may_get(paths: Sequence[str]) -> Object:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


_EVERYTHING: list[Object] = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_ROLES: dict[str, tuple[list[Object], tuple[str, ...]]] = {
    "cluster-admin": (_EVERYTHING, ("system:masters",)),
    "system:auth-delegator": (
        [
            _may_create("authentication.k8s.io", "tokenreviews"),
            _may_create("authorization.k8s.io", "subjectaccessreviews"),
        ],
        (),
    ),
    "system:basic-user": (
        [_may_create("authorization.k8s.io", "selfsubjectaccessreviews")],
        ("system:authenticated",),
    ),
    "system:discovery": ([_may_get(_DISCOVERY)], ("system:authenticated",)),
    "system:public-info-viewer": (
        [_may_get(_HEALTH)],
        ("system:authenticated", "system:unauthenticated"),
    ),
    "system:service-account-issuer-discovery": (
        [_may_get(_ISSUER)],
        ("system:serviceaccounts",),
    ),
}


def bootstrap(objects: Objects) -> None:
    writer = Writer("kube-apiserver")
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        objects.create(Target(NAMESPACES, ""), {"metadata": {"name": name}}, writer)
    for name, (rules, groups) in _ROLES.items():
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        metadata = {"name": name, "labels": labels}
        role = {"metadata": metadata, "rules": rules}
        objects.create(Target(CLUSTER_ROLES, ""), role, writer)
        if groups:
            binding = {
                "metadata": metadata,
                "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "Group", "name": group} for group in groups],
            }
            objects.create(Target(CLUSTER_ROLE_BINDINGS, ""), binding, writer)
