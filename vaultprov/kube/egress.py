"""Whether the operand needs a policy to reach Vault, and which. Pure.

A policy of ours is right only where others isolate the pods already: the first egress policy that
selects a pod closes everything that no policy names, DNS and the API server included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.kube.decision import (
    MANAGED_BY,
    Action,
    Decision,
    Workload,
    bare,
    network_policy,
)
from vaultprov.kube.destinations import Destination, Pods, misfits, to_peers, to_rules
from vaultprov.kube.isolation import (
    Finding,
    Flow,
    Policy,
    Standing,
    doubts,
    find,
    labels_of,
    name_of,
    within,
)
from vaultprov.kube.objects import LABELS, Object
from vaultprov.model import EgressMode

NAME = "vaultprov-egress-vault"
CONFIG = ("operator.openshift.io/v1alpha1", "ExternalSecretsConfig")  # of Red Hat's operator
# What Red Hat's operator makes of an entry NAME: up to 1.1 the name itself, from 1.2 on prefixed.
_OWN = (NAME, f"eso-user-{NAME}")
_OPERATOR = "external-secrets-operator"
_LASTING = (
    "an entry of ExternalSecretsConfig/cluster cannot be renamed or removed: only the whole list "
    "of networkPolicies can be unset, and the NetworkPolicy made of the entry stays even then"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of the cluster.

    policies: NetworkPolicies, those of the operand's namespace count, ours among them.
    destinations: Vault, every address of every node; or the proxy before it. target: the same in
    words. dns: the resolvers, empty when no name has to be looked up. unmodelled: other objects in
    force, as `vaultprov.netpol.evaluate` takes them.
    """

    operand: Workload
    policies: Sequence[Policy]
    destinations: tuple[Destination, ...]
    target: str = "Vault"
    dns: tuple[Destination, ...] = ()
    mode: EgressMode = EgressMode.AUTO
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.destinations:
            raise ConfigError(
                f"no address of {self.target} is known, so nothing can be opened",
                hint="give --vault-cidr ADDRESS/32",
            )


def decide(request: Request) -> Decision:
    """What to create so that the operand reaches all destinations, and why.

    Our own policy never counts in deciding, or a second run would find everything open and drop it.
    """
    if request.mode is EgressMode.NONE:
        return Decision(Action.NOTHING, "egress is left to others (--egress none)")
    policies = within(request.policies, request.operand.pod.namespace)
    own = [each for each in policies if _is_own(each)]
    others = [each for each in policies if not _is_own(each)]
    found = find(_flows(request, others), others)
    if found.standing is Standing.FREE:
        return _free(request, own, others, found)
    if found.standing is Standing.UNSURE:
        why = f"it cannot be told whether a policy would cut the operand off: {found.reason}"
        hint = "look at these pods and policies by hand; nothing is created until it is certain"
        return Decision(Action.NOTHING, why, warnings=(hint,))
    if found.standing is Standing.ALLOWED and not own:
        why = f"{', '.join(found.by)} already allows egress to {request.target}"
        warnings = doubts(_flows(request, policies), policies, request.unmodelled)
        return Decision(Action.NOTHING, why, warnings=warnings)
    return _wanted(request, own, others, found)


def egress_rules(
    destinations: Sequence[Destination], dns: Sequence[Destination] = ()
) -> list[dict[str, Any]]:
    """The rules of our policy. dns: the resolvers to open, empty when they are open already."""
    return [*to_rules(destinations), *to_rules(dns, ("UDP", "TCP"))]


def config_entry(rules: list[dict[str, Any]]) -> Object:
    """The entry in Red Hat's ExternalSecretsConfig, as server-side apply owns it: nothing else.

    No labels either: the object is not ours. Needs operator 1.0 or newer; there is no policyTypes
    and no podSelector in an entry (CRD operator.openshift.io_externalsecretsconfigs.yaml).
    """
    entry = {"name": NAME, "componentName": "ExternalSecretsCoreController", "egress": rules}
    return {
        "apiVersion": CONFIG[0],
        "kind": CONFIG[1],
        "metadata": {"name": "cluster"},
        "spec": {"controllerConfig": {"networkPolicies": [entry]}},
    }


