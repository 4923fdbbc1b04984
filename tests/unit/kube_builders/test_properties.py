"""What holds for all policies and all destinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.netpol.cases import AWAY, HOME, labels, policies
from vaultprov.kube import ingress
from vaultprov.kube.decision import Action, Decision, Workload, network_policy
from vaultprov.kube.destinations import Destination, Pods, addresses, cidrs, to_peers
from vaultprov.kube.egress import NAME, Request, decide
from vaultprov.model import EgressMode
from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

Policy = Mapping[str, Any]
sets = st.lists(policies(), max_size=3)
ports = st.sampled_from([53, 443, 8200])
known = st.sampled_from(
    ["192.0.2.10", "192.0.2.77", "198.51.100.1", "2001:db8::1", "2001:db8:1::1"]
)
ranges = st.sampled_from(["192.0.2.0/24", "192.0.2.8/29", "0.0.0.0/0", "2001:db8::/32", "::/0"])
few = settings(max_examples=40)  # each is some twenty evaluations
modes = st.sampled_from([EgressMode.AUTO, EgressMode.NETWORK_POLICY, EgressMode.CONFIG_ENTRY])


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    pod = Pod(HOME, {"app": "core", **draw(labels)}, namespace_labels=draw(labels))
    return Workload(pod, {"matchLabels": {"app": pod.labels["app"]}})


@st.composite
def in_cluster(draw: st.DrawFn) -> Pods:
    chosen = {"app": draw(st.sampled_from(["vault", "web"]))}
    there, port = draw(labels), draw(ports)
    pods = [Pod(AWAY, {**draw(labels), **chosen}, namespace_labels=there) for _ in range(2)]
    found = tuple(Peer(f"10.0.0.{n}", port, "TCP", pod) for n, pod in enumerate(pods, 1))
    return Pods(AWAY, chosen, port, there, draw(st.sampled_from([(), found[:1], found])))


@st.composite
def destinations(draw: st.DrawFn) -> tuple[Destination, ...]:
    found: list[Destination] = []
    for kind in draw(
        st.lists(st.sampled_from(["nodes", "ranges", "pods"]), min_size=1, max_size=2)
    ):
        if kind == "nodes":
            found += addresses(draw(st.lists(known, min_size=1, max_size=3)), draw(ports))
        elif kind == "ranges":
            found += cidrs(draw(st.lists(ranges, min_size=1, max_size=2)), draw(ports))
        else:
            found.append(draw(in_cluster()))
    return tuple(found)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    dns = draw(st.sampled_from([(), (Pods(AWAY, {"app": "web"}, 53, {}),)]))
    return Request(draw(workloads()), draw(sets), draw(destinations()), "Vault", dns, draw(modes))


def in_force(request: Request, decision: Decision) -> list[Policy]:
    """The policies once a decision is carried out; of an entry the operator makes a policy."""
    made: list[Policy] = []
    for body in decision.objects:
        rules = body["spec"].get("egress")
        if rules is None:
            rules = body["spec"]["controllerConfig"]["networkPolicies"][0]["egress"]
        made.append(network_policy(NAME, HOME, request.operand.selector, rules))
    return [*(p for p in request.policies if p["metadata"]["name"] != NAME), *made]


def isolated(request: Request) -> bool:
    peer = Peer("203.0.113.1", 1)
    return bool(evaluate(request.operand.pod, peer, list(request.policies)).isolating)


def flows(request: Request, policies: Sequence[Policy]) -> list[Peer]:
    return [peer for each in request.destinations for peer in to_peers(each, policies)]


@few
@given(requests())
def test_after_a_decision_every_destination_is_allowed(request: Request) -> None:
    """Whether something was created or nothing had to be."""
    after = in_force(request, decide(request))
    for peer in flows(request, after):
        assert evaluate(request.operand.pod, peer, after).answer is Answer.ALLOWED


@few
@given(requests())
def test_never_a_policy_where_nothing_isolates(request: Request) -> None:
    decision = decide(request)
    if not isolated(request):
        assert (decision.action, decision.objects) == (Action.NOTHING, ())


@few
@given(requests(), st.builds(Peer, known, ports))
def test_nothing_that_was_open_is_closed(request: Request, peer: Peer) -> None:
    before = evaluate(request.operand.pod, peer, list(request.policies)).answer
    after = evaluate(request.operand.pod, peer, in_force(request, decide(request))).answer
    if before is Answer.ALLOWED:
        assert after is Answer.ALLOWED


@few
@given(requests())
def test_a_second_decision_is_the_first(request: Request) -> None:
    first = decide(request)
    ours = [body for body in first.objects if body["kind"] == "NetworkPolicy"]
    again = Request(
        request.operand,
        [*request.policies, *ours],
        request.destinations,
        request.target,
        request.dns,
        request.mode,
    )
    second = decide(again)
    assert (second.action, second.objects, second.obsolete) == (first.action, first.objects, ())


@few
@given(requests())
def test_a_policy_is_created_only_where_something_is_closed(request: Request) -> None:
    decision = decide(request)
    found = list(request.policies)
    answers = {evaluate(request.operand.pod, p, found).answer for p in flows(request, found)}
    assert bool(decision.objects) is (answers != {Answer.ALLOWED})


@few
@given(workloads(), in_cluster(), st.lists(policies(AWAY), max_size=3))
def test_vaults_side(operand: Workload, vault: Pods, found: list[Policy]) -> None:
    """After it the operand is let in, and no client of Vault's that was let in is shut out."""
    decision = ingress.decide(operand, vault, found)
    after = [*found, *decision.objects]
    if decision.action is Action.NOTHING and decision.warnings:
        return
    for target in to_peers(vault, ()):
        assert target.pod is not None
        for source in (operand.pod, Pod(HOME, {"app": "web"})):
            peer = Peer(None, vault.port, "TCP", source)
            before, now = (
                evaluate(target.pod, peer, each, direction=Direction.INGRESS).answer
                for each in (found, after)
            )
            assert now is Answer.ALLOWED or source is not operand.pod
            assert now is Answer.ALLOWED or before is not Answer.ALLOWED
