"""The site's key-value store, version 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vaultprov.names import joined
from vaultprov.resource import Fields, Foreign, Io, Key, Right, State, VaultRight


@dataclass(frozen=True, slots=True)
class SecretsMount:
    """A KV v2 mount. It belongs to the site, so it carries no marker and is never tuned."""

    mount: str
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/mount", self.mount)

    def wanted(self) -> State:
        return State({"type": "kv", "version": "2"})

    def read(self, io: Io) -> State | None:
        entry = io.listing("sys/mounts").get(self.mount + "/")
        if not isinstance(entry, Mapping):
            return None
        kind, options = entry.get("type"), entry.get("options") or {}
        wrong = Foreign(
            f"is a mount of type {kind}, version {options.get('version', '1')}, not KV version 2",
            "",
            "name another kv_mount, or migrate it: vault kv enable-versioning",
        )
        fields = {"type": kind, "version": options.get("version", "1")}
        return State(fields, {"accessor": entry.get("accessor")}, wrong)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        io.vault.write(
            joined("sys/mounts", self.mount),
            {
                "type": "kv",
                "options": {"version": target["version"]},
                "description": "External Secrets",
            },
        )

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(joined("sys/mounts", self.mount))

    def rights(self, action: str) -> tuple[Right, ...]:
        if action == "read":
            return (VaultRight("sys/mounts", ("read",)),)
        needs = "delete" if action == "delete" else "write"
        return (VaultRight(joined("sys/mounts", self.mount), (needs,)),)
