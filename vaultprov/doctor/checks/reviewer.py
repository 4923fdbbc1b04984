"""Vault's way back: how it asks the cluster's API server whether a token is genuine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from vaultprov.certificates import fingerprints
from vaultprov.doctor.checks.accounts import asks_back, named_accounts
from vaultprov.doctor.checks.login import kubernetes_roles
from vaultprov.doctor.checks.remedies import config_path, onboard, patch_login
from vaultprov.doctor.logins import BLACK_HOLE, login
from vaultprov.doctor.model import Confidence, Finding, Fix, Missing, fail, ok, unknown, warn
from vaultprov.doctor.network import Attempt, Reached, Url
from vaultprov.doctor.stores import Reference
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Refused, Rejected
from vaultprov.jwt import claims
from vaultprov.kube.manifest import token_of
from vaultprov.model import ReviewerMode
from vaultprov.reach import check_reachable
from vaultprov.redact import Secret

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_DAY = 86400.0
_HOUR = 3600.0  # the usual refreshInterval


def configs(world: World) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The auth config of every kubernetes mount that the stores log in at."""
    mounts = dict.fromkeys(s.mount for s in world.stores() if s.methods == ("kubernetes",))
    for mount in mounts:
        found = world.config(mount)
        if found is not None:
            yield mount, found


def not_local(world: World) -> Iterable[Finding]:
    """VP-REV-005."""
    for mount, config in configs(world):
        if config.get("disable_local_ca_jwt"):
            yield ok("", f"auth/{mount}/config")
            continue
        yield fail(
            f"auth/{mount}/config",
            "disable_local_ca_jwt is false",
            expected="true for every cluster that Vault does not run in",
            cause="a Vault in a pod uses its own cluster's CA, and without a reviewer JWT sends "
            "its own token to the other cluster",
            fix=onboard(world, "write the config whole"),
        )


def has_ca(world: World) -> Iterable[Finding]:
    """VP-REV-006."""
    for mount, config in configs(world):
        pem = str(config.get("kubernetes_ca_cert") or "")
        trouble = "" if pem else "no kubernetes_ca_cert"
        if pem:
            try:
                fingerprints(pem)
            except ConfigError as error:
                trouble = error.message
        if not trouble:
            yield ok("", f"auth/{mount}/config")
            continue
        yield fail(
            f"auth/{mount}/config",
            trouble,
            expected="the CA of the API server's certificate (PEM)",
            cause="without a CA that can be parsed Vault trusts no API server",
            fix=onboard(world, "write the config whole"),
        )


def issuer(world: World) -> Iterable[Finding]:
    """VP-REV-007."""
    for mount, config in configs(world):
        if config.get("disable_iss_validation", True):
            yield ok("", f"auth/{mount}/config")
            continue
        wanted = str(config.get("issuer") or "kubernetes/serviceaccount")
        account = next((account for _, account in named_accounts(world)), None)
        has = str(claims(world.token(account, ()).token).get("iss")) if account else ""
        if has == wanted:
            yield ok(f"it is {wanted}, as it should be", f"auth/{mount}/config")
            continue
        path = config_path(mount)
        yield fail(
            f"auth/{mount}/config",
            f"takes tokens of issuer {wanted} only; the cluster's have {has or 'another'}",
            expected="disable_iss_validation=true, the default since Vault 1.9",
            cause="the mount checks the issuer, and the cluster's tokens have another",
            fix=Fix(
                "switch the check off and let onboarding write the rest again",
                f"vault write {path} kubernetes_host={shlex.quote(host_of(config))} "
                f'kubernetes_ca_cert="$(vault read -field=kubernetes_ca_cert {path})" '
                "disable_local_ca_jwt=true disable_iss_validation=true "
                f"&& vaultprov onboard {world.case.who}",
            ),
        )


def host_of(config: Mapping[str, Any]) -> str:
    """The API server's address as Vault has it."""
    return str(config.get("kubernetes_host") or "").rstrip("/")


