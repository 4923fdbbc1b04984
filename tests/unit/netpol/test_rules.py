"""What NetworkPolicies mean, one rule per test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.netpol.cases import (
    AWAY,
    CORE,
    HOME,
    VAULT_POD,
    block,
    egress,
    expression,
    in_pod,
    policy,
    vm,
)
from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

ALLOWED, DENIED, UNKNOWN = Answer.ALLOWED, Answer.DENIED, Answer.UNKNOWN


def answer(rule: Any, peer: Peer) -> Answer:
    return evaluate(CORE, peer, [egress(rule)]).answer


def test_a_pod_that_nothing_isolates_may_go_anywhere() -> None:
    verdict = evaluate(CORE, vm(), [])
    assert (verdict.answer, verdict.isolating, verdict.allowed_by) == (ALLOWED, (), "")


def test_policies_of_other_namespaces_do_not_matter() -> None:
    assert evaluate(CORE, vm(), [egress(namespace=AWAY)]).answer is ALLOWED


def test_a_policy_without_namespace_is_taken_for_one_of_the_pods() -> None:
    bare = egress()
    del bare["metadata"]["namespace"]
    assert evaluate(CORE, vm(), [bare]).answer is DENIED


@pytest.mark.parametrize(
    ("selector", "answer"),
    [
        ({}, DENIED),
        ({"matchLabels": {"app": "core"}}, DENIED),
        ({"matchLabels": {"app": "web"}}, ALLOWED),
        ({"matchLabels": {"app": "core", "tier": "x"}}, ALLOWED),
        (expression("In", "web", "core"), DENIED),
        (expression("In", "web"), ALLOWED),
        (expression("NotIn", "core"), ALLOWED),
        (expression("NotIn", "web"), DENIED),
        (expression("NotIn", "web", key="absent"), DENIED),
        (expression("Exists"), DENIED),
        (expression("Exists", key="absent"), ALLOWED),
        (expression("DoesNotExist"), ALLOWED),
        (expression("DoesNotExist", key="absent"), DENIED),
        ({"matchLabels": {"app": "core"}, **expression("NotIn", "core")}, ALLOWED),
    ],
)
def test_a_policy_isolates_the_pods_that_it_selects(selector: Any, answer: Answer) -> None:
    assert evaluate(CORE, vm(), [egress(selector=selector)]).answer is answer


@pytest.mark.parametrize(
    ("types", "rules", "outward", "inward"),
    [
        (["Egress"], [], DENIED, ALLOWED),
        (["Ingress"], [{"ports": []}], ALLOWED, DENIED),
        (["Egress", "Ingress"], [], DENIED, DENIED),
        (None, [], ALLOWED, DENIED),
        ([], [], ALLOWED, DENIED),
        (None, [{"ports": [{"port": 1}]}], DENIED, DENIED),
    ],
)
def test_policy_types_say_which_direction_is_isolated(
    types: list[str] | None, rules: list[Any], outward: Answer, inward: Answer
) -> None:
    found = [policy(types=types, egress=rules)]
    assert evaluate(CORE, vm(), found).answer is outward
    assert evaluate(CORE, vm(), found, direction=Direction.INGRESS).answer is inward


def test_no_egress_or_a_null_one_allows_nothing() -> None:
    assert evaluate(CORE, vm(), [policy()]).answer is DENIED
    assert evaluate(CORE, vm(), [policy(egress=None)]).answer is DENIED


@pytest.mark.parametrize("rule", [{}, {"to": [], "ports": []}, {"to": None, "ports": None}])
@pytest.mark.parametrize(
    "peer", [vm(), vm(address=None), vm(53, "UDP"), vm(1, "SCTP"), in_pod(), in_pod(Pod(HOME))]
)
def test_an_empty_rule_allows_everything(rule: Any, peer: Peer) -> None:
    assert answer(rule, peer) is ALLOWED


def test_one_rule_of_one_policy_is_enough() -> None:
    right = {"to": [block("192.0.2.10/32")]}
    found = [egress(name="deny"), egress({"ports": [{"port": 1}]}, right, name="open")]
    verdict = evaluate(CORE, vm(), found)
    assert (verdict.answer, verdict.allowed_by) == (ALLOWED, "home/open egress rule 2")
    assert verdict.isolating == ("home/deny", "home/open")


def test_ports_and_peers_of_a_rule_both_have_to_match() -> None:
    rule = {"to": [block("192.0.2.10/32")], "ports": [{"port": 8200}]}
    assert answer(rule, vm()) is ALLOWED
    assert answer(rule, vm(443)) is DENIED
    assert answer(rule, vm(address="192.0.2.11")) is DENIED


@pytest.mark.parametrize(
    ("port", "peer", "expected"),
    [
        ({"port": 8200}, vm(), ALLOWED),
        ({"port": 8200}, vm(protocol="UDP"), DENIED),
        ({"port": 8200, "protocol": None}, vm(), ALLOWED),
        ({}, vm(1), ALLOWED),
        ({}, vm(1, "UDP"), DENIED),
        ({"protocol": "UDP"}, vm(53, "UDP"), ALLOWED),
        ({"protocol": "SCTP"}, vm(53, "SCTP"), ALLOWED),
        ({"protocol": "SCTP"}, vm(53), DENIED),
        ({"port": 8199, "endPort": 8201}, vm(), ALLOWED),
        ({"port": 8200, "endPort": 8200}, vm(), ALLOWED),
        ({"port": 8000, "endPort": 8200}, vm(), ALLOWED),
        ({"port": 8000, "endPort": 8199}, vm(), DENIED),
        ({"port": 8201, "endPort": 9000}, vm(), DENIED),
        ({"port": "api"}, in_pod(), ALLOWED),
        ({"port": "api"}, in_pod(port=443), DENIED),
        ({"port": "api", "protocol": "UDP"}, in_pod(protocol="UDP"), DENIED),
        ({"port": "api", "protocol": "UDP"}, in_pod(), DENIED),
        ({"port": "other"}, in_pod(), DENIED),
        ({"port": "api"}, vm(), DENIED),
    ],
)
def test_ports(port: Any, peer: Peer, expected: Answer) -> None:
    assert answer({"ports": [port]}, peer) is expected


@pytest.mark.parametrize(
    ("address", "cidr", "holes", "expected"),
    [
        ("192.0.2.10", "192.0.2.10/32", (), ALLOWED),
        ("192.0.2.10", "192.0.2.99/24", (), ALLOWED),
        ("192.0.2.10", "0.0.0.0/0", (), ALLOWED),
        ("192.0.2.10", "0.0.0.0/0", ("192.0.2.0/24",), DENIED),
        ("192.0.2.10", "0.0.0.0/0", ("10.0.0.0/8", "192.0.2.8/29"), DENIED),
        ("192.0.2.10", "0.0.0.0/0", ("10.0.0.0/8",), ALLOWED),
        ("192.0.2.10", "::/0", (), DENIED),
        ("2001:db8::1", "0.0.0.0/0", (), DENIED),
        ("2001:db8::1", "2001:db8::/32", (), ALLOWED),
        ("::ffff:192.0.2.10", "192.0.2.0/24", (), ALLOWED),
        (None, "0.0.0.0/0", (), UNKNOWN),
        ("vault.example.com", "0.0.0.0/0", (), UNKNOWN),
    ],
)
def test_ip_blocks(
    address: str | None, cidr: str, holes: tuple[str, ...], expected: Answer
) -> None:
    assert answer({"to": [block(cidr, *holes)]}, vm(address=address)) is expected


def test_a_port_that_does_not_match_leaves_no_doubt_about_the_address() -> None:
    assert answer({"to": [block("0.0.0.0/0")], "ports": [{"port": 1}]}, vm(address=None)) is DENIED


@pytest.mark.parametrize(
    ("end", "pod", "expected"),
    [
        ({"podSelector": {}}, Pod(HOME), ALLOWED),
        ({"podSelector": {}}, Pod(AWAY), DENIED),
        ({"namespaceSelector": {}}, Pod(AWAY), ALLOWED),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, VAULT_POD, ALLOWED),
        ({"namespaceSelector": {"matchLabels": {"team": "z"}}}, VAULT_POD, DENIED),
        ({"namespaceSelector": expression("In", AWAY, key="kubernetes.io/metadata.name")},
         Pod(AWAY), ALLOWED),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "vault"}}},
         VAULT_POD, ALLOWED),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}},
         VAULT_POD, DENIED),
        ({"namespaceSelector": expression("Exists", key="x"), "podSelector": {}},
         VAULT_POD, DENIED),
        ({"podSelector": {}}, None, DENIED),
        ({"namespaceSelector": {}}, None, DENIED),
        ({"namespaceSelector": {}, "podSelector": {}}, None, DENIED),
    ],
)  # fmt: skip
def test_selectors_of_peers(end: Any, pod: Pod | None, expected: Answer) -> None:
    assert answer({"to": [end]}, Peer("10.128.0.7", 8200, pod=pod)) is expected


def test_two_selectors_in_one_entry_are_and_two_entries_are_or() -> None:
    team, app = {"matchLabels": {"team": "z"}}, {"matchLabels": {"app": "vault"}}
    both: list[Any] = [{"namespaceSelector": team, "podSelector": app}]
    either: list[Any] = [{"namespaceSelector": team}, {"namespaceSelector": {}, "podSelector": app}]
    assert answer({"to": both}, in_pod()) is DENIED
    assert answer({"to": either}, in_pod()) is ALLOWED


@pytest.mark.parametrize("cidr", ["10.128.0.0/14", "0.0.0.0/0"])
def test_whether_an_ip_block_covers_a_pod_is_up_to_the_plugin(cidr: str) -> None:
    verdict = evaluate(CORE, in_pod(), [egress({"to": [block(cidr)]})])
    assert verdict.answer is UNKNOWN
    assert "depends on the network plugin" in verdict.reason


def test_it_does_not_matter_where_another_rule_decides() -> None:
    broad = {"to": [block("10.128.0.0/14")]}
    assert evaluate(CORE, in_pod(), [egress(broad, {})]).answer is ALLOWED
    assert answer({**broad, "ports": [{"port": 1}]}, in_pod()) is DENIED
    assert answer({"to": [block("172.16.0.0/12")]}, in_pod()) is DENIED


def test_ingress_looks_at_the_source_and_at_named_ports_of_the_selected_pod() -> None:
    rule = {"from": [{"namespaceSelector": {}}], "ports": [{"port": "api"}]}
    found = [policy(types=["Ingress"], ingress=[rule])]
    source = Pod(AWAY)
    assert evaluate(CORE, in_pod(source), found, direction=Direction.INGRESS).answer is ALLOWED
    assert evaluate(CORE, in_pod(source, 1), found, direction=Direction.INGRESS).answer is DENIED
    assert evaluate(CORE, vm(), found, direction=Direction.INGRESS).answer is DENIED
    assert evaluate(CORE, vm(), found).answer is ALLOWED
