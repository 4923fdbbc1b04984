"""The proof: what a workload can really do, shown by doing it as External Secrets would.

A short-lived token for the workload's ServiceAccount, a login at the role, one read that must be
allowed and one that must be refused, and the token is revoked. No value of any secret is read: the
paths asked for hold none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError, Denied, Error, LoginFailed, Rejected
from vaultprov.jwt import claims
from vaultprov.model import Onboarding, ReviewerMode, Scope, ServiceAccount
from vaultprov.names import Names, home, joined
from vaultprov.redact import Secret
from vaultprov.resource import Io, VaultPort
from vaultprov.retry import Budget

TOKEN_SECONDS = 600  # what External Secrets asks for, and the least the API grants
_PROBE = "vaultprov-proof"  # a key that nobody has; 404 proves the right as well as 200
_RELOAD = 35.0  # seconds: other Vault nodes reload a config's CA on a 30 s ticker


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried and what came of it.

    wrote: trying it wrote something, such as the annotation of a store that is touched.
    """

    title: str
    ok: bool
    detail: str = ""
    hint: str = ""
    wrote: bool = False


def prove(
    onboarding: Onboarding, audience: str, io: Io, budget: Budget, *, fresh: bool
) -> tuple[Check, ...]:
    """Proves the login and the rights of every workload ServiceAccount.

    audience: that of the role. fresh: something was just written, so that a refused login is tried
    again for as long as another node of Vault may need to load it.
    """
    patience = Budget(timeout=min(budget.left(), _RELOAD) if fresh else 0, attempts=100)
    with ThreadPoolExecutor(4) as pool:
        proofs = pool.map(
            lambda account: _prove(onboarding, account, audience, io, budget, patience),
            onboarding.service_accounts,
        )
        return tuple(check for checks in proofs for check in checks)


def _prove(
    onboarding: Onboarding,
    account: ServiceAccount,
    audience: str,
    io: Io,
    budget: Budget,
    patience: Budget,
) -> list[Check]:
    names = Names.of(onboarding)
    title = f"{account} logs in at auth/{names.auth_mount} as {names.role}"
    try:
        client_mode = onboarding.reviewer.mode is ReviewerMode.CLIENT
        token = budget.call(lambda: workload_token(account, audience, io, also_for_api=client_mode))
        session = patience.call(
            lambda: io.vault.login(names.auth_mount, {"role": names.role, "jwt": token})
        )
    except (LoginFailed, Denied, ConfigError) as error:
        return [Check(title, ok=False, detail=error.message, hint=error.hint)]
    with revoked(session):
        held = ", ".join(session.policies)
        return [
            Check(title, ok=True, detail=f"policies {held}"),
            *reads(onboarding, account, session, budget),
        ]


def reads(
    onboarding: Onboarding, account: ServiceAccount, session: VaultPort, budget: Budget
) -> list[Check]:
    """What the session may read, and what it must not."""
    mount, env, cluster = onboarding.kv_mount, onboarding.env, onboarding.cluster
    own = home(onboarding, account)
    allowed = joined(mount, "data", own, _PROBE)
    elsewhere, others = [f"not-{env}"], "environment"
    if onboarding.scope is Scope.CLUSTER or onboarding.team:
        elsewhere, others = [*elsewhere, joined(env, f"not-{cluster}")], "cluster or environment"
    if onboarding.team:
        not_ours = joined(env, cluster, f"not-{account.namespace}")
        elsewhere, others = [*elsewhere, not_ours], "team, cluster or environment"
    beyond = [joined(mount, "data", path, _PROBE) for path in elsewhere]
    with ThreadPoolExecutor(3) as pool:
        may = [
            pool.submit(budget.call, lambda path=path: _can_read(session, path))
            for path in (allowed, *beyond)
        ]
        sees, *trespasses = [each.result() for each in may]
    held = ", ".join(session.policies)
    seen = [path for path, trespass in zip(beyond, trespasses, strict=True) if trespass]
    return [
        check(
            f"{account} may read {joined(mount, own)}/",
            ok=sees,
            trouble=f"the token's policies {held} do not allow {allowed}",
            hint=f"vault policy read {Names.of(onboarding).read_policy}",
        ),
        check(
            f"{account} may not read another {others}",
            ok=not seen,
            detail="refused, as it must be",
            trouble=f"the token may read {', '.join(seen)}",
            hint=f"look for a policy that is too wide among {held}",
        ),
    ]


def audience_of(role: Mapping[str, Any], onboarding: Onboarding) -> str:
    """What a token for a role is to be for. role: as Vault has it, of either method.

    An audience that people chose is left alone, and tokens are asked for with it.
    """
    bound = role.get("audience") or min(role.get("bound_audiences") or (), default="")
    return str(bound) or onboarding.audience


def check(title: str, *, ok: bool, trouble: str, hint: str, detail: str = "") -> Check:
    return Check(title, ok=True, detail=detail) if ok else Check(title, ok, trouble, hint)


def workload_token(account: ServiceAccount, audience: str, io: Io, *, also_for_api: bool) -> Secret:
    """A token as the store asks for it; one that reviews itself is for the API server too."""
    audiences: tuple[str, ...] = (audience,)
    if also_for_api:
        own = io.kube.request_token(account.namespace, account.name, (), TOKEN_SECONDS)
        api = claims(own.token).get("aud") or []
        audiences += tuple([api] if isinstance(api, str) else api)
    return io.kube.request_token(account.namespace, account.name, audiences, TOKEN_SECONDS).token


def _can_read(session: VaultPort, path: str) -> bool:
    try:
        session.read(path)
    except Denied:
        return False
    return True


@contextmanager
def revoked(session: VaultPort) -> Iterator[None]:
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


def credentials(onboarding: Onboarding, io: Io) -> dict[str, Secret]:
    """What the workloads would log in with, by who they are, as far as it can be had."""
    found = {}
    own = onboarding.reviewer.mode is ReviewerMode.CLIENT
    for account in onboarding.service_accounts if io.has_kube() else ():
        try:
            token = workload_token(account, onboarding.audience, io, also_for_api=own)
        except (Denied, Rejected):
            continue  # there is no such account any more, or it is not ours to ask for
        found[str(account)] = token
    return found


def refused(names: Names, who: str, token: Secret, io: Io) -> Check:
    """That a login is refused; one that is not is revoked at once."""
    title = f"{who} is refused at auth/{names.auth_mount}"
    try:
        session = io.vault.login(names.auth_mount, {"role": names.role, "jwt": token})
    except (LoginFailed, Denied, Rejected) as error:
        return Check(title, ok=True, detail=error.message.rpartition(": ")[2])
    with revoked(session):
        hint = f"vault read auth/{names.auth_mount}/role/{names.role}"
        return Check(title, ok=False, detail="it logs in", hint=hint)
