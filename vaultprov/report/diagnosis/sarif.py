"""A diagnosis as SARIF 2.1.0: a rule for each check, a result for whatever is not well."""

from __future__ import annotations

import json
from typing import Any

from vaultprov.doctor.model import Answer, Diagnosis, Finding, Status
from vaultprov.report.diagnosis.clean import clean, one_line
from vaultprov.report.diagnosis.told import full

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Status.FAIL: "error", Status.WARN: "warning", Status.UNKNOWN: "note"}


def text(diagnosis: Diagnosis) -> str:
    """Results name live objects, not lines of files: their locations are logical ones."""
    safe = clean(diagnosis)
    rules = {answer.check.code: _rule(answer) for answer in safe.answers}
    numbers = {code: number for number, code in enumerate(rules)}
    results = [
        _result(safe, answer, finding, numbers[answer.check.code])
        for answer in safe.answers
        for finding in answer.findings
        if finding.status in _LEVELS
    ]
    run = {
        "tool": {"driver": {"name": "vaultprov", "rules": list(rules.values())}},
        # Runs of several clusters do not replace each other.
        "automationDetails": {"id": one_line(f"vaultprov/doctor/{safe.env}/{safe.cluster}/")},
        "invocations": [_invocation(safe)],
        "results": results,
        "properties": {"suppressed": list(safe.suppressed)},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(answer: Answer) -> dict[str, Any]:
    check = answer.check
    return {
        "id": check.code,
        "shortDescription": {"text": _escaped(check.title or check.code)},
        "help": {"text": f"vaultprov explain {check.code}"},
        "properties": {"vantage": check.vantage},
    }


def _result(safe: Diagnosis, answer: Answer, finding: Finding, number: int) -> dict[str, Any]:
    subject = one_line(finding.subject) or f"{safe.env}/{safe.cluster}"
    return {
        "ruleId": answer.check.code,
        "ruleIndex": number,
        "level": _LEVELS[finding.status],
        "message": {"text": _message(answer, finding)},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": subject, "kind": "resource"}]}],
        "properties": _properties(finding),
    }


def _message(answer: Answer, finding: Finding) -> str:
    """Without the command, which is no prose: in a message, SARIF has braces doubled."""
    told = full(finding) or answer.check.title or answer.check.code
    return _escaped(told)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _properties(finding: Finding) -> dict[str, Any]:
    """The fix as it can be pasted."""
    made: dict[str, Any] = {"confidence": finding.confidence}
    if finding.fix is not None:
        made |= {"fixCommand": finding.fix.command, "fixManifest": finding.fix.manifest}
    return {name: value for name, value in made.items() if value}


def _invocation(safe: Diagnosis) -> dict[str, Any]:
    if safe.error is None:
        return {"executionSuccessful": True, "exitCode": safe.exit_code}
    told = {"level": "error", "message": {"text": _escaped(clean(safe.error.message))}}
    return {
        "executionSuccessful": False,
        "exitCode": safe.exit_code,
        "toolExecutionNotifications": [told],
    }
