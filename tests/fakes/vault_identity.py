"""External groups and aliases of the fake Vault, as OpenBao's identity store treats them."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.vault_auth import Data, listed, need

# Accessor -> the mount's path and type, of the auth mounts that exist now.
Accessors = Callable[[], Mapping[str, tuple[str, str]]]


class Identity:
    """Groups and group aliases by id."""

    def __init__(self, accessors: Accessors) -> None:
        self._accessors = accessors
        self.groups: dict[str, Data] = {}
        self.aliases: dict[str, Data] = {}

    def read(self, path: str) -> Data | None:
        match path.split("/"):
            case ["group", "name", name]:
                return self._shown(self._named(name))
            case ["group", "id", group_id]:
                return self._shown(self.groups.get(group_id))
            case ["group-alias", "id", alias_id] if alias_id in self.aliases:
                return self._shown_alias(alias_id)
        return None

    def list(self, path: str) -> Data | None:
        if path == "group/name" and self.groups:
            return {"keys": [group["name"] for group in self.groups.values()]}
        if path == "group-alias/id" and self.aliases:
            shown = {alias_id: self._shown_alias(alias_id) for alias_id in self.aliases}
            for alias in shown.values():
                del alias["id"]
            return {"keys": [*shown], "key_info": shown}
        return None

    def write(self, path: str, payload: Data) -> Data:
        match path.split("/"):
            case ["group"]:
                return self._write_group(payload)
            case ["group", "name", name]:
                return self._write_group({**payload, "name": name})
            case ["group-alias"]:
                return self._write_alias(None, payload)
            case ["group-alias", "id", alias_id]:
                need(alias_id in self.aliases, "invalid group alias ID")
                return self._write_alias(alias_id, payload)
        need(False, f"unsupported path identity/{path}")
        return {}

    def delete(self, path: str) -> None:
        match path.split("/"):
            case ["group", "name", name]:
                group = self._named(name)
                if group is not None:
                    self._drop_alias_of(group["id"])
                    del self.groups[group["id"]]
            case ["group-alias", "id", alias_id]:
                self.aliases.pop(alias_id, None)

    def _named(self, name: str) -> Data | None:
        wanted = name.lower()
        return next((g for g in self.groups.values() if g["name"].lower() == wanted), None)

    def _write_group(self, payload: Data) -> Data:
        old = self._named(payload["name"])
        group = old or {
            "id": str(uuid.uuid4()),
            "name": payload["name"],
            "type": payload.get("type", "internal"),
            "policies": None,
            "metadata": None,
        }
        need(payload.get("type", group["type"]) == group["type"], "group type cannot be changed")
        if "policies" in payload:
            group["policies"] = sorted({name.lower() for name in listed(payload["policies"])})
        if "metadata" in payload:
            group["metadata"] = payload["metadata"]  # replaced whole
        self.groups[group["id"]] = group
        return {} if old else {"id": group["id"], "name": group["name"]}

    def _write_alias(self, alias_id: str | None, payload: Data) -> Data:
        need(payload.get("name"), "missing alias name")
        accessor = payload.get("mount_accessor")
        need(accessor, "missing mount_accessor")
        need(accessor in self._accessors(), f'invalid mount accessor "{accessor}"')
        clash = any(
            (alias["name"], alias["mount_accessor"]) == (payload["name"], accessor)
            for other, alias in self.aliases.items()
            if other != alias_id
        )
        need(not clash, "combination of mount and group alias name is already in use")
        group_id = payload.get("canonical_id") or self._group_for(alias_id)
        need(group_id in self.groups, "invalid group ID given in 'canonical_id'")
        kind = self.groups[group_id]["type"]
        need(kind == "external", "alias can't be set on an internal group")
        self._drop_alias_of(group_id)  # a group has one alias
        written = alias_id or str(uuid.uuid4())
        self.aliases[written] = {
            "name": payload["name"],
            "mount_accessor": accessor,
            "canonical_id": group_id,
        }
        return {"id": written, "canonical_id": group_id}

    def _group_for(self, alias_id: str | None) -> str:
        """The alias's own group, or the stray one that the server makes for a new alias."""
        if alias_id is not None:
            return str(self.aliases[alias_id]["canonical_id"])
        stray = {"name": f"group_{secrets.token_hex(4)}", "type": "external"}
        return str(self._write_group(stray)["id"])

    def _drop_alias_of(self, group_id: str) -> None:
        self.aliases = {
            alias_id: alias
            for alias_id, alias in self.aliases.items()
            if alias["canonical_id"] != group_id
        }

    def _shown(self, group: Data | None) -> Data | None:
        if group is None:
            return None
        owned = (i for i, alias in self.aliases.items() if alias["canonical_id"] == group["id"])
        alias_id = next(owned, None)
        return {**group, "alias": self._shown_alias(alias_id) if alias_id else {}}

    def _shown_alias(self, alias_id: str) -> dict[str, Any]:
        alias = self.aliases[alias_id]
        shown = {**alias, "id": alias_id, "metadata": None}
        mount = self._accessors().get(alias["mount_accessor"])
        if mount is not None:  # without it the alias dangles
            shown |= {"mount_path": f"auth/{mount[0]}/", "mount_type": mount[1]}
        return shown