def this_cluster(world: World) -> Iterable[Finding]:
    """VP-REV-010."""
    for mount, config in configs(world):
        host, ours = host_of(config), world.live.server.rstrip("/")
        subject = f"auth/{mount}/config"
        if host in (ours, world.case.kubernetes_host):
            yield ok(host, subject)
            continue
        replayed = _replayed(world, mount, config)
        if replayed is not None and replayed.status in (200, 201):
            yield ok(f"{host}, another address of this cluster", subject)
        elif replayed is not None and replayed.status == _UNAUTHORIZED:
            yield _other_cluster(world, subject, host, "it does not know this cluster's tokens")
        elif replayed is not None and replayed.reached is Reached.UNTRUSTED:
            yield _other_cluster(world, subject, host, "its certificate is signed by another CA")
        else:
            told = (
                replayed.detail if replayed is not None else "the reviewer's token is not at hand"
            )
            yield unknown(f"{host} is not {ours}, and could not be compared: {told}", subject)


def _other_cluster(world: World, subject: str, host: str, seen: str) -> Finding:
    return fail(
        subject,
        f"kubernetes_host {host}: {seen}",
        expected=world.case.kubernetes_host or world.live.server,
        cause="Vault asks another API server than this cluster's",
        fix=onboard(world, "point it at this cluster"),
    )


def ca_fits(world: World) -> Iterable[Finding]:
    """VP-REV-004."""
    for mount, config in configs(world):
        host, subject = host_of(config), f"auth/{mount}/config"
        url = Url.parse(host)
        addresses = world.addresses(url.host)
        tried = [
            world.handshake(url, address, str(config.get("kubernetes_ca_cert") or ""))
            for address in addresses
        ]
        bad = next((t for t in tried if t.reached in (Reached.UNTRUSTED, Reached.MISFIT)), None)
        if bad is not None:
            yield fail(
                subject,
                f"{host}: {bad.detail}",
                expected="the CA that signed the API server's certificate",
                cause="the CA in Vault's config is not the one of the API server's certificate, or "
                "it has been replaced",
                fix=onboard(world, "write the config with the cluster's CA"),
            )
        elif any(t.reached is Reached.OK for t in tried):
            yield ok("", subject)
        else:
            told = tried[0].detail if tried else "no such host"
            yield unknown(f"this machine does not reach {host}: {told}", subject)


def token_alive(world: World) -> Iterable[Finding]:
    """VP-REV-001."""
    reviewer = world.case.onboarding.reviewer
    for mount, config in configs(world):
        subject = f"reviewer {reviewer.account}, auth/{mount}"
        renew = onboard(world, "give Vault a new reviewer token", "--renew-reviewer")
        if reviewer.mode is ReviewerMode.CLIENT:
            yield ok("the client's own token reviews itself", subject)
            continue
        ended = _ended(world, mount)
        if ended:
            yield fail(
                subject,
                ended,
                expected="a token that is valid",
                cause="the reviewer token that Vault holds has ended: every login of the cluster "
                "is refused with a bare `permission denied`",
                fix=renew,
            )
            continue
        if reviewer.mode is ReviewerMode.SECRET and world.reviewer_secret() is None:
            yield fail(
                f"Secret {reviewer.account.namespace}/{world.names.reviewer_secret}",
                "absent",
                expected="the Secret with the reviewer's token",
                cause="the Secret is gone, and with it the token that Vault holds is dead",
                fix=renew,
            )
            continue
        yield _judged(world, mount, config, subject, renew)


def _judged(
    world: World, mount: str, config: Mapping[str, Any], subject: str, renew: Fix
) -> Finding:
    replayed = _replayed(world, mount, config)
    if replayed is None:
        soon = _ends_soon(world, mount)
        if soon:
            return warn(
                subject,
                soon,
                expected="a token that lives on",
                cause="when it ends, every login of the cluster fails",
                fix=renew,
            )
        return ok("it lives, as far as its end was recorded", subject)
    if replayed.status == _UNAUTHORIZED:
        return fail(
            subject,
            f"{host_of(config)} answers 401 to the reviewer's token",
            expected="201",
            cause="the reviewer's token is dead (Vault's own log would say `service account "
            "unauthorized`, which means the reviewer's)",
            fix=renew,
        )
    if replayed.status in (200, 201):
        review = (replayed.body or {}).get("status") or {}
        if review.get("authenticated"):
            return ok("Vault's question, asked again from here, is answered", subject)
        return fail(
            subject,
            f"the review says: {review.get('error') or 'not authenticated'}",
            expected="authenticated",
            cause="the API server does not take the workload's token",
            fix=renew,
            confidence=Confidence.MEDIUM,
        )
    if replayed.status == _FORBIDDEN:
        return ok("it is known; what it may do is another question", subject)
    told = replayed.detail or f"status {replayed.status}"
    return unknown(f"{host_of(config)} could not be asked from here: {told}", subject)


