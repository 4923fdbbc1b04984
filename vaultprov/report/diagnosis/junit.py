"""A diagnosis as JUnit XML, for CI servers: one suite, a test case for each check."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from vaultprov.doctor.model import Answer, Diagnosis, Finding, Status
from vaultprov.report.diagnosis.clean import clean, one_line
from vaultprov.report.diagnosis.told import full

_TAGS = {
    Status.FAIL: "failure",
    Status.WARN: "system-out",
    Status.UNKNOWN: "error",
    Status.SKIPPED: "skipped",
}


def text(diagnosis: Diagnosis) -> str:
    """The suite is red exactly when doctor's exit code is not 0.

    What could not be told is an error, a warning is output of a case that passed (a failure when
    they are asked to be). A run that ended early is a case of its own, an error. Everything beyond
    ASCII is a character reference: the text is the same in any encoding.
    """
    safe = clean(diagnosis)
    tags = [_tag(answer, strict=safe.strict) for answer in safe.answers]
    early = safe.error is not None
    suite = ET.Element(
        "testsuite",
        name=one_line(f"vaultprov doctor {safe.env}/{safe.cluster}"),
        tests=str(len(tags) + early),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error") + early),
        skipped=str(tags.count("skipped")),
        time=f"{safe.seconds:.3f}",
    )
    for answer, tag in zip(safe.answers, tags, strict=True):
        case = _case(suite, answer.check.vantage, _name(answer), answer.seconds)
        if tag:
            _add(case, tag, _all_told(answer) or answer.check.title)
    if safe.error is not None:
        _add(_case(suite, "run", "doctor came to its end", 0.0), "error", clean(safe.error.message))
    ET.indent(suite)
    written: bytes = ET.tostring(suite, encoding="us-ascii", xml_declaration=True)
    return written.decode("ascii") + "\n"


def _tag(answer: Answer, *, strict: bool) -> str | None:
    if strict and answer.status is Status.WARN:
        return "failure"
    return _TAGS.get(answer.status)


def _name(answer: Answer) -> str:
    return one_line(f"{answer.check.code} {answer.check.title}")


def _case(suite: ET.Element, group: str, name: str, seconds: float) -> ET.Element:
    attributes = {"classname": f"vaultprov.doctor.{group}", "name": name, "time": f"{seconds:.3f}"}
    return ET.SubElement(suite, "testcase", attributes)


def _add(case: ET.Element, tag: str, told: str) -> None:
    message = {} if tag == "system-out" else {"message": told.partition("\n")[0]}
    ET.SubElement(case, tag, message).text = told


def _all_told(answer: Answer) -> str:
    """What the check ended as comes first: an overview shows the first line alone."""
    first = [finding for finding in answer.findings if finding.status is answer.status]
    rest = [f for f in answer.findings if f.status not in (answer.status, Status.OK)]
    return "\n\n".join(map(_told, first + rest))


def _told(finding: Finding) -> str:
    fix = finding.fix
    parts = [full(finding) or finding.status, *((fix.command, fix.manifest) if fix else ())]
    return "\n".join(part for part in parts if part)
