"""The long proof: everything External Secrets does with its login, and what must be refused.

Nothing is written: a write is tried with a check-and-set version that no secret has, so that Vault
refuses it even where the policy would not.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError, Denied, Error, LoginFailed, Rejected
from vaultprov.jwt import unsigned
from vaultprov.model import Onboarding, ReviewerMode, ServiceAccount
from vaultprov.names import Names, joined
from vaultprov.redact import Secret
from vaultprov.resource import Io, VaultPort
from vaultprov.retry import Budget
from vaultprov.verify import Check, audience_of, check, reads, revoked, workload_token

_PROBE = "vaultprov-proof"  # a key that nobody has
_NO_VERSION = 2**31 - 1  # no secret has so many versions
_WRONG_AUDIENCE = "vaultprov-wrong-audience"
_NOWHERE = "vaultprov-proof-of-another-namespace"


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in where. role: as Vault has it."""

    onboarding: Onboarding
    account: ServiceAccount
    role: Mapping[str, Any]
    io: Io
    budget: Budget

    @property
    def names(self) -> Names:
        return Names.of(self.onboarding)

    @property
    def look(self) -> str:
        """The command that shows the role."""
        return f"vault read auth/{self.names.auth_mount}/role/{self.names.role}"

    @property
    def audience(self) -> str:
        return audience_of(self.role, self.onboarding)

    @property
    def by_keys(self) -> bool:
        """Whether Vault checks the signature itself, at a JWT mount."""
        return self.onboarding.reviewer.mode is ReviewerMode.JWT

    def token(self, account: ServiceAccount, audience: str) -> Secret:
        """A token of an account. Raises Rejected if there is no such account, Denied."""
        client_mode = self.onboarding.reviewer.mode is ReviewerMode.CLIENT
        return self.budget.call(
            lambda: workload_token(account, audience, self.io, also_for_api=client_mode)
        )

    def attempt(self, token: Secret) -> VaultPort:
        """A session. Raises LoginFailed, Denied."""
        payload = {"role": self.names.role, "jwt": token}
        return self.io.vault.login(self.names.auth_mount, payload)


def prove_at_length(onboarding: Onboarding, io: Io, budget: Budget) -> tuple[Check, ...]:
    """What every workload can do and cannot. Raises Error if Vault cannot be read."""
    names = Names.of(onboarding)
    path = joined("auth", names.auth_mount, "role", names.role)
    role = budget.call(lambda: io.vault.read(path))
    if role is None:
        title = f"role {names.role} of auth/{names.auth_mount} exists"
        hint = f"vaultprov onboard --env {onboarding.env} --cluster {onboarding.cluster}"
        return (Check(title, ok=False, detail="absent", hint=hint),)
    with ThreadPoolExecutor(4) as pool:
        proofs = pool.map(
            lambda account: list(_prove(Login(onboarding, account, role, io, budget))),
            onboarding.service_accounts,
        )
        return tuple(each for proof in proofs for each in proof)


def _prove(login: Login) -> Iterator[Check]:
    title = f"{login.account} logs in at auth/{login.names.auth_mount} as {login.names.role}"
    try:
        session = login.attempt(login.token(login.account, login.audience))
    except (LoginFailed, Denied, Rejected, ConfigError) as error:
        hint = f"vaultprov doctor --env {login.onboarding.env} --cluster {login.onboarding.cluster}"
        yield Check(title, ok=False, detail=error.message, hint=f"{hint} --probe-login")
        return
    with revoked(session):
        yield Check(title, ok=True, detail=f"policies {', '.join(session.policies)}")
        try:
            yield from reads(login.onboarding, login.account, session, login.budget)
            yield from _as_external_secrets(login, session)
            yield _no_write(login, session)
        except Denied as error:
            # What every token may do: it ended, or does not have the default policy.
            told = f"its token is of no use: {error.message}"
            hint = f"vaultprov doctor --env {login.onboarding.env} --cluster "
            yield Check(title, ok=False, detail=told, hint=hint + login.onboarding.cluster)
    yield _really_revoked(login, session)
    yield from _refusals(login)


