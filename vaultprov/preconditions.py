"""What has to hold before the first write, and what a change of the reviewer mode leaves behind."""

from __future__ import annotations

from vaultprov.desired import Target
from vaultprov.doctor.network import Network, anonymous
from vaultprov.errors import ConfigError, Refused
from vaultprov.model import Onboarding, ReviewerMode
from vaultprov.plan import Action, Observed, Plan
from vaultprov.resource import Io, Key
from vaultprov.usage import is_of, other_mounts


def check_identity(onboarding: Onboarding, io: Io, observed: Observed) -> None:
    """Raises Refused if the cluster is onboarded under another name.

    Then somebody forgot to switch contexts.
    """
    identity = observed.get(Key("cluster/namespace", "kube-system"))
    if identity is None:
        return
    for marker in other_mounts(onboarding, io).values():
        if marker.facts.get("cluster-uid") != identity.attrs["uid"] or is_of(onboarding, marker):
            continue
        raise Refused(
            "refused, nothing was written: the cluster of this context is onboarded already, "
            f"as {marker.facts.get('cluster')} of environment {marker.facts.get('environment')}",
            hint="check the context; if the cluster is to have two mounts, --replace-cluster",
        )


def left_behind(onboarding: Onboarding, io: Io) -> tuple[str, ...]:
    """The mount of a reviewer mode that was in use before, a sentence each: it lets logins in."""
    to_jwt = onboarding.reviewer.mode is ReviewerMode.JWT
    mode = ReviewerMode.SECRET if to_jwt else ReviewerMode.JWT
    who = f"--env {onboarding.env} --cluster {onboarding.cluster}"
    return tuple(
        f"auth/{mount.strip('/')} lets this cluster in, too; once nothing uses it: "
        f"vaultprov offboard {who} --reviewer {mode}"
        for mount, marker in other_mounts(onboarding, io).items()
        if is_of(onboarding, marker)
    )


def check_client_mode(onboarding: Onboarding, plan: Plan) -> None:
    """Raises Refused if somebody who logs in without being named would lose their reviewer."""
    steps = {step.key.kind: step for step in plan.steps}
    config, role = steps.get("vault/auth-config"), steps.get("vault/role")
    if onboarding.reviewer.mode is not ReviewerMode.CLIENT or not config or not role:
        return
    erased = any(c.field == "token_reviewer_jwt" for c in config.changes)
    strangers = sorted(
        member
        for name, members in (role.extra or {}).items()
        if name.startswith("bound_service_account")
        for member in members
    )
    if erased and strangers:
        raise Refused(
            "refused, nothing was written: without a stored reviewer JWT only the named workloads "
            f"may review their tokens, and the role also lets in {', '.join(strangers)}",
            hint="name every workload with --service-account, or drop the others with --exclusive",
        )


def check_keys_url(onboarding: Onboarding, plan: Plan, network: Network) -> None:
    """Raises Refused if the URL of the keys is shut to Vault, which has no credential there.

    A URL that this machine cannot reach is Vault's to judge: it fetches the keys before it stores
    the config.
    """
    url = onboarding.reviewer.jwks_url
    if not url or not _writes(plan, "vault/jwt-config"):
        return
    attempt = anonymous(network, url)
    if attempt is not None and attempt.status in (401, 403):
        raise Refused(
            f"refused, nothing was written: {url} answers {attempt.status} without a credential, "
            "and Vault has none there",
            hint="leave reviewer.jwks_url out: the keys are copied then",
        )


def _writes(plan: Plan, kind: str) -> bool:
    writing = (Action.CREATE, Action.UPDATE)
    return any(step.key.kind == kind and step.action in writing for step in plan.steps)


def check_at_hand(onboarding: Onboarding, target: Target, plan: Plan) -> None:
    """Raises ConfigError if the config needs what only the cluster's half could have told."""
    if onboarding.reviewer.mode is ReviewerMode.CLIENT or target.reviewer_jwt is not None:
        return
    if _writes(plan, "vault/auth-config"):
        raise ConfigError(
            "the auth config has to be written whole, and the reviewer JWT is not at hand; "
            "nothing was written",
            hint="add --reviewer-jwt-file PATH (or - for standard input), or --reviewer client",
        )
