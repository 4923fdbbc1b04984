"""The guard rail: its shape. What its rules say is for a real engine to judge."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vaultprov.kube.gatekeeper import KIND, constraint, constraint_template
from vaultprov.kube.guardrail import Enforcement, admission_binding, admission_policy

SPEC: Any = admission_policy()["spec"]
EXPRESSIONS = [each["expression"] for each in SPEC["validations"]]


def test_it_is_about_stores_alone() -> None:
    (rule,) = SPEC["matchConstraints"]["resourceRules"]
    assert rule["apiGroups"] == ["external-secrets.io"]
    assert rule["resources"] == ["clustersecretstores", "secretstores"]
    assert rule["operations"] == ["CREATE", "UPDATE"]


@pytest.mark.parametrize("name", ["auth", "auth.kubernetes", "auth.jwt", "caBundle", "caProvider"])
def test_optional_fields_are_guarded(name: str) -> None:
    """An expression that reads an absent field is an error, and an error denies."""
    assert any(f"has(variables.vault.{name})" in each for each in EXPRESSIONS)


def test_a_public_ca_drops_one_rule() -> None:
    spec: Any = admission_policy(public_ca=True)["spec"]
    left = [each["expression"] for each in spec["validations"]]
    assert [each for each in EXPRESSIONS if each not in left] == [EXPRESSIONS[1]]


@pytest.mark.parametrize("enforcement", Enforcement)
def test_the_binding_is_of_the_policy(enforcement: Enforcement) -> None:
    """Deny and Warn exclude each other."""
    spec: Any = admission_binding(enforcement)["spec"]
    assert spec["policyName"] == admission_policy()["metadata"]["name"]
    assert spec["validationActions"] == [enforcement.value.capitalize(), "Audit"]


def test_a_template_is_named_by_its_kind() -> None:
    """Gatekeeper takes no other name."""
    template: Any = constraint_template()
    assert template["metadata"]["name"] == KIND.lower()
    assert template["spec"]["crd"]["spec"]["names"]["kind"] == KIND
    assert constraint()["kind"] == KIND


def test_the_parameter_of_the_constraint_is_the_templates() -> None:
    template: Any = constraint_template()
    known = template["spec"]["crd"]["spec"]["validation"]["openAPIV3Schema"]["properties"]
    given: Any = constraint(public_ca=True)["spec"]
    assert set(given["parameters"]) == set(known)
    assert given["parameters"]["allowPublicCA"] is True


def test_both_say_the_same() -> None:
    """One message for each rule, whichever engine tells it."""
    template: Any = constraint_template()
    rego = template["spec"]["targets"][0]["rego"]
    told = re.findall(r'msg := "(.*)"', rego)
    assert told == [each["message"] for each in SPEC["validations"]]
