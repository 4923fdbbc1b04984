"""The token reviewer: whose token Vault holds, whether it lives, and what it may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from vaultprov.doctor.checks.accounts import asks_back
from vaultprov.doctor.checks.login import kubernetes_roles
from vaultprov.doctor.checks.remedies import onboard, patch_login
from vaultprov.doctor.logins import BLACK_HOLE, login
from vaultprov.doctor.model import Confidence, Finding, Fix, Status, fail, ok, unknown, warn
from vaultprov.doctor.stores import Reference
from vaultprov.doctor.way_back import configs, host_of, is_ours, replayed, works_now
from vaultprov.doctor.world import World
from vaultprov.errors import Rejected
from vaultprov.jwt import claims
from vaultprov.kube.manifest import token_of
from vaultprov.model import ReviewerMode
from vaultprov.redact import Secret

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_DAY = 86400.0
_FOREIGN = "not the mount of this onboarding: whose token it holds is not known here"


def token_alive(world: World) -> Iterable[Finding]:
    """VP-REV-001."""
    reviewer = world.case.onboarding.reviewer
    for mount, config in configs(world):
        if not is_ours(world, mount):
            yield Finding(Status.SKIPPED, f"auth/{mount}", _FOREIGN)
            continue
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
    answer = replayed(world, mount, config)
    if answer is None:
        soon = _ends_soon(world, mount)
        if soon:
            return warn(
                subject,
                soon,
                expected="a token that lives on",
                cause="when it ends, every login of the cluster fails",
                fix=renew,
            )
        ends = _expiry(world, mount)
        if ends is not None:
            day = datetime.fromtimestamp(ends, UTC).date()
            return ok(f"it lives until {day}, as recorded when it was made", subject)
        fresh = works_now(world, mount)
        if fresh:
            return ok(fresh, subject)
        return unknown("nobody recorded when it ends, and nothing was synced with it", subject)
    if answer.status == _UNAUTHORIZED:
        return fail(
            subject,
            f"{host_of(config)} answers 401 to the reviewer's token",
            expected="201",
            cause="the reviewer's token is dead (Vault's own log would say `service account "
            "unauthorized`, which means the reviewer's)",
            fix=renew,
        )
    if answer.status in (200, 201):
        review = (answer.body or {}).get("status") or {}
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
    if answer.status == _FORBIDDEN:
        return ok("it is known; what it may do is another question", subject)
    told = answer.detail or f"status {answer.status}"
    return unknown(f"{host_of(config)} could not be asked from here: {told}", subject)


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
    return world.marker(mount).reviewer_ends


def may_review(world: World) -> Iterable[Finding]:
    """VP-REV-002."""
    onboarding = world.case.onboarding
    if not onboarding.reviewer.has_account or not asks_back(world):
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
        subject = f"auth/{mount}/config"
        if mode is ReviewerMode.CLIENT:
            continue
        if not is_ours(world, mount):
            yield Finding(Status.SKIPPED, subject, _FOREIGN)
            continue
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
        yield from _by_elimination(world, mount, subject, renew, recorded)


def _by_elimination(
    world: World, mount: str, subject: str, renew: Fix, recorded: str | None
) -> Iterable[Finding]:
    """The stored JWT cannot be read: when all else is right and Vault refuses, it is that."""
    if not world.case.probe_login:
        fresh = works_now(world, mount)
        if recorded:
            yield ok("by the fingerprint that was recorded when it was written", subject)
        elif fresh:
            yield ok(fresh, subject)
        else:
            yield unknown("no fingerprint is recorded; --probe-login would tell", subject)
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
