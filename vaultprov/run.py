"""The use cases: functions from a request and two ports to an Outcome. They print nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.desired import (
    Target,
    bootstrap_resources,
    cluster_side_resources,
    is_store,
    onboarding_resources,
)
from vaultprov.doctor.diagnose import diagnose
from vaultprov.doctor.facts import Case
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Error, NotConverged, Refused
from vaultprov.kube.manifest import Manifest
from vaultprov.model import EgressMode, Onboarding, Only, ReviewerMode
from vaultprov.names import Names, joined
from vaultprov.plan import Action, Observed, Plan, make_plan
from vaultprov.redact import Secret
from vaultprov.resource import Io, Key, Resource
from vaultprov.retry import Budget
from vaultprov.survey import Surroundings, survey
from vaultprov.touch import ready, touched
from vaultprov.vault.kubernetes import token_right
from vaultprov.vault.marker import marker_of
from vaultprov.verify import Check, prove
from vaultprov.verify_long import prove_at_length, prove_people

_WAYS = ("cluster/networkpolicy", "cluster/externalsecretsconfig")
_STORE_PATIENCE = 60.0  # seconds until External Secrets has looked at a store


class Condition(StrEnum):
    """What `status` says of a cluster."""

    IN_PLACE = "in place"
    DRIFTED = "drifted"
    ABSENT = "not onboarded"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Request:
    """What one run is asked to do.

    allow: flags that let foreign things be changed (`--adopt`, `--replace-cluster`).
    bootstrap: the site's own resources are made too; provisioner is the policy's text.
    """

    command: str
    onboarding: Onboarding
    target: Target = field(default_factory=Target)
    only: Only = Only.BOTH
    allow: frozenset[str] = frozenset()
    verify: bool = True
    bootstrap: bool = False
    client_secret: Secret | None = None
    provisioner: str = ""
    site: str = ""  # the site file's path, for the report


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a report is made from. error: why the run ended early, if it did.

    notes: what a reader has to know besides, a sentence each.
    write: whether the run was to write, and not only to plan.
    """

    request: Request
    servers: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    checks: tuple[Check, ...] = ()
    condition: Condition | None = None
    reviewer: str = ""
    error: Error | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    write: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was written, or (for a plan) would be."""
        pending = Status.WRITTEN if self.write else Status.PLANNED
        return any(result.status is pending for result in self.results)

    @property
    def exit_code(self) -> int:
        """The table of exit codes; 5 is up to the caller, who knows whether it was asked for."""
        failed = any(result.status is Status.FAILED for result in self.results)
        if failed or not all(check.ok for check in self.checks):
            return 1
        return self.error.exit_code if self.error else 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What `verify` is asked besides the workloads' logins.

    group: an OIDC group, None for none. store: to be touched; patience: seconds to wait for it.
    """

    group: str | None = None
    store: str | None = None
    patience: float = 60.0


def verify(request: Request, proof: Proof, io: Io, budget: Budget) -> Outcome:
    """The long proof. Errors end in the Outcome, not in the air."""
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    try:
        checks = prove_at_length(request.onboarding, io, budget)
        if proof.group is not None:
            checks += prove_people(request.onboarding, proof.group, io)
        if proof.store is not None:
            checks += (touched(proof.store, io, proof.patience),)
        outcome = replace(outcome, checks=checks)
        if not all(check.ok for check in checks):
            outcome = replace(outcome, error=_unverified(checks))
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _unverified(checks: Sequence[Check]) -> NotConverged:
    failed = next(check for check in checks if not check.ok)
    return NotConverged(f"not proven: {failed.title}: {failed.detail}", hint=failed.hint)


OnPlan = Callable[[Plan, Outcome], None]


