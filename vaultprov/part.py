"""A part of a cluster's connection: some namespaces, and the role that lets them in.

The role is shared with people who edit it in Vault's own interface, and Vault has no
compare-and-set: it is read right before it is written, others' names stay, and it is looked at
again afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.cluster_side import stores
from vaultprov.desired import Target, cluster_identity, onboarding_resources, reviewers
from vaultprov.doctor.external_secrets import name_of, stores_named
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged, Refused
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import Onboarding, ReviewerMode, ServiceAccount, StoreKind
from vaultprov.names import Names, reviewer_binding
from vaultprov.plan import Action, Plan, make_plan
from vaultprov.redact import Secret
from vaultprov.removal import Gone, without_foreign
from vaultprov.resource import Io, Key, Resource
from vaultprov.retry import Budget
from vaultprov.run import OnPlan, Outcome, planned, refusal, stores_ready
from vaultprov.survey import with_api_audience
from vaultprov.unproved import unproved
from vaultprov.usage import check_cluster
from vaultprov.vault.jwt_auth import JwtRole
from vaultprov.vault.kubernetes import Role, token_right
from vaultprov.vault.marker import find_mount
from vaultprov.verify import credentials, prove, refused

AnyRole = Role | JwtRole

_TOLD = ("token_policies", "policies")
_ROUNDS = 3  # how often the role is looked at again
_PAUSE = 1.0  # seconds before each of them


@dataclass(frozen=True, slots=True)
class Change:
    """Letting a part in (`add`) or taking it out.

    part: the onboarding of these namespaces alone. role: as it is wanted, or gone. resources: all
    that is to be done, the role too. notes: what the reader has to know.
    """

    part: Onboarding
    role: Resource
    resources: tuple[Resource, ...]
    add: bool
    notes: tuple[str, ...] = ()


def of(onboarding: Onboarding, namespaces: Sequence[str]) -> Onboarding:
    """The onboarding of these namespaces alone: an account of the usual name, a store in each."""
    name = onboarding.service_accounts[0].name
    return replace(
        onboarding,
        service_accounts=tuple(ServiceAccount(namespace, name) for namespace in namespaces),
        store=replace(onboarding.store, kind=StoreKind.NAMESPACED),
        exclusive=False,
    )


def role_of(part: Onboarding, dropped: Sequence[str] = ()) -> AnyRole:
    """The role as the part wants it. dropped: namespaces that it must no longer let in."""
    made = onboarding_resources(part, Target())
    role = next(each for each in made if isinstance(each, Role | JwtRole))
    if dropped:
        return replace(role, accounts=(), dropped=tuple(dropped), after=())
    return replace(role, after=())


def check_onboarded(onboarding: Onboarding, io: Io, budget: Budget) -> None:
    """Raises Refused if the cluster has no mount yet, or this context is another cluster."""
    mount = Names.of(onboarding).auth_mount
    if find_mount(io, mount) is None:
        raise Refused(
            f"auth/{mount} does not exist: the cluster is not onboarded",
            hint=f"vaultprov onboard --env {onboarding.env} --cluster {onboarding.cluster}",
        )
    identity = observe((cluster_identity(),), io, budget)
    uid = next(str(state.attrs["uid"]) for state in identity.values() if state)
    check_cluster(onboarding, io, uid)


def check_leaving(role: Key, bound: Iterable[str]) -> None:
    """Raises Refused if taking a name away would keep nobody out. bound: namespaces of the role."""
    globs = sorted(name for name in bound if "*" in name)
    if globs:
        raise Refused(
            f"refused, nothing was written: {role} also lets {', '.join(globs)} in, so that "
            "taking a name away would keep nobody out",
            hint=f"take the pattern out: vault read auth/{role.name.replace('/', '/role/', 1)}",
        )


def carry_out(
    change: Change,
    outcome: Outcome,
    io: Io,
    budget: Budget,
    *,
    world: World,
    on_plan: OnPlan,
    on_event: OnEvent,
) -> Outcome:
    """Plans it, does it unless `on_plan` raises, and proves it. Raises Error before it writes;
    afterwards errors are in the outcome, beside what was written.
    """
    observed = observe(change.resources, io, budget)
    resources, notes = change.resources, change.notes
    if change.add and change.part.store.enabled and not _stores(change.part, world):
        notes += ("External Secrets is not installed, so no store is made; run this again then",)
    if not change.add:
        resources, kept = without_foreign(resources, observed)
        notes += kept
    plan = _without_extras(make_plan(resources, observed, outcome.request.allow))
    results = tuple(Result(step, planned(step.action)) for step in plan.steps)
    outcome = replace(outcome, results=results, notes=notes)
    on_plan(plan, outcome)
    if plan.refused():
        return replace(outcome, error=refusal(plan))
    proving = [token_right(account) for account in change.part.service_accounts]
    budget.call(lambda: check_rights(resources, plan, io, proving))
    tokens = {} if change.add else credentials(change.part, io)
    results = apply(resources, plan, observed, io, budget, on_event)
    failures = [r.error for r in results if r.status is Status.FAILED and r.error]
    outcome = replace(outcome, results=results, error=failures[0] if failures else None)
    if failures:
        return outcome
    try:
        _settled(change.role, io, budget)
        if change.add:
            return _let_in(outcome, change, world, io, budget)
        return _kept_out(outcome, change.part, tokens, io)
    except Error as error:
        return replace(outcome, error=error)


def _without_extras(plan: Plan) -> Plan:
    """A part is added to what is there, the cluster's own included: that it stays is no news.

    Policies that somebody gave the role besides are: the part gets them, too.
    """
    return Plan(
        tuple(
            replace(step, extra={k: v for k, v in (step.extra or {}).items() if k in _TOLD} or None)
            for step in plan.steps
        )
    )


def in_cluster(part: Onboarding, role: Resource, world: World) -> tuple[Resource, ...]:
    """What lets the part's namespaces in on the cluster's side; the stores come after the role."""
    resources: list[Resource] = []
    for account in part.service_accounts:
        home = Manifest(
            objects.bare_namespace(account.namespace),
            required=f"kubectl create namespace {account.namespace}",
        )
        made = Manifest(objects.service_account(account), after=(home.key,))
        resources += [home, made, *_binding(part, account, made)]
    ways = (role.key, *(each.key for each in resources))
    bodies = _stores(part, world)
    _check_stores(part, bodies, world)
    return (*resources, role, *(Manifest(body, after=ways) for body in bodies))


def _check_stores(part: Onboarding, bodies: Sequence[Mapping[str, Any]], world: World) -> None:
    """Raises Refused where a store of the name logs in elsewhere: who uses it would lose theirs.

    The cluster's own role is what a namespace of a team comes from.
    """
    names, wanted = Names.of(part), {_place(body) for body in bodies}
    roles = {names.role, Names.of(replace(part, team="")).role}
    for store in world.all_stores():
        here = store.mount == names.auth_mount and store.role in roles
        if (store.namespace, store.name) in wanted and store.logs_in and not here:
            raise Refused(
                f"refused, nothing was written: {store} logs in at auth/{store.mount} as "
                f"{store.role}, and this would move it to {names.role}",
                hint="take the namespace from whoever has it first: vaultprov namespace remove, or "
                "vaultprov team offboard",
            )


def _binding(part: Onboarding, account: ServiceAccount, made: Manifest) -> list[Resource]:
    """In reviewer mode `client` each account reviews itself."""
    if account not in reviewers(part):
        return []
    binding = objects.reviewer_binding(reviewer_binding(account), account)
    also = objects.binding_rights()
    return [Manifest(binding, immutable=("roleRef",), also=also, after=(made.key,))]


def out_of_cluster(
    part: Onboarding, role: Resource, world: World, bound: Sequence[str] = ()
) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """The same taken away: the role first, so that nobody logs in any more. And what stays.

    bound: namespaces whose ServiceAccount another role lets in as well.
    """
    names = Names.of(part)
    foreign = {
        (store.namespace, store.name): store
        for store in world.all_stores()
        if store.namespace and store.logs_in
        if (store.mount, store.role) != (names.auth_mount, names.role)
    }
    in_use = {namespace for namespace, _ in foreign} | set(bound)
    leaving = [each for each in part.service_accounts if each.namespace not in in_use]
    staying = [each for each in part.service_accounts if each.namespace in in_use]
    wanted = {_place(body): body for body in _stores(part, world)}
    bodies = [body for place, body in wanted.items() if place not in foreign]
    bodies += map(objects.service_account, leaving)
    if part.reviewer.mode is ReviewerMode.CLIENT:
        bodies += [objects.reviewer_binding(reviewer_binding(each), each) for each in leaving]
    notes = [
        f"kept: {foreign[place]}, which logs in as {foreign[place].role}"
        for place in wanted
        if place in foreign
    ]
    notes += [f"kept: ServiceAccount {each}, with which others log in, too" for each in staying]
    return (role, *(Gone(Manifest(body), after=(role.key,)) for body in bodies)), tuple(notes)


def _place(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _stores(part: Onboarding, world: World) -> list[dict[str, Any]]:
    version = (world.store_version() or "").rpartition("/")[2]
    if not version or not part.store.enabled:
        return []
    return stores(with_api_audience(part, world), version)


def dependants(world: World, namespaces: Sequence[str]) -> tuple[str, ...]:
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


def _settled(role: Resource, io: Io, budget: Budget) -> None:
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


def _let_in(outcome: Outcome, change: Change, world: World, io: Io, budget: Budget) -> Outcome:
    checks = prove(change.part, change.part.audience, io, budget, fresh=True)
    outcome = replace(outcome, checks=checks)
    if all(check.ok for check in checks):
        return stores_ready(outcome, change.resources, world, io)
    again = f"vaultprov onboard {world.case.who} {{}}".format
    error = unproved("not so", checks, change.part, io, world.network, again)
    return replace(outcome, error=error)


def _kept_out(outcome: Outcome, part: Onboarding, tokens: Mapping[str, Secret], io: Io) -> Outcome:
    names = Names.of(part)
    checks = tuple(refused(names, who, token, io) for who, token in tokens.items())
    outcome = replace(outcome, checks=checks)
    failed = next((check for check in checks if not check.ok), None)
    if failed is None:
        return outcome
    told = f"not so: {failed.title}: {failed.detail}"
    return replace(outcome, error=NotConverged(told, hint=failed.hint))
