"""A VaultPort in memory: what vaultprov uses of a server, with the server's own semantics.

`tests/contract` holds it to a real OpenBao. It knows tokens by the policies they hold; `limited`
gives a port for others than root's.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes.vault_auth import Data, JwtAuth, KubernetesAuth, need
from tests.fakes.vault_identity import Identity
from vaultprov.errors import Denied, LoginFailed, Rejected, Sealed, Unreachable
from vaultprov.redact import Secret
from vaultprov.resource import Fields
from vaultprov.vault.hcl import CAPABILITIES, HclError, meaning


class Backend(Protocol):
    """What answers below one path."""

    def read(self, path: str) -> Data | None: ...
    def list(self, path: str) -> Data | None: ...
    def write(self, path: str, payload: Data) -> Data: ...
    def delete(self, path: str) -> None: ...


class Nothing:
    """A backend that holds nothing: of the key-value store only rights are ever asked."""

    def read(self, path: str) -> Data | None:
        return None

    def list(self, path: str) -> Data | None:
        return None

    def write(self, path: str, payload: Data) -> Data:
        return {}

    def delete(self, path: str) -> None:
        """There is nothing."""


@dataclass
class Entry:
    """A mount."""

    type: str
    description: str
    options: Data | None
    accessor: str
    backend: Backend

    def shown(self) -> Data:
        names = ("type", "description", "options", "accessor")
        return {**{name: getattr(self, name) for name in names}, "config": {}}


class Mounts:
    """One table of mounts: those below `auth/`, or those of secrets."""

    def __init__(self, prefix: str, make: Callable[[str], Backend | None]) -> None:
        self._prefix, self._make = prefix, make
        self.entries: dict[str, Entry] = {}

    def enable(self, path: str, payload: Data) -> None:
        for taken in self.entries:
            clash = f"{path}/".startswith(f"{taken}/") or f"{taken}/".startswith(f"{path}/")
            need(not clash, f"path is already in use at {taken}/")
        kind = payload["type"]
        backend = self._make(kind)
        if backend is None:
            raise Rejected(f"plugin not found in the catalog: {kind}")
        accessor = f"{self._prefix}{kind}_{secrets.token_hex(4)}"  # a new one each time
        description = payload.get("description", "")
        self.entries[path] = Entry(kind, description, payload.get("options"), accessor, backend)

    def tune(self, path: str, payload: Data) -> None:
        need(path in self.entries, f'tune of path "auth/{path}/" failed: no mount entry found')
        if "description" in payload:
            self.entries[path].description = payload["description"]

    def shown(self) -> Data:
        return {f"{path}/": entry.shown() for path, entry in self.entries.items()}

    def find(self, path: str) -> tuple[Entry, str] | None:
        """The mount that a path belongs to, and the rest of the path."""
        for mount, entry in self.entries.items():
            if path.startswith(f"{mount}/"):
                return entry, path.removeprefix(f"{mount}/")
        return None


@dataclass
class Server:
    """The state behind all ports of one fake server.

    reviews: what the clusters' TokenReview says of a token. in_pod: whether Vault runs in one,
    where it has a CA of its own. writes: what changed state, in order.
    """

    reviews: Callable[[str], bool] = bool
    in_pod: bool = False
    sealed: bool = False
    unreachable: bool = False
    writes: list[tuple[str, str]] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.auth = Mounts("auth_", self._auth_backend)
        self.mounts = Mounts("", lambda kind: Nothing() if kind in ("kv", "transit") else None)
        self.mounts.enable("secret", {"type": "kv", "options": {"version": "2"}})
        self.auth.enable("token", {"type": "token"})
        self.identity = Identity(self._accessors)

    def _auth_backend(self, kind: str) -> Backend | None:
        if kind == "kubernetes":
            return KubernetesAuth(self.reviews, in_pod=self.in_pod)
        if kind in ("jwt", "oidc"):
            return JwtAuth()
        return Nothing() if kind == "token" else None

    def _accessors(self) -> Mapping[str, tuple[str, str]]:
        return {e.accessor: (path, e.type) for path, e in self.auth.entries.items()}

    def backend(self, path: str) -> tuple[Backend, str]:
        """Who answers a path. Raises LookupError where nobody does."""
        top, _, rest = path.partition("/")
        if top == "sys":
            return _System(self), rest
        if top == "identity":
            return self.identity, rest
        found = self.auth.find(rest) if top == "auth" else self.mounts.find(path)
        if found is None:
            raise LookupError(f'no handler for route "{path}". route entry not found.')
        return found[0].backend, found[1]


class _System:
    """`sys/`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def read(self, path: str) -> Data | None:
        if path in ("auth", "mounts"):
            return (self._server.auth if path == "auth" else self._server.mounts).shown()
        if path.startswith("auth/"):
            raise Rejected(f"No auth engine at {path.removeprefix('auth/')}/")
        name = path.removeprefix("policies/acl/").lower()
        text = self._server.policies.get(name)
        return None if text is None else {"name": name, "policy": text}

    def list(self, path: str) -> Data | None:
        need(path == "policies/acl", "unsupported operation")
        return {"keys": sorted(["default", "root", *self._server.policies])}

    def write(self, path: str, payload: Data) -> Data:
        match path.split("/", 1):
            case ["auth", mount]:
                self._server.auth.enable(mount, payload)
            case ["mounts", rest] if rest.endswith("/tune"):
                self._server.auth.tune(rest[len("auth/") : -len("/tune")], payload)
            case ["mounts", mount]:
                self._server.mounts.enable(mount, payload)
            case ["policies", rest]:
                self._write_policy(rest.removeprefix("acl/").lower(), payload.get("policy", ""))
            case _:
                raise Rejected(f"unsupported path sys/{path}")
        return {}

    def _write_policy(self, name: str, text: str) -> None:
        need(text, "'policy' parameter not supplied or empty")
        try:
            meaning(text)
        except HclError as error:
            raise Rejected(f"failed to parse policy: {error}") from error
        self._server.policies[name] = text  # verbatim

    def delete(self, path: str) -> None:
        what, _, rest = path.partition("/")
        if what in ("auth", "mounts"):
            table = self._server.auth if what == "auth" else self._server.mounts
            table.entries.pop(rest, None)
        else:
            self._server.policies.pop(rest.removeprefix("acl/").lower(), None)