def _free(
    request: Request, own: Sequence[Policy], others: Sequence[Policy], found: Finding
) -> Decision:
    """Nothing of others isolates the pods: nothing is created, and ours, if there, has to go."""
    namespace = request.operand.pod.namespace
    warnings = doubts(_flows(request, others), others, request.unmodelled)
    if not own:
        why = (
            f"the way is open, no policy is needed ({found.reason}; one of ours would isolate the "
            "operand and cut DNS and the API server)"
        )
        return Decision(Action.NOTHING, why, warnings=warnings)
    names = ", ".join(f"{namespace}/{name_of(each)}" for each in own)
    why = (
        f"only {names} isolates the operand, which cuts DNS and the API server (VP-NET-002); "
        f"without it egress to {request.target} is open"
    )
    if any(map(_is_operators, own)):
        warnings = (_LASTING, *warnings)
    foreign = [each for each in own if not _is_ours(each) and not _is_operators(each)]
    if foreign:
        told = f"{namespace}/{name_of(foreign[0])} is not vaultprov's in spite of its name"
        warnings = (f"{told}: delete it by hand", *warnings)
    obsolete = tuple(bare(each, namespace) for each in own if _is_ours(each))
    return Decision(Action.NOTHING, why, obsolete=obsolete, warnings=warnings)


def _wanted(
    request: Request, own: Sequence[Policy], others: Sequence[Policy], found: Finding
) -> Decision:
    """Others isolate the pods, so ours only opens: as an entry if asked for or there already."""
    namespace = request.operand.pod.namespace
    rules = egress_rules(request.destinations, _closed_dns(request, others))
    ours = network_policy(NAME, namespace, request.operand.selector, rules)
    after = [*others, ours]
    warnings = (
        *doubts(_flows(request, after), after, request.unmodelled),
        *_misfit_warnings(request.destinations),
    )
    if found.standing is Standing.ALLOWED:
        why = f"{', '.join(found.by)} allows egress to {request.target}, too; ours stays"
    else:
        why = f"the operand is isolated, and egress to {request.target} is closed: {found.reason}"
    lasting = any(map(_is_operators, own))
    if request.mode is not EgressMode.CONFIG_ENTRY and not lasting:
        return Decision(Action.NETWORK_POLICY, why, (ours,), warnings=warnings)
    told = [_LASTING]
    if lasting and request.mode is not EgressMode.CONFIG_ENTRY:
        told.insert(0, "an entry of ours is in ExternalSecretsConfig/cluster, so it is kept")
    if any(map(_is_ours, own)):
        told.append(f"NetworkPolicy {namespace}/{NAME} of an earlier run may be deleted later")
    return Decision(Action.CONFIG_ENTRY, why, (config_entry(rules),), warnings=(*told, *warnings))


def _flows(request: Request, policies: Sequence[Policy]) -> list[Flow]:
    pod = request.operand.pod
    return [(pod, peer) for each in request.destinations for peer in to_peers(each, policies)]


def _closed_dns(request: Request, others: Sequence[Policy]) -> tuple[Destination, ...]:
    """The resolvers, if not every one of them is surely open."""
    pod = request.operand.pod
    flows = [(pod, peer) for each in request.dns for peer in to_peers(each, others, "UDP")]
    return request.dns if flows and doubts(flows, others, ()) else ()


def _misfit_warnings(destinations: Iterable[Destination]) -> tuple[str, ...]:
    return tuple(
        f"{peer} port {peer.port} is behind Vault's Service, and the policy does not cover it"
        for each in destinations
        if isinstance(each, Pods)
        for peer in misfits(each)
    )


def _is_own(policy: Policy) -> bool:
    return isinstance(policy, dict) and name_of(policy) in _OWN


def _is_ours(policy: Policy) -> bool:
    return labels_of(policy).get(MANAGED_BY) == LABELS[MANAGED_BY]


def _is_operators(policy: Policy) -> bool:
    return labels_of(policy).get(MANAGED_BY) == _OPERATOR
