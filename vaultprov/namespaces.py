"""The use cases: let namespaces of a cluster in at its role, take them out, see how they stand.

A namespace's part is its name in the role, a ServiceAccount, and a SecretStore. The role is shared
with people who edit it in Vault's own interface, and Vault has no compare-and-set: it is read
right before it is written, others' names stay, and it is looked at again afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.cluster_side import stores
from vaultprov.desired import onboarding_resources
from vaultprov.doctor.external_secrets import name_of, stores_named
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged, Refused
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import Onboarding, ReviewerMode, ServiceAccount, StoreKind
from vaultprov.names import Names, reviewer_binding
from vaultprov.plan import Action, Observed, Plan, covers, make_plan
from vaultprov.redact import Secret
from vaultprov.removal import Gone, without_foreign
from vaultprov.resource import Io, Resource, Right, State
from vaultprov.retry import Budget
from vaultprov.run import (
    OnPlan,
    Outcome,
    Request,
    planned,
    refusal,
    servers,
    stores_ready,
    world_of,
)
from vaultprov.survey import with_api_audience
from vaultprov.vault.jwt_auth import JwtRole
from vaultprov.vault.kubernetes import Role, token_right
from vaultprov.verify import Check, credentials, prove, refused

AnyRole = Role | JwtRole

_ROUNDS = 3  # how often the role is looked at again
_PAUSE = 1.0  # seconds before each of them


def change(
    request: Request,
    namespaces: Sequence[str],
    io: Io,
    budget: Budget,
    *,
    add: bool,
    network: Network,
    on_plan: OnPlan = lambda *_: None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Lets namespaces in or takes them out, and proves it. Errors end in the Outcome.

    Nothing is done if `on_plan` raises. network: as this machine sees it.
    """
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    part = _part(request.onboarding, namespaces)
    try:
        role = _role(request, part, drop=() if add else tuple(namespaces))
        state = observe((role,), io, budget)[role.key]
        _check_role(request, role, state, () if add else namespaces)
        world = world_of(request, io, network)
        parts = _wanted(part, role, world) if add else _unwanted(part, role, world)
        observed = observe(parts, io, budget)
        kept: tuple[str, ...] = ()
        if not add:
            parts, kept = without_foreign(parts, observed)
            kept += _dependants(world, namespaces)
        plan = make_plan(parts, observed, request.allow)
        outcome = replace(
            outcome,
            results=tuple(Result(step, planned(step.action)) for step in plan.steps),
            notes=kept,
        )
        on_plan(plan, outcome)
        if plan.refused():
            raise refusal(plan)
        budget.call(lambda: check_rights(parts, plan, io, _proving(part)))
        tokens = {} if add else credentials(part, io)
        outcome = _applied(parts, plan, observed, io, budget, outcome, on_event)
        if outcome.error is None:
            _settled(role, io, budget)
        if add:
            outcome = _let_in(outcome, part, parts, world, io, budget)
        else:
            outcome = _kept_out(outcome, tokens, io)
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _part(onboarding: Onboarding, namespaces: Sequence[str]) -> Onboarding:
    """The onboarding of these namespaces alone: an account of the usual name, a store in each."""
    name = onboarding.service_accounts[0].name
    return replace(
        onboarding,
        service_accounts=tuple(ServiceAccount(namespace, name) for namespace in namespaces),
        store=replace(onboarding.store, kind=StoreKind.NAMESPACED),
        exclusive=False,
    )


def _role(request: Request, part: Onboarding, drop: tuple[str, ...]) -> AnyRole:
    made = onboarding_resources(part, request.target)
    role = next(each for each in made if isinstance(each, Role | JwtRole))
    if drop:
        return replace(role, accounts=(), dropped=drop, after=())
    return replace(role, after=())


def _check_role(
    request: Request, role: AnyRole, state: State | None, leaving: Sequence[str]
) -> None:
    """Raises Refused where there is no role, or where leaving would do nothing or too much."""
    onboarding = request.onboarding
    if state is None:
        raise Refused(
            f"{role.key} does not exist: the cluster is not onboarded",
            hint=f"vaultprov onboard --env {onboarding.env} --cluster {onboarding.cluster}",
        )
    bound = set(state.attrs["namespaces"])
    globs = sorted(name for name in bound if "*" in name)
    if leaving and globs:
        raise Refused(
            f"refused, nothing was written: {role.key} also lets {', '.join(globs)} in, so that "
            "taking a name away would keep nobody out",
            hint="vaultprov onboard with --exclusive owns the list",
        )
    if leaving and bound <= set(leaving):
        raise Refused(
            f"refused, nothing was written: no namespace would be left in {role.key}",
            hint=f"vaultprov offboard --env {onboarding.env} --cluster {onboarding.cluster}",
        )


def _wanted(part: Onboarding, role: AnyRole, world: World) -> tuple[Resource, ...]:
    resources: list[Resource] = []
    for account in part.service_accounts:
        home = Manifest(
            objects.bare_namespace(account.namespace),
            required=f"kubectl create namespace {account.namespace}",
        )
        made = Manifest(objects.service_account(account), after=(home.key,))
        resources += [home, made]
        if part.reviewer.mode is ReviewerMode.CLIENT:
            binding = objects.reviewer_binding(reviewer_binding(account), account)
            resources.append(
                Manifest(
                    binding,
                    immutable=("roleRef",),
                    also=objects.binding_rights(),
                    after=(made.key,),
                )
            )
    ways = (role.key, *(each.key for each in resources))
    return (*resources, role, *(Manifest(body, after=ways) for body in _stores(part, world)))


