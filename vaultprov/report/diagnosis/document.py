"""A diagnosis for programs: one versioned JSON document, an entry for each finding."""

from __future__ import annotations

from typing import Any

from vaultprov.doctor.model import Answer, Diagnosis, Finding, Fix
from vaultprov.report import document as documents
from vaultprov.report.diagnosis.clean import clean
from vaultprov.report.diagnosis.verdict import next_fix


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The document as plain data. It has every key however the run ended, and whatever it found.

    `changed` and `steps` are those of every command: doctor changes nothing.
    """
    safe = clean(diagnosis)
    root = safe.root
    missing = dict.fromkeys(a.missing for a in safe.answers if a.missing is not None)
    return {
        "schema": documents.SCHEMA,
        "command": "doctor",
        "env": safe.env,
        "cluster": safe.cluster,
        "ok": safe.exit_code == 0,
        "exit_code": safe.exit_code,
        "changed": False,
        "root": _entry(root, root.first(root.status)) if root else None,
        "next": _fix(next_fix(safe)),
        "servers": list(safe.servers),
        "steps": [],
        "checks": [_entry(answer, each) for answer in safe.answers for each in answer.findings],
        "suppressed": list(safe.suppressed),
        "missing": list(missing),
        "error": clean(documents.error_of(safe.error)),
        "duration_ms": round(safe.seconds * 1000),
    }


def text(diagnosis: Diagnosis) -> str:
    """The document as it is printed."""
    return documents.text(document(diagnosis))


def _entry(answer: Answer, finding: Finding) -> dict[str, Any]:
    """A check of several findings has several entries of one id; its duration is in each."""
    return {
        "id": answer.check.code,
        "title": answer.check.title,
        "status": finding.status,
        "vantage": answer.check.vantage,
        "subject": finding.subject,
        "observed": finding.observed,
        "expected": finding.expected,
        "evidence": list(finding.evidence),
        "cause": finding.cause,
        "fix": _fix(finding.fix),
        "hint": answer.hint or None,
        "confidence": finding.confidence,
        "docs": f"vaultprov explain {answer.check.code}",
        "duration_ms": round(answer.seconds * 1000),
        "blocked_by": answer.blocked_by or None,
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {"text": fix.text, "command": fix.command or None, "manifest": fix.manifest or None}
