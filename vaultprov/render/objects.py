"""The objects of a tree: checked, put in order, and named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from vaultprov.errors import ConfigError, Refused
from vaultprov.kube.manifest import plural
from vaultprov.redact import Secret, scrub
from vaultprov.render.tree import Object

# `kubectl apply -f` goes by the name. A namespace comes before what is in it; a token Secret whose
# ServiceAccount is missing is deleted (kubernetes `pkg/controller/serviceaccount/
# tokens_controller.go`).
_RANK = {
    "Namespace": 1,
    "ServiceAccount": 2,
    "ClusterSecretStore": 4,
    "SecretStore": 4,
    "ExternalSecret": 5,
}
_REST = 3
# Others' objects are in a namespace, and others' settings beside an entry of ours. Argo CD is not
# to take either away with what is left out of git, nor with the Application; and a list that others
# share is merged by the server alone (argo-cd `docs/user-guide/sync-options.md`).
_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
_SHARED = {
    "Namespace": "Prune=false,Delete=false",
    "ExternalSecretsConfig": "Prune=false,Delete=false,ServerSideApply=true",
}
_SAFE = re.compile(r"[A-Za-z0-9._-]+")


def checked(manifests: Iterable[Object]) -> tuple[Object, ...]:
    """The objects in the order in which they can be applied.

    Raises ConfigError if one is there twice, Refused if one holds a secret.
    """
    found: dict[tuple[int, str, str, str], Object] = {}
    for body in manifests:
        name = str(body["metadata"]["name"])
        identity = (rank(body), str(body["kind"]), namespace_of(body), name)
        if body != found.setdefault(identity, body):
            raise ConfigError(f"{label(body)} is wanted twice, in two different forms")
        refuse_secrets(body, label(body))
    return tuple(found[identity] for identity in sorted(found))


def delivered(body: Object) -> Object:
    """The object as Argo CD is to deliver it; `kubectl apply` takes it as well."""
    if body["kind"] not in _SHARED:
        return body
    metadata = body["metadata"]
    annotations = {**metadata.get("annotations", {}), _SYNC_OPTIONS: _SHARED[body["kind"]]}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def refuse_secrets(value: Any, where: str) -> None:
    """Raises Refused if a Secret object with data, a secret value or a token is in `value`."""
    if isinstance(value, dict):
        if value.get("kind") == "Secret" and (value.get("data") or value.get("stringData")):
            raise _refused(where, "holds data")
        for part in value.values():
            refuse_secrets(part, where)
    elif isinstance(value, list | tuple):
        for part in value:
            refuse_secrets(part, where)
    elif isinstance(value, Secret):
        raise _refused(where, "holds a secret value")
    elif isinstance(value, str) and scrub(value) != value:
        raise _refused(where, "holds something that looks like a token")


def _refused(where: str, what: str) -> Refused:
    return Refused(
        f"{where} {what}: a secret is never written to a file",
        hint="leave it out of the rendered objects and create it with kubectl",
    )


def rank(body: Object) -> int:
    """The step in which an object can be applied, counted from 1."""
    return _RANK.get(body["kind"], _REST)


def namespace_of(body: Object) -> str:
    """An object's namespace; "" when it has none."""
    return str(body["metadata"].get("namespace") or "")


def label(body: Object) -> str:
    """An object as messages call it: `ServiceAccount external-secrets/vault-secret-fetcher`."""
    name = "/".join(filter(None, (namespace_of(body), body["metadata"]["name"])))
    return f"{body['kind']} {name}"


def file_name(body: Object) -> str:
    """`serviceaccount.external-secrets.vault-secret-fetcher.yaml`.

    Neither a kind nor a namespace has a dot in it, so that no two objects share a name.
    """
    return f"{str(body['kind']).lower()}.{name_in_kind(body)}"


def name_in_kind(body: Object) -> str:
    """The file's name in a folder of one kind: `external-secrets.vault-secret-fetcher.yaml`."""
    parts = (namespace_of(body), body["metadata"]["name"])
    return safe_name(".".join(filter(None, parts)), body) + ".yaml"


def short_name(body: Object) -> str:
    """The file's name where it is the only one of this name: `opf-vault-store.yaml`."""
    return safe_name(f"{body['metadata']['name']}.yaml", body)


def folder_name(body: Object) -> str:
    """The folder of a kind: `networkpolicies`."""
    return plural(str(body["kind"]))


def safe_name(name: str, body: Object) -> str:
    """`name` if it can be a file's. Raises ConfigError (RBAC allows names such as `system:x`)."""
    if not _SAFE.fullmatch(name) or name.startswith("."):
        raise ConfigError(f"the name of {label(body)} cannot be a file's name")
    return name


def without_namespace(body: Object) -> Object:
    """The object as it stands in a base, where the overlay sets the namespace."""
    metadata = {k: v for k, v in body["metadata"].items() if k != "namespace"}
    return {**body, "metadata": metadata}
