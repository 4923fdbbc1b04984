"""The site's OIDC mount: how people log in. Its config and its default role.

A config read never returns the client secret; its fingerprint is kept in the mount's marker, so
that a changed one is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.model import Oidc
from vaultprov.names import joined
from vaultprov.redact import Secret
from vaultprov.resource import AtLeast, Fields, Foreign, Io, Key, Right, State, VaultRight
from vaultprov.vault.marker import Marker, find_mount, mark, mark_rights, marker_of

_KEY_SOURCES = ("oidc_discovery_url", "jwks_url", "jwt_validation_pubkeys")


@dataclass(frozen=True, slots=True)
class OidcMount:
    """The auth mount of type oidc; the site's, so that nothing of it is changed once it exists."""

    mount: str
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/auth", self.mount)

    def wanted(self) -> State:
        return State({"type": "oidc"})

    def read(self, io: Io) -> State | None:
        entry = find_mount(io, self.mount)
        if entry is None:
            return None
        wrong = Foreign(
            f"is an auth mount of type {entry.get('type')}, not oidc", "", "name another oidc.mount"
        )
        return State({"type": entry.get("type")}, {"accessor": entry.get("accessor")}, wrong)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        # Ours from the start: a run that is killed before the config was written goes on with it.
        description = str(Marker().having(purpose="logins"))
        payload = {"type": target["type"], "description": description}
        io.vault.write(joined("sys/auth", self.mount), payload)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(joined("sys/auth", self.mount))

    def rights(self, action: str) -> tuple[Right, ...]:
        if action == "read":
            return (VaultRight("sys/auth", ("read",)),)
        needs = "delete" if action == "delete" else "write"
        return (VaultRight(joined("sys/auth", self.mount), (needs, "sudo")),)


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """Which provider the mount trusts."""

    oidc: Oidc
    client_secret: Secret
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/oidc-config", self.oidc.mount)

    def wanted(self) -> State:
        return State(
            {
                "oidc_discovery_url": str(self.oidc.discovery_url).rstrip("/"),
                "oidc_client_id": self.oidc.client_id,
                "oidc_client_secret": self.client_secret,
                "default_role": self.oidc.role,
            }
        )

    def read(self, io: Io) -> State | None:
        found = io.vault.read(self._path)
        entry = find_mount(io, self.oidc.mount)
        if entry is None or not any((found or {}).get(source) for source in _KEY_SOURCES):
            return None
        assert found is not None  # noqa: S101 - some source was found in it
        marker = marker_of(entry)
        known = marker.facts.get("client-secret", "unknown")
        fields = {
            "oidc_discovery_url": str(found.get("oidc_discovery_url") or "").rstrip("/"),
            "oidc_client_id": found.get("oidc_client_id"),
            "oidc_client_secret": Secret.known_by(known),
            "default_role": found.get("default_role"),
        }
        foreign = None
        if not marker.ours:
            foreign = Foreign("was configured by somebody else (the mount has no vaultprov marker)")
        rest = {k: v for k, v in found.items() if k not in fields and v not in (None, "", [], {})}
        return State(fields, {"raw": rest}, foreign)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        # The write replaces the config, so what others set goes along.
        rest: Mapping[str, Any] = found.attrs["raw"] if found else {}
        io.vault.write(self._path, {**rest, **target})
        mark(io, self.oidc.mount, client_secret=self.client_secret.fingerprint)

    def remove(self, io: Io, found: State) -> None:
        """Vault has no delete for it: it goes with the mount."""

    def rights(self, action: str) -> tuple[Right, ...]:
        if action == "read":
            return (VaultRight(self._path, ("read",)),)
        if action == "delete":
            return ()
        return (VaultRight(self._path, ("write",)), *mark_rights(self.oidc.mount))

    @property
    def _path(self) -> str:
        return joined("auth", self.oidc.mount, "config")


@dataclass(frozen=True, slots=True)
class OidcRole:
    """The role people log in with; which groups they are in comes from `groups_claim`."""

    oidc: Oidc
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/oidc-role", joined(self.oidc.mount, self.oidc.role))

    def wanted(self) -> State:
        return State(
            {
                "role_type": "oidc",
                "user_claim": self.oidc.user_claim,
                "groups_claim": self.oidc.groups_claim,
                "oidc_scopes": AtLeast(frozenset(self.oidc.scopes)),
                "allowed_redirect_uris": AtLeast(frozenset(self.oidc.redirect_uris)),
            }
        )

    def read(self, io: Io) -> State | None:
        found = io.vault.read(self._path)
        if found is None:
            return None
        sets = ("oidc_scopes", "allowed_redirect_uris")
        fields = {name: found.get(name) for name in ("role_type", "user_claim", "groups_claim")}
        entry = find_mount(io, self.oidc.mount)
        foreign = None
        if entry is None or not marker_of(entry).ours:
            foreign = Foreign("was made by somebody else (the mount has no vaultprov marker)")
        sets_found = {name: frozenset(found.get(name) or ()) for name in sets}
        return State(fields | sets_found, foreign=foreign)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        # The write merges: what others set (bound claims, TTLs) stays.
        payload = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in target.items()}
        io.vault.write(self._path, payload)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(self._path)

    def rights(self, action: str) -> tuple[Right, ...]:
        needs = {"read": "read", "delete": "delete"}.get(action, "write")
        return (VaultRight(self._path, (needs,)),)

    @property
    def _path(self) -> str:
        return joined("auth", self.oidc.mount, "role", self.oidc.role)
