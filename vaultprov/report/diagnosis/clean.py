"""The one place where what others wrote becomes text: nothing of it is a secret or moves a cursor.

It is done to the values, not to the finished report: a line break or a column that a report puts
into a token would hide it from the scrubber.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from vaultprov.redact import scrub

T = TypeVar("T")

# What no report can hold: control characters (a terminal obeys them, XML forbids most), halves of
# surrogates (no encoding has them), and what breaks or turns around a line without being seen.
_UNPRINTABLE = re.compile(
    "[^\t\n\u0020-\u007e\u00a0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def clean(value: T) -> T:
    """`value` with every text in it, however deep, printable and without what looks like a token.

    Unprintable characters go first: a token with one inside it is put together by that, and must
    not be after it was looked for.
    """
    cleaned: Any = _clean(value)
    return cleaned  # type: ignore[no-any-return]


def _clean(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return scrub(_UNPRINTABLE.sub("", value))
    if isinstance(value, tuple | list):
        return type(value)(_clean(each) for each in value)
    if isinstance(value, Mapping):
        return {name: _clean(each) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: _clean(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **changed)
    return value


def one_line(text: str) -> str:
    """A text that is to stay within its line."""
    return " ".join(text.split())
