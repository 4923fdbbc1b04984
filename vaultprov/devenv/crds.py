"""CustomResourceDefinitions: installing them, and the least that External Secrets' objects need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from vaultprov.devenv.cluster import Cluster, path_of
from vaultprov.devenv.process import DevenvError

GROUP = "external-secrets.io"
KINDS = {
    "SecretStore": "secretstores",
    "ClusterSecretStore": "clustersecretstores",
    "ExternalSecret": "externalsecrets",
}
"""The kinds that matter here, with their plurals."""

_TIMEOUT = 30.0  # seconds until the API serves a new kind
Object = dict[str, Any]


def install_minimal_crds(cluster: Cluster) -> None:
    """The kinds that the stand-in works on, without a schema; those that are there stay."""
    manifests = [_definition(kind, plural) for kind, plural in KINDS.items()]
    install_crds(cluster, [each for each in manifests if cluster.get(path_of(each)) is None])


def install_crds(cluster: Cluster, definitions: Sequence[Object]) -> None:
    """Create CustomResourceDefinitions where they are absent, and wait until all are served.

    Raises DevenvError when they are not.
    """
    for definition in definitions:
        path = path_of(definition)
        if cluster.get(path) is None:
            # No apply: older API servers read some fields of newer definitions wrongly by that.
            cluster.call("POST", path.rpartition("/")[0], definition)
    deadline = time.monotonic() + _TIMEOUT
    for definition in definitions:
        while not _is_served(cluster, definition["spec"]):
            if time.monotonic() > deadline:
                name = definition["metadata"]["name"]
                raise DevenvError(f"waited {_TIMEOUT:g} s in vain until {name} are served")
            time.sleep(0.05)


def _is_served(cluster: Cluster, spec: Object) -> bool:
    for version in spec["versions"]:
        if version["served"]:
            group = f"/apis/{spec['group']}/{version['name']}"
            plural = spec["names"]["plural"]
            listed = (cluster.get(group) or {}).get("resources") or ()
            if not any(each["name"] == plural for each in listed):
                return False
            if cluster.get(f"{group}/{plural}") is None:
                return False
    return True


def _definition(kind: str, plural: str) -> Object:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": anything, "status": anything},
            }
        },
        "subresources": {"status": {}},
    }
    names = {
        "kind": kind,
        "plural": plural,
        "singular": kind.lower(),
        "listKind": f"{kind}List",
    }
    scope = "Cluster" if kind.startswith("Cluster") else "Namespaced"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [version]},
    }
