"""A tree of files as a value: what is rendered, before anything is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from vaultprov.errors import ConfigError

Object = Mapping[str, Any]

HEADER = "# rendered by vaultprov"
# A policy carries the marker that tells Vault's copy from other people's, so its file does, too.
_OURS = (HEADER, "# managed by vaultprov")


class Whose(Enum):
    """Who may change a file that is there already."""

    CLUSTER = auto()  # one cluster's: rendered anew each time
    SHARED = auto()  # the same for all clusters: one cluster's run does not change it
    PEOPLE = auto()  # written once, then theirs (the members of a group)


@dataclass(frozen=True, slots=True)
class Text:
    """A whole file."""

    text: str
    whose: Whose = Whose.CLUSTER


@dataclass(frozen=True, slots=True)
class Edit:
    """Additions to a `kustomization.yaml`, which may be somebody else's or not there yet.

    add: entries by list field (`resources`, `components`).
    fresh: fields that the file gets if it is made anew, such as `namespace`.
    header: the first line if it is made anew.
    namespaces: the values of the file's `namespace` field that leave what is added where it belongs
    ("": no such field). Any other would overwrite its namespace, or the very name of a Namespace
    (kustomize `api/internal/konfig/builtinpluginconsts/namespace.go`). None: it does not matter.
    """

    add: Mapping[str, tuple[str, ...]]
    fresh: Mapping[str, str] = field(default_factory=dict)
    header: str = ""
    namespaces: frozenset[str] | None = frozenset({""})


Entry = Text | Edit
Tree = Mapping[str, Entry]


def header(command: str, note: str = "edits are overwritten") -> str:
    """The first line of a file of ours."""
    return f"{HEADER}: {command}; {note}\n"


def added_to(command: str) -> str:
    """The first line of a kustomization that we began: people add to it, too."""
    return header(command, "it adds and keeps the rest")


def is_ours(text: str) -> bool:
    """Whether a file's text begins with our first line."""
    return text.removeprefix("\ufeff").startswith(_OURS)


def merged(*trees: Tree) -> Tree:
    """One tree of several, sorted by path; additions to the same file are joined.

    Raises ConfigError when two of them want one file to be different things.
    """
    made: dict[str, Entry] = {}
    for tree in trees:
        for path, entry in tree.items():
            before = made.setdefault(path, entry)
            if isinstance(before, Edit) and isinstance(entry, Edit):
                made[path] = _joined(before, entry)
            elif before != entry:
                raise ConfigError(
                    f"{path} would be rendered twice, with different contents",
                    hint="two objects have the same kind and name: rename one of them",
                )
    return dict(sorted(made.items()))


def _joined(one: Edit, two: Edit) -> Edit:
    add = {
        name: tuple(dict.fromkeys((*one.add.get(name, ()), *two.add.get(name, ()))))
        for name in {**one.add, **two.add}
    }
    fresh = {**one.fresh, **two.fresh}
    limits = [edit.namespaces for edit in (one, two) if edit.namespaces is not None]
    both = frozenset.intersection(*limits) if limits else None
    return Edit(add, fresh, one.header or two.header, both)
