"""ExternalSecret samples: what a namespace writes to get a Secret out of Vault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaultprov.kube.objects import Object
from vaultprov.kube.store import api_version
from vaultprov.model import dns_label, object_name


def from_properties(
    name: str,
    namespace: str,
    store: tuple[str, str],
    key: str,
    properties: Sequence[str],
    version: str = "v1",
) -> Object:
    """The form `data`: each property of the secret at `key` becomes a key of its own.

    store: kind and name. key: below the store's mount, without `data/`, which External Secrets
    adds. version: the API version that the cluster serves. Raises ConfigError for a bad name.
    """
    data = [{"secretKey": each, "remoteRef": {"key": key, "property": each}} for each in properties]
    return _sample(name, namespace, store, version, {"data": data})


def from_all(
    name: str, namespace: str, store: tuple[str, str], key: str, version: str = "v1"
) -> Object:
    """The form `dataFrom` with `extract`: everything at `key`. Otherwise as `from_properties`."""
    return _sample(name, namespace, store, version, {"dataFrom": [{"extract": {"key": key}}]})


def _sample(
    name: str, namespace: str, store: tuple[str, str], version: str, source: dict[str, Any]
) -> Object:
    kind, store_name = store
    return {
        "apiVersion": api_version(version),
        "kind": "ExternalSecret",
        # No labels of ours: it is the reader's to copy and to own.
        "metadata": {
            "name": object_name(name, "external secret"),
            "namespace": dns_label(namespace, "namespace"),
        },
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": kind, "name": store_name},
            "target": {"name": name, "creationPolicy": "Owner"},
            **source,
        },
    }