def _replayed(world: World, mount: str, config: Mapping[str, Any]) -> Attempt | None:
    """Vault's TokenReview, asked again from here; None when the reviewer's token is not at hand."""
    if world.case.onboarding.reviewer.mode is not ReviewerMode.SECRET:
        return None
    reviewer = token_of(world.reviewer_secret() or {})
    login_of = next(
        ((store, account) for store, account in named_accounts(world) if store.mount == mount), None
    )
    if reviewer is None or login_of is None:
        return None
    store, account = login_of
    token = world.token(account, store.audiences).token
    ca = str(config.get("kubernetes_ca_cert") or "")
    return world.once(
        ("review", mount),
        lambda: world.network.review(host_of(config), ca, reviewer, token, store.audiences),
    )


def _ended(world: World, mount: str) -> str:
    ends = _expiry(world, mount)
    now = world.case.now()
    return f"it ended {(now - ends) / _DAY:.1f} days ago" if ends and ends <= now else ""


def _ends_soon(world: World, mount: str) -> str:
    ends = _expiry(world, mount)
    left = (ends - world.case.now()) if ends else None
    limit = world.case.onboarding.reviewer.renew_before
    return f"it ends in {left / _DAY:.1f} days" if left is not None and left < limit else ""


def _expiry(world: World, mount: str) -> float | None:
    """When the reviewer token ends, as the mount's marker records it (epoch seconds)."""
    text = world.marker(mount).facts.get("reviewer-expires")
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def may_review(world: World) -> Iterable[Finding]:
    """VP-REV-002."""
    onboarding = world.case.onboarding
    if onboarding.reviewer.mode is ReviewerMode.CLIENT or not asks_back(world):
        return
    account = onboarding.reviewer.account
    reference = Reference(account.name, account.namespace)
    if _may_review(world, reference):
        yield ok("", f"ServiceAccount {account}")
        return
    yield fail(
        f"ServiceAccount {account}",
        "may not create tokenreviews.authentication.k8s.io",
        expected="a ClusterRoleBinding to system:auth-delegator",
        cause="the reviewer is not allowed to review tokens",
        fix=onboard(world, "bind it"),
    )


def _may_review(world: World, account: Reference) -> bool:
    verdict = world.ask(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{account.namespace}:{account.name}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{account.namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "verb": "create",
                    "group": "authentication.k8s.io",
                    "resource": "tokenreviews",
                },
            },
        }
    )
    return bool((verdict.get("status") or {}).get("allowed"))


def held_is_ours(world: World) -> Iterable[Finding]:
    """VP-REV-009."""
    mode = world.case.onboarding.reviewer.mode
    for mount, config in configs(world):
        if mode is ReviewerMode.CLIENT:
            continue
        subject = f"auth/{mount}/config"
        renew = onboard(world, "write the cluster's reviewer token again", "--renew-reviewer")
        if config.get("token_reviewer_jwt_set") is False:
            yield fail(
                subject,
                "no reviewer JWT is stored",
                expected=f"the token of {world.case.onboarding.reviewer.account}",
                cause="somebody wrote the config without its reviewer JWT, which erases it",
                fix=renew,
            )
            continue
        recorded = world.marker(mount).facts.get("reviewer")
        live = token_of(world.reviewer_secret() or {}) if mode is ReviewerMode.SECRET else None
        if recorded and live is not None and Secret.known_by(recorded) != live:
            yield fail(
                subject,
                f"Vault was given {recorded[:19]}..., the cluster's Secret has "
                f"{live.fingerprint[:19]}...",
                expected="the same token on both sides",
                cause="the reviewer's token was made anew, and Vault holds an old one",
                fix=renew,
            )
            continue
        yield from _by_elimination(world, mount, subject, renew)


def _by_elimination(world: World, mount: str, subject: str, renew: Fix) -> Iterable[Finding]:
    """The stored JWT cannot be read: when all else is right and Vault refuses, it is that."""
    if not world.case.probe_login:
        yield ok("by the fingerprint that was recorded when it was written", subject)
        return
    for store, _, _ in kubernetes_roles(world):
        if store.mount != mount:
            continue
        told = login(world, store)
        if told.bare and told.seconds < BLACK_HOLE:
            yield fail(
                subject,
                f"a login is refused without a reason after {told.seconds:.1f} s",
                expected="a login",
                cause="everything else being right, Vault holds another reviewer JWT than the one "
                "that was recorded: somebody wrote the config by hand",
                fix=renew,
                confidence=Confidence.MEDIUM,
            )
        else:
            yield ok("a login works" if not told.refused else "", subject)


