"""What a check is, what it can say, and what a diagnosis is made of. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from vaultprov.errors import Error

if TYPE_CHECKING:
    from vaultprov.doctor.world import World


class Status(StrEnum):
    """How a check ended. Unknown is never ok."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Vantage(StrEnum):
    """From where something is seen."""

    VAULT = "vault"
    CLUSTER = "cluster"
    OPERAND = "operand"
    STATIC = "static"


class Confidence(StrEnum):
    """How sure a finding is: seen itself, concluded from what was seen, or one of several."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Missing(Error):
    """A check cannot look: we have no access from its vantage."""

    exit_code: ClassVar[int] = 3

    def __init__(self, vantage: Vantage, why: str, hint: str = "") -> None:
        super().__init__(why, hint=hint)
        self.vantage = vantage


class NotAsked(Error):
    """A check would do more than read; the flag that allows it was not given."""

    def __init__(self, flag: str) -> None:
        super().__init__(f"needs {flag}")
        self.flag = flag


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends it: in words, and as the one command or the manifest to apply."""

    text: str
    command: str = ""
    manifest: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw of one subject. cause: why it is so, in one sentence."""

    status: Status
    subject: str = ""
    observed: str = ""
    expected: str = ""
    evidence: tuple[str, ...] = ()
    cause: str = ""
    fix: Fix | None = None
    confidence: Confidence = Confidence.HIGH


Run = Callable[["World"], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One declared check.

    code: stable, never used again for anything else. title: what is true when it is ok.
    run: yields findings; none at all means that there is nothing of the kind to look at. An Error
    raised by it means that it could not tell.
    needs: codes of the checks without whose truth this one means nothing.
    symptom: it shows that something is wrong, not what; it is asked after all others.
    """

    code: str
    title: str
    vantage: Vantage
    run: Run
    needs: tuple[str, ...] = ()
    symptom: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A check and what came of it. blocked_by: the code that kept it from looking.

    missing: the vantage that we have no access from, if that is why it is unknown.
    """

    check: Check
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    blocked_by: str = ""
    missing: Vantage | None = None
    hint: str = ""

    @property
    def status(self) -> Status:
        """The worst of the findings."""
        worst = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.OK, Status.SKIPPED)
        found = {finding.status for finding in self.findings}
        return next((status for status in worst if status in found), Status.SKIPPED)

    def first(self, status: Status) -> Finding:
        """The first finding of that status."""
        return next(finding for finding in self.findings if finding.status is status)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All answers in the order of the chain."""

    env: str
    cluster: str
    answers: tuple[Answer, ...] = ()
    servers: tuple[str, ...] = ()
    suppressed: tuple[str, ...] = ()
    seconds: float = 0.0
    strict: bool = False
    error: Error | None = field(default=None)

    def of(self, status: Status) -> tuple[Answer, ...]:
        """The answers of that status."""
        return tuple(answer for answer in self.answers if answer.status is status)

    @property
    def root(self) -> Answer | None:
        """The most upstream failure; where nothing failed, the first warning."""
        return next(iter(self.of(Status.FAIL)), None) or next(iter(self.of(Status.WARN)), None)

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 a check failed (with strict: or warned), 3 something could not be told."""
        if self.error is not None:
            return self.error.exit_code
        if self.of(Status.FAIL):
            return 1
        if self.of(Status.UNKNOWN):
            return 3
        return 1 if self.strict and self.of(Status.WARN) else 0


def ok(observed: str = "", subject: str = "") -> Finding:
    """All is well."""
    return Finding(Status.OK, subject, observed)


def fail(
    subject: str,
    observed: str,
    *,
    expected: str,
    cause: str,
    fix: Fix,
    evidence: tuple[str, ...] = (),
    confidence: Confidence = Confidence.HIGH,
) -> Finding:
    """A failure has every part."""
    return Finding(Status.FAIL, subject, observed, expected, evidence, cause, fix, confidence)


def warn(
    subject: str,
    observed: str,
    *,
    expected: str,
    cause: str,
    fix: Fix,
    evidence: tuple[str, ...] = (),
) -> Finding:
    """Works today, and is likely to stop."""
    return Finding(Status.WARN, subject, observed, expected, evidence, cause, fix)


def unknown(observed: str, subject: str = "", *, evidence: tuple[str, ...] = ()) -> Finding:
    """It could not be told."""
    return Finding(Status.UNKNOWN, subject, observed, evidence=evidence)
