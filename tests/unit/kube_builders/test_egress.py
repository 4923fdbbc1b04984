"""When the operand gets a policy, and which."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from tests.unit.kube_builders.world import (
    API,
    CORE,
    DENY_ALL,
    DNS,
    NAMESPACE,
    NODES,
    OPENED_BY_OTHERS,
    SHIPPED,
    VAULT,
    Policy,
    answers,
    policy,
    request,
)
from vaultprov.errors import ConfigError
from vaultprov.kube.decision import Action, Workload
from vaultprov.kube.destinations import OPENSHIFT_DNS, Destination, addresses, cidrs
from vaultprov.kube.egress import NAME, Request, decide
from vaultprov.model import EgressMode
from vaultprov.netpol import Answer, Peer, Pod, evaluate

SAME_PORT = [{"protocol": "TCP", "port": 8200}]


def ours(*shipped: Policy) -> Policy:
    """Our policy, as an earlier run made it."""
    (made,) = decide(request(*(shipped or SHIPPED))).objects
    return made


def made_by_the_operator(name: str) -> Policy:
    labels = {"app.kubernetes.io/managed-by": "external-secrets-operator"}
    return policy(name, labels=labels, selector=dict(CORE.selector))


def test_nothing_where_nothing_isolates() -> None:
    """The first policy would cut DNS and the API server."""
    decision = decide(request())
    assert (decision.action, decision.objects) == (Action.NOTHING, ())
    assert "DNS and the API server" in decision.why


def test_a_policy_for_other_pods_isolates_nothing() -> None:
    others = policy("deny-web", selector={"matchLabels": {"app": "web"}})
    assert decide(request(others)).action is Action.NOTHING


def test_a_policy_of_another_namespace_isolates_nothing() -> None:
    assert decide(request(policy("deny", namespace="elsewhere"))).action is Action.NOTHING


def test_a_policy_where_others_isolate() -> None:
    """Denied before, allowed after, and the API server and DNS as before."""
    decision = decide(request(*SHIPPED))
    assert decision.action is Action.NETWORK_POLICY
    assert answers(SHIPPED) == {Answer.DENIED}
    after = [*SHIPPED, *decision.objects]
    assert answers(after) == {Answer.ALLOWED}
    assert evaluate(CORE.pod, API, after).answer is Answer.ALLOWED
    assert answers(after, (DNS,)) == answers(SHIPPED, (DNS,))
    assert decision.warnings == ()


def test_the_policy() -> None:
    """One block for each address, sorted, the pods of the live Deployment, labels of ours alone."""
    assert ours() == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "vaultprov"},
            "annotations": {"argocd.argoproj.io/sync-wave": "20"},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "external-secrets"}},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": f"192.0.2.{n}/32"}} for n in (10, 11, 12)],
                    "ports": SAME_PORT,
                }
            ],
        },
    }


def test_nothing_that_others_allow_already() -> None:
    decision = decide(request(*SHIPPED, OPENED_BY_OTHERS))
    assert decision.action is Action.NOTHING
    assert f"{NAMESPACE}/allow-egress-to-vault-vm egress rule 1" in decision.why


def test_one_closed_node_of_three_is_enough() -> None:
    narrow = copy.deepcopy(OPENED_BY_OTHERS)
    narrow["spec"]["egress"][0]["to"] = [{"ipBlock": {"cidr": "192.0.2.10/31"}}]
    decision = decide(request(*SHIPPED, narrow))
    assert answers([*SHIPPED, narrow, *decision.objects]) == {Answer.ALLOWED}
    assert len(decision.objects[0]["spec"]["egress"][0]["to"]) == len(NODES)


@pytest.mark.parametrize("more", [[], [OPENED_BY_OTHERS]], ids=["alone", "others open it, too"])
def test_a_second_run_wants_the_same(more: list[Policy]) -> None:
    """Our own policy does not count, or the second run would find everything open and drop it."""
    again = decide(request(*SHIPPED, *more, ours()))
    assert again.objects == (ours(),)
    assert again.obsolete == ()


def test_another_address_is_another_policy() -> None:
    moved = decide(request(*SHIPPED, ours(), to=addresses(["192.0.2.99"], 8200)))
    assert moved.objects[0] != ours()
    assert "192.0.2.99/32" in str(moved.objects)


def test_our_policy_alone_has_to_go() -> None:
    """It isolates the pods itself, so it cuts DNS and the API server."""
    decision = decide(request(ours()))
    assert decision.action is Action.NOTHING
    assert [each["metadata"]["name"] for each in decision.obsolete] == [NAME]
    assert evaluate(CORE.pod, API, [ours()]).answer is Answer.DENIED
    assert "VP-NET-002" in decision.why


def test_a_policy_of_our_name_that_is_not_ours_is_not_deleted() -> None:
    decision = decide(request(policy(NAME)))
    assert (decision.action, decision.obsolete) == (Action.NOTHING, ())
    assert "by hand" in decision.warnings[0]


def test_a_policy_of_our_name_in_another_namespace_is_not_ours() -> None:
    elsewhere = copy.deepcopy(ours())
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert decide(request(elsewhere)).obsolete == ()


def test_mode_none_creates_nothing() -> None:
    assert decide(request(*SHIPPED, mode=EgressMode.NONE)).action is Action.NOTHING


@pytest.mark.parametrize(
    ("policies", "rule"),
    [(SHIPPED, False), ([DENY_ALL], True)],
    ids=["open", "closed"],
)
def test_dns_is_opened_only_where_it_is_closed(policies: list[Policy], *, rule: bool) -> None:
    decision = decide(request(*policies))
    rules = decision.objects[0]["spec"]["egress"]
    assert (len(rules) == 2) is rule
    after = [*policies, *decision.objects]
    dns = Peer("10.128.0.5", 5353, "UDP", DNS.endpoints[0].pod)
    assert evaluate(CORE.pod, dns, after).answer is Answer.ALLOWED


def test_no_dns_for_a_server_without_a_name() -> None:
    assert len(decide(request(DENY_ALL, dns=())).objects[0]["spec"]["egress"]) == 1


def test_resolvers_that_nobody_could_look_up() -> None:
    """The labels that OpenShift gives them stand for the pods."""
    assert len(decide(request(*SHIPPED, dns=(OPENSHIFT_DNS,))).objects[0]["spec"]["egress"]) == 1


def test_vault_in_the_cluster_is_named_by_its_labels_and_target_port() -> None:
    decision = decide(request(*SHIPPED, to=(VAULT,)))
    (rule,) = decision.objects[0]["spec"]["egress"]
    assert rule == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vault"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "vault"}},
            }
        ],
        "ports": SAME_PORT,
    }
    assert answers(SHIPPED, (VAULT,)) == {Answer.DENIED}
    assert answers([*SHIPPED, *decision.objects], (VAULT,)) == {Answer.ALLOWED}


def test_an_endpoint_that_the_selector_does_not_cover_is_told() -> None:
    other = Peer("10.128.0.9", 8201, "TCP", VAULT.endpoints[0].pod)
    mixed = dataclasses.replace(VAULT, endpoints=(*VAULT.endpoints, other))
    warnings = decide(request(*SHIPPED, to=(mixed,))).warnings
    assert any("8201" in each and "does not cover" in each for each in warnings)


def test_each_port_has_its_rule() -> None:
    to = (*addresses(["192.0.2.10"], 8200), *addresses(["198.51.100.7"], 443))
    rules = decide(request(*SHIPPED, to=to)).objects[0]["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in rules] == [443, 8200]


@pytest.mark.parametrize(
    "name", ["EgressFirewall external-secrets/default", "AdminNetworkPolicy lockdown"]
)
def test_what_cannot_be_evaluated_is_named(name: str) -> None:
    """The policy is needed whatever the other object says, and may be not enough."""
    decision = decide(request(*SHIPPED, unmodelled=(name,)))
    assert decision.action is Action.NETWORK_POLICY
    assert any(name in each for each in decision.warnings)


def test_what_cannot_be_evaluated_isolates_nothing_as_far_as_we_know() -> None:
    decision = decide(request(unmodelled=("CiliumNetworkPolicy external-secrets/x",)))
    assert decision.action is Action.NOTHING
    assert "CiliumNetworkPolicy external-secrets/x" in decision.warnings[0]


UNREADABLE: Any = {"metadata": {"name": "u", "namespace": NAMESPACE}, "spec": {"egress": "?"}}
ON_NODE = Workload(Pod(NAMESPACE, dict(CORE.pod.labels), host_network=True), CORE.selector)


@pytest.mark.parametrize(
    "unsure",
    [request(UNREADABLE), request(*SHIPPED, operand=ON_NODE)],
    ids=["a policy that cannot be read", "pods on their node's network"],
)
def test_nothing_while_isolation_is_uncertain(unsure: Request) -> None:
    decision = decide(unsure)
    assert (decision.action, decision.objects) == (Action.NOTHING, ())
    assert decision.why.startswith("it cannot be told")


def test_an_unreadable_policy_beside_an_isolating_one_does_not_matter() -> None:
    assert decide(request(*SHIPPED, UNREADABLE)).action is Action.NETWORK_POLICY


def test_an_entry_in_the_operators_configuration() -> None:
    """The released CRD's spelling, the same rules, and a warning that it stays for ever."""
    decision = decide(request(*SHIPPED, mode=EgressMode.CONFIG_ENTRY))
    assert decision.objects == (
        {
            "apiVersion": "operator.openshift.io/v1alpha1",
            "kind": "ExternalSecretsConfig",
            "metadata": {"name": "cluster"},
            "spec": {
                "controllerConfig": {
                    "networkPolicies": [
                        {
                            "name": NAME,
                            "componentName": "ExternalSecretsCoreController",
                            "egress": ours()["spec"]["egress"],
                        }
                    ]
                }
            },
        },
    )
    assert any("cannot be renamed or removed" in each for each in decision.warnings)


