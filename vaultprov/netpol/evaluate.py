"""Policies x pod x peer -> verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vaultprov.netpol.model import Answer, Direction, Peer, Pod, Verdict
from vaultprov.netpol.policies import PolicyMatch, doubtful, judge
from vaultprov.netpol.unmodelled import with_unmodelled


def evaluate(
    pod: Pod,
    peer: Peer,
    policies: Sequence[Mapping[str, Any]],
    *,
    direction: Direction = Direction.EGRESS,
    unmodelled: Sequence[str] = (),
) -> Verdict:
    """Whether `pod` may speak to `peer` (ingress: `peer` to `pod`, on the pod's `peer.port`).

    policies: NetworkPolicy objects as the API's JSON; those of other namespaces do not matter.
    unmodelled: objects of other kinds that are in force, `EgressFirewall external-secrets/default`.
    Never raises: what cannot be read makes the answer unknown, unless another rule allows anyway.
    """
    judged = [judge(policy, n, pod, peer, direction) for n, policy in enumerate(policies, 1)]
    # Sorted, so that a verdict reads the same in whatever order the API lists the policies.
    found = sorted((each for each in judged if each), key=lambda each: each.name)
    return with_unmodelled(_verdict(pod, peer, found, direction), unmodelled)


def _verdict(pod: Pod, peer: Peer, found: Sequence[PolicyMatch], direction: Direction) -> Verdict:
    flow = f"{peer.protocol} {peer.port} {direction.peers_key} {peer}"
    isolating = tuple(each.name for each in found if not each.broken)
    if not found:
        told = f"no NetworkPolicy of namespace {pod.namespace} isolates the pod for {direction}"
        return Verdict(Answer.ALLOWED, reason=f"{told}, so {flow} is allowed")
    if pod.host_network:
        told = "the pod uses its node's network, to which NetworkPolicies usually do not apply"
        return Verdict(Answer.UNKNOWN, isolating, reason=told)
    for policy in found:
        for rule in policy.rules:
            if rule.match.holds:
                allowed_by = f"{policy.name} {direction} rule {rule.number}"
                told = f"{allowed_by} allows {flow}"
                return Verdict(Answer.ALLOWED, isolating, allowed_by, told)
    doubt = next((match for each in found if (match := doubtful(each, direction))), None)
    if doubt is not None:
        told = f"{doubt.doubt}; nothing else allows {flow}"
        return Verdict(Answer.UNKNOWN, isolating, reason=told)
    verb = "isolates" if len(isolating) == 1 else "isolate"
    told = f"{', '.join(isolating)} {verb} the pod for {direction}, and no rule allows {flow}"
    return Verdict(Answer.DENIED, isolating, reason=f"{told}{_nearest(found, direction)}")


def _nearest(found: Sequence[PolicyMatch], direction: Direction) -> str:
    """The rule that was probably meant: it names the peer with another port, or the reverse."""
    rules = [(f"{each.name} {direction} rule {r.number}", r) for each in found for r in each.rules]
    for name, rule in rules:
        if rule.names_peers and rule.peers.holds:
            return f" ({name} names the peer, but not the port)"
    for name, rule in rules:
        if rule.names_ports and rule.ports.holds:
            return f" ({name} names the port, but not the peer)"
    return ""
