"""Field sets: which fields an object has, as paths in the FieldsV1 notation of managedFields.

A path is a tuple of FieldsV1 elements: `f:name` for a field, `k:{...}` for an item of a list that
is keyed, `v:...` for an item of a set. Lists are values (atomic) unless the schema says otherwise.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vaultprov.devenv.kube_api.resources import RBAC_GROUP, Resource
from vaultprov.devenv.kube_api.status import Object

Path = tuple[str, ...]
Fields = frozenset[Path]

CONTAINER = object()
"""Stands for a map or a keyed list: it is there, but its value is in its children."""

_UNTRACKED = {
    *("name", "namespace", "uid", "resourceVersion", "generation", "selfLink", "managedFields"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
}


@dataclass(frozen=True)
class Schema:
    """The few places where an object is not merged field by field with atomic lists."""

    atomic: Fields = frozenset()
    keyed: dict[Path, str] = field(default_factory=dict)
    structs: Fields = frozenset()
    """Always there in the typed object, so they are never added and belong to nobody."""

    def list_key(self, path: Path) -> str | None:
        return self.keyed.get(path)

    def is_set(self, path: Path) -> bool:
        return path == ("f:metadata", "f:finalizers")


_KEYED = {
    ("", "serviceaccounts"): {("f:secrets",): "name"},
}
_ATOMIC: dict[tuple[str, str], Fields] = {
    (RBAC_GROUP, "rolebindings"): frozenset({("f:roleRef",)}),
    (RBAC_GROUP, "clusterrolebindings"): frozenset({("f:roleRef",)}),
    ("networking.k8s.io", "networkpolicies"): frozenset({("f:spec", "f:podSelector")}),
}
_OWNER_REFERENCES: dict[Path, str] = {("f:metadata", "f:ownerReferences"): "uid"}


def schema_of(resource: Resource) -> Schema:
    structs: set[Path] = {("f:metadata",)}
    if not resource.custom:
        structs |= {("f:spec",), ("f:status",)}
    return Schema(
        _ATOMIC.get(resource.collection, frozenset()),
        _OWNER_REFERENCES | _KEYED.get(resource.collection, {}),
        frozenset(structs),
    )


def trackable(item: Object, *, without: str = "") -> Object:
    """The part of an object that can be owned; `without` names the half of another endpoint."""
    metadata = {k: v for k, v in item.get("metadata", {}).items() if k not in _UNTRACKED}
    rest = {
        key: value
        for key, value in item.items()
        if key not in ("apiVersion", "kind", "metadata", without)
    }
    return {"metadata": metadata, **rest} if metadata else rest


def flatten(value: Any, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field with its value; maps and keyed lists as CONTAINER, followed by their children."""
    children = None if path in schema.atomic else _children(value, schema, path)
    if children is None:
        yield path, value
        return
    if path and path not in schema.structs:
        yield path, CONTAINER
    for element, child in children:
        yield from flatten(child, schema, (*path, element))


def _children(value: Any, schema: Schema, path: Path) -> list[tuple[str, Any]] | None:
    """The parts that are owned one by one, or None for a value that is owned as a whole."""
    if isinstance(value, dict):
        return [(f"f:{name}", child) for name, child in value.items()]
    if isinstance(value, list) and (key := schema.list_key(path)):
        return [(item_element(child, key), child) for child in value]
    if isinstance(value, list) and schema.is_set(path):
        return [(set_element(child), child) for child in value]
    return None


def item_element(item: Object, key: str) -> str:
    return "k:" + json.dumps({key: item.get(key)}, separators=(",", ":"))


def set_element(value: object) -> str:
    return f"v:{json.dumps(value)}"


def leaves(item: Object, schema: Schema) -> Fields:
    """The fields that an applied configuration claims: values, and the items of keyed lists."""
    paths = {path for path, _ in flatten(item, schema)}
    parents = {path[:-1] for path in paths}
    return frozenset(p for p in paths if p not in parents or p[-1].startswith("k:"))


@dataclass(frozen=True)
class Changes:
    """How one object differs from another, as fields."""

    changed: Fields
    removed: Fields

    @classmethod
    def between(cls, before: Object, after: Object, schema: Schema) -> "Changes":
        old, new = dict(flatten(before, schema)), dict(flatten(after, schema))
        changed = {path for path, value in new.items() if path not in old or old[path] != value}
        return cls(frozenset(changed), frozenset(old.keys() - new.keys()))


def encode(fields: Iterable[Path]) -> Object:
    """A field set as FieldsV1: a field that has children and is a member itself gets a "."."""
    members = set(fields)
    tree: Object = {}
    for path in sorted(members):
        node = tree
        for depth, element in enumerate(path, start=1):
            node = node.setdefault(element, {})
            if path[:depth] in members and depth < len(path):
                node["."] = {}
    return tree


def decode(tree: Object, prefix: Path = ()) -> Iterator[Path]:
    for element, children in tree.items():
        if element == ".":
            yield prefix
        elif children:
            yield from decode(children, (*prefix, element))
        else:
            yield (*prefix, element)


def shown(path: Path) -> str:
    """A path as conflicts print it: `.data.x`, `.secrets[name="a"].name`."""
    return "".join(_shown_element(element) for element in path)


def _shown_element(element: str) -> str:
    notation, _, rest = element.partition(":")
    if notation == "f":
        return f".{rest}"
    if notation == "k":
        keys = json.loads(rest).items()
        return "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys) + "]"
    return f"[={rest}]"
