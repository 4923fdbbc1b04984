"""What a verdict tells, and when it is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.netpol.cases import AWAY, CORE, HOME, block, egress, in_pod, policy, vm
from vaultprov.netpol import Answer, Direction, Pod, evaluate
from vaultprov.netpol.unmodelled import EFFECTS, Effect

BROKEN_RULES: list[tuple[Any, str]] = [
    (None, "spec.egress[0] is null"),
    ("all", "spec.egress[0] is no object but 'all'"),
    ({"port": [{"port": 8200}]}, "unknown field 'port'"),
    ({"from": []}, "unknown field 'from'"),
    ({"to": {}}, "spec.egress[0].to is no list"),
    ({"to": [{}]}, "spec.egress[0].to[0] names no peer"),
    ({"to": [{"fqdn": "vault"}]}, "unknown field 'fqdn'"),
    ({"to": [{"podSelector": []}]}, "podSelector is no object"),
    ({"to": [{**block("10.0.0.0/8"), "podSelector": {}}]}, "an ipBlock stands alone"),
    ({"to": [block("192.0.2.10")]}, "'192.0.2.10' is no CIDR"),
    ({"to": [block("192.0.2.0/33")]}, "'192.0.2.0/33' is no CIDR"),
    ({"to": [block("192.0.2.0/255.255.255.0")]}, "is no CIDR"),
    ({"to": [block("::ffff:192.0.2.0/120")]}, "is no CIDR"),
    ({"to": [{"ipBlock": {"cidr": 1}}]}, "cidr is no text but 1"),
    ({"to": [{"ipBlock": {}}]}, "cidr is no text but None"),
    ({"to": [block("192.0.2.0/24", "10.0.0.0/8")]}, "10.0.0.0/8 is no part of 192.0.2.0/24"),
    ({"to": [block("192.0.2.0/24", "192.0.2.0/24")]}, "is no part of"),
    ({"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"}}]}, "is no list"),
    ({"ports": [8200]}, "spec.egress[0].ports[0] is no object but 8200"),
    ({"ports": [{"port": "8200"}]}, "'8200' is neither a port number nor a port name"),
    ({"ports": [{"port": 0}]}, "0 is no port"),
    ({"ports": [{"port": 65536}]}, "65536 is no port"),
    ({"ports": [{"port": True}]}, "True is no port"),
    ({"ports": [{"port": 8200.0}]}, "8200.0 is no port"),
    ({"ports": [{"port": 9, "endPort": 8}]}, "endPort 8 is below port 9"),
    ({"ports": [{"port": "api", "endPort": 9}]}, "endPort needs a numeric port"),
    ({"ports": [{"endPort": 9}]}, "endPort needs a numeric port"),
    ({"ports": [{"protocol": "tcp"}]}, "unknown protocol 'tcp'"),
    ({"ports": [{"protocol": ["TCP"]}]}, "unknown protocol ['TCP']"),
]
BROKEN_SELECTORS: list[tuple[Any, str]] = [
    ({"matchLabels": []}, "matchLabels is no object"),
    ({"matchLabels": {"app": 1}}, "matchLabels[app] is no text but 1"),
    ({"app": "core"}, "unknown field 'app'"),
    ({"matchExpressions": {}}, "matchExpressions is no list"),
    ({"matchExpressions": [None]}, "matchExpressions[0] is null"),
    ({"matchExpressions": [{"operator": "Exists"}]}, "key is no text but None"),
    ({"matchExpressions": [{"key": "app", "operator": "in"}]}, "unknown operator 'in'"),
    ({"matchExpressions": [{"key": "app", "operator": ["In"]}]}, "operator is no text"),
    ({"matchExpressions": [{"key": "app", "operator": "In"}]}, "In needs values"),
    (
        {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]},
        "Exists needs no values",
    ),
]
BROKEN_POLICIES: list[tuple[Any, str]] = [
    (None, "home/policy number 1 cannot be read: metadata.name"),
    ("policy", "the policy is no object"),
    ({"metadata": {"name": 1}}, "metadata.name is no text"),
    ({"metadata": {"name": "p", "namespace": 1}}, "metadata.namespace is no text"),
    ({"metadata": {"name": "p"}, "spec": []}, "home/p cannot be read: spec is no object"),
    (policy(types=["egress"]), "unknown type 'egress'"),
    ({**egress({}), "apiVersion": "projectcalico.org/v3"}, "its apiVersion is"),
    ({**egress({}), "kind": "NetworkPolicyList"}, "its kind is"),
    (egress({}, order=100), "spec has the unknown field 'order'"),
    (policy(egress={}), "spec.egress is no list"),
]
BROKEN = [
    *((egress(rule), told) for rule, told in BROKEN_RULES),
    *((egress({"to": [{"podSelector": s}]}), told) for s, told in BROKEN_SELECTORS),
    *((policy(selector=s, egress=[{}]), told) for s, told in BROKEN_SELECTORS),
    *BROKEN_POLICIES,
]


@pytest.mark.parametrize(("found", "told"), BROKEN)
def test_a_malformed_policy_makes_the_answer_unknown(found: Any, told: str) -> None:
    verdict = evaluate(CORE, vm(), [found])
    assert verdict.answer is Answer.UNKNOWN
    assert told in verdict.reason
    assert verdict.isolating == ()


@pytest.mark.parametrize(("found", "told"), BROKEN)
def test_beside_a_denial_too_but_not_beside_a_rule_that_allows(found: Any, told: str) -> None:
    deny, allow = egress(name="deny"), egress({}, name="allow")
    verdict = evaluate(CORE, vm(), [deny, found])
    assert (verdict.answer, verdict.isolating) == (Answer.UNKNOWN, ("home/deny",))
    assert evaluate(CORE, vm(), [found, allow]).answer is Answer.ALLOWED


def test_a_rule_of_a_malformed_policy_does_not_allow() -> None:
    mixed = egress({}, {"ports": [{"port": "8200"}]})
    assert evaluate(CORE, vm(), [mixed]).answer is Answer.UNKNOWN
    other_half = policy(types=["Ingress", "Egress"], egress=[{}], ingress="none")
    assert evaluate(CORE, vm(), [other_half]).answer is Answer.UNKNOWN


@pytest.mark.parametrize(
    "apart",
    [
        {"namespace": AWAY},
        {"selector": {"matchLabels": {"app": "web"}}},
        {"types": ["Ingress"]},
    ],
)
def test_a_malformed_policy_that_is_about_others_does_not_matter(apart: dict[str, Any]) -> None:
    assert evaluate(CORE, vm(), [egress("all", **apart)]).answer is Answer.ALLOWED


def test_a_pod_on_its_nodes_network() -> None:
    pod = Pod(HOME, {"app": "core"}, host_network=True)
    for found in (egress(), egress({})):
        verdict = evaluate(pod, vm(), [found])
        assert verdict.answer is Answer.UNKNOWN
        assert "node's network" in verdict.reason
    assert evaluate(pod, vm(), []).answer is Answer.ALLOWED  # whether policies apply or not


def test_a_peer_on_its_nodes_network() -> None:
    peer = in_pod(Pod(AWAY, host_network=True))
    selecting = egress({"to": [{"namespaceSelector": {}}]})
    assert evaluate(CORE, peer, [selecting]).answer is Answer.UNKNOWN
    assert evaluate(CORE, peer, [egress({"to": [{"podSelector": {}}]})]).answer is Answer.DENIED
    assert evaluate(CORE, peer, [egress({})]).answer is Answer.ALLOWED


RESTRICT = sorted(kind for kind, effect in EFFECTS.items() if effect is Effect.RESTRICTS)
OVERRIDE = sorted(kind for kind, effect in EFFECTS.items() if effect is Effect.OVERRIDES)


@pytest.mark.parametrize("kind", [*RESTRICT, *OVERRIDE, "NewPolicy"])
def test_an_unmodelled_object_leaves_no_allowance_standing(kind: str) -> None:
    for found in ([], [egress({})]):
        verdict = evaluate(CORE, vm(), found, unmodelled=[f"{kind} home/x"])
        assert (verdict.answer, verdict.objects) == (Answer.UNKNOWN, (f"{kind} home/x",))
        assert f"{kind} home/x may decide otherwise" in verdict.reason


@pytest.mark.parametrize("kind", RESTRICT)
def test_a_denial_stays_one_beside_what_only_restricts(kind: str) -> None:
    verdict = evaluate(CORE, vm(), [egress()], unmodelled=[f"{kind} home/x"])
    assert (verdict.answer, verdict.objects) == (Answer.DENIED, ())


@pytest.mark.parametrize("kind", [*OVERRIDE, "NewPolicy", ""])
def test_what_may_allow_turns_a_denial_and_is_named_alone(kind: str) -> None:
    objects = ["EgressFirewall home/default", f"{kind} x"]
    verdict = evaluate(CORE, vm(), [egress()], unmodelled=objects)
    assert (verdict.answer, verdict.objects) == (Answer.UNKNOWN, (f"{kind} x",))


@pytest.mark.parametrize("kind", ["EgressFirewall", "AdminNetworkPolicy", "CiliumNetworkPolicy"])
def test_the_kinds_that_clusters_have_are_in_the_table(kind: str) -> None:
    assert kind in EFFECTS


def test_unknown_stays_unknown_and_names_everything() -> None:
    objects = ["EgressFirewall home/default", "AdminNetworkPolicy x"]
    verdict = evaluate(CORE, vm(), [egress("all")], unmodelled=objects)
    assert (verdict.answer, verdict.objects) == (Answer.UNKNOWN, tuple(objects))
    assert "home/p cannot be read" in verdict.reason


def test_a_denial_names_the_policies_and_the_flow() -> None:
    verdict = evaluate(CORE, vm(), [egress(name="b"), egress(name="a")])
    assert verdict.isolating == ("home/a", "home/b")
    assert verdict.reason == (
        "home/a, home/b isolate the pod for egress, and no rule allows TCP 8200 to 192.0.2.10"
    )


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"to": [block("192.0.2.10/32")], "ports": [{"port": 443}]}, "the peer, but not the port"),
        ({"to": [block("192.0.2.11/32")], "ports": [{"port": 8200}]}, "the port, but not the peer"),
    ],
)
def test_a_denial_names_the_rule_that_comes_near(rule: Any, told: str) -> None:
    verdict = evaluate(CORE, vm(), [egress({"ports": [{"port": 6443}]}, rule)])
    assert verdict.reason.endswith(f"(home/p egress rule 2 names {told})")


def test_every_answer_has_a_sentence() -> None:
    found = [policy(types=["Ingress"], ingress=[{}])]
    told = evaluate(CORE, in_pod(), found, direction=Direction.INGRESS).reason
    assert told == "home/p ingress rule 1 allows TCP 8200 from 10.128.0.7 (a pod of away)"
    assert evaluate(CORE, vm(address=None), []).reason == (
        "no NetworkPolicy of namespace home isolates the pod for egress, "
        "so TCP 8200 to an unknown address is allowed"
    )
