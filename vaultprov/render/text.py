"""Objects -> YAML: the same object gives the same bytes, and every parser reads it back alike."""

from __future__ import annotations

import re
from typing import Any

import yaml

from vaultprov.render.tree import Object

_FIRST = ("apiVersion", "kind", "metadata")
# Plain text for PyYAML, but a number or a truth value for the parsers of kubectl, kustomize and
# Argo CD (go-yaml's resolve.go takes 1e3, 0o17 and, for a bool field, y and n).
_AMBIGUOUS = re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXo_.eE+:-]*|[yYnN]")

# Line ends to YAML 1.1 and plain characters to 1.2; PyYAML escapes them in double quotes alone.
_ODD = re.compile("[\r\x85\u2028\u2029\ufeff]")


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented below their key, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        super().increase_indent(flow, False)  # noqa: FBT003

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if _ODD.search(value):
        style = '"'
    elif "\n" in value:
        style = "|"  # PyYAML falls back to quotes where a literal block cannot hold the text
    elif _AMBIGUOUS.fullmatch(value):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)


def document(body: Object) -> str:
    """An object as YAML: apiVersion, kind and metadata first, then as its builder has it."""
    ordered = {name: body[name] for name in _FIRST if name in body}
    ordered |= {name: value for name, value in body.items() if name not in ordered}
    return dumped(ordered)


def dumped(value: object) -> str:
    """Any plain value as block-style YAML, in the order it has."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=2**31,  # never folded: a folded line is two differences in a review
    )


def scalar(value: str) -> str:
    """A string as it stands in a YAML list, quoted where needed."""
    return dumped([value]).removeprefix("- ").rstrip("\n")
