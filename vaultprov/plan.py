"""What would change, as frozen data. Pure: no I/O, no branches on kinds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Any

from vaultprov.resource import (
    UNKNOWN,
    AtLeast,
    Fields,
    Foreign,
    Key,
    OnCreate,
    Ref,
    Resource,
    State,
    Value,
)

Observed = Mapping[Key, State | None]


class Action(StrEnum):
    """What a step would do."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs; `after` may be UNKNOWN."""

    name: str
    before: Value
    after: Value

    @property
    def field(self) -> str:
        """The field's own name, without the member of a mapping."""
        return self.name.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Step:
    """What the plan holds for one resource.

    extra: members of sets that others added and that stay (field -> members).
    foreign: why the resource is not ours, set on every step that touches or would touch such a one.
    """

    key: Key
    action: Action
    changes: tuple[FieldChange, ...] = ()
    extra: Mapping[str, tuple[str, ...]] | None = None
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order of the runbook."""

    steps: tuple[Step, ...]

    @property
    def changes(self) -> bool:
        """Whether anything would be written, or would be if it were not refused."""
        return any(step.action is not Action.KEEP for step in self.steps)

    def refused(self) -> tuple[Step, ...]:
        """The steps that need an explicit flag."""
        return tuple(step for step in self.steps if step.action is Action.REFUSE)


def make_plan(resources: Sequence[Resource], observed: Observed, allow: Iterable[str] = ()) -> Plan:
    """The plan that takes `observed` to what the resources want.

    allow: flags the user gave (`--adopt`, ...), which let foreign things be changed.
    """
    allowed = frozenset(allow)
    vanishing = {r.key for r in resources if r.wanted() is None}
    return Plan(tuple(_step(r, observed, allowed, vanishing) for r in resources))


def _step(
    resource: Resource, observed: Observed, allowed: frozenset[str], vanishing: set[Key]
) -> Step:
    found = observed.get(resource.key)
    wanted = resource.wanted()
    foreign = found.foreign if found else None
    if wanted is None:
        if found is None:
            return Step(resource.key, Action.KEEP)
        return _guarded(Step(resource.key, Action.DELETE, (), None, foreign), allowed)
    if found is None and resource.required:
        missing = Foreign("is missing", "", resource.required)
        return Step(resource.key, Action.REFUSE, (), None, missing)
    changes = diff(resolve(wanted.fields, observed, vanishing), found)
    extra = extras(wanted.fields, found)
    if found is None:
        return Step(resource.key, Action.CREATE, changes)
    if not changes:
        return Step(resource.key, Action.KEEP, (), extra)
    guards = [found.guards[c.field] for c in changes if c.field in found.guards]
    return _guarded(Step(resource.key, Action.UPDATE, changes, extra, foreign), allowed, guards)


def _guarded(step: Step, allowed: frozenset[str], guards: Sequence[Foreign] = ()) -> Step:
    """`step`, or its refusal when something about it is not ours and no flag says go on."""
    reasons = [step.foreign, *guards] if step.foreign else list(guards)
    # What no flag helps with comes first: asking for a flag would lead nowhere.
    for reason in sorted(reasons, key=lambda r: r.flag != ""):
        if reason.flag not in allowed:
            return replace(step, action=Action.REFUSE, foreign=reason)
    return step


def resolve(fields: Fields, observed: Observed, vanishing: Iterable[Key] = ()) -> Fields:
    """`fields` with every Ref replaced by what it refers to, or by UNKNOWN."""
    gone = frozenset(vanishing)

    def value_of(value: Value) -> Value:
        if not isinstance(value, Ref):
            return value
        source = observed.get(value.key)
        if source is None or value.key in gone:
            return UNKNOWN
        return source.attrs.get(value.attr, UNKNOWN)

    return {name: value_of(value) for name, value in fields.items()}


def diff(wanted: Fields, found: State | None) -> tuple[FieldChange, ...]:
    """The fields that differ, of those that we own. Mappings are compared member by member."""
    have = found.fields if found else {}
    changes: list[FieldChange] = []
    for name, value in wanted.items():
        before = have.get(name)
        after = _aim(value, before, is_new=found is None)
        if after is UNKNOWN or before != after:
            changes.extend(_spread(name, before, after))
    return tuple(changes)


def target(wanted: Fields, found: State | None) -> Fields:
    """What a write has to make true: the wanted fields, merged with what others added."""
    have = found.fields if found else {}
    return {
        name: _aim(value, have.get(name), is_new=found is None) for name, value in wanted.items()
    }


def extras(wanted: Fields, found: State | None) -> Mapping[str, tuple[str, ...]] | None:
    """Members that are found in sets of which we own only a part."""
    if found is None:
        return None
    surplus = {
        name: tuple(sorted(_left(found.fields.get(name), value) - set(value.items)))
        for name, value in wanted.items()
        if isinstance(value, AtLeast)
    }
    return {name: members for name, members in surplus.items() if members} or None


def order(resources: Sequence[Resource]) -> dict[Key, frozenset[Key]]:
    """For each key the keys that come first; raises graphlib.CycleError on a cycle."""
    known = {resource.key for resource in resources}
    graph = {resource.key: frozenset(_needs(resource)) & known for resource in resources}
    TopologicalSorter(graph).prepare()
    return graph


def _needs(resource: Resource) -> Iterable[Key]:
    yield from resource.after
    wanted = resource.wanted()
    if wanted is not None:
        yield from (value.key for value in wanted.fields.values() if isinstance(value, Ref))


def _aim(value: Value, before: Value, *, is_new: bool) -> Value:
    """The value that a field should have, given what it has."""
    if isinstance(value, OnCreate):
        return value.value if is_new else before
    if not isinstance(value, AtLeast):
        return value
    if isinstance(value.items, Mapping):
        return {**(before or {}), **value.items}
    have = _left(before, value)
    missing = {
        item for item in value.items if not (value.globs and any(covers(p, item) for p in have))
    }
    return have | missing


def _left(members: Value, owned: AtLeast) -> frozenset[str]:
    """Those of the members found that may stay."""
    return frozenset(m for m in members or () if not any(covers(w, m) for w in owned.without))


def covers(pattern: str, item: str) -> bool:
    """Vault's glob (ryanuber/go-glob): `*` stands for anything, wherever it is."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), item))


def _spread(name: str, before: Value, after: Value) -> Sequence[FieldChange]:
    """The members that differ, each by its path: `spec[provider][vault][server]`."""
    if not isinstance(after, Mapping) or not isinstance(before, Mapping | None):
        return (FieldChange(name, before, after),)
    old: Mapping[Any, Any] = before or {}
    changes: list[FieldChange] = []
    for member in sorted(set(old) | set(after)):
        was, is_to_be, path = old.get(member), after.get(member), f"{name}[{member}]"
        if was != is_to_be:
            # An empty mapping has no members to differ, and is not nothing: `podSelector: {}`.
            changes.extend(_spread(path, was, is_to_be) or (FieldChange(path, was, is_to_be),))
    return tuple(changes)
