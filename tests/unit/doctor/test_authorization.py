"""Which AuthorizationPolicies are about the operand (Istio's reference, "Authorization Policy")."""

from __future__ import annotations

from typing import Any

import pytest

from vaultprov.doctor.authorization import Caller, answer

CALLER = Caller("external-secrets", "external-secrets", 8200)


def rule(source: dict[str, Any] | None = None, operation: dict[str, Any] | None = None) -> Any:
    made: dict[str, Any] = {}
    if source is not None:
        made["from"] = [{"source": source}]
    if operation is not None:
        made["to"] = [{"operation": operation}]
    return made


CASES: tuple[tuple[str, list[Any], bool | None], ...] = (
    ("no rule matches nobody", [], False),
    ("an empty rule matches everybody", [{}], True),
    ("its namespace", [rule({"namespaces": ["external-secrets"]})], True),
    ("another namespace", [rule({"namespaces": ["somebody"]})], False),
    ("a prefix", [rule({"namespaces": ["external-*"]})], True),
    ("a suffix", [rule({"namespaces": ["*-secrets"]})], True),
    ("anybody", [rule({"namespaces": ["*"]})], True),
    ("all but it", [rule({"notNamespaces": ["external-secrets"]})], False),
    ("all but another", [rule({"notNamespaces": ["somebody"]})], True),
    (
        "its principal",
        [rule({"principals": ["cluster.local/ns/external-secrets/sa/external-secrets"]})],
        True,
    ),
    ("its port", [rule(operation={"ports": ["8200"]})], True),
    ("another port", [rule(operation={"ports": ["8201"]})], False),
    ("all ports but its own", [rule(operation={"notPorts": ["8200"]})], False),
    ("both have to fit", [rule({"namespaces": ["external-secrets"]}, {"ports": ["1"]})], False),
    ("addresses are not known", [rule({"ipBlocks": ["10.0.0.0/8"]})], None),
    ("conditions are not known", [{"when": [{"key": "request.auth.claims[iss]"}]}], None),
    ("what is not known does not matter when the rest does not fit",
     [rule({"namespaces": ["somebody"], "ipBlocks": ["10.0.0.0/8"]})], False),
    ("one rule is enough", [rule({"ipBlocks": ["10.0.0.0/8"]}), {}], True),
)  # fmt: skip


@pytest.mark.parametrize(("rules", "expected"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_policies_about_the_operand(rules: list[Any], expected: bool | None) -> None:
    assert answer({"spec": {"rules": rules}}, CALLER) is expected
