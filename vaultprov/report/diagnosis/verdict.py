"""The last lines of a diagnosis: one root cause, and the one next thing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vaultprov.doctor.model import Answer, Diagnosis, Fix, Status
from vaultprov.report.diagnosis.clean import one_line

Paint = Callable[[str, str], str]

APPLY = "kubectl apply -f -"


def next_fix(diagnosis: Diagnosis) -> Fix | None:
    """The one next thing: what mends the root cause, or what lets us see more."""
    root = diagnosis.root
    if root is not None:
        code = root.check.code
        return root.first(root.status).fix or Fix("read about it", f"vaultprov explain {code}")
    hint = next((a.hint for a in diagnosis.of(Status.UNKNOWN) if a.hint.strip()), "")
    return Fix(hint) if hint else None


def verdict_lines(diagnosis: Diagnosis, paint: Paint) -> Iterator[str]:
    """Health is claimed only of a run that ended, looked at something and could tell it all."""
    root = diagnosis.root
    if root is None:
        yield from _no_root(diagnosis, paint)
    else:
        yield from _beside(diagnosis, root)
        finding = root.first(root.status)
        failed = root.status is Status.FAIL
        name = "Root cause:" if not root.check.symptom else "No root cause found:"
        head = paint(name, "1;31") if failed else paint("Warning:", "1;33")
        yield f"{head} {_cause(root)} (confidence {finding.confidence})"
    fix = next_fix(diagnosis)
    if fix is not None:
        yield from _next(fix, paint)


def _no_root(diagnosis: Diagnosis, paint: Paint) -> Iterator[str]:
    fine, unknown = len(diagnosis.of(Status.OK)), len(diagnosis.of(Status.UNKNOWN))
    if unknown:
        yield f"Could not tell: {_checks(unknown)} without an answer, {fine} ok, no fault found"
    elif diagnosis.error is not None:
        yield f"No fault found before the diagnosis ended early ({fine} ok)"
    elif fine:
        left = f", {len(diagnosis.suppressed)} suppressed" if diagnosis.suppressed else ""
        yield f"{paint('Healthy:', '1;32')} {_checks(fine)} ok{left}"
    else:
        yield "No fault found, but nothing was looked at"


def _beside(diagnosis: Diagnosis, root: Answer) -> Iterator[str]:
    """What is to be seen to after the root cause; some of it may go away with it."""
    for head, status in (("Also wrong", Status.FAIL), ("Also warned", Status.WARN)):
        for answer in diagnosis.of(status):
            if answer is not root:
                yield f"{head}: {_cause(answer)}"
    unknown = len(diagnosis.of(Status.UNKNOWN))
    if unknown:
        yield f"{_checks(unknown)} could not be told"


def _cause(answer: Answer) -> str:
    """Not the title of the check, which says what is so when all is well."""
    finding = answer.first(answer.status)
    cause = finding.cause or finding.observed or f"{answer.check.title}: {answer.status}"
    return one_line(f"{answer.check.code} {cause}")


def _next(fix: Fix, paint: Paint) -> Iterator[str]:
    """A command of one line behind the word, anything longer below it, to be pasted as it is."""
    head = paint("Next:", "1")
    manifest = fix.manifest.rstrip().splitlines()
    command = fix.command.strip().splitlines()
    if manifest:
        *before, last = command or [APPLY]
        end = _delimiter(manifest)
        yield head
        yield from before
        yield f"{last} <<'{end}'"
        yield from manifest
        yield end
    elif len(command) > 1:
        yield head
        yield from command
    else:
        yield f"{head} {command[0] if command else one_line(fix.text)}"


def _delimiter(manifest: Sequence[str]) -> str:
    """A line that the manifest does not have."""
    end = "EOF"
    while end in manifest:
        end += "_"
    return end


def _checks(count: int) -> str:
    return f"{count} check" if count == 1 else f"{count} checks"
