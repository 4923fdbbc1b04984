"""The use case: which reviewer mode fits a cluster, from what can be seen without writing anything.

The trade-offs are those of vault-plugin-auth-kubernetes' documentation (auth/kubernetes, "How to
work with short-lived Kubernetes tokens") and of the JWT method's (auth/jwt/oidc-providers,
"Kubernetes").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from vaultprov.apply import observe
from vaultprov.desired import cluster_identity
from vaultprov.doctor.network import Attempt, Network, Reached, Url, anonymous
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, Error, LoginFailed, Rejected
from vaultprov.jwt import PublicKey, public_keys
from vaultprov.model import Onboarding, ReviewerMode
from vaultprov.names import Names, joined
from vaultprov.preconditions import check_identity
from vaultprov.reach import hostname, private_nature
from vaultprov.resource import Io
from vaultprov.retry import Budget
from vaultprov.run import Request, servers, world_of
from vaultprov.vault.marker import find_mount
from vaultprov.verify import revoked, workload_token

_JWKS = "/openid/v1/jwks"
_SHARED_ISSUER = "https://kubernetes.default.svc"
_OPEN, _SHUT = 200, (401, 403)


class Fit(StrEnum):
    """Whether a mode would work here."""

    YES = "fits"
    NO = "does not fit"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Choice:
    """One mode: whether it fits and why, what is good and what is bad about it."""

    mode: ReviewerMode
    fit: Fit
    why: str
    good: str
    bad: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What was seen, a sentence each, every mode, and the one to take (None: none of them).

    now: the mode in use, None for none.
    """

    request: Request
    servers: tuple[str, ...]
    seen: tuple[str, ...]
    choices: tuple[Choice, ...]
    best: ReviewerMode | None
    reason: str
    now: ReviewerMode | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """back: whether Vault reaches the API server. keys: what the cluster publishes, or why not.

    now: the mode in use, None for none. patterns: of the role in use, which no list of exact
    subjects can hold. strangers: who else logs in at that role.
    """

    back: Fit
    back_told: str
    keys: frozenset[PublicKey] | Error
    issuer: str
    open_keys: Attempt | None
    now: ReviewerMode | None
    patterns: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()


def advise(request: Request, io: Io, budget: Budget, *, network: Network) -> Advice:
    """Looks, and weighs. A workload's login is tried where there is a mount; nothing is written.

    network: as this machine sees it. Raises Error if a server cannot be looked at, and Refused if
    the cluster is onboarded under another name.
    """
    seen = _look(request, io, budget, network)
    choices = tuple(_choice(mode, seen) for mode in ReviewerMode)
    best, reason = _best(seen, {choice.mode: choice.fit for choice in choices})
    return Advice(
        request, servers(request, io), _told(seen, request), choices, best, reason, seen.now
    )


def _look(request: Request, io: Io, budget: Budget, network: Network) -> _Seen:
    onboarding = request.onboarding
    check_identity(onboarding, io, observe((cluster_identity(),), io, budget))
    back, told = _way_back(request, io, world_of(request, io, network))
    try:
        keys: frozenset[PublicKey] | Error = public_keys(io.kube.signing_keys())
        issuer = io.kube.token_issuer()
    except Error as error:
        keys, issuer = error, ""
    now = _in_use(onboarding, io)
    role = _role(onboarding, now, io)
    names = set(role.get("bound_service_account_names") or ())
    namespaces = set(role.get("bound_service_account_namespaces") or ())
    ours = {part for each in onboarding.service_accounts for part in (each.name, each.namespace)}
    bound = names | namespaces
    return _Seen(
        back,
        told,
        keys,
        issuer,
        anonymous(network, request.target.host + _JWKS),
        now,
        tuple(sorted(each for each in bound if "*" in each)),
        tuple(sorted(bound - ours)),
    )


def _in_use(onboarding: Onboarding, io: Io) -> ReviewerMode | None:
    for mode in (ReviewerMode.JWT, ReviewerMode.SECRET):
        mount = _names(onboarding, mode).auth_mount
        if find_mount(io, mount) is not None:
            return mode if mode is ReviewerMode.JWT else _of_config(onboarding, mount, io)
    return None


def _of_config(onboarding: Onboarding, mount: str, io: Io) -> ReviewerMode:
    """Vault does not tell where its token is from: the settings do, unless it has none."""
    config = io.vault.read(joined("auth", mount, "config")) or {}
    if config.get("token_reviewer_jwt_set") is False:
        return ReviewerMode.CLIENT
    mode = onboarding.reviewer.mode
    return mode if onboarding.reviewer.has_account else ReviewerMode.SECRET


def _names(onboarding: Onboarding, mode: ReviewerMode) -> Names:
    return Names.of(replace(onboarding, reviewer=replace(onboarding.reviewer, mode=mode)))


def _role(onboarding: Onboarding, now: ReviewerMode | None, io: Io) -> dict[str, list[str]]:
    if now is None:
        return {}
    names = _names(onboarding, now)
    return dict(io.vault.read(joined("auth", names.auth_mount, "role", names.role)) or {})