def _as_external_secrets(login: Login, session: VaultPort) -> Iterator[Check]:
    """Its own calls: lookup-self, revoke-self, and metadata for `dataFrom.find`."""
    onboarding = login.onboarding
    home = joined(onboarding.kv_mount, "metadata", onboarding.env, onboarding.cluster)
    wanted = {
        "auth/token/lookup-self": ("read",),
        "auth/token/revoke-self": ("update",),
        joined(home, _PROBE): ("read",),
        home + "/": ("list",),
    }
    granted = session.write("sys/capabilities-self", {"paths": list(wanted)})
    hint = f"vault policy read {login.names.read_policy}"
    for path, needs in wanted.items():
        has = set(granted.get(path) or ())
        lacking = [need for need in needs if need not in has and "root" not in has]
        yield check(
            f"{login.account} may {', '.join(needs)} {path}",
            ok=not lacking,
            trouble=f"Vault says {', '.join(sorted(has)) or 'nothing'}",
            hint=hint,
        )


def _no_write(login: Login, session: VaultPort) -> Check:
    onboarding = login.onboarding
    path = joined(onboarding.kv_mount, "data", onboarding.env, onboarding.cluster, _PROBE)
    title = f"{login.account} may not write {path}"
    try:
        session.write(path, {"data": {}, "options": {"cas": _NO_VERSION}})
    except Denied:
        return Check(title, ok=True, detail="refused, as it must be")
    except Rejected:  # the policy lets it, the version did not fit
        pass
    return Check(
        title,
        ok=False,
        detail=f"the policies {', '.join(session.policies)} allow it",
        hint=f"vault policy read {login.names.read_policy}",
    )


def _really_revoked(login: Login, session: VaultPort) -> Check:
    title = f"{login.account}'s token is revoked afterwards"
    try:
        session.read("auth/token/lookup-self")
    except Denied:
        return Check(title, ok=True)
    except Error as error:
        return Check(title, ok=False, detail=error.message, hint="look at it again")
    return Check(title, ok=False, detail="it still works", hint="vault token lookup")


def _refusals(login: Login) -> Iterable[Check]:
    if login.by_keys:
        yield from _refusals_by_keys(login)
        return
    role, account = login.role, login.account
    names = role.get("bound_service_account_names") or ()
    namespaces = role.get("bound_service_account_namespaces") or ()
    other = ServiceAccount(account.namespace, "default")
    if not _bound(names, other.name):
        yield _refused(login, other, login.audience, "another ServiceAccount")
    else:
        yield _too_wide(login, "names", names)
    if _bound(namespaces, _NOWHERE):
        yield _too_wide(login, "namespaces", namespaces)
    else:
        yield _namespace_refused(login)
    if role.get("audience"):
        yield _refused(login, account, _WRONG_AUDIENCE, "a token for another audience")


def _refusals_by_keys(login: Login) -> Iterable[Check]:
    account, claims = login.account, login.role.get("bound_claims") or {}
    subjects = claims.get("sub") or ()
    wide = [each for each in ([subjects] if isinstance(subjects, str) else subjects) if "*" in each]
    if wide and login.role.get("bound_claims_type") == "glob":
        yield _too_wide(login, "subjects", wide)
    else:
        other = ServiceAccount(account.namespace, "default")
        yield _refused(login, other, login.audience, "another ServiceAccount")
    yield _refused(login, account, _WRONG_AUDIENCE, "a token for another audience")
    yield _forged_refused(login)


def _forged_refused(login: Login) -> Check:
    """The workload's own claims, with a signature that no key of the cluster made."""
    title = f"a token of {login.account} with a wrong signature is refused"
    try:
        session = login.attempt(unsigned(login.account, (login.audience,), login.io.now()))
    except (LoginFailed, Denied) as error:
        return Check(title, ok=True, detail=error.message.rpartition(": ")[2])
    with revoked(session):
        hint = f"vault read auth/{login.names.auth_mount}/config"
        return Check(title, ok=False, detail="it logs in", hint=hint)


