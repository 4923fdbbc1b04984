"""A cluster whose operand is closed by default, and the shapes of requests; small and our own."""

from __future__ import annotations

from typing import Any

from vaultprov.kube.decision import Workload
from vaultprov.kube.destinations import Destination, Pods, addresses, to_peers
from vaultprov.kube.egress import Request
from vaultprov.model import EgressMode
from vaultprov.netpol import Answer, Peer, Pod, evaluate

Policy = dict[str, Any]
NAMESPACE, NAME = "external-secrets", "app.kubernetes.io/name"
CORE = Workload(
    Pod(NAMESPACE, {NAME: "external-secrets", "app": "external-secrets"}),
    {"matchLabels": {NAME: "external-secrets"}},
)
NODES = addresses(["192.0.2.12", "192.0.2.10", "192.0.2.11"], 8200)
API = Peer("198.51.100.1", 6443)
DNS_LABELS = {"dns.operator.openshift.io/daemonset-dns": "default"}
DNS_POD = Pod("openshift-dns", {**DNS_LABELS, "controller-revision-hash": "x"})
DNS = Pods("openshift-dns", DNS_LABELS, 5353, {}, (Peer("10.128.0.5", 5353, "UDP", DNS_POD),))
VAULT_POD = Pod("vault", {NAME: "vault", "vault-active": "true"})
VAULT = Pods("vault", {NAME: "vault"}, 8200, {}, (Peer("10.128.0.7", 8200, "TCP", VAULT_POD),))


def policy(
    name: str,
    *rules: Any,
    selector: Any = None,
    namespace: str = NAMESPACE,
    direction: str = "Egress",
    labels: dict[str, str] | None = None,
) -> Policy:
    """A policy of somebody else."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "podSelector": selector or {},
            "policyTypes": [direction],
            direction.lower(): list(rules),
        },
    }


DENY_ALL = policy("deny-all-traffic")
TO_DNS = policy(
    "allow-to-dns",
    {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}
                },
                "podSelector": {"matchLabels": DNS_LABELS},
            }
        ],
        "ports": [{"protocol": "UDP", "port": 5353}, {"protocol": "TCP", "port": 5353}],
    },
    selector={"matchExpressions": [{"key": NAME, "operator": "In", "values": [NAMESPACE]}]},
)
# As an operator that denies by default leaves it: DNS and the API server are open, Vault is not.
SHIPPED = [
    DENY_ALL,
    policy(
        "allow-api-server",
        {"ports": [{"protocol": "TCP", "port": 6443}]},
        selector=dict(CORE.selector),
    ),
    TO_DNS,
]
OPENED_BY_OTHERS = policy(
    "allow-egress-to-vault-vm",
    {
        "to": [{"ipBlock": {"cidr": "192.0.2.8/29"}}],
        "ports": [{"protocol": "TCP", "port": 8200}],
    },
)


def request(
    *policies: Policy,
    to: tuple[Destination, ...] = NODES,
    dns: tuple[Destination, ...] = (DNS,),
    mode: EgressMode = EgressMode.AUTO,
    unmodelled: tuple[str, ...] = (),
    operand: Workload = CORE,
) -> Request:
    """What is known, with these policies."""
    return Request(operand, policies, to, "Vault", dns, mode, unmodelled)


def answers(
    policies: list[Policy], to: tuple[Destination, ...] = NODES, operand: Workload = CORE
) -> set[Answer]:
    """What the evaluator says about all of these destinations."""
    peers = [peer for each in to for peer in to_peers(each, policies)]
    return {evaluate(operand.pod, peer, policies).answer for peer in peers}
