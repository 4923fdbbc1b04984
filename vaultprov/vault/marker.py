"""Whose a mount is: the marker in its description. The one place that formats and parses it.

    managed by vaultprov: environment=moc cluster=smaug cluster-uid=4b1f... | Smaug's logins

Vault has no other field for this that all versions keep. What stands behind the bar was there
before us (or was added by somebody) and is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from vaultprov.errors import NotConverged
from vaultprov.names import joined
from vaultprov.resource import Io, Right, VaultRight

_PREFIX = "managed by vaultprov:"
_BAR = " | "


@dataclass(frozen=True, slots=True)
class Marker:
    """Facts about a mount, by name; `note` is the human's own description."""

    facts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    ours: bool = True

    @classmethod
    def parse(cls, description: str) -> Marker:
        """The marker in a description; `ours` is False when there is none."""
        if not description.startswith(_PREFIX):
            return cls({}, description, ours=False)
        facts, _, note = description.removeprefix(_PREFIX).partition(_BAR)
        words = facts.split()
        pairs = (word.partition("=") for word in words if "=" in word)
        loose = " ".join(
            word for word in words if "=" not in word
        )  # somebody added it without a bar
        return cls({name: value for name, _, value in pairs}, " ".join(filter(None, (loose, note))))

    @property
    def reviewer_ends(self) -> float | None:
        """When the reviewer token ends (seconds since the epoch); None if it does not, or no one
        wrote that down.
        """
        try:
            return datetime.fromisoformat(self.facts.get("reviewer-expires", "")).timestamp()
        except ValueError:
            return None

    def __str__(self) -> str:
        text = " ".join([_PREFIX, *(f"{name}={value}" for name, value in self.facts.items())])
        return text + (_BAR + self.note if self.note else "")

    def having(self, **facts: str | None) -> Marker:
        """With these facts set, those given as None dropped, and everything else kept."""
        named = {name.replace("_", "-"): value for name, value in facts.items()}
        merged = {**self.facts, **named}
        return replace(self, facts={k: v for k, v in merged.items() if v is not None}, ours=True)


def find_mount(io: Io, mount: str) -> Mapping[str, Any] | None:
    """The entry of an auth mount in the one shared listing; None when there is none.

    `GET sys/auth/<mount>` would need sudo and answers 400 for a missing mount.
    """
    entry = io.listing("sys/auth").get(mount.strip("/") + "/")
    return entry if isinstance(entry, Mapping) else None


def marker_of(entry: Mapping[str, Any]) -> Marker:
    """The marker of a mount as listed."""
    return Marker.parse(str(entry.get("description") or ""))


def mark(io: Io, mount: str, **facts: str | None) -> None:
    """Sets facts in a mount's marker, looking at it afresh so that nothing else is lost.

    Raises NotConverged (transient) while a standby that lags does not show the mount yet.
    """
    io.forget()
    entry = find_mount(io, mount)
    if entry is None:
        raise NotConverged(f"the auth mount {mount} is not listed yet", transient=True)
    description = str(marker_of(entry).having(**facts))
    if description != entry.get("description"):
        io.vault.write(joined("sys/mounts/auth", mount, "tune"), {"description": description})
        io.forget()


def mark_rights(mount: str) -> tuple[Right, ...]:
    """What `mark` needs."""
    return (VaultRight(joined("sys/mounts/auth", mount, "tune"), ("write",)),)
