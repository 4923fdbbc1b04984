"""Adds to a `kustomization.yaml` that others wrote, and changes nothing else in it.

PyYAML tells where in the text things are; lines are then put in between. Writing the parsed
document back would change indentation, quotes and line ends all over the file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from vaultprov.errors import ConfigError, Refused
from vaultprov.render.text import dumped, scalar
from vaultprov.render.tree import Edit

# kustomize `api/types/kustomization.go`; without these two it assumes the same.
_KIND = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
# `bases` is the old name of the folders among the resources (`FixKustomizationPostUnmarshal`).
_SAME_LIST = {"resources": ("resources", "bases")}
_UNCLEAR = "is not one YAML document, or not one that can be added to"


def edited(text: str | None, edit: Edit, where: str) -> str:
    """The text of a kustomization with the entries of `edit` in it.

    text: what is there, None when there is no file. where: the path, for messages. Entries that are
    there under any spelling (`./x`, `x/`) are not added; when nothing is to be added, the text is
    returned as it is. Raises ConfigError if the text cannot be understood or edited, and Refused if
    its `namespace` field would move what is added.
    """
    if text is None:
        return edit.header + dumped({**_KIND, **edit.fresh, **_lists(edit)})
    before = _parsed(text, where)
    if not before:  # empty, or comments alone
        added = dumped({**_KIND, **edit.fresh, **_lists(edit)})
        return _with_line_end(text) + _as(text, added)
    found = str(before.get("namespace") or "")
    if edit.namespaces is not None and found not in edit.namespaces:
        raise _moves(where, found, edit.namespaces)
    after = dict(before)
    for name, entries in edit.add.items():
        missing = _missing(before, name, entries, where)
        if missing:
            text = _with(text, name, missing, where)
            after[name] = [*(before.get(name) or ()), *missing]
    if _parsed(text, where) != after:  # an alias, two keys of one name, a flow style over all
        raise _by_hand(where, "is written in a way that cannot be added to")
    return text


def _lists(edit: Edit) -> dict[str, list[str]]:
    return {name: list(entries) for name, entries in edit.add.items() if entries}


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _by_hand(where, _UNCLEAR) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _by_hand(where, "is not a mapping")
    return found


def _missing(
    before: Mapping[str, Any], name: str, entries: tuple[str, ...], where: str
) -> list[str]:
    have: set[str] = set()
    for field in _SAME_LIST.get(name, (name,)):
        there = before.get(field) or []
        if not isinstance(there, list):
            raise _by_hand(where, f"has {field}, which is not a list")
        have |= {_normal(str(entry)) for entry in there}
    return [entry for entry in entries if _normal(entry) not in have]


def _normal(entry: str) -> str:
    """One spelling for a path; a URL stays as it is."""
    return entry if "://" in entry else posixpath.normpath(entry)


def _with(text: str, name: str, entries: list[str], where: str) -> str:
    """`text` with entries at the end of the list `name`."""
    root = _composed(text, where)
    fields = {key.value: (key, value) for key, value in root.value}
    if name not in fields:
        dash = _dash(value for _, value in fields.values())
        added = "".join(f"{dash}{scalar(entry)}\n" for entry in entries)
        return _with_line_end(text) + _as(text, f"{name}:\n{added}")
    key, node = fields[name]
    if isinstance(node, yaml.SequenceNode) and node.flow_style:
        return _in_flow(text, node, entries)
    if not isinstance(node.value, list):  # `resources:` with nothing behind it
        dash = _dash(value for _, value in fields.values())
        return _below(text, key.start_mark.line, dash, entries)
    last = node.value[-1]
    # The same indentation and the same gap behind the dash as the entry before.
    line = _lines(text)[last.start_mark.line]
    start = line[: last.start_mark.column]
    return _below(text, last.end_mark.line, start, entries)


def _composed(text: str, where: str) -> yaml.MappingNode:
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise _by_hand(where, _UNCLEAR)
    return root


def _dash(nodes: Any) -> str:
    """The start of an entry as the file's other lists have it."""
    for node in nodes:
        if isinstance(node.value, list) and not node.flow_style:
            first = node.value[0] if node.value else None
            if first is not None and not isinstance(first, tuple):
                column: int = node.start_mark.column
                gap: int = first.start_mark.column - column - 1
                return " " * column + "-" + " " * gap
    return "  - "


def _below(text: str, line: int, start: str, entries: list[str]) -> str:
    lines = _lines(text)
    lines[line] = _with_line_end(lines[line], _line_end(text))
    added = "".join(f"{start}{scalar(entry)}\n" for entry in entries)
    return "".join(lines[: line + 1]) + _as(text, added) + "".join(lines[line + 1 :])


def _in_flow(text: str, node: yaml.SequenceNode, entries: list[str]) -> str:
    """Into `[a, b]`, behind the last entry or the bracket."""
    at: int = node.value[-1].end_mark.index if node.value else node.start_mark.index + 1
    added = ", ".join(map(scalar, entries))
    return text[:at] + (", " if node.value else "") + added + text[at:]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _as(text: str, added: str) -> str:
    """What is added, with the line ends of the text."""
    return added.replace("\n", _line_end(text))


def _with_line_end(text: str, end: str = "") -> str:
    return text if not text or text.endswith("\n") else text + (end or _line_end(text))


def _moves(where: str, found: str, fitting: frozenset[str]) -> Refused:
    say = f"sets namespace: {found}" if found else "sets no namespace"
    needs = " or ".join(sorted(name or "none" for name in fitting)) or "two different ones"
    return Refused(
        f"{where} {say}, which would move what is added to it: that needs {needs}",
        hint="change its namespace field, or render into another folder and merge by hand",
    )


def _by_hand(where: str, problem: str) -> ConfigError:
    return ConfigError(f"{where} {problem}", hint="mend it, or add to it by hand")