def _namespace_refused(login: Login) -> Check:
    """With the right name in a namespace that nobody has: Vault judges that before the signature.

    (vault-plugin-auth-kubernetes `path_login.go`: name, then namespace, then the TokenReview.) So
    the JWT needs no signature, and a selector of namespaces is put to the test as well.
    """
    account = ServiceAccount(_NOWHERE, login.account.name)
    title = f"a ServiceAccount of another namespace ({account}) is refused"
    try:
        session = login.attempt(unsigned(account, (login.audience,), login.io.now()))
    except (LoginFailed, Denied) as error:
        told = error.message.rpartition(": ")[2]
        judged = "namespace not authorized" in error.message
        return Check(title, ok=judged, detail=told, hint="" if judged else login.look)
    with revoked(session):
        return Check(title, ok=False, detail="it logs in", hint=login.look)


def _bound(patterns: Iterable[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _too_wide(login: Login, what: str, bound: Iterable[str]) -> Check:
    return Check(
        f"the role binds no {what} but the workloads'",
        ok=False,
        detail=f"it binds {', '.join(bound)}",
        hint=login.look,
    )


def _refused(login: Login, account: ServiceAccount, audience: str, what: str) -> Check:
    title = f"{what} ({account}) is refused"
    try:
        token = login.token(account, audience)
    except Rejected:  # there is no such ServiceAccount: nothing to let in
        return Check(title, ok=True, detail="there is none")
    except Denied as error:  # not tried is not refused
        return Check(
            title, ok=False, detail=f"could not be tried: {error.message}", hint=error.hint
        )
    try:
        session = login.attempt(token)
    except (LoginFailed, Denied) as error:
        return Check(title, ok=True, detail=error.message.rpartition(": ")[2])
    with revoked(session):
        return Check(
            title,
            ok=False,
            detail=f"it logs in, with policies {', '.join(session.policies)}",
            hint=login.look,
        )


def prove_people(onboarding: Onboarding, group: str, io: Io) -> tuple[Check, ...]:
    """That people of an OIDC group get their policies: group, alias, accessor, groups claim."""
    oidc, names = onboarding.oidc, Names.of(onboarding)
    hint = f"vaultprov onboard --env {onboarding.env} --cluster {onboarding.cluster}"
    mount = (io.vault.read("sys/auth") or {}).get(oidc.mount + "/") or {}
    found = io.vault.read(joined("identity/group/name", group)) or {}
    alias = found.get("alias") or {}
    role_path = joined("auth", oidc.mount, "role", oidc.role)
    role = io.vault.read(role_path) or {}
    policies = found.get("policies") or ()
    wanted = (
        (f"auth/{oidc.mount} is there", bool(mount), "absent", "vaultprov bootstrap"),
        (f"group {group} is external", found.get("type") == "external",
         f"it is {found.get('type') or 'absent'}", hint),
        (f"group {group} has policy {names.write_policy}", names.write_policy in policies,
         f"it has {', '.join(policies) or 'none'}", hint),
        (f"its alias is called {group}", alias.get("name") == group,
         f"it is {alias.get('name') or 'absent'}", hint),
        (f"its alias is that of auth/{oidc.mount}",
         bool(mount) and alias.get("mount_accessor") == mount.get("accessor"),
         f"accessor {alias.get('mount_accessor') or 'none'}", hint),
        (f"role {oidc.role} reads the groups from claim {oidc.groups_claim}",
         role.get("groups_claim") == oidc.groups_claim,
         f"groups_claim is {role.get('groups_claim') or 'not set'}",
         f"vault read {role_path}"),
    )  # fmt: skip
    return tuple(
        check(title, ok=fine, trouble=told, hint=next_) for title, fine, told, next_ in wanted
    )
