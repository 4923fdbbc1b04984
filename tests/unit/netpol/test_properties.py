"""What holds for all policies."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.netpol.cases import AWAY, HOME, Policy, peers, pods, policies, rules
from tests.unit.netpol.oracle import allowed
from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

home_pods = pods((HOME,))
sets = st.lists(policies(), max_size=3)
directions = st.sampled_from(Direction)
BY_ORACLE = {True: Answer.ALLOWED, False: Answer.DENIED, None: Answer.UNKNOWN}
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(home_pods, peers, sets, directions)
def test_an_independent_evaluation_agrees(
    pod: Pod, peer: Peer, found: list[Policy], direction: Direction
) -> None:
    assume(peer.address is not None)
    verdict = evaluate(pod, peer, found, direction=direction)
    assert verdict.answer is BY_ORACLE[allowed(pod, peer, found, direction)]


@given(home_pods, peers, sets, st.lists(policies(AWAY), max_size=2), directions)
def test_policies_of_other_namespaces_never_matter(
    pod: Pod, peer: Peer, found: list[Policy], others: list[Policy], direction: Direction
) -> None:
    alone = evaluate(pod, peer, found, direction=direction)
    assert evaluate(pod, peer, [*others, *found], direction=direction) == alone


@given(home_pods, peers, sets, directions, st.randoms(use_true_random=False))
def test_order_never_matters(
    pod: Pod, peer: Peer, found: list[Policy], direction: Direction, chance: Any
) -> None:
    shuffled = copy.deepcopy(found)
    chance.shuffle(shuffled)
    for each in shuffled:
        chance.shuffle(each["spec"][direction.value])
    first = evaluate(pod, peer, found, direction=direction)
    second = evaluate(pod, peer, shuffled, direction=direction)
    assert (first.answer, first.isolating) == (second.answer, second.isolating)


@given(home_pods, peers, sets, policies(), directions)
def test_another_policy_never_denies_to_a_pod_that_is_isolated(
    pod: Pod, peer: Peer, found: list[Policy], more: Policy, direction: Direction
) -> None:
    before = evaluate(pod, peer, found, direction=direction)
    after = evaluate(pod, peer, [*found, more], direction=direction)
    assert set(before.isolating) <= set(after.isolating)
    if before.isolating and before.answer is Answer.ALLOWED:
        assert after.answer is Answer.ALLOWED
    if not before.isolating:
        assert before.answer is Answer.ALLOWED  # so nothing that isolates can open more


@given(home_pods, peers, sets, rules())
def test_another_rule_of_an_isolating_policy_never_takes_away(
    pod: Pod, peer: Peer, found: list[Policy], rule: Any
) -> None:
    before = evaluate(pod, peer, found)
    wider = copy.deepcopy(found)
    for each in wider:
        if f"{HOME}/{each['metadata']['name']}" in before.isolating:
            each["spec"].setdefault("policyTypes", ["Ingress", "Egress"])
            if "Egress" in each["spec"]["policyTypes"]:
                each["spec"]["egress"].append(rule)
    after = evaluate(pod, peer, wider)
    if before.answer is Answer.ALLOWED and before.isolating:
        assert after.answer is Answer.ALLOWED
    if after.answer is Answer.DENIED:
        assert before.answer is Answer.DENIED


@given(home_pods, peers, sets)
def test_an_empty_rule_allows_everything(pod: Pod, peer: Peer, found: list[Policy]) -> None:
    everything = {"metadata": {"name": "z", "namespace": HOME}, "spec": {"egress": [{}]}}
    assert evaluate(pod, peer, [*found, everything]).answer is Answer.ALLOWED


@given(home_pods, peers, sets, directions)
def test_no_policy_isolates_a_pod_that_it_does_not_select(
    pod: Pod, peer: Peer, found: list[Policy], direction: Direction
) -> None:
    verdict = evaluate(pod, peer, found, direction=direction)
    assert set(verdict.isolating) <= {f"{HOME}/{each['metadata']['name']}" for each in found}
    assert bool(verdict.allowed_by) <= bool(verdict.isolating)
    assert verdict.reason


@given(home_pods, peers, sets, st.sampled_from(["EgressFirewall a/b", "NewKind c"]))
def test_what_is_not_modelled_never_allows(
    pod: Pod, peer: Peer, found: list[Policy], name: str
) -> None:
    assert evaluate(pod, peer, found, unmodelled=[name]).answer is not Answer.ALLOWED


@given(home_pods, peers, st.lists(json, max_size=2), json, json, directions)
def test_nothing_that_json_can_hold_raises(
    pod: Pod, peer: Peer, found: list[Any], rule: Any, selector: Any, direction: Direction
) -> None:
    near: Any = {
        "metadata": {"name": "n", "namespace": HOME},
        "spec": {"podSelector": selector, "egress": [rule], "ingress": [{"from": rule}]},
    }
    evaluate(pod, peer, [*found, near], direction=direction)
    unreadable: Any = {"metadata": {"name": "u"}, "spec": {"egress": ["?"]}}
    assert evaluate(pod, peer, [unreadable]).answer is Answer.UNKNOWN


@given(home_pods, st.builds(Peer, st.text(max_size=20), st.just(8200)))
def test_no_text_for_an_address_raises(pod: Pod, peer: Peer) -> None:
    deny = {"metadata": {"name": "d", "namespace": HOME}, "spec": {"policyTypes": ["Egress"]}}
    assert evaluate(pod, peer, [deny]).answer is Answer.DENIED
