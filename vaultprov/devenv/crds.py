"""CustomResourceDefinitions: installing them, and the least that External Secrets' objects need."""

from __future__ import annotations

import re
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

_SINGLETONS = ("ExternalSecretsConfig",)
_TIMEOUT = 30.0  # seconds until the API serves a new kind
Object = dict[str, Any]


def install_minimal_crds(cluster: Cluster) -> None:
    """The kinds that the stand-in works on, without a schema; those that are there stay."""
    manifests = [definition(GROUP, "v1", kind, plural) for kind, plural in KINDS.items()]
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


def definition(group: str, version: str, kind: str, plural: str = "") -> Object:
    """A CustomResourceDefinition that takes any spec.

    Kinds that begin with `Cluster`, and singletons of operators, are cluster-wide.
    """
    plural = plural or re.sub("y$", "ie", kind.lower()) + "s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = {"spec": anything, "status": anything}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {"status": {}},
    }
    names = {
        "kind": kind,
        "plural": plural,
        "singular": kind.lower(),
        "listKind": f"{kind}List",
    }
    is_wide = kind.startswith("Cluster") or kind in _SINGLETONS
    scope = "Cluster" if is_wide else "Namespaced"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "names": names, "versions": [served]},
    }
