"""The use cases: let namespaces of a cluster in at its role, take them out, see how they stand.

A namespace's part is its name in the role, a ServiceAccount, and a SecretStore.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vaultprov import part as parts
from vaultprov.apply import OnEvent, observe
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import Error, Refused
from vaultprov.part import AnyRole, Change, carry_out
from vaultprov.plan import covers
from vaultprov.resource import Io, State
from vaultprov.retry import Budget
from vaultprov.run import OnPlan, Outcome, Request, servers, world_of
from vaultprov.verify import Check


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
    part = parts.of(request.onboarding, namespaces)
    try:
        parts.check_onboarded(request.onboarding, io, budget)
        role = parts.role_of(part, () if add else namespaces)
        state = observe((role,), io, budget)[role.key]
        _check_role(request, role, state, () if add else namespaces)
        world = world_of(request, io, network)
        if state:  # people may have chosen another audience for the role
            part = replace(part, audience=state.attrs["audience"] or part.audience)
        if not add:
            _check_own(request, world, role, namespaces)
        if add:
            wanted = Change(part, role, parts.in_cluster(part, role, world), add)
        else:
            gone, kept = parts.out_of_cluster(part, role, world)
            wanted = Change(part, role, gone, add, (*parts.dependants(world, namespaces), *kept))
        outcome = carry_out(
            wanted, outcome, io, budget, world=world, on_plan=on_plan, on_event=on_event
        )
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


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
    if leaving:
        parts.check_leaving(role.key, bound)
    if leaving and bound <= set(leaving):
        raise Refused(
            f"refused, nothing was written: no namespace would be left in {role.key}",
            hint=f"vaultprov offboard --env {onboarding.env} --cluster {onboarding.cluster}",
        )


def _check_own(request: Request, world: World, role: AnyRole, leaving: Sequence[str]) -> None:
    """Raises Refused where the cluster's own stores log in from: that is no single namespace."""
    for store in world.all_stores():
        account = store.account
        if (
            not store.namespace
            and (store.mount, store.role) == (role.mount, role.name)
            and account is not None
            and account.namespace in leaving
        ):
            onboarding = request.onboarding
            raise Refused(
                f"refused, nothing was written: {store} logs in from "
                f"{account.namespace}/{account.name}, and all namespaces use it",
                hint=f"vaultprov offboard --env {onboarding.env} --cluster {onboarding.cluster}",
            )


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
    part = parts.of(request.onboarding, [a.namespace for a in request.onboarding.service_accounts])
    parts.check_onboarded(request.onboarding, io, budget)
    role = parts.role_of(part)
    state = observe((role,), io, budget)[role.key]
    _check_role(request, role, state, ())
    bound = frozenset(state.attrs["namespaces"]) if state else frozenset()
    world = world_of(request, io, network)
    found: dict[str, list[Check]] = {}
    for store in world.all_stores():
        account = store.account
        at_role = (store.mount, store.role) == (role.mount, role.name)
        if at_role and account is not None and account.namespace:
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
