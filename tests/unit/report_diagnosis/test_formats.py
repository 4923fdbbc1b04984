"""The forms for programs are well formed, whatever the strings in a diagnosis are."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.unit.report_diagnosis.anything import ANY, FEW
from tests.unit.report_diagnosis.diagnoses import DENIED, DIAGNOSES, EARLY, HEALTHY, but
from vaultprov.doctor.model import (
    Answer,
    Check,
    Diagnosis,
    Finding,
    Fix,
    Status,
    Vantage,
)
from vaultprov.errors import Error
from vaultprov.report.diagnosis import document, human, junit, prometheus, sarif
from vaultprov.report.diagnosis.clean import clean

NOW = 1_767_225_600.0
FORMS: dict[str, Callable[[Diagnosis], str]] = {
    "text": lambda diagnosis: "\n".join(human.lines(diagnosis)),
    "json": document.text,
    "junit": junit.text,
    "sarif": sarif.text,
    "prometheus": lambda diagnosis: prometheus.text(diagnosis, NOW, NOW + 60, NOW),
}


@FEW
@given(ANY)
def test_text_is_lines_that_a_terminal_does_not_obey(diagnosis: Diagnosis) -> None:
    for line in human.lines(diagnosis):
        assert line.splitlines() in ([], [line])
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f]", line)
        line.encode()


@FEW
@given(ANY)
def test_every_check_is_in_the_text(diagnosis: Diagnosis) -> None:
    told = "\n".join(human.lines(diagnosis, verbose=True))
    assert all(answer.check.code in told for answer in diagnosis.answers)


@FEW
@given(ANY)
def test_health_is_claimed_only_of_what_is_well(diagnosis: Diagnosis) -> None:
    claimed = [each for each in human.lines(diagnosis) if each.startswith("Healthy: ")]
    states = {answer.status for answer in diagnosis.answers}
    well = states <= {Status.OK, Status.SKIPPED} and Status.OK in states
    assert len(claimed) == (well and diagnosis.error is None)


@FEW
@given(ANY)
def test_the_document_is_json_with_an_entry_for_each_finding(diagnosis: Diagnosis) -> None:
    content = json.loads(document.text(diagnosis))
    assert len(content["checks"]) == sum(len(answer.findings) for answer in diagnosis.answers)
    assert content["ok"] is (diagnosis.exit_code == 0)


@FEW
@given(ANY)
def test_junit_is_xml_that_counts_right_and_is_red_when_doctor_is(diagnosis: Diagnosis) -> None:
    text = junit.text(diagnosis)
    assert text.isascii()
    suite = ET.fromstring(text)
    cases = suite.findall("testcase")
    found = Counter(child.tag for case in cases for child in case)
    assert suite.attrib["tests"] == str(len(cases))
    assert len(cases) == len(diagnosis.answers) + (diagnosis.error is not None)
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert suite.attrib[counted] == str(found[tag])
    assert bool(found["failure"] or found["error"]) is (diagnosis.exit_code != 0)
    assert all(len(case) <= 1 for case in cases)


@FEW
@given(ANY)
def test_sarif_has_a_rule_for_every_result(diagnosis: Diagnosis) -> None:
    content = json.loads(sarif.text(diagnosis))
    assert content["version"] == "2.1.0"
    (run,) = content["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == [answer.check.code for answer in diagnosis.answers]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        assert not re.search(r"(?<!\{)(\{\{)*\{(?!\{)", result["message"]["text"])
        assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    told = [f for a in diagnosis.answers for f in a.findings]
    unwell = [f for f in told if f.status in (Status.FAIL, Status.WARN, Status.UNKNOWN)]
    assert len(run["results"]) == len(unwell)
    assert run["invocations"][0]["executionSuccessful"] is (diagnosis.error is None)


TOKENS = (
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "hvs.CAESIJnEverToBeSeenInAnyReport0123",
    "s.neverToBeSeenInAnyReport0123",
)


def _leaking(token: str) -> Diagnosis:
    """A token wherever a text can be."""
    split = f"{token[:9]}\x00{token[9:]}"
    told = Finding(
        Status.FAIL, token, token, token, (token, split), split, Fix(token, token, f"a: {token}\n")
    )
    check = Check("VP-NET-001", token, Vantage.STATIC, lambda _world: ())
    other = replace(check, code="VP-NET-002")
    hidden = Answer(other, (Finding(Status.UNKNOWN, observed=token),), hint=token)
    return Diagnosis(
        token,
        split,
        (Answer(check, (told, replace(told, status=Status.WARN))), hidden),
        (token, split),
        (token,),
        error=Error(split, hint=token),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("token", TOKENS)
def test_no_token_gets_through(form: str, token: str) -> None:
    """Not even one that is taken apart by a character which the report leaves out."""
    text = FORMS[form](_leaking(token))
    assert token not in text
    assert token[9:] not in text
    assert "redacted" in text


def test_names_are_not_touched() -> None:
    assert clean(HEALTHY) == HEALTHY
    assert clean("a\tb\nc \u00e9 \U0001f600") == "a\tb\nc \u00e9 \U0001f600"
    assert clean({"a": ["\x1bb"], "c": None}) == {"a": ["b"], "c": None}


def _case(diagnosis: Diagnosis, code: str) -> ET.Element:
    suite = ET.fromstring(junit.text(diagnosis))
    return next(case for case in suite if case.attrib["name"].startswith(code))


def test_a_warning_is_a_failure_when_warnings_are() -> None:
    warned = DIAGNOSES["warnings"]
    assert [child.tag for child in _case(warned, "VP-REV-001")] == ["system-out"]
    strictly = replace(warned, strict=True)
    assert [child.tag for child in _case(strictly, "VP-REV-001")] == ["failure"]


def test_a_junit_failure_says_what_and_what_to_do() -> None:
    (failed,) = _case(but(DENIED), "VP-NET-001")
    assert failed.attrib["message"].startswith("Deployment external-secrets/external-secrets: ")
    assert "kind: NetworkPolicy" in str(failed.text)


def test_the_message_of_a_junit_failure_is_no_finding_that_is_ok() -> None:
    (failed,) = _case(DIAGNOSES["two"], "VP-AUTH-002")
    assert failed.attrib["message"].startswith("auth/smaug-k8s/role/moc-dev: there is no such role")
    assert "may not read the role moc-qa" in str(failed.text)


def test_a_run_that_ended_early_is_not_green() -> None:
    early = replace(HEALTHY, error=EARLY)
    suite = ET.fromstring(junit.text(early))
    assert suite.attrib["errors"] == "1"
    (run,) = json.loads(sarif.text(early))["runs"]
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told["message"]["text"] == "the API server went away"
    text = prometheus.text(early, NOW, None, None)
    assert 'vaultprov_healthy{env="moc",cluster="smaug"} 0\n' in text
    assert "last_success" not in text


def test_sarif_keeps_the_command_as_it_can_be_pasted() -> None:
    (run,) = json.loads(sarif.text(but(DENIED)))["runs"]
    (result,) = run["results"]
    fix: dict[str, Any] = result["properties"]
    assert fix["fixCommand"] == "kubectl apply -f -"
    assert fix["fixManifest"].endswith("{protocol: TCP, port: 8200}\n")
