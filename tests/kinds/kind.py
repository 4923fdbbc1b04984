"""What the table says of a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.kinds.world import Resources, World


class Removal(StrEnum):
    """What comes of a plan that wants the resource gone."""

    GONE = "it goes"
    REFUSED = "it is the site's"
    NOTHING_TO_DO = "Vault has no delete for it: it goes with its mount"
    NEVER_TRIED = "nothing of it is ours"


ByHand = Callable[[World], object]
NO_FLAG_HELPS = "no flag helps"


@dataclass(frozen=True)
class Edit:
    """One field, and how somebody changes it through the raw API.

    flag: what the plan asks for before it repairs that; NO_FLAG_HELPS: a person has to look.
    also: further fields that the same edit cannot help changing.
    """

    field: str
    by_hand: ByHand
    flag: str = ""
    also: tuple[str, ...] = ()
    how: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.field, self.how)))


@dataclass(frozen=True)
class Other:
    """Something that others add or change and that is not our business.

    still: whether it is there; None where it may be lost by the next write.
    """

    what: str
    by_hand: ByHand
    still: Callable[[World], bool] | None = None

    def __str__(self) -> str:
        return self.what.replace(" ", "-")


@dataclass(frozen=True)
class Stranger:
    """The resource as somebody else made it. flag: what the plan asks for before it changes it.

    kept: whether what the stranger had besides is still there after the adoption.
    """

    made: ByHand
    flag: str = "--adopt"
    kept: Callable[[World], bool] = lambda _: True


@dataclass(frozen=True)
class Kind:
    """A kind. make: what it needs, and then the resource itself.

    fixed: fields that cannot be edited by hand, or not so that it is seen, and why.
    stranger, twin: the resource as somebody else made it, different from or equal to what we want;
    or why there is no such thing.
    """

    name: str
    source: object
    make: Callable[[World], Resources]
    stranger: Stranger | str
    twin: ByHand | str
    edits: tuple[Edit, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Other, ...] = ()
    removal: Removal = Removal.GONE

    def __str__(self) -> str:
        return self.name
