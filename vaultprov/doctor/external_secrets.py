"""What ExternalSecrets ask of which store, and where External Secrets looks for it in Vault.

Field names: external-secrets `apis/externalsecrets/v1/externalsecret_types.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.doctor.stores import Store


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that is asked for.

    store: kind and name of whom it is asked. text: the key or, with `find`, the path below which
    keys are listed. field: where it stands in the object, as a JSON pointer.
    """

    store: tuple[str, str]
    text: str
    field: str
    find: bool = False

    def is_of(self, store: Store, namespace: str | None) -> bool:
        """Whether an ExternalSecret of that namespace asks this of the store."""
        return self.store == (store.kind, store.name) and store.namespace in (None, namespace)


def asks(body: Mapping[str, Any]) -> Iterator[Ask]:
    """Everything that an ExternalSecret asks Vault for; each entry may name a store of its own."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    usual = spec.get("secretStoreRef") or {}
    for index, each in enumerate(spec.get("data") or ()):
        key = (each.get("remoteRef") or {}).get("key")
        if key:
            yield Ask(_store(each, usual), str(key), f"/spec/data/{index}/remoteRef/key")
    for index, each in enumerate(spec.get("dataFrom") or ()):
        field = f"/spec/dataFrom/{index}"
        key = (each.get("extract") or {}).get("key")
        if key:
            yield Ask(_store(each, usual), str(key), f"{field}/extract/key")
        find = each.get("find")
        if find:
            path = str(find.get("path") or "").strip("/")
            yield Ask(_store(each, usual), path, f"{field}/find/path", find=True)


def _store(entry: Mapping[str, Any], usual: Mapping[str, Any]) -> tuple[str, str]:
    reference = (entry.get("sourceRef") or {}).get("storeRef") or usual
    return str(reference.get("kind") or "SecretStore"), str(reference.get("name") or "")


def stores_named(body: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Kind and name of every store that an ExternalSecret refers to."""
    usual = (body.get("spec") or {}).get("secretStoreRef") or {}
    named = {_store({}, usual)} if usual.get("name") else set()
    return frozenset(named | {ask.store for ask in asks(body) if ask.store[1]})


def data_path(store: Store, key: str) -> str:
    """Where External Secrets looks for a key (`pkg/provider/vault/client_get.go` buildPath).

    With a path in the store that is the KV mount; without one the key begins with its mount.
    """
    second = store.version == "v2"
    if not store.path:
        mount, _, rest = key.partition("/")
        return f"{mount}/data/{rest}" if second and "/data/" not in key else key
    if key.startswith(f"{store.path}/"):
        key = key.removeprefix(f"{store.path}/")
        key = key.removeprefix("data/") if second else key
    return f"{store.path}/data/{key}" if second else f"{store.path}/{key}"


def metadata_path(store: Store, key: str) -> str:
    """Where KV version 2 keeps the metadata of a key."""
    return data_path(store, key).replace("/data/", "/metadata/", 1)


def is_ready(body: Mapping[str, Any]) -> bool | None:
    """What its Ready condition says; None when it says nothing."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    told = next((c.get("status") for c in conditions if c.get("type") == "Ready"), None)
    return None if told not in ("True", "False") else told == "True"


def name_of(body: Mapping[str, Any]) -> str:
    """`ExternalSecret NAMESPACE/NAME`, for people."""
    return f"ExternalSecret {body['metadata']['namespace']}/{body['metadata']['name']}"
