"""The tests' small language: worlds of made-up resources, a Vault in memory, a clock that jumps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaultprov.errors import Error
from vaultprov.plan import Plan, make_plan
from vaultprov.resource import (
    Fields,
    Foreign,
    Io,
    Key,
    Ref,
    Right,
    State,
)
from vaultprov.retry import Budget

ALIEN = Foreign("is somebody else's")


def key(name: str) -> Key:
    """The key of the made-up resource `name`."""
    return Key("thing", name)


def ref(name: str, attr: str = "id") -> Ref:
    """A reference to an attribute of the made-up resource `name`."""
    return Ref(key(name), attr)


def has(
    foreign: Foreign | None = None,
    guards: Mapping[str, Foreign] | None = None,
    attrs: Fields | None = None,
    **fields: Any,
) -> State:
    """What is found of a resource."""
    return State(fields, attrs or {}, foreign, guards or {})


@dataclass(frozen=True)
class Thing:
    """A resource for the planner: what it wants (None: to be absent) and what is found."""

    name: str
    wants: Fields | None
    found: State | None = None
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return key(self.name)

    def wanted(self) -> State | None:
        return None if self.wants is None else State(self.wants)

    def read(self, io: Io) -> State | None:
        return self.found

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        raise AssertionError("planning writes nothing")

    def remove(self, io: Io, found: State) -> None:
        raise AssertionError("planning removes nothing")

    def rights(self, action: str) -> tuple[Right, ...]:
        return ()


def plan(*world: Thing, allow: Sequence[str] = ()) -> Plan:
    """The plan for a world of things."""
    return make_plan(world, {thing.key: thing.found for thing in world}, allow)


class Shelf:
    """A world in memory: name -> fields, and a log of everything that was done to it."""

    def __init__(self, **content: Fields) -> None:
        self.content: dict[str, dict[str, Any]] = {n: dict(f) for n, f in content.items()}
        self.log: list[str] = []
        self.lock = threading.Lock()

    def did(self, what: str) -> int:
        """How often `what` happened."""
        return self.log.count(what)


@dataclass(frozen=True)
class Box:
    """A resource on a shelf. Its attribute `id` is known once it exists.

    fails: raised by writes and removals, one each, before anything happens.
    loses: raised by them, one each, after the effect: the lost answers.
    deaf: writes are accepted and have no effect. blind: reads fail with this.
    """

    shelf: Shelf
    name: str
    wants: Fields | None = field(default_factory=lambda: {"x": 1})
    after: tuple[Key, ...] = ()
    required: str = ""
    fails: list[Error] = field(default_factory=list)
    loses: list[Error] = field(default_factory=list)
    deaf: bool = False
    blind: Error | None = None
    needs: tuple[Right, ...] = ()

    @property
    def key(self) -> Key:
        return key(self.name)

    def wanted(self) -> State | None:
        return None if self.wants is None else State(self.wants)

    def read(self, io: Io) -> State | None:
        if self.blind:
            raise self.blind
        with self.shelf.lock:
            fields = self.shelf.content.get(self.name)
            return None if fields is None else State(dict(fields), {"id": f"id of {self.name}"})

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        self._do("write", lambda: self.shelf.content.setdefault(self.name, {}).update(target))

    def remove(self, io: Io, found: State) -> None:
        self._do("remove", lambda: self.shelf.content.pop(self.name, None))

    def _do(self, verb: str, effect: Callable[[], object]) -> None:
        with self.shelf.lock:
            self.shelf.log.append(f"{verb} {self.name}")
            if self.fails:
                raise self.fails.pop(0)
            if not self.deaf:
                effect()
            if self.loses:
                raise self.loses.pop(0)

    def rights(self, action: str) -> tuple[Right, ...]:
        return self.needs


class MemoryVault:
    """Answers from a dictionary of paths; remembers what was asked (`read PATH`, `write PATH`)."""

    address = "https://vault.example.com"
    policies: tuple[str, ...] = ()

    def __init__(self, answers: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self.written: list[tuple[str, Fields]] = []
        self.on_read: Callable[[], None] = lambda: None

    def read(self, path: str) -> Mapping[str, Any] | None:
        self.asked.append(f"read {path}")
        answer = self.answers.get(path)
        self.on_read()
        return answer

    def list(self, path: str) -> Mapping[str, Any] | None:
        self.asked.append(f"list {path}")
        return self.answers.get(path)

    def write(self, path: str, payload: Fields) -> Mapping[str, Any]:
        self.asked.append(f"write {path}")
        self.written.append((path, payload))
        return self.answers.get(path, {})

    def delete(self, path: str) -> None:
        raise NotImplementedError

    def login(self, mount: str, payload: Fields) -> MemoryVault:
        raise NotImplementedError

    def token_with(self, policies: tuple[str, ...], seconds: int) -> MemoryVault:
        raise NotImplementedError

    def revoke_self(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """Stands in for the module `time`: sleeping takes no time and is written down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def budget(self, timeout: float = 120.0, attempts: int = 6) -> Budget:
        """A budget that begins now."""
        return Budget(timeout, attempts, started=self.now)


def failing(*errors: Error) -> Callable[[], str]:
    """A step that fails with these errors, one each try, and then succeeds."""
    rest: Iterator[Error] = iter(errors)

    def step() -> str:
        for error in rest:
            raise error
        return "done"

    return step
