"""The same rules written once more, another way: as sets of what may be reached.

A selector is a set of pods, a peer entry a set of ends, a rule the product of ends and ports, a
policy the union of its rules. Well-formed policies and known addresses only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from vaultprov.netpol import Direction, Peer, Pod

_EVERY_PORT = {(p, n) for p in ("TCP", "UDP", "SCTP") for n in (53, 443, 444, 8200)}


def allowed(pod: Pod, peer: Peer, policies: Iterable[Any], direction: Direction) -> bool | None:
    """None where the answer hangs on an ipBlock that covers a pod's address."""
    mine = [
        each["spec"]
        for each in policies
        if each["metadata"]["namespace"] == pod.namespace
        and _fits(each["spec"]["podSelector"], pod.labels)
        and direction.policy_type in _types(each["spec"])
    ]
    if not mine:
        return True
    wide = _reached(mine, pod, peer, direction, blocks_cover_pods=True)
    narrow = _reached(mine, pod, peer, direction, blocks_cover_pods=False)
    return narrow if narrow == wide else None


def _types(spec: Mapping[str, Any]) -> list[str]:
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _reached(
    specs: list[Any], pod: Pod, peer: Peer, direction: Direction, *, blocks_cover_pods: bool
) -> bool:
    target = peer.pod if direction is Direction.EGRESS else pod
    for spec in specs:
        for rule in spec.get(direction.value) or []:
            ends = rule.get("to" if direction is Direction.EGRESS else "from")
            open_ports = rule.get("ports")
            reached = _EVERY_PORT if not open_ports else _union(open_ports, target)
            near = not ends or any(_end(e, pod, peer, blocks_cover_pods) for e in ends)
            if near and (peer.protocol, peer.port) in reached:
                return True
    return False


def _union(ports: list[Any], target: Pod | None) -> set[tuple[str, int]]:
    reached: set[tuple[str, int]] = set()
    for port in ports:
        protocol, first = port.get("protocol", "TCP"), port.get("port")
        numbers = {n for _, n in _EVERY_PORT}
        if isinstance(first, str):
            number, spoken = target.ports.get(first, (0, "")) if target else (0, "")
            numbers &= {number} if spoken == protocol else set()
        elif first is not None:
            numbers &= set(range(first, port.get("endPort", first) + 1))
        reached |= {(protocol, n) for n in numbers}
    return reached


def _end(end: Any, pod: Pod, peer: Peer, blocks_cover_pods: bool) -> bool:
    if "ipBlock" in end:
        address = ip_address(str(peer.address))
        told = [end["ipBlock"]["cidr"], *end["ipBlock"].get("except", [])]
        inside = [address in network for network in map(ip_network, told)]
        return inside[0] and not any(inside[1:]) and (blocks_cover_pods or peer.pod is None)
    if peer.pod is None:
        return False
    labels = {**peer.pod.namespace_labels, "kubernetes.io/metadata.name": peer.pod.namespace}
    if "namespaceSelector" in end:
        near = _fits(end["namespaceSelector"], labels)
    else:
        near = peer.pod.namespace == pod.namespace
    return near and _fits(end.get("podSelector", {}), peer.pod.labels)


def _fits(selector: Any, labels: Mapping[str, str]) -> bool:
    pairs = set(labels.items())
    if not set(selector.get("matchLabels", {}).items()) <= pairs:
        return False
    for each in selector.get("matchExpressions", []):
        named = {pair for pair in pairs if pair[0] == each["key"]}
        if each["operator"] in ("In", "NotIn"):
            named = {pair for pair in named if pair[1] in each["values"]}
        if bool(named) is each["operator"].startswith(("Not", "Does")):
            return False
    return True
