"""A finding in words, for the forms that have room for one text only."""

from __future__ import annotations

from vaultprov.doctor.model import Finding


def brief(finding: Finding) -> str:
    """What was seen of what."""
    return ": ".join(part for part in (finding.subject, finding.observed) if part)


def full(finding: Finding) -> str:
    """All of it but the command, a line for each part; the first is enough for an overview."""
    parts = [
        ("", brief(finding)),
        ("expected: ", finding.expected),
        ("cause: ", finding.cause),
        *(("evidence: ", each) for each in finding.evidence),
        ("fix: ", finding.fix.text if finding.fix else ""),
    ]
    return "\n".join(label + part for label, part in parts if part)
