"""Objects besides NetworkPolicies that decide, too, and what they can do to an answer.

They are not evaluated: it is enough to know which answers they leave standing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum

from vaultprov.netpol.model import Answer, Verdict


class Effect(Enum):
    """What a kind can do to the NetworkPolicies' answer."""

    RESTRICTS = "a denial stays one"
    OVERRIDES = "either answer may turn"


EFFECTS: Mapping[str, Effect] = {
    # OpenShift, with OVN and with the old SDN: both have to allow.
    "EgressFirewall": Effect.RESTRICTS,
    "EgressNetworkPolicy": Effect.RESTRICTS,
    # Consulted only for pods that no NetworkPolicy isolates.
    "BaselineAdminNetworkPolicy": Effect.RESTRICTS,
    # Consulted before NetworkPolicies, and may say Allow.
    "AdminNetworkPolicy": Effect.OVERRIDES,
    "ClusterNetworkPolicy": Effect.OVERRIDES,
    # Allowances of Cilium's policies and of NetworkPolicies add up; Calico's have an order.
    "CiliumNetworkPolicy": Effect.OVERRIDES,
    "CiliumClusterwideNetworkPolicy": Effect.OVERRIDES,
    "CalicoNetworkPolicy": Effect.OVERRIDES,
    "GlobalNetworkPolicy": Effect.OVERRIDES,
    # Istio judges in the sidecar what the network lets through.
    "AuthorizationPolicy": Effect.RESTRICTS,
    "PeerAuthentication": Effect.RESTRICTS,
    "RequestAuthentication": Effect.RESTRICTS,
    "Sidecar": Effect.RESTRICTS,
    # Istio may also send the traffic another way, such as through an egress gateway's pods.
    "VirtualService": Effect.OVERRIDES,
    "ServiceEntry": Effect.OVERRIDES,
    "DestinationRule": Effect.OVERRIDES,
}


def with_unmodelled(verdict: Verdict, objects: Sequence[str]) -> Verdict:
    """`verdict`, unknown if one of the objects (`KIND NAMESPACE/NAME`) may change it."""
    matter = tuple(name for name in objects if not _leaves(verdict.answer, name))
    if not matter:
        return verdict
    told = f"{', '.join(matter)} may decide otherwise and cannot be evaluated here"
    joined = f"{verdict.reason}, and {told}"
    if verdict.answer is not Answer.UNKNOWN:
        joined = f"NetworkPolicies alone say {verdict.answer} ({verdict.reason}), but {told}"
    return replace(verdict, answer=Answer.UNKNOWN, reason=joined, objects=matter)


def _leaves(answer: Answer, name: str) -> bool:
    effect = EFFECTS.get(name.partition(" ")[0], Effect.OVERRIDES)
    return answer is Answer.DENIED and effect is Effect.RESTRICTS
