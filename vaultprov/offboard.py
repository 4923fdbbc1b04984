"""The use case: take a cluster's onboarding back, and prove that nobody gets in any more."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.desired import cluster_identity
from vaultprov.doctor.network import Network
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged
from vaultprov.kube.manifest import FIELD_MANAGER
from vaultprov.kube.objects import LABELS, service_account
from vaultprov.model import Only, Scope, ServiceAccount
from vaultprov.names import Names
from vaultprov.plan import Observed, Plan, make_plan
from vaultprov.redact import Secret
from vaultprov.removal import (
    Gone,
    of_cluster,
    of_environment,
    of_login,
    of_reviewer,
    without_foreign,
)
from vaultprov.resource import Io, Resource
from vaultprov.retry import Budget
from vaultprov.run import OnPlan, Outcome, Request, planned, refusal, servers, world_of
from vaultprov.usage import check_cluster, dependants, other_roles, shared, tokens
from vaultprov.verify import credentials, refused

_NO_CREDENTIAL = Secret("no-credential")  # what a login is tried with when no account is at hand
_ADMIN = "use a Vault token that may delete these and a kubeconfig of a cluster admin"


def offboard(
    request: Request,
    io: Io,
    budget: Budget,
    *,
    network: Network,
    on_plan: OnPlan = lambda *_: None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Plans the removal and, unless `on_plan` raises, does it and proves it.

    Nothing in the key-value store is touched, no namespace is deleted, and what others use or made
    stays. Errors end in the Outcome, not in the air. network: as this machine sees it.
    """
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    try:
        identity = observe((cluster_identity(),), io, budget) if io.has_kube() else {}
        outcome = replace(outcome, servers=servers(request, io, identity))
        uid = _uid(identity)
        if io.has_vault() and uid:
            check_cluster(request.onboarding, io, uid)
        resources, notes = _resources(request, io, network, uid)
        observed = observe(resources, io, budget)
        left, kept = without_foreign(resources, observed)
        plan = make_plan(left, observed, request.allow)
        outcome = replace(
            outcome,
            results=tuple(Result(step, planned(step.action)) for step in plan.steps),
            notes=(*notes, *kept),
        )
        on_plan(plan, outcome)
        if plan.refused():
            raise refusal(plan)
        outcome = _remove(left, plan, observed, io, budget, outcome, on_event)
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _uid(identity: Observed) -> str | None:
    state = next(iter(identity.values()), None)
    return str(state.attrs["uid"]) if state else None


def _resources(
    request: Request, io: Io, network: Network, uid: str | None
) -> tuple[tuple[Gone, ...], tuple[str, ...]]:
    """What goes, and what the reader has to know: what breaks, and what stays."""
    onboarding, notes = request.onboarding, []
    resources: tuple[Gone, ...] = ()
    twins: tuple[str, ...] = ()
    reviewed = False
    if io.has_vault():
        others = shared(onboarding, io, uid)
        twins, reviewed = others.twins, others.reviewed
        resources += of_login(onboarding, alone=not others.namesakes)
        if others.namesakes and onboarding.scope is Scope.CLUSTER:
            policy = Names.of(onboarding).read_policy
            notes.append(f"kept: policy {policy}, which auth/{others.namesakes[0]} gives, too")
        if others.environment:
            notes.append(f"kept: {others.environment}")
        else:
            resources += of_environment(onboarding)
        names = Names.of(onboarding)
        notes.append(tokens(io, names.auth_mount))
        notes += other_roles(io, names.auth_mount, names.role)
    if request.only is not Only.VAULT:
        world = world_of(request, io, network)
        notes += dependants(world)
        after = tuple(each.key for each in resources if each.key.kind == "vault/auth")
        if twins:
            notes.append(f"kept: the cluster's side, which auth/{', auth/'.join(twins)} needs")
            if not reviewed:
                resources += of_reviewer(onboarding, after)
        else:
            version = (world.store_version() or "").rpartition("/")[2]
            made = of_cluster(onboarding, version, _applied(world, io), after)
            unused, kept = _unused(made, world)
            resources += unused
            notes += kept
    notes.append(f"the secrets below {onboarding.kv_mount}/ and every namespace stay")
    return resources, tuple(notes)


def _unused(gone: Iterable[Gone], world: World) -> tuple[tuple[Gone, ...], list[str]]:
    """Without the accounts that stores of another Vault or mount log in with, a sentence each."""
    here = (world.names.auth_mount, world.case.onboarding.store.server)
    users = {
        f"{store.account.namespace or store.namespace}/{store.account.name}": store
        for store in world.all_stores()
        if store.account is not None and (store.mount, store.server) != here
    }
    left, kept = [], []
    for each in gone:
        if each.key.kind == "cluster/serviceaccount" and each.key.name in users:
            kept.append(f"kept: {each.key}, with which {users[each.key.name]} logs in")
        else:
            left.append(each)
    return tuple(left), kept


def _applied(world: World, io: Io) -> Iterable[Mapping[str, Any]]:
    """What we applied and onboarding does not name: parts of single namespaces, NetworkPolicies.

    The same cluster may be connected to another Vault, which has a mount of the same name.
    """
    stores, here = world.all_stores(), (world.names.auth_mount, world.case.onboarding.store.server)
    ours = [
        store
        for store in stores
        if store.kind == "SecretStore" and (store.mount, store.server) == here
        if _is_ours(store.body)
    ]
    for store in ours:
        yield _bare(str(world.store_version()), store.kind, store.body)
    needed = {store.account for store in stores if store not in ours}
    for account in sorted({store.account for store in ours} - needed, key=str):
        if account is not None and account.namespace:
            yield service_account(ServiceAccount(account.namespace, account.name))
    version, kind = "networking.k8s.io/v1", "NetworkPolicy"
    labels = ",".join(f"{name}={value}" for name, value in LABELS.items())
    for live in io.kube.items(version, kind, None, labels) or ():
        if _is_ours(live):
            yield _bare(version, kind, live)


def _is_ours(live: Mapping[str, Any]) -> bool:
    managers = {each.get("manager") for each in live["metadata"].get("managedFields") or ()}
    return FIELD_MANAGER in managers


def _bare(version: str, kind: str, live: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {name: live["metadata"][name] for name in ("name", "namespace")}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _remove(
    resources: Sequence[Resource],
    plan: Plan,
    observed: Observed,
    io: Io,
    budget: Budget,
    outcome: Outcome,
    on_event: OnEvent,
) -> Outcome:
    request = outcome.request
    budget.call(lambda: check_rights(resources, plan, io, hint=_ADMIN))
    # While their accounts are still there; with none of them anybody will do.
    tokens = credentials(request.onboarding, io) or {"anybody": _NO_CREDENTIAL}
    results = apply(resources, plan, observed, io, budget, on_event)
    outcome = replace(outcome, results=results)
    failures = [r.error for r in results if r.status is Status.FAILED and r.error]
    if failures:
        return replace(outcome, error=failures[0])
    if not io.has_vault():
        return outcome
    names = Names.of(request.onboarding)
    try:
        checks = tuple(refused(names, who, token, io) for who, token in tokens.items())
    except Error as error:
        return replace(outcome, error=error)  # beside what was removed
    outcome = replace(outcome, checks=checks)
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        told = f"everything is removed, but {failed.title} is not so: {failed.detail}"
        outcome = replace(outcome, error=NotConverged(told, hint=failed.hint))
    return outcome
