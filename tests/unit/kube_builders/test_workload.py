"""Labels and selector come from the live Deployment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kube_builders.world import DENY_ALL, NAMESPACE, answers, request
from vaultprov.errors import ConfigError
from vaultprov.kube.decision import Workload
from vaultprov.kube.egress import decide
from vaultprov.netpol import Answer, Pod


def deployment(selector: Any, labels: dict[str, str]) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": {}}
    return {
        "metadata": {"name": "eso", "namespace": NAMESPACE},
        "spec": {"selector": selector, "template": template},
    }


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app.kubernetes.io/name": "my-eso"}},
        {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["core"]}]},
        {"matchLabels": {"tier": "core"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]},
    ],
)
def test_the_policy_has_the_whole_selector(selector: Any) -> None:
    """Names differ between installations, and a selector is more than its matchLabels."""
    labels = {"app.kubernetes.io/name": "my-eso", "tier": "core", "x": "y"}
    operand = Workload.of_deployment(deployment(selector, labels), {})
    decision = decide(request(DENY_ALL, operand=operand))
    assert decision.objects[0]["spec"]["podSelector"] == selector
    assert answers([DENY_ALL, *decision.objects], operand=operand) == {Answer.ALLOWED}


def test_host_network_is_read_off_the_template() -> None:
    body = deployment({"matchLabels": {"a": "b"}}, {"a": "b"})
    body["spec"]["template"]["spec"]["hostNetwork"] = True
    assert Workload.of_deployment(body, {}).pod.host_network


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}, {"matchLabels": {"a": "other"}}])
def test_a_selector_that_selects_everything_or_others(selector: Any) -> None:
    with pytest.raises(ConfigError, match="selector"):
        Workload(Pod(NAMESPACE, {"a": "b"}), selector)
