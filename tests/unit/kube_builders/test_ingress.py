"""When Vault's own pods need a policy that lets the operand in."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.kube_builders.world import CORE, NAMESPACE, VAULT, VAULT_POD, Policy, policy
from vaultprov.kube.decision import Action
from vaultprov.kube.ingress import decide, ingress_policy
from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

OWN = ingress_policy(CORE, VAULT)


def theirs(name: str, *rules: object) -> Policy:
    return policy(name, *rules, namespace="vault", direction="Ingress")


CLOSED = theirs("deny")
RAFT_ONLY = theirs("raft", {"from": [{"podSelector": {}}], "ports": [{"port": 8201}]})
OPEN = theirs("open", {"ports": [{"port": 8200}]})


def answer(policies: list[Policy]) -> Answer:
    peer = Peer(None, 8200, "TCP", CORE.pod)
    return evaluate(VAULT_POD, peer, policies, direction=Direction.INGRESS).answer


@pytest.mark.parametrize(
    ("policies", "action", "obsolete"),
    [
        ([], Action.NOTHING, False),
        ([policy("deny", direction="Ingress")], Action.NOTHING, False),
        ([policy("e", namespace="vault")], Action.NOTHING, False),
        ([OPEN], Action.NOTHING, False),
        ([OWN], Action.NOTHING, True),
        ([CLOSED], Action.NETWORK_POLICY, False),
        ([CLOSED, RAFT_ONLY], Action.NETWORK_POLICY, False),
        ([CLOSED, OWN], Action.NETWORK_POLICY, False),
        ([OPEN, OWN], Action.NETWORK_POLICY, False),
    ],
    ids=[
        "not isolated",
        "of another namespace",
        "for egress",
        "open",
        "ours alone",
        "closed",
        "closed but for raft",
        "ours is there",
        "open, and ours is there",
    ],
)
def test_decision(policies: list[Policy], action: Action, *, obsolete: bool) -> None:
    """Only where others isolate Vault already: a first policy would cut off its other clients."""
    decision = decide(CORE, VAULT, policies)
    assert (decision.action, bool(decision.obsolete)) == (action, obsolete)
    assert decision.why
    if decision.objects:
        others = [each for each in policies if each is not OWN]
        assert answer([*others, *decision.objects]) is Answer.ALLOWED


def test_the_policy_lets_in_the_operand_alone() -> None:
    assert OWN["metadata"]["namespace"] == "vault"
    assert OWN["metadata"]["name"] == f"vaultprov-ingress-{NAMESPACE}"
    assert OWN["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "vault"}}
    assert answer([CLOSED, OWN]) is Answer.ALLOWED
    for other in (Pod(NAMESPACE, {"app": "web"}), Pod("elsewhere", dict(CORE.pod.labels))):
        peer = Peer(None, 8200, "TCP", other)
        verdict = evaluate(VAULT_POD, peer, [CLOSED, OWN], direction=Direction.INGRESS)
        assert verdict.answer is Answer.DENIED


def test_nothing_where_only_some_of_vaults_pods_are_isolated() -> None:
    """The Service's selector would isolate the others."""
    free = Pod("vault", {"app.kubernetes.io/name": "vault", "zone": "b"})
    both = dataclasses.replace(
        VAULT, endpoints=(*VAULT.endpoints, Peer("10.128.0.8", 8200, "TCP", free))
    )
    deny = policy(
        "deny",
        namespace="vault",
        direction="Ingress",
        selector={"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]},
    )
    decision = decide(CORE, both, [deny])
    assert decision.action is Action.NOTHING
    assert "only some" in decision.why


def test_a_sealed_vault_has_no_endpoints() -> None:
    """Then the Service's selector stands for its pods."""
    nobody = dataclasses.replace(VAULT, endpoints=())
    assert decide(CORE, nobody, [CLOSED]).objects == (OWN,)


def test_a_mesh_that_may_decide_otherwise_is_named() -> None:
    name = "AuthorizationPolicy vault/deny-all"
    assert any(name in each for each in decide(CORE, VAULT, [CLOSED], [name]).warnings)
