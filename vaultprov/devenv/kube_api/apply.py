"""Server-side apply: merge a configuration into the live object, field by field.

A changed field that somebody else owns is a conflict, unless forced; a field that the manager
applied before, does not send any more and nobody else owns is removed. Reference:
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from collections.abc import Iterable
from typing import Any

from vaultprov.devenv.kube_api.fields import (
    Changes,
    Fields,
    Path,
    Schema,
    flatten,
    item_element,
    leaves,
    set_element,
    shown,
    trackable,
)
from vaultprov.devenv.kube_api.managed import (
    Entry,
    Manager,
    Managers,
    narrowed,
    read,
    with_fields,
)
from vaultprov.devenv.kube_api.status import ApiError, Cause, Object


def apply(
    live: Object,
    config: Object,
    manager: Manager,
    schema: Schema,
    *,
    api_version: str,
    now: str,
    force: bool,
) -> tuple[Object, Managers]:
    """The object after the apply, and who owns its fields then."""
    managers = read(live)
    config = trackable(config)
    claimed = leaves(config, schema)
    merged: Object = _merge(live, config, schema)
    others = {other: entry for other, entry in managers.items() if other != manager}

    changed = Changes.between(trackable(live), trackable(merged), schema).changed
    if not force:
        _refuse_conflicts(others, changed)
    others = {other: narrowed(entry, changed, now) for other, entry in others.items()}

    mine = managers.get(manager, Entry(frozenset(), api_version, now))
    pruned = _prune(merged, mine.fields - claimed, _all_fields(others) | claimed, schema)
    present = frozenset(path for path, _ in flatten(trackable(pruned), schema))
    after = {
        other: with_fields(entry, entry.fields & present, now) for other, entry in others.items()
    }
    return pruned, {**after, manager: with_fields(mine, claimed, now)}


def _refuse_conflicts(others: Managers, changed: Fields) -> None:
    conflicts = [
        (str(other), shown(path))
        for other, entry in sorted(others.items())
        for path in sorted(entry.fields & changed)
    ]
    if not conflicts:
        return
    causes = [Cause("FieldManagerConflict", f"conflict with {who}", at) for who, at in conflicts]
    details = {"causes": [cause.body() for cause in causes]}
    raise ApiError(409, "Conflict", _conflict_message(conflicts), details)


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        [(who, at)] = conflicts
        return f"Apply failed with 1 conflict: conflict with {who}: {at}"
    by_manager: dict[str, list[str]] = {}
    for who, at in conflicts:
        by_manager.setdefault(who, []).append(f"- {at}")
    listed = [f"conflicts with {who}:\n" + "\n".join(by_manager[who]) for who in sorted(by_manager)]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(listed)


def _merge(live: Any, config: Any, schema: Schema, path: Path = ()) -> Any:
    """`config` laid over `live`; neither is changed."""
    if path in schema.atomic or type(live) is not type(config):
        return config
    if isinstance(config, dict):
        merged = {
            name: _merge(live.get(name), child, schema, (*path, f"f:{name}"))
            for name, child in config.items()
        }
        return {**live, **merged}
    if isinstance(config, list) and (key := schema.list_key(path)):
        items = {item_element(item, key): item for item in live}
        for item in config:
            element = item_element(item, key)
            items[element] = _merge(items.get(element), item, schema, (*path, element))
        return list(items.values())
    if isinstance(config, list) and schema.is_set(path):
        return live + [item for item in config if item not in live]
    return config


def _all_fields(managers: Managers) -> Fields:
    return frozenset(path for entry in managers.values() for path in entry.fields)


def _prune(item: Object, dropped: Fields, owned: Fields, schema: Schema) -> Object:
    """Without the dropped fields that nobody owns, and without the containers that this empties."""
    doomed = {path for path in dropped - owned if not _has_owned_child(path, owned)}
    return _without(item, doomed, owned, schema, ()) if doomed else item


def _has_owned_child(path: Path, owned: Iterable[Path]) -> bool:
    return any(other[: len(path)] == path for other in owned)


def _without(value: Any, doomed: set[Path], owned: Fields, schema: Schema, path: Path) -> Any:
    if isinstance(value, dict) and path not in schema.atomic:
        kept = {
            name: _without(child, doomed, owned, schema, (*path, f"f:{name}"))
            for name, child in value.items()
            if (*path, f"f:{name}") not in doomed
        }
        return {
            name: child
            for name, child in kept.items()
            if child not in ({}, []) or child == value[name] or (*path, f"f:{name}") in owned
        }
    if isinstance(value, list) and (key := schema.list_key(path)):
        items = [((*path, item_element(item, key)), item) for item in value]
        return [_without(i, doomed, owned, schema, at) for at, i in items if at not in doomed]
    if isinstance(value, list) and schema.is_set(path):
        return [item for item in value if (*path, set_element(item)) not in doomed]
    return value
