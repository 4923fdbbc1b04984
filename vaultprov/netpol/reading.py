"""Fields of objects that may be broken: taken with their type, or refused with their place.

The API server hands out no malformed policy, files do. Unknown fields are refused, too: a field
that a newer Kubernetes gave a rule may narrow it, and a misspelt one leaves the rule wide open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Malformed(ValueError):
    """A part of a policy that the API server would not have taken."""


def mapping(value: Any, where: str, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """A JSON object, nothing being an empty one; with `known`, no other fields than those."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Malformed(f"{where} is no object but {value!r}")
    strange = [str(name) for name in value if known and name not in known]
    if strange:
        raise Malformed(f"{where} has the unknown field {min(strange)!r}")
    return value


def sequence(value: Any, where: str) -> list[Any]:
    """A JSON list, nothing being an empty one."""
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise Malformed(f"{where} is no list but {value!r}")
    return list(value)


def text(value: Any, where: str) -> str:
    """A JSON string."""
    if not isinstance(value, str):
        raise Malformed(f"{where} is no text but {value!r}")
    return value


def entry(value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    """A member of a list of objects, where null stands for nothing."""
    if value is None:
        raise Malformed(f"{where} is null")
    return mapping(value, where, known)
