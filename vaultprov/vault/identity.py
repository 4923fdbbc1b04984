"""External groups and their aliases: people of an OIDC group get the environment's policy.

Facts that decide this file (openbao/openbao `vault/identity_store_groups.go`): an update answers
204 without an id; metadata and policies are replaced whole; an alias never updates by name, and
without `canonical_id` the server makes a stray group for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.names import joined
from vaultprov.resource import (
    AtLeast,
    Fields,
    Foreign,
    Io,
    Key,
    Ref,
    Right,
    State,
    VaultRight,
)

_MARK = ("managed-by", "vaultprov")


@dataclass(frozen=True, slots=True)
class Group:
    """An external identity group. Policies and metadata that others added stay.

    retired: policies of ours that it must no longer have.
    """

    name: str
    policies: tuple[str, ...]
    metadata: Mapping[str, str]
    retired: tuple[str, ...] = ()
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/group", self.name)

    def wanted(self) -> State:
        return State(
            {
                "type": "external",
                "policies": AtLeast(
                    frozenset(name.lower() for name in self.policies),
                    without=frozenset(name.lower() for name in self.retired),
                ),
                "metadata": AtLeast(dict(self.metadata)),
            }
        )

    def read(self, io: Io) -> State | None:
        found = io.listing(self._path)
        if not found:
            return None
        metadata = dict(found.get("metadata") or {})
        ours = metadata.pop(_MARK[0], None) == _MARK[1]
        fields = {
            "type": found.get("type"),
            "policies": frozenset(name.lower() for name in found.get("policies") or ()),
            "metadata": metadata,
        }
        kind = Foreign(
            f"is a group of type {fields['type']}",
            "",
            f"rename it or choose another names.group: vault read identity/group/name/{self.name}",
        )
        foreign = None if ours else Foreign("is a group that carries no vaultprov marker")
        return State(fields, {"id": found.get("id")}, foreign, {"type": kind})

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        payload: dict[str, Any] = {
            "name": self.name,
            "policies": sorted(target["policies"]),
            "metadata": {**target["metadata"], _MARK[0]: _MARK[1]},
        }
        if found is None:
            payload["type"] = "external"  # immutable, and member ids must never be sent with it
        io.vault.write("identity/group", payload)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(self._path)

    def rights(self, action: str) -> tuple[Right, ...]:
        if action in ("read", "delete"):
            return (VaultRight(self._path, (action,)),)
        return (VaultRight("identity/group", ("write",)),)

    @property
    def _path(self) -> str:
        return joined("identity/group/name", self.name)


@dataclass(frozen=True, slots=True)
class GroupAlias:
    """The alias that ties a group to the group claim of a login method.

    mount: the login mount's path; accessor, group_id: Refs to that mount and to the group.
    """

    group: str
    mount: str
    accessor: Ref
    group_id: Ref
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/group-alias", self.group)

    def wanted(self) -> State:
        return State(
            {"name": self.group, "mount_accessor": self.accessor, "canonical_id": self.group_id}
        )

    def read(self, io: Io) -> State | None:
        """The alias of our group; else the one that has our name on our login mount."""
        group = io.listing(joined("identity/group/name", self.group))
        alias: Mapping[str, Any] = group.get("alias") or {}
        if not alias.get("id"):
            alias = self._same_name(io)
        if not alias:
            return None
        fields = {name: alias.get(name) for name in ("name", "mount_accessor", "canonical_id")}
        return State(fields, {"id": alias["id"]}, None, self._guards(alias, group.get("id"), io))

    def _same_name(self, io: Io) -> Mapping[str, Any]:
        # The same name on another login method is no clash, so only our mount is looked at.
        listed = io.listing("identity/group-alias/id", verb="list").get("key_info") or {}
        mount_path = joined("auth", self.mount) + "/"
        for alias_id, alias in sorted(listed.items()):
            if (alias.get("name"), alias.get("mount_path")) == (self.group, mount_path):
                return {**alias, "id": alias_id}
        return {}

    def _guards(self, alias: Mapping[str, Any], group_id: str | None, io: Io) -> dict[str, Foreign]:
        alive = {
            entry.get("accessor")
            for entry in io.listing("sys/auth").values()
            if isinstance(entry, Mapping)
        }
        if alias.get("mount_accessor") not in alive:
            return {}  # it dangles: its mount is gone, nobody can log in through it
        guards = {
            "mount_accessor": Foreign(
                f"ties the group to another login method, {alias.get('mount_path')}"
            )
        }
        if alias.get("canonical_id") != group_id:
            guards["canonical_id"] = Foreign(
                f"the alias {self.group} on {alias.get('mount_path')} belongs to another group "
                f"(id {alias.get('canonical_id')})"
            )
        return guards

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        path = "identity/group-alias"
        if found is not None:
            path = joined(path, "id", str(found.attrs["id"]))
        io.vault.write(path, dict(target))

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(joined("identity/group-alias/id", str(found.attrs["id"])))

    def rights(self, action: str) -> tuple[Right, ...]:
        by_id = "identity/group-alias/id"
        if action == "read":
            return (
                VaultRight(joined("identity/group/name", self.group), ("read",)),
                VaultRight(by_id, ("list",)),
                VaultRight("sys/auth", ("read",)),
            )
        if action == "create":
            return (VaultRight("identity/group-alias", ("write",)),)
        return (VaultRight(joined(by_id, "+"), ("delete" if action == "delete" else "write",)),)