def _way_back(request: Request, io: Io, world: World) -> tuple[Fit, str]:
    """Whether Vault reaches the API server: a login that works is the only proof."""
    onboarding, host = request.onboarding, request.target.host
    mount = _names(onboarding, ReviewerMode.SECRET).auth_mount
    if find_mount(io, mount) is not None:
        by_client = _of_config(onboarding, mount, io) is ReviewerMode.CLIENT
        failed = _logs_in(onboarding, io, by_client=by_client)
        if not failed:
            return Fit.YES, f"a login at auth/{mount} works, so Vault reaches the API server"
        return Fit.UNKNOWN, f"a login at auth/{mount} fails ({failed}): vaultprov doctor says why"
    if world.service_of(Url.parse(onboarding.store.server).host) is not None:
        return Fit.YES, "Vault runs in this cluster"
    nature = private_nature(hostname(host))
    if nature == "loopback" and private_nature(hostname(io.vault.address)) == "loopback":
        return Fit.UNKNOWN, f"Vault and {host} are on this machine; nobody has logged in yet"
    if nature:
        told = f"Vault at {io.vault.address} cannot reach {host}: that is a {nature} address"
        return Fit.NO, told
    return Fit.UNKNOWN, f"whether Vault reaches {host} shows with the first login only"


def _logs_in(onboarding: Onboarding, io: Io, *, by_client: bool) -> str:
    """Why the first workload's login fails; "" if it works.

    by_client: its token reviews itself, for which the API server has to take it too.
    """
    by_review = replace(onboarding, reviewer=replace(onboarding.reviewer, mode=ReviewerMode.SECRET))
    names, account = Names.of(by_review), onboarding.service_accounts[0]
    try:
        token = workload_token(account, onboarding.audience, io, also_for_api=by_client)
        session = io.vault.login(names.auth_mount, {"role": names.role, "jwt": token})
    except (LoginFailed, Denied, Rejected) as error:
        return error.message.rpartition(": ")[2]
    with revoked(session):
        return ""


def _told(seen: _Seen, request: Request) -> tuple[str, ...]:
    told = [f"reviewer mode in use: {seen.now or 'none, the cluster is not onboarded'}"]
    told.append(seen.back_told)
    if isinstance(seen.keys, Error):
        told.append(f"the cluster's public keys cannot be read: {seen.keys.message}")
    else:
        told.append(
            f"the cluster's public keys can be read ({len(seen.keys)}), issuer {seen.issuer}"
        )
    if seen.issuer == _SHARED_ISSUER:
        told.append("many clusters have this issuer: a JWT mount must have one cluster's keys only")
    told.append(_open_told(seen.open_keys, request.target.host))
    return tuple(told)


def _open_told(attempt: Attempt | None, host: str) -> str:
    url = host + _JWKS
    if attempt is None or attempt.reached is not Reached.OK:
        return f"{url} cannot be reached from this machine: keys have to be copied to Vault"
    if attempt.status in _SHUT:
        return f"{url} answers {attempt.status} without a credential: keys have to be copied"
    if attempt.status != _OPEN:
        told = f"{url} answers {attempt.status} without a credential"
        return f"{told}: whether Vault could fetch keys there is not known"
    return f"{url} can be read without a credential: Vault could fetch keys there, if it reaches it"


def _choice(mode: ReviewerMode, seen: _Seen) -> Choice:
    fit, why = _FITS[mode](seen)
    return Choice(mode, fit, why, *_TRADE_OFFS[mode])


def _by_review(seen: _Seen) -> tuple[Fit, str]:
    return seen.back, {
        Fit.YES: "Vault reaches the API server",
        Fit.NO: "Vault cannot reach the API server",
        Fit.UNKNOWN: "Vault has to reach the API server, which is not shown yet",
    }[seen.back]


def _by_client(seen: _Seen) -> tuple[Fit, str]:
    if seen.strangers and seen.now is not ReviewerMode.CLIENT:
        named = ", ".join(seen.strangers)
        return Fit.NO, f"the role also lets in {named}, and nobody would review their tokens"
    return _by_review(seen)


def _by_keys(seen: _Seen) -> tuple[Fit, str]:
    if isinstance(seen.keys, Error):
        return Fit.UNKNOWN, "the cluster's public keys are needed"
    if seen.patterns:
        return Fit.NO, f"the role lets in {', '.join(seen.patterns)}: subjects are bound exactly"
    return Fit.YES, "the cluster publishes its keys; Vault asks nobody"


_FITS: dict[ReviewerMode, Callable[[_Seen], tuple[Fit, str]]] = {
    ReviewerMode.SECRET: _by_review,
    ReviewerMode.TOKEN: _by_review,
    ReviewerMode.CLIENT: _by_client,
    ReviewerMode.JWT: _by_keys,
}
_TRADE_OFFS = {
    ReviewerMode.SECRET: (
        "a deleted ServiceAccount or pod is refused at once; one step to revoke",
        "Vault keeps a token that never ends",
    ),
    ReviewerMode.TOKEN: (
        "the same, and Vault's token ends by itself",
        "every login fails when nobody renews it: vaultprov rotate in a scheduled job",
    ),
    ReviewerMode.CLIENT: (
        "Vault keeps no credential",
        "workloads may review tokens, and Vault gets tokens that the API server takes, too",
    ),
    ReviewerMode.JWT: (
        "no way back, no credential in Vault, and a refused login says why",
        "tokens are good until they end (10 min); vaultprov rotate in a scheduled job for new keys",
    ),
}


def _best(seen: _Seen, fits: dict[ReviewerMode, Fit]) -> tuple[ReviewerMode | None, str]:
    if seen.now is not None and fits[seen.now] is Fit.YES:
        return seen.now, "it is in use and works; no change is needed"
    if fits[ReviewerMode.JWT] is Fit.YES:
        return ReviewerMode.JWT, "it needs no way back to the cluster and keeps no credential"
    for fit, reason in (
        (Fit.YES, "revocable, and nothing has to be renewed"),
        (Fit.UNKNOWN, "nothing speaks against it; the proof at the end of onboard decides"),
    ):
        if fits[ReviewerMode.SECRET] is fit:
            return ReviewerMode.SECRET, reason
    return None, "Vault cannot reach the cluster, and the cluster's keys cannot be used"