@pytest.mark.parametrize("name", [NAME, f"eso-user-{NAME}"], ids=["1.1", "1.2"])
@pytest.mark.parametrize(
    "mode", [EgressMode.AUTO, EgressMode.NETWORK_POLICY, EgressMode.CONFIG_ENTRY]
)
def test_an_entry_that_exists_stays(name: str, mode: EgressMode) -> None:
    """It cannot be removed, and on 1.1 a policy of ours would fight with the operator's."""
    decision = decide(request(*SHIPPED, made_by_the_operator(name), mode=mode))
    assert decision.action is Action.CONFIG_ENTRY


def test_no_address_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no address of Vault"):
        request(to=())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["192.0.2.0/24"], {Answer.ALLOWED}),
        (["192.0.2.0/24", "2001:db8::/64"], {Answer.ALLOWED}),
    ],
)
def test_ranges_given_by_hand(given: list[str], told: set[Answer]) -> None:
    to: tuple[Destination, ...] = cidrs(given, 8200)
    decision = decide(request(*SHIPPED, to=to))
    assert answers([*SHIPPED, *decision.objects], to) == told


def test_a_range_that_is_open_in_part_is_closed() -> None:
    """The hole in somebody's policy counts, although both ends of the range are open."""
    holed = policy(
        "holed",
        {"to": [{"ipBlock": {"cidr": "192.0.0.0/16", "except": ["192.0.2.128/30"]}}]},
    )
    to: tuple[Destination, ...] = cidrs(["192.0.2.0/24"], 8200)
    assert decide(request(holed, to=to)).action is Action.NETWORK_POLICY
    assert decide(request(holed, to=NODES)).action is Action.NOTHING