def _unwanted(part: Onboarding, role: AnyRole, world: World) -> tuple[Resource, ...]:
    """The role first, so that nobody logs in any more."""
    bodies = [*_stores(part, world), *map(objects.service_account, part.service_accounts)]
    if part.reviewer.mode is ReviewerMode.CLIENT:
        bodies += [
            objects.reviewer_binding(reviewer_binding(account), account)
            for account in part.service_accounts
        ]
    return (role, *(Gone(Manifest(body), after=(role.key,)) for body in bodies))


def _stores(part: Onboarding, world: World) -> list[dict[str, Any]]:
    version = (world.store_version() or "").rpartition("/")[2]
    if not version or not part.store.enabled:
        return []
    return stores(with_api_audience(part, world), version)


def _proving(part: Onboarding) -> list[Right]:
    return [token_right(account) for account in part.service_accounts]


def _dependants(world: World, namespaces: Sequence[str]) -> tuple[str, ...]:
    """The ExternalSecrets that lose their store, as a sentence."""
    version = world.store_version()
    if version is None:
        return ()
    name = world.case.onboarding.store.name
    hit = [
        name_of(body).removeprefix("ExternalSecret ")
        for namespace in namespaces
        for body in world.items(version, "ExternalSecret", namespace)
        if ("SecretStore", name) in stores_named(body)
    ]
    told = f"ExternalSecrets that are refreshed no more: {', '.join(hit)}; their Secrets stay"
    return (told,) if hit else ()


def _applied(
    parts: Sequence[Resource],
    plan: Plan,
    observed: Observed,
    io: Io,
    budget: Budget,
    outcome: Outcome,
    on_event: OnEvent,
) -> Outcome:
    results = apply(parts, plan, observed, io, budget, on_event)
    failures = [r.error for r in results if r.status is Status.FAILED and r.error]
    return replace(outcome, results=results, error=failures[0] if failures else None)


def _settled(role: AnyRole, io: Io, budget: Budget) -> None:
    """Somebody who read the role before us and writes it now takes our change back: once more.

    Raises NotConverged if they keep doing so.
    """
    for _ in range(_ROUNDS):
        time.sleep(_PAUSE)
        io.forget()
        observed = observe((role,), io, budget)
        plan = make_plan((role,), observed)
        if plan.steps[0].action is Action.KEEP:
            return
        apply((role,), plan, observed, io, budget)
    raise NotConverged(
        f"somebody else keeps writing {role.key}, without what was asked for here",
        hint="find out who, then run the same command again",
    )


def _let_in(
    outcome: Outcome,
    part: Onboarding,
    parts: Sequence[Resource],
    world: World,
    io: Io,
    budget: Budget,
) -> Outcome:
    if outcome.error is not None:
        return outcome
    checks = prove(part, part.audience, io, budget, fresh=True)
    outcome = replace(outcome, checks=checks)
    failed = next((check for check in checks if not check.ok), None)
    if failed is None:
        return stores_ready(outcome, parts, world, io)
    told = f"not so: {failed.title}: {failed.detail}"
    return replace(outcome, error=NotConverged(told, hint=failed.hint))


def _kept_out(outcome: Outcome, tokens: Mapping[str, Secret], io: Io) -> Outcome:
    if outcome.error is not None:
        return outcome
    names = Names.of(outcome.request.onboarding)
    checks = tuple(refused(names, who, token, io) for who, token in tokens.items())
    return replace(outcome, checks=checks)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a namespace stands. bound: "" for not at all, else the name or pattern that lets it in.

    store: the SecretStore that logs in at the mount, with its state; "" for none. trouble: what is
    wrong, as a sentence; "" if nothing is.
    """

    namespace: str
    bound: str = ""
    store: str = ""
    trouble: str = ""


def standings(request: Request, io: Io, budget: Budget, network: Network) -> tuple[Standing, ...]:
    """Every namespace that the role lets in or that has a store at the mount, by name.

    Raises Refused without a role.
    """
    part = _part(request.onboarding, [a.namespace for a in request.onboarding.service_accounts])
    role = _role(request, part, ())
    state = observe((role,), io, budget)[role.key]
    _check_role(request, role, state, ())
    bound = frozenset(state.attrs["namespaces"]) if state else frozenset()
    world = world_of(request, io, network)
    found: dict[str, list[Check]] = {}
    for store in world.all_stores():
        account = store.account
        if store.mount == role.mount and account is not None and account.namespace:
            ready = (store.ready or {}).get("status") == "True"
            found.setdefault(account.namespace, []).append(Check(str(store), ok=ready))
    names = sorted(set(found) | {name for name in bound if "*" not in name})
    patterns = sorted(name for name in bound if "*" in name)
    rows = [_standing(name, bound, patterns, found.get(name, ())) for name in names]
    return (
        *rows,
        *(Standing(each, each, trouble="lets every namespace of it in") for each in patterns),
    )


def _standing(
    namespace: str, bound: frozenset[str], patterns: Sequence[str], using: Iterable[Check]
) -> Standing:
    seen = list(using)
    fits = [each for each in patterns if covers(each, namespace)]
    by = namespace if namespace in bound else next(iter(fits), "")
    told = ", ".join(f"{each.title} {'Ready' if each.ok else 'not Ready'}" for each in seen)
    trouble = ""
    if seen and not by:
        trouble = "the role does not let it in, so its store cannot log in"
    elif not seen:
        trouble = "nothing uses it: no store logs in from here"
    elif not all(each.ok for each in seen):
        trouble = "its store is not Ready"
    return Standing(namespace, by, told, trouble)
