"""The NetworkPolicies that fixes apply: open these ways for the operand's pods, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaultprov.doctor.checks.remedies import manifest
from vaultprov.doctor.egress import Egress, Way
from vaultprov.doctor.model import Fix
from vaultprov.kube.decision import network_policy
from vaultprov.kube.destinations import pods_peer


def open_vault(found: Egress, ways: tuple[Way, ...], name: str = "vaultprov-egress-vault") -> Fix:
    """The policy that opens these ways and nothing else; of the operand's pods alone."""
    rules = [{"to": [_peer(way)], "ports": _ports(way)} for way in ways]
    return Fix(
        "let the operand go there", "kubectl apply -f -", manifest(policy(found, name, rules))
    )


def _peer(way: Way) -> dict[str, Any]:
    pod = way.peer.pod
    if pod is not None:
        return pods_peer(pod.namespace, {"matchLabels": _lasting(pod.labels)})
    bits = 128 if ":" in (way.peer.address or "") else 32
    return {"ipBlock": {"cidr": f"{way.peer.address}/{bits}"}}


def _lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """Without those that change whenever a pod is replaced."""
    changing = ("hash", "pod-name", "pod-index")
    return {name: value for name, value in labels.items() if not name.endswith(changing)}


def _ports(way: Way) -> list[dict[str, Any]]:
    return [{"protocol": way.peer.protocol, "port": way.peer.port}]


def policy(found: Egress, name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """A NetworkPolicy of ours for the operand's pods, as its live Deployment selects them."""
    return network_policy(name, found.operand.namespace, found.operand.selector, rules)
