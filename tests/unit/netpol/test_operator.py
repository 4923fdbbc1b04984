"""An operator that denies by default: the API server and DNS are open, Vault is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.netpol.cases import block, policy
from vaultprov.netpol import Answer, Peer, Pod, evaluate

NAMESPACE, NAME = "external-secrets", "app.kubernetes.io/name"
CORE, WEBHOOK = (Pod(NAMESPACE, {NAME: n}) for n in (NAMESPACE, "external-secrets-webhook"))
DNS_POD = Pod("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"})
VAULT, API = Peer("192.0.2.10", 8200), Peer("198.51.100.1", 6443)
DNS = Peer("10.128.0.5", 5353, "UDP", DNS_POD)


def _of(name: str, selector: Any, *rules: Any) -> dict[str, Any]:
    return policy(name=name, namespace=NAMESPACE, selector=selector, egress=list(rules))


def _named(*names: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": NAME, "operator": "In", "values": list(names)}]}


TO_DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}},
            "podSelector": {"matchLabels": dict(DNS_POD.labels)},
        }
    ],
    "ports": [{"protocol": p, "port": n} for n in (5353, 53) for p in ("TCP", "UDP")],
}
SHIPPED = [
    _of("deny-all-traffic", {}),
    _of("core", _named(NAMESPACE), {"ports": [{"protocol": "TCP", "port": 6443}]}),
    _of("webhook", _named("external-secrets-webhook"), {"ports": [{"port": 6443}]}),
    _of("dns", _named(NAMESPACE, "bitwarden-sdk-server"), TO_DNS),
]
NULL_ENTRY = policy(
    name="mine", namespace=NAMESPACE, selector={"matchLabels": {NAME: NAMESPACE}}, egress=None
)
OPENED = _of(
    "vault",
    {"matchLabels": {NAME: NAMESPACE}},
    {"to": [block("192.0.2.10/32")], "ports": [{"protocol": "TCP", "port": 8200}]},
)


@pytest.mark.parametrize(
    ("pod", "peer", "more", "answer"),
    [
        (CORE, VAULT, [], Answer.DENIED),
        (CORE, API, [], Answer.ALLOWED),
        (CORE, Peer(None, 6443), [], Answer.ALLOWED),
        (CORE, DNS, [], Answer.ALLOWED),
        (WEBHOOK, DNS, [], Answer.DENIED),
        (CORE, VAULT, [NULL_ENTRY], Answer.DENIED),
        (CORE, VAULT, [OPENED], Answer.ALLOWED),
        (WEBHOOK, VAULT, [OPENED], Answer.DENIED),
        (CORE, Peer("192.0.2.11", 8200), [OPENED], Answer.DENIED),
        (CORE, Peer("192.0.2.10", 443), [OPENED], Answer.DENIED),
    ],
)
def test_deny_by_default(pod: Pod, peer: Peer, more: list[Any], answer: Answer) -> None:
    assert evaluate(pod, peer, [*SHIPPED, *more]).answer is answer


def test_a_policy_for_vault_alone_cuts_off_a_pod_that_nothing_isolated() -> None:
    assert evaluate(CORE, API, [OPENED]).answer is Answer.DENIED
    assert evaluate(CORE, DNS, [OPENED]).answer is Answer.DENIED
