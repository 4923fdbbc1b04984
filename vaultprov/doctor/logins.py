"""Login attempts at Vault, as External Secrets makes them. Only where they were asked for.

They leave lines in Vault's audit log, and a token that is revoked at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, Error, LoginFailed
from vaultprov.jwt import unsigned as unsigned_jwt
from vaultprov.model import ServiceAccount
from vaultprov.redact import Secret
from vaultprov.resource import VaultPort

T = TypeVar("T")
# Vault dials the API server for 30 s (cleanhttp's transport); an answer comes within milliseconds.
BLACK_HOLE = 25.0


@dataclass(frozen=True, slots=True)
class Login:
    """One attempt. refused: Vault's words, empty when it let us in; seconds: how long it took."""

    refused: str
    seconds: float
    policies: tuple[str, ...] = ()

    @property
    def bare(self) -> bool:
        """A refusal without a reason: the mount, the JWT, CIDRs or Vault's TokenReview call."""
        return self.refused.endswith("permission denied") and "error occurred" not in self.refused


def login(world: World, store: Store) -> Login:
    """The store's own login with a fresh token. Raises NotAsked, Missing."""
    gate = world.gate
    account = store.account
    if account is None or account.namespace is None:
        raise LoginFailed(f"{store} names no ServiceAccount to log in with")
    token = world.token(account, store.audiences).token
    key = ("login", store.mount, store.role, account, store.audiences)
    return world.once(key, lambda: _attempt(gate, store.mount, store.role, token))


def within(world: World, store: Store, do: Callable[[VaultPort], T]) -> T:
    """`do(session)` with a session of the store's own; its token is revoked. Raises LoginFailed."""
    account = store.account
    gate = world.gate
    if account is None or account.namespace is None:
        raise LoginFailed(f"{store} names no ServiceAccount to log in with")
    token = world.token(account, store.audiences).token
    session = gate.login(store.mount, {"role": store.role, "jwt": token})
    try:
        return do(session)
    finally:
        _end(session)


def oracle(world: World, mount: str, role: str, token: Secret) -> Login:
    """What the login endpoint says to a role and a JWT, with no credential of ours."""
    gate = world.gate
    return world.once(("oracle", mount, role, token), lambda: _attempt(gate, mount, role, token))


def unsigned(world: World, store: Store) -> Secret:
    """A JWT with the claims that the store's would have, and no valid signature."""
    account = store.account
    namespace = (account.namespace if account else None) or "default"
    name = account.name if account else "default"
    return unsigned_jwt(ServiceAccount(namespace, name), store.audiences, world.case.now())


def _attempt(gate: VaultPort, mount: str, role: str, token: Secret) -> Login:
    started = time.monotonic()
    try:
        session = gate.login(mount, {"role": role, "jwt": token})
    except (LoginFailed, Denied) as error:
        return Login(error.message, time.monotonic() - started)
    took = time.monotonic() - started
    policies = session.policies
    _end(session)
    return Login("", took, policies)


def _end(session: VaultPort) -> None:
    """Revokes the token; it would end within its ttl by itself."""
    try:
        session.revoke_self()
    except Error:
        pass
    finally:
        session.close()
