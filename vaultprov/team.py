"""The use cases: give a team of people some namespaces of a cluster, and take them back.

A team is an OIDC group. It gets a policy on its namespaces' paths for its people, and one for its
workloads, which log in at a role of the team's own on the cluster's mount, with a store in each
namespace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from vaultprov import part as parts
from vaultprov.apply import OnEvent, observe
from vaultprov.desired import Target, onboarding_resources
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import Error, Refused
from vaultprov.model import Onboarding, Only, is_dns_label
from vaultprov.names import Names
from vaultprov.part import Change, carry_out
from vaultprov.removal import Gone
from vaultprov.resource import Io, Resource, State
from vaultprov.retry import Budget
from vaultprov.run import OnPlan, Outcome, Request, servers, world_of
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.identity import Group, GroupAlias
from vaultprov.vault.jwt_auth import JwtConfig, JwtRole
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.marker import find_mount
from vaultprov.vault.policy import Policy, owner


def onboard(
    request: Request,
    namespaces: Sequence[str],
    io: Io,
    budget: Budget,
    *,
    network: Network,
    on_plan: OnPlan = lambda *_: None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Gives the team these namespaces, besides those it has, and proves it.

    request: with the team in its onboarding. Nothing is done if `on_plan` raises; errors end in the
    Outcome. network: as this machine sees it.
    """

    def change(world: World) -> Change:
        team = request.onboarding
        parts.check_onboarded(team, io, budget)
        role = parts.role_of(parts.of(team, namespaces))
        state = observe((role,), io, budget)[role.key]
        _check_ours(team, role, state)
        if state:  # people may have chosen another audience for the role
            team = replace(team, audience=state.attrs["audience"] or team.audience)
        part = parts.of(team, namespaces)
        whole = parts.of(team, sorted(_namespaces(state) | set(namespaces)))
        wanted = (*_in_vault(whole), *parts.in_cluster(part, role, world))
        return Change(part, role, wanted, add=True)

    return _carried_out(change, request, io, budget, network, on_plan, on_event)


def offboard(
    request: Request,
    namespaces: Sequence[str],
    io: Io,
    budget: Budget,
    *,
    network: Network,
    on_plan: OnPlan = lambda *_: None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Takes these namespaces from the team (none: all that it has), and proves it.

    With its last namespace the team's role, policies, group and alias go, too; a group that has
    other policies stays and loses only these. Secrets stay. The arguments are those of `onboard`.
    """

    def change(world: World) -> Change:
        team = request.onboarding
        if find_mount(io, Names.of(team).auth_mount) is not None:  # else people's half is left
            parts.check_onboarded(team, io, budget)
        role = parts.role_of(parts.of(team, namespaces) if namespaces else team)
        state = observe((role,), io, budget)[role.key]
        _check_ours(team, role, state)
        if state and namespaces:
            parts.check_leaving(role.key, state.attrs["namespaces"])
        has = _namespaces(state)
        leaving = list(namespaces) or sorted(has | _with_stores(world, role.mount, role.name))
        staying = sorted(has - set(leaving))
        if not leaving:  # half of it was removed before
            last = Gone(role)
            gone, notes = _out_of_vault(team, io, budget)
            return Change(team, last, (last, *gone), add=False, notes=notes)
        part = parts.of(team, leaving)
        less: Resource = parts.role_of(part, dropped=leaving) if staying else Gone(role)
        also = _bound_by_the_cluster(team, leaving, io, budget)
        gone, kept = parts.out_of_cluster(part, less, world, also)
        rest, more = (
            _policies(parts.of(team, staying)) if staying else _out_of_vault(part, io, budget)
        )
        notes = (*parts.dependants(world, leaving), *kept, *more)
        return Change(part, less, (*gone, *rest), add=False, notes=notes)

    return _carried_out(change, request, io, budget, network, on_plan, on_event)


def _carried_out(
    change: Callable[[World], Change],
    request: Request,
    io: Io,
    budget: Budget,
    network: Network,
    on_plan: OnPlan,
    on_event: OnEvent,
) -> Outcome:
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    try:
        world = world_of(request, io, network)
        outcome = carry_out(
            change(world), outcome, io, budget, world=world, on_plan=on_plan, on_event=on_event
        )
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _check_ours(team: Onboarding, role: parts.AnyRole, state: State | None) -> None:
    """Raises Refused if a role of the team's name gives something else: it was made by others.

    Roles carry no marker; what a team's role gives is the team's policy.
    """
    if state is None or Names.of(team).read_policy in state.fields["token_policies"]:
        return
    given = ", ".join(sorted(state.fields["token_policies"])) or "no policy"
    raise Refused(
        f"refused, nothing was written: {role.key} gives {given}, so it is no role of a team's",
        hint="--set names.team_role=team-{team}, or another group",
    )


def _in_vault(part: Onboarding) -> list[Resource]:
    """The team's policies, group and alias, and what they need; not the cluster's mount."""
    made = onboarding_resources(part, Target(), Only.VAULT)
    of_logins = AuthMount | AuthConfig | JwtConfig | Role | JwtRole
    return [each for each in made if not isinstance(each, of_logins)]


def _policies(part: Onboarding) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """The team's policies for the namespaces that it keeps; there is nothing to tell of them."""
    return tuple(each for each in _in_vault(part) if isinstance(each, Policy)), ()


def _namespaces(role: State | None) -> set[str]:
    """Whom the role lets in; patterns, and what cannot be a namespace, have no policy of ours."""
    return {each for each in role.attrs["namespaces"] if is_dns_label(each)} if role else set()


def _with_stores(world: World, mount: str, role: str) -> set[str]:
    """Namespaces with a store that logs in at the team's role."""
    return {
        store.namespace
        for store in world.all_stores()
        if store.namespace and (store.mount, store.role) == (mount, role)
    }


def _bound_by_the_cluster(
    team: Onboarding, leaving: Sequence[str], io: Io, budget: Budget
) -> tuple[str, ...]:
    """Namespaces that the cluster's own role lets in as well."""
    role = parts.role_of(parts.of(replace(team, team=""), leaving))
    return tuple(_namespaces(observe((role,), io, budget)[role.key]) & set(leaving))


def _out_of_vault(
    part: Onboarding, io: Io, budget: Budget
) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """The team's policies, its group if nothing else is in it, and what a reader has to know."""
    names = Names.of(part)
    whose = owner(part.env, part.cluster, part.team)
    policies = tuple(
        Gone(Policy(name, "", whose)) for name in (names.read_policy, names.write_policy)
    )
    made = _in_vault(part) if part.oidc.enabled else []
    group = next((each for each in made if isinstance(each, Group)), None)
    state = observe((group,), io, budget)[group.key] if group else None
    if group is None or state is None:
        return policies, ()
    others = sorted(state.fields["policies"] - {names.write_policy})
    if not others:
        alias = next(each for each in made if isinstance(each, GroupAlias))
        return (Gone(alias), Gone(group, after=(alias.key,)), *policies), ()
    if state.foreign is not None:
        return policies, (f"kept: {group.key} {state.foreign.reason}",)
    less = replace(group, policies=(), retired=(names.write_policy,))
    return (less, *policies), (f"kept: {group.key}, which has {', '.join(others)} as well",)
