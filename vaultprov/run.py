"""The use cases: functions from a request and two ports to an Outcome. They print nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.cluster_side import cluster_side_resources, is_store
from vaultprov.desired import Target, bootstrap_resources, onboarding_resources
from vaultprov.doctor.diagnose import diagnose
from vaultprov.doctor.facts import Case
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged, Refused
from vaultprov.kube.manifest import Manifest
from vaultprov.model import EgressMode, Onboarding, Only
from vaultprov.names import Names, joined
from vaultprov.plan import Action, Observed, Plan, Step, make_plan
from vaultprov.preconditions import (
    check_at_hand,
    check_client_mode,
    check_identity,
    check_keys_url,
    left_behind,
)
from vaultprov.redact import Secret
from vaultprov.resource import Io, Key, Resource, State
from vaultprov.retry import Budget
from vaultprov.survey import Surroundings, survey, with_api_audience
from vaultprov.touch import ready
from vaultprov.unproved import unproved
from vaultprov.vault.kubernetes import token_right
from vaultprov.verify import Check, prove

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
    notes: tuple[str, ...] = ()  # about the settings, for the report


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
        pending = any(result.status is Status.PLANNED for result in self.results)
        return self.written if self.write else pending

    @property
    def written(self) -> bool:
        """Whether anything was written, however the run ended."""
        steps = any(result.status is Status.WRITTEN for result in self.results)
        return steps or any(check.wrote for check in self.checks)

    @property
    def exit_code(self) -> int:
        """The table of exit codes; 5 is up to the caller, who knows whether it was asked for."""
        failed = any(result.status is Status.FAILED for result in self.results)
        if failed or not all(check.ok for check in self.checks):
            return 1
        return self.error.exit_code if self.error else 0


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
                with_api_audience(_asking(request.onboarding, observed), world),
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
        outcome = replace(outcome, notes=(*found.notes, *_left_behind(request, io), *request.notes))
        plan = make_plan(resources, observed, request.allow)
        if plan.refused():
            # Another run may have made in between what several clusters share: what was read a
            # moment apart does not fit together then.
            io.forget()
            observed = observe(resources, io, budget)
            plan = make_plan(resources, observed, request.allow)
        outcome = replace(
            outcome,
            results=tuple(Result(step, planned(step.action)) for step in plan.steps),
            servers=servers(request, io, observed),
            condition=_condition(plan, observed, request),
            reviewer=_reviewer(request, observed),
        )
        on_plan(plan, outcome)
        if io.has_vault() and "--replace-cluster" not in request.allow:
            check_identity(request.onboarding, io, observed)
        if plan.refused():
            raise refusal(plan)
        check_client_mode(request.onboarding, plan)
        if request.command == "onboard":  # also where its check mode only plans it
            if network is not None:
                check_keys_url(request.onboarding, plan, network)
            if request.only is Only.VAULT:
                check_at_hand(request.onboarding, request.target, plan)
        if write:
            outcome = _apply(resources, plan, observed, io, budget, network, outcome, on_event)
            if proves(request) and outcome.error is None and world is not None:
                outcome = stores_ready(outcome, more, world, io)
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _asking(onboarding: Onboarding, states: Observed) -> Onboarding:
    """With the audience that people chose for the role: nobody gets in with another one."""
    names = Names.of(onboarding)
    role = states.get(Key("vault/role", joined(names.auth_mount, names.role)))
    audience = (role.attrs["audience"] if role else "") or onboarding.audience
    return replace(onboarding, audience=audience)


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
    network: Network | None,
    outcome: Outcome,
    on_event: OnEvent,
) -> Outcome:
    """Stores come last, after the proof: one that works is not moved to a mount that does not."""
    request = outcome.request
    if plan.changes:
        accounts = request.onboarding.service_accounts if proves(request) else ()
        besides = [token_right(account) for account in accounts]
        budget.call(lambda: check_rights(resources, plan, io, besides))
    states, late = dict(observed), _to_be_proved(request, resources)
    steps = {step.key: step for step in plan.steps}
    done: tuple[Result, ...] = ()
    for batch in ([r for r in resources if r.key not in late], late.values()):
        part = Plan(tuple(steps[each.key] for each in batch))
        if outcome.error is not None:
            done += tuple(_unproven(step) for step in part.steps)
            break
        done += apply(tuple(batch), part, states, io, budget, on_event, states.__setitem__)
        failures = [r.error for r in done if r.status is Status.FAILED and r.error]
        outcome = replace(outcome, results=done, reviewer=_reviewer(request, states))
        if failures:
            outcome = replace(outcome, error=failures[0])
        elif not outcome.checks and proves(request):
            outcome = _proved(outcome, states, io, budget, network)
    if outcome.condition is not None and not any(r.error for r in done):
        outcome = replace(outcome, condition=Condition.IN_PLACE)
    return replace(outcome, results=done)


def _to_be_proved(request: Request, resources: Sequence[Resource]) -> dict[Key, Resource]:
    stores = [r for r in resources if isinstance(r, Manifest) and is_store(r.body)]
    return {each.key: each for each in stores} if proves(request) else {}


def _unproven(step: Step) -> Result:
    if step.action is Action.KEEP:
        return Result(step, Status.KEPT)
    return Result(step, Status.SKIPPED, Error("not tried: the login was not proved"))


def _proved(
    outcome: Outcome, states: Observed, io: Io, budget: Budget, network: Network | None
) -> Outcome:
    """With the proof; an error on the way to it leaves what was written in the outcome."""
    onboarding = _asking(outcome.request.onboarding, states)
    fresh = any(result.status is Status.WRITTEN for result in outcome.results)
    try:
        checks = prove(onboarding, onboarding.audience, io, budget, fresh=fresh)
    except Error as error:
        return replace(outcome, error=error)
    outcome = replace(outcome, checks=checks)
    if not all(check.ok for check in checks):
        said = "everything is in place, but the proof failed"
        again = "add {} to the same command".format
        told = unproved(said, checks, onboarding, io, network, again)
        outcome = replace(outcome, error=told)
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


def _left_behind(request: Request, io: Io) -> tuple[str, ...]:
    whole_site = request.command == "bootstrap"
    return () if whole_site or not io.has_vault() else left_behind(request.onboarding, io)


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
    mount = Names.of(request.onboarding).auth_mount
    by_keys = observed.get(Key("vault/jwt-config", mount))
    if by_keys is not None:
        return f"none: Vault checks tokens with {_source_of_keys(by_keys)}"
    config = observed.get(Key("vault/auth-config", mount))
    if config is None:
        return ""
    if config.fields["token_reviewer_jwt"] is None:
        return "none stored: the client's own token reviews itself"
    ends: Any = config.attrs["expires"]
    since: Any = config.attrs["since"]
    written = f"written {since}, " if since else ""
    return written + (f"expires {ends}" if ends else "does not expire")


def _source_of_keys(config: State) -> str:
    keys = config.fields["jwt_validation_pubkeys"]
    if keys:
        return f"the cluster's public keys ({len(keys)})"
    return f"keys from {config.fields['jwks_url']}"


def refusal(plan: Plan) -> Refused:
    """One error for all refused steps; the hint belongs to the first."""
    reasons = [(step.key, step.foreign) for step in plan.refused() if step.foreign]
    told = "; ".join(f"{key} {reason.reason}" for key, reason in reasons)
    flags = sorted({reason.flag for _, reason in reasons if reason.flag})
    take_over = f"to take over what is shown, add {' '.join(flags)} to the same command"
    return Refused(f"refused, nothing was written: {told}", hint=reasons[0][1].hint or take_over)