def vault_reaches(world: World) -> Iterable[Finding]:
    """VP-REV-003."""
    onboarding = world.case.onboarding
    for mount, config in configs(world):
        host, subject = host_of(config), f"auth/{mount}/config"
        fix = _reachable(world, host)
        try:
            check_reachable(host, world.case.vault_address, onboarding.cluster)
        except Refused as error:
            yield _unreachable(subject, error.message, fix, Confidence.HIGH)
            continue
        fresh = _works_now(world)
        if not world.case.probe_login and fresh:
            yield ok(fresh, subject)
            continue
        for store, _, _ in kubernetes_roles(world):
            if store.mount != mount:
                continue
            told = login(world, store)
            if told.refused and told.seconds >= BLACK_HOLE:
                seen = f"a login is refused after {told.seconds:.1f} s, a dropped connection's time"
                yield _unreachable(subject, f"{host}: {seen}", fix, Confidence.HIGH)
            elif told.refused:
                yield ok(f"Vault answers within {told.seconds:.1f} s", subject)
            else:
                yield ok("a login works", subject)


def _reachable(world: World, host: str) -> Fix:
    """The kubeconfig's address if it is another one and may do; else somebody has to know one."""
    text = "give Vault an address that it can reach"
    given = world.case.kubernetes_host or world.live.server.rstrip("/")
    try:
        check_reachable(given, world.case.vault_address, world.case.onboarding.cluster)
    except Refused:
        given = host
    if given != host:
        return onboard(world, text)
    text += ", or open the way to it"
    return onboard(world, text, "--kubernetes-host https://ADDRESS_FOR_VAULT:6443")


def _unreachable(subject: str, observed: str, fix: Fix, confidence: Confidence) -> Finding:
    return fail(
        subject,
        observed,
        expected="an address and a way that Vault's host can use",
        cause="Vault cannot reach the cluster's API server: a firewall, or an address that only "
        "the cluster knows",
        fix=fix,
        confidence=confidence,
    )


def _works_now(world: World) -> str:
    """Proof by what runs: an ExternalSecret was synced through one of the stores just now."""
    try:
        found = world.external_secrets()
    except Missing:
        return ""
    for body in found:
        status = body.get("status") or {}
        refreshed = status.get("refreshTime")
        ready = any(
            c.get("type") == "Ready" and c.get("status") == "True"
            for c in status.get("conditions") or ()
        )
        if ready and refreshed:
            age = world.case.now() - datetime.fromisoformat(refreshed).timestamp()
            if age < 2 * _HOUR:
                name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
                return f"ExternalSecret {name} was synced {max(age, 0) / 60:.0f} min ago"
    return ""


def reviews_itself(world: World) -> Iterable[Finding]:
    """VP-REV-008."""
    if world.case.onboarding.reviewer.mode is not ReviewerMode.CLIENT:
        return
    for store, account, _ in kubernetes_roles(world):
        subject = f"ServiceAccount {account.namespace}/{account.name}"
        try:
            own = claims(world.token(account, ()).token).get("aud") or []
        except Rejected:
            continue
        api = {own} if isinstance(own, str) else set(own)
        if store.audiences and not api & set(store.audiences):
            wanted = [*store.audiences, min(api)]
            yield fail(
                subject,
                f"{store} asks for {', '.join(store.audiences)} only",
                expected=f"an audience of the API server, too: {min(api)}",
                cause="the token reviews itself, and the API server does not take one that was not "
                "made for it",
                fix=patch_login(
                    store, {"serviceAccountRef": {"audiences": wanted}}, "ask for both audiences"
                ),
            )
        elif not _may_review(world, account):
            yield fail(
                subject,
                "may not create tokenreviews.authentication.k8s.io",
                expected="a ClusterRoleBinding to system:auth-delegator",
                cause="the token reviews itself, and its ServiceAccount may not",
                fix=onboard(
                    world, "bind it", "--service-account", f"{account.namespace}/{account.name}"
                ),
            )
        else:
            yield ok("", subject)
