"""The proof: what a workload can really do, shown by doing it as External Secrets would.

A short-lived token for the workload's ServiceAccount, a login at the role, one read that must be
allowed and one that must be refused, and the token is revoked. No value of any secret is read: the
paths asked for hold none.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from vaultprov.errors import ConfigError, Denied, Error, LoginFailed
from vaultprov.jwt import claims
from vaultprov.model import Onboarding, ReviewerMode, ServiceAccount
from vaultprov.names import Names, joined
from vaultprov.redact import Secret
from vaultprov.resource import Io, VaultPort
from vaultprov.retry import Budget

TOKEN_SECONDS = 600  # what External Secrets asks for, and the least the API grants
_PROBE = "vaultprov-proof"  # a key that nobody has; 404 proves the right as well as 200
_RELOAD = 35.0  # seconds: other Vault nodes reload a config's CA on a 30 s ticker


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried and what came of it."""

    title: str
    ok: bool
    detail: str = ""
    hint: str = ""


def prove(onboarding: Onboarding, io: Io, budget: Budget, *, fresh: bool) -> tuple[Check, ...]:
    """Proves the login and the rights of every workload ServiceAccount.

    fresh: the config was just written, so a refused login is tried again for as long as another
    node of Vault may need to load it.
    """
    patience = Budget(timeout=min(budget.left(), _RELOAD) if fresh else 0, attempts=100)
    with ThreadPoolExecutor(4) as pool:
        proofs = pool.map(
            lambda account: _prove(onboarding, account, io, budget, patience),
            onboarding.service_accounts,
        )
        return tuple(check for checks in proofs for check in checks)


def _prove(
    onboarding: Onboarding, account: ServiceAccount, io: Io, budget: Budget, patience: Budget
) -> list[Check]:
    names = Names.of(onboarding)
    title = f"{account} logs in at auth/{names.auth_mount} as {names.role}"
    try:
        token = budget.call(lambda: _workload_token(onboarding, account, io))
        session = patience.call(
            lambda: io.vault.login(names.auth_mount, {"role": names.role, "jwt": token})
        )
    except (LoginFailed, Denied, ConfigError) as error:
        return [Check(title, ok=False, detail=error.message, hint=error.hint)]
    with _revoked(session):
        held = ", ".join(session.policies)
        home = joined(onboarding.kv_mount, onboarding.env, onboarding.cluster)
        allowed = joined(onboarding.kv_mount, "data", onboarding.env, onboarding.cluster, _PROBE)
        other = joined(onboarding.kv_mount, "data", f"not-{onboarding.env}"[:63], _PROBE)
        with ThreadPoolExecutor(2) as pool:
            reads = pool.submit(budget.call, lambda: _can_read(session, allowed))
            blind = pool.submit(budget.call, lambda: _can_read(session, other))
            return [
                Check(title, ok=True, detail=f"policies {held}"),
                _check(
                    f"{account} may read {home}/",
                    ok=reads.result(),
                    trouble=f"the token's policies {held} do not allow {allowed}",
                    hint=f"vault policy read {names.read_policy}",
                ),
                _check(
                    f"{account} may not read another environment",
                    ok=not blind.result(),
                    detail="refused, as it must be",
                    trouble=f"the token may read {other}",
                    hint=f"look for a policy that is too wide among {held}",
                ),
            ]


def _check(title: str, *, ok: bool, trouble: str, hint: str, detail: str = "") -> Check:
    return Check(title, ok=True, detail=detail) if ok else Check(title, ok, trouble, hint)


def _workload_token(onboarding: Onboarding, account: ServiceAccount, io: Io) -> Secret:
    """A token with the store's audiences; in mode `client` with the API server's too."""
    audiences: tuple[str, ...] = (onboarding.audience,)
    if onboarding.reviewer.mode is ReviewerMode.CLIENT:
        own = io.kube.request_token(account.namespace, account.name, (), TOKEN_SECONDS)
        api = claims(own.token).get("aud") or []
        audiences += tuple([api] if isinstance(api, str) else api)
    granted = io.kube.request_token(account.namespace, account.name, audiences, TOKEN_SECONDS)
    return granted.token


def _can_read(session: VaultPort, path: str) -> bool:
    try:
        session.read(path)
    except Denied:
        return False
    return True


@contextmanager
def _revoked(session: VaultPort) -> Iterator[None]:
    """Revokes the session's token on every way out; it would end within minutes by itself."""
    try:
        yield
    finally:
        try:
            session.revoke_self()
        except Error:
            pass
        finally:
            session.close()
