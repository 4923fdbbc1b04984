"""Three-valued logic: something matches, does not, or cannot be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """Whether something matches; None when that cannot be told, with the reason."""

    holds: bool | None
    doubt: str = ""


YES, NO = Match(holds=True), Match(holds=False)


def doubt(why: str) -> Match:
    """A match that cannot be told."""
    return Match(None, why)


def any_of(matches: Iterable[Match]) -> Match:
    """One that holds is enough; else a doubt is a doubt."""
    return _dominated(matches, by=True)


def all_of(matches: Iterable[Match]) -> Match:
    """One that does not hold is enough; else a doubt is a doubt."""
    return _dominated(matches, by=False)


def _dominated(matches: Iterable[Match], *, by: bool) -> Match:
    found = list(matches)
    if any(match.holds is by for match in found):
        return Match(by)
    return next((match for match in found if match.holds is None), Match(not by))