class FakeVault:
    """A port for one token; `server` is what all ports share."""

    address = "memory://vault"

    def __init__(
        self,
        server: Server | None = None,
        policies: tuple[str, ...] = ("root",),
        *,
        valid: bool = True,
    ) -> None:
        self.server = server or Server()
        self.policies = policies
        self.valid = valid

    def limited(self, *policies: str) -> FakeVault:
        """A port for a token with these policies."""
        return FakeVault(self.server, policies)

    def read(self, path: str) -> Mapping[str, Any] | None:
        return self._seen(path, "read")

    def list(self, path: str) -> Mapping[str, Any] | None:
        return self._seen(path, "list")

    def _seen(self, path: str, verb: str) -> Mapping[str, Any] | None:
        with self.server.lock:
            self._check(path, verb)
            try:
                backend, rest = self.server.backend(path)
            except LookupError:
                return None
            answer = backend.list(rest) if verb == "list" else backend.read(rest)
            return None if answer is None else _copied(answer)

    def write(self, path: str, payload: Fields) -> Mapping[str, Any]:
        with self.server.lock:
            if path == "sys/capabilities-self":
                return {asked: self.capabilities(asked) for asked in payload["paths"]}
            self._check(path, "create", "update")
            self.server.writes.append(("write", path))
            try:
                backend, rest = self.server.backend(path)
            except LookupError as error:
                raise Rejected(str(error)) from None
            return _copied(backend.write(rest, _copied(payload)))

    def delete(self, path: str) -> None:
        with self.server.lock:
            self._check(path, "delete")
            self.server.writes.append(("delete", path))
            with suppress(LookupError):
                backend, rest = self.server.backend(path)
                backend.delete(rest)

    def login(self, mount: str, payload: Fields) -> FakeVault:
        with self.server.lock:
            self._check_serving()
            entry = self.server.auth.entries.get(mount)
            if entry is None or not isinstance(entry.backend, KubernetesAuth):
                raise LoginFailed(f"login at auth/{mount} was refused: permission denied")
            return FakeVault(self.server, entry.backend.login(_copied(payload)))

    def token_with(self, policies: tuple[str, ...], seconds: int) -> FakeVault:
        self._check("auth/token/create", "create", "update")
        return FakeVault(self.server, ("default", *policies))

    def revoke_self(self) -> None:
        self.valid = False

    def close(self) -> None:
        """There are no connections."""

    def capabilities(self, path: str) -> Sequence[str]:
        """What the token may do there: the rule with the longest matching path decides."""
        if "root" in self.policies:
            return ["root"]
        held: set[str] = set()
        for name in self.policies:
            rules = meaning(self.server.policies.get(name, ""))
            matching = [pattern for pattern in rules if _matches(pattern, path)]
            if matching:
                held |= set(rules[max(matching, key=len)].partition(";")[0].split(", "))
        if "deny" in held:
            return ["deny"]
        return [name for name in CAPABILITIES if name in held] or ["deny"]

    def _check(self, path: str, *any_of: str) -> None:
        self._check_serving()
        if not self.valid:
            raise Denied(f"{path}: the token is not valid")
        held = self.capabilities(path)
        needs_sudo = path.startswith("sys/auth/")
        if "root" not in held and (
            not set(any_of) & set(held) or (needs_sudo and "sudo" not in held)
        ):
            raise Denied(f"{path}: permission denied")

    def _check_serving(self) -> None:
        if self.server.unreachable:
            raise Unreachable("Vault memory://vault is unreachable")
        if self.server.sealed:
            raise Sealed("Vault memory://vault is sealed")


def _matches(pattern: str, path: str) -> bool:
    """Vault's own: `*` at the end, `+` for one segment."""
    prefix = pattern.endswith("*")
    segments, asked = pattern.removesuffix("*").split("/"), path.split("/")
    if not prefix and len(segments) != len(asked):
        return False
    if len(segments) > len(asked):
        return False
    *firm, last = segments
    if any(one not in ("+", other) for one, other in zip(firm, asked, strict=False)):
        return False
    other = asked[len(firm)]
    return other.startswith(last) if prefix else last in ("+", other)


def _copied(payload: Fields) -> Data:
    """As it would cross the wire: JSON, with secrets revealed."""
    copied: Data = json.loads(json.dumps(payload, default=_revealed))
    return copied


def _revealed(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} is no JSON")