def execute(
    request: Request,
    io: Io,
    budget: Budget,
    *,
    write: bool,
    network: Network | None = None,
    on_plan: OnPlan = lambda *_: None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Plans, and with `write` applies and proves. Errors end in the Outcome, not in the air.

    network: as this machine sees it; without it the cluster's External Secrets is left alone.
    """
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=write)
    world = _looked_at(request, io, network)
    try:
        resources = _resources(request)
        observed, found = _observed(resources, world, io, budget)
        more = (
            cluster_side_resources(
                request.onboarding,
                found.version,
                found.decisions,
                request.only,
                request.target.store_token,
            )
            if found.version
            else ()
        )
        observed = {**observed, **observe(more, io, budget)} if more else observed
        resources += more
        outcome = replace(outcome, notes=found.notes)
        plan = make_plan(resources, observed, request.allow)
        outcome = replace(
            outcome,
            results=tuple(Result(step, planned(step.action)) for step in plan.steps),
            servers=servers(request, io, observed),
            condition=_condition(plan, observed, request),
            reviewer=_reviewer(request, observed),
        )
        on_plan(plan, outcome)
        _check_identity(request, io, observed)
        if plan.refused():
            raise refusal(plan)
        _check_client_mode(request, plan)
        if write:
            _check_reviewer_jwt(request, plan)
            outcome = _apply(resources, plan, observed, io, budget, outcome, on_event)
            if proves(request) and outcome.error is None and world is not None:
                outcome = stores_ready(outcome, more, world, io)
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def proves(request: Request) -> bool:
    """Whether a run ends with the proof."""
    return request.verify and request.command == "onboard" and request.only is Only.BOTH


def _looked_at(request: Request, io: Io, network: Network | None) -> World | None:
    """What is looked at for store and egress; None when neither is asked for."""
    onboarding = request.onboarding
    wanted = onboarding.store.enabled or onboarding.egress.mode is not EgressMode.NONE
    if network is None or not io.has_kube() or not wanted:
        return None
    return world_of(request, io, network)


def world_of(request: Request, io: Io, network: Network) -> World:
    """The cluster's External Secrets with doctor's eyes."""
    onboarding = request.onboarding
    vault = io.vault if io.has_vault() else None
    address = io.vault.address if io.has_vault() else onboarding.store.server
    case = Case(onboarding, address, onboarding.store.vault_namespace, now=io.now)
    return World(case, network, vault=vault, kube=io.kube, live=io.kube)


def _observed(
    resources: Sequence[Resource], world: World | None, io: Io, budget: Budget
) -> tuple[Observed, Surroundings]:
    """What is there of the resources and, meanwhile, what is around them in the cluster."""
    if world is None:
        return observe(resources, io, budget), Surroundings()
    with ThreadPoolExecutor(max_workers=1) as pool:
        looking = pool.submit(survey, world)
        observed = observe(resources, io, budget)
        return observed, looking.result()


def stores_ready(outcome: Outcome, resources: Sequence[Resource], world: World, io: Io) -> Outcome:
    """Waits until the stores are Ready, newer than our write; else doctor names the root cause."""
    written = {r.step.key for r in outcome.results if r.status is Status.WRITTEN}
    opened = any(key.kind in _WAYS for key in written)
    for resource in resources:
        if not isinstance(resource, Manifest) or not is_store(resource.body):
            continue
        check = ready(resource.body, io, _STORE_PATIENCE, anew=opened or resource.key in written)
        outcome = replace(outcome, checks=(*outcome.checks, check))
        if not check.ok:
            return replace(outcome, error=_root_cause(check, world))
    return outcome


def _root_cause(check: Check, world: World) -> NotConverged:
    """World: facts of before our write are not to be taken for those of now."""
    fresh = World(world.case, world.network, **world.ports)
    answer = diagnose(fresh).root
    if answer is None:
        return NotConverged(f"not so: {check.title}: {check.detail}", hint=check.hint)
    finding = next(each for each in answer.findings if each.status is answer.status)
    fix = finding.fix
    return NotConverged(
        f"not so: {check.title}: {check.detail}; root cause {answer.check.code}: {finding.cause}",
        hint=f"vaultprov doctor {world.case.who}" if fix is None or fix.manifest else fix.command,
    )


def _apply(
    resources: Sequence[Resource],
    plan: Plan,
    observed: Observed,
    io: Io,
    budget: Budget,
    outcome: Outcome,
    on_event: OnEvent,
) -> Outcome:
    request = outcome.request
    if plan.changes:
        accounts = request.onboarding.service_accounts if proves(request) else ()
        besides = [token_right(account) for account in accounts]
        budget.call(lambda: check_rights(resources, plan, io, besides))
    states = dict(observed)
    results = apply(resources, plan, observed, io, budget, on_event, states.__setitem__)
    outcome = replace(outcome, results=results, reviewer=_reviewer(request, states))
    failures = [r.error for r in results if r.status is Status.FAILED and r.error]
    if failures:
        return replace(outcome, error=failures[0])
    if outcome.condition is not None:
        outcome = replace(outcome, condition=Condition.IN_PLACE)
    return _proved(outcome, states, io, budget) if proves(request) else outcome


def _proved(outcome: Outcome, states: Observed, io: Io, budget: Budget) -> Outcome:
    """With the proof; an error on the way to it leaves what was written in the outcome."""
    onboarding = outcome.request.onboarding
    names = Names.of(onboarding)
    role = states.get(Key("vault/role", joined(names.auth_mount, names.role)))
    audience = (role.fields["audience"] if role else "") or onboarding.audience
    fresh = any(result.status is Status.WRITTEN for result in outcome.results)
    try:
        checks = prove(onboarding, audience, io, budget, fresh=fresh)
    except Error as error:
        return replace(outcome, error=error)
    outcome = replace(outcome, checks=checks)
    if not all(check.ok for check in checks):
        outcome = replace(outcome, error=_unproved(checks))
    return outcome


def _resources(request: Request) -> tuple[Resource, ...]:
    resources: tuple[Resource, ...] = ()
    if request.bootstrap and request.only is not Only.CLUSTER:
        resources = bootstrap_resources(
            request.onboarding, request.client_secret, request.provisioner
        )
    if request.command == "bootstrap":
        return resources
    return resources + onboarding_resources(
        request.onboarding, request.target, request.only, bootstrapped=request.bootstrap
    )


def planned(action: Action) -> Status:
    """How a step of the plan stands before it is tried."""
    return {Action.KEEP: Status.KEPT, Action.REFUSE: Status.REFUSED}.get(action, Status.PLANNED)


def servers(request: Request, io: Io, observed: Observed | None = None) -> tuple[str, ...]:
    """Where the run goes: shown with every plan, so that a forgotten context is seen."""
    lines = [f"site     {request.site or 'no vaultprov.yaml found'}"]
    if io.has_vault():
        lines.append(f"vault    {io.vault.address}")
    if io.has_kube():
        identity = (observed or {}).get(Key("cluster/namespace", "kube-system"))
        uid = f", identity {identity.attrs['uid']}" if identity else ""
        lines.append(f"cluster  {io.kube.server}, context {io.kube.context}{uid}")
    return tuple(lines)


def _condition(plan: Plan, observed: Observed, request: Request) -> Condition | None:
    if request.command == "bootstrap":
        return None
    mount = Key("vault/auth", Names.of(request.onboarding).auth_mount)
    if mount in observed and observed[mount] is None:
        return Condition.ABSENT
    if plan.refused():
        return Condition.FOREIGN
    return Condition.DRIFTED if plan.changes else Condition.IN_PLACE


def _reviewer(request: Request, observed: Observed) -> str:
    """Age and end of the reviewer token, in words; empty when there is nothing to say."""
    key = Key("vault/auth-config", Names.of(request.onboarding).auth_mount)
    config = observed.get(key)
    if config is None:
        return ""
    if config.fields["token_reviewer_jwt"] is None:
        return "none stored: the client's own token reviews itself"
    ends: Any = config.attrs["expires"]
    since: Any = config.attrs["since"]
    written = f"written {since}, " if since else ""
    return written + (f"expires {ends}" if ends else "does not expire")


def refusal(plan: Plan) -> Refused:
    """One error for all refused steps; the hint belongs to the first."""
    reasons = [(step.key, step.foreign) for step in plan.refused() if step.foreign]
    told = "; ".join(f"{key} {reason.reason}" for key, reason in reasons)
    flags = sorted({reason.flag for _, reason in reasons if reason.flag})
    take_over = f"to take over what is shown, add {' '.join(flags)} to the same command"
    return Refused(f"refused, nothing was written: {told}", hint=reasons[0][1].hint or take_over)


def _check_identity(request: Request, io: Io, observed: Observed) -> None:
    """A cluster that is onboarded under another name: somebody forgot to switch contexts."""
    identity = observed.get(Key("cluster/namespace", "kube-system"))
    if identity is None or not io.has_vault() or "--replace-cluster" in request.allow:
        return
    ours = Names.of(request.onboarding).auth_mount + "/"
    for path, entry in io.listing("sys/auth").items():
        facts = marker_of(entry).facts if isinstance(entry, Mapping) else {}
        if path != ours and facts.get("cluster-uid") == identity.attrs["uid"]:
            raise Refused(
                "refused, nothing was written: the cluster of this context is onboarded already, "
                f"as {facts.get('cluster')} of environment {facts.get('environment')}",
                hint="check the context; if the cluster is to have two mounts, --replace-cluster",
            )


def _check_client_mode(request: Request, plan: Plan) -> None:
    """Who logs in without being named would lose the reviewer that reviews them."""
    steps = {step.key.kind: step for step in plan.steps}
    config, role = steps.get("vault/auth-config"), steps.get("vault/role")
    if request.onboarding.reviewer.mode is not ReviewerMode.CLIENT or not config or not role:
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


def _check_reviewer_jwt(request: Request, plan: Plan) -> None:
    """Without the cluster's half nothing can be minted: said before the first write."""
    if request.only is not Only.VAULT or request.target.reviewer_jwt is not None:
        return
    if request.onboarding.reviewer.mode is ReviewerMode.CLIENT:
        return
    written = any(
        step.key.kind == "vault/auth-config" and step.action in (Action.CREATE, Action.UPDATE)
        for step in plan.steps
    )
    if written:
        raise ConfigError(
            "the auth config has to be written whole, and the reviewer JWT is not at hand; "
            "nothing was written",
            hint="add --reviewer-jwt-file PATH (or - for standard input), or --reviewer client",
        )


def _unproved(checks: Sequence[Check]) -> NotConverged:
    failed = next(check for check in checks if not check.ok)
    return NotConverged(
        f"everything is in place, but the proof failed: {failed.title}: {failed.detail}",
        hint=failed.hint or "add --renew-reviewer to the same command",
    )
