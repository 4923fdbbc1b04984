"""What one onboarding leaves when it goes: the same resources, and none of them may exist. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaultprov.cluster_side import stores
from vaultprov.desired import Target, onboarding_resources
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import Onboarding, Only, Scope
from vaultprov.names import Names, reviewer_binding
from vaultprov.plan import Observed
from vaultprov.resource import Fields, Io, Key, Resource, Right, State
from vaultprov.vault.policy import Policy, owner

_NAMESPACE = "cluster/namespace"  # others live in it, too


@dataclass(frozen=True, slots=True)
class Gone:
    """A resource that must not exist."""

    resource: Resource
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return self.resource.key

    def wanted(self) -> None:
        return None

    def read(self, io: Io) -> State | None:
        return self.resource.read(io)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        raise NotImplementedError(f"{self.key} is only ever removed")

    def remove(self, io: Io, found: State) -> None:
        self.resource.remove(io, found)

    def rights(self, action: str) -> tuple[Right, ...]:
        return self.resource.rights(action)


def without_foreign(
    resources: Sequence[Resource], observed: Observed
) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """What is to be done of these, and what stays, a sentence each.

    What is not there needs no removing, and what others made stays; but a mount, which is what its
    removal is about, is left for the plan to refuse.
    """
    left: list[Resource] = []
    kept = []
    for resource in resources:
        state = observed[resource.key]
        group = observed.get(Key("vault/group", resource.key.name))
        if not isinstance(resource, Gone):
            left.append(resource)
        elif resource.key.kind == "vault/group-alias" and group is not None and group.foreign:
            continue  # the alias lets people in to a group that stays
        elif state is not None and state.foreign and resource.key.kind != "vault/auth":
            kept.append(f"kept: {resource.key} {state.foreign.reason}")
        elif state is not None:
            left.append(resource)
    return tuple(left), tuple(kept)


def of_login(onboarding: Onboarding, *, alone: bool) -> tuple[Gone, ...]:
    """The way in at Vault: first the role, so that nobody logs in any more, then the mount.

    Disabling the mount ends every token that was given out there. The policy that is this
    cluster's alone goes last, if no other mount of the cluster gives it (`alone`).
    """
    made = onboarding_resources(onboarding, Target(), Only.VAULT)
    mount_key = Key("vault/auth", Names.of(onboarding).auth_mount)
    role = next(each for each in made if each.key.kind == "vault/role")
    mount = next(each for each in made if each.key == mount_key)
    whose = owner(onboarding.env, onboarding.cluster)
    policy = Gone(Policy(_read_policies(onboarding)[0], "", whose), after=(mount_key,))
    return (Gone(role), Gone(mount, after=(role.key,)), *((policy,) if alone else ()))


def of_environment(onboarding: Onboarding) -> tuple[Gone, ...]:
    """What all clusters of the environment share, for when the last one goes."""
    names = Names.of(onboarding)
    people = [
        each
        for each in onboarding_resources(onboarding, Target(), Only.VAULT)
        if each.key.kind in ("vault/group", "vault/group-alias")
    ]
    people.reverse()  # the alias lets people in
    shared = (_read_policies(onboarding)[1], names.write_policy)
    policies = [Policy(name, "", owner(onboarding.env)) for name in shared]
    mount = Key("vault/auth", names.auth_mount)
    removed: list[Gone] = []
    for resource in (*people, *policies):
        removed.append(Gone(resource, after=(mount, *(each.key for each in removed))))
    return tuple(removed)


def of_cluster(
    onboarding: Onboarding,
    version: str,
    applied: Iterable[Mapping[str, Any]],
    after: Iterable[Key],
) -> tuple[Gone, ...]:
    """What was applied to the cluster, but its namespaces.

    version: of the store API that the cluster serves; "" without External Secrets. applied: what is
    there besides (NetworkPolicies, the parts of single namespaces), first what uses the others.
    after: what has to be gone before.
    """
    made = onboarding_resources(onboarding, Target(), Only.CLUSTER)
    bodies = [*(stores(onboarding, version) if version else ()), *applied]
    token = onboarding.store.token_secret
    if token is not None:
        metadata = {"name": token.name, "namespace": token.namespace}
        bodies.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    rest = [each for each in reversed(made) if each.key.kind != _NAMESPACE]
    gone = {each.key: Gone(each, tuple(after)) for each in (*map(Manifest, bodies), *rest)}
    return tuple(gone.values())


def of_reviewer(onboarding: Onboarding, after: Iterable[Key]) -> tuple[Gone, ...]:
    """What reviews tokens, where the rest of the cluster's side stays: account, binding and token
    of the reviewer, and the bindings of workloads that reviewed themselves (mode `client`).
    """
    workloads = {str(account) for account in onboarding.service_accounts}
    made = onboarding_resources(onboarding, Target(), Only.CLUSTER)
    own = [
        Manifest(objects.reviewer_binding(reviewer_binding(account), account))
        for account in onboarding.service_accounts
    ]
    rest = [
        each
        for each in reversed(made)
        if each.key.kind != _NAMESPACE and each.key.name not in workloads
    ]
    return tuple({each.key: Gone(each, tuple(after)) for each in (*own, *rest)}.values())


def _read_policies(onboarding: Onboarding) -> tuple[str, str]:
    """The policy of this cluster alone, and that of the whole environment: one is in use."""
    names = Names.of(onboarding)
    if onboarding.scope is Scope.CLUSTER:
        return names.read_policy, names.retired_read_policy
    return names.retired_read_policy, names.read_policy
