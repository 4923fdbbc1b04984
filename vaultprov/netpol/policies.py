"""Which policies isolate a pod, and what their rules say about a peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.netpol.matching import YES, Match, all_of, any_of, doubt
from vaultprov.netpol.model import Direction, Peer, Pod
from vaultprov.netpol.peers import peer_matches
from vaultprov.netpol.ports import port_matches
from vaultprov.netpol.reading import Malformed, entry, mapping, sequence, text
from vaultprov.netpol.selectors import selects

_TYPES = tuple(direction.policy_type for direction in Direction)
_SPEC = ("podSelector", "policyTypes", "ingress", "egress")


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """What one rule says: its two halves, and whether it is about this peer at all."""

    number: int
    match: Match
    peers: Match
    ports: Match
    names_peers: bool
    names_ports: bool


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """A policy that concerns the pod; with `broken` it may isolate it or not."""

    name: str
    rules: tuple[RuleMatch, ...] = ()
    broken: str = ""


def judge(
    policy: Any, number: int, pod: Pod, peer: Peer, direction: Direction
) -> PolicyMatch | None:
    """What a policy says; None if it does not isolate the pod in this direction.

    A malformed part counts unless what is well-formed keeps the policy away from the pod.
    """
    name = f"{pod.namespace}/policy number {number}"
    try:
        whole = mapping(policy, "the policy")
        metadata = mapping(whole.get("metadata"), "metadata")
        # Only files lack the namespace: they get it as they are applied.
        namespace = metadata.get("namespace") or pod.namespace
        if text(namespace, "metadata.namespace") != pod.namespace:
            return None
        name = f"{namespace}/{text(metadata.get('name'), 'metadata.name')}"
        spec = mapping(whole.get("spec"), "spec")
        if not selects(spec.get("podSelector"), pod.labels, "spec.podSelector"):
            return None
        if direction.policy_type not in _types(spec):
            return None
        _check_kind(whole)
        mapping(spec, "spec", _SPEC)
        rules = {each: _rules(spec, pod, peer, each) for each in Direction}
    except Malformed as error:
        return PolicyMatch(name, broken=str(error))
    return PolicyMatch(name, rules[direction])


def _types(spec: Mapping[str, Any]) -> list[str]:
    """The directions in which a policy isolates; the API server fills them in, files lack them."""
    egress = sequence(spec.get("egress"), "spec.egress")
    types = [
        text(each, "spec.policyTypes")
        for each in sequence(spec.get("policyTypes"), "spec.policyTypes")
    ]
    for each in types:
        if each not in _TYPES:
            raise Malformed(f"spec.policyTypes has the unknown type {each!r}")
    return types or (["Ingress", "Egress"] if egress else ["Ingress"])


def _check_kind(policy: Mapping[str, Any]) -> None:
    """Members of a list have neither field; Calico's policies have the same kind as ours."""
    for key, right in (("kind", "NetworkPolicy"), ("apiVersion", "networking.k8s.io/v1")):
        if policy.get(key) not in (None, right):
            raise Malformed(f"its {key} is {policy[key]!r}, not {right!r}")


def _rules(
    spec: Mapping[str, Any], pod: Pod, peer: Peer, direction: Direction
) -> tuple[RuleMatch, ...]:
    where = f"spec.{direction}"
    rules = sequence(spec.get(direction.value), where)
    return tuple(
        _rule(rule, number, pod, peer, direction, f"{where}[{number - 1}]")
        for number, rule in enumerate(rules, 1)
    )


def _rule(
    rule: Any, number: int, pod: Pod, peer: Peer, direction: Direction, where: str
) -> RuleMatch:
    """Ports AND peers; either missing or empty means any."""
    key = direction.peers_key
    fields = entry(rule, where, ("ports", key))
    target = peer.pod if direction is Direction.EGRESS else pod
    named_ports = [
        Match(port_matches(each, peer, target, f"{where}.ports[{index}]"))
        for index, each in enumerate(sequence(fields.get("ports"), f"{where}.ports"))
    ]
    named_peers = [
        peer_matches(each, peer, pod.namespace, f"{where}.{key}[{index}]")
        for index, each in enumerate(sequence(fields.get(key), f"{where}.{key}"))
    ]
    ports = any_of(named_ports) if named_ports else YES
    peers = any_of(named_peers) if named_peers else YES
    return RuleMatch(
        number, all_of([ports, peers]), peers, ports, bool(named_peers), bool(named_ports)
    )


def doubtful(policy: PolicyMatch, direction: Direction) -> Match | None:
    """Why a policy may let the peer and may not; None if that is clear."""
    if policy.broken:
        return doubt(f"{policy.name} cannot be read: {policy.broken}")
    for rule in policy.rules:
        if rule.match.holds is None:
            told = f"{policy.name} {direction} rule {rule.number}"
            return doubt(f"{told} may or may not match: {rule.match.doubt}")
    return None
