"""A diagnosis for people: the chain check by check, what is wrong in full, one cause at the end.

Each check has one line: two columns of space, its mark (two columns), its code, its title.

    ok  it is so
    x   it is not, and that breaks something
    !   it works today, and is likely to stop
    ?   it could not be told
    -   it was not looked at, and why

The marks are words of ASCII, so that a log, a mail and a screen reader show the same as a terminal;
colour only repeats them. Checks that could not look are told together below the chain, a line for
each reason: forty lines that say the same would hide the one that matters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from vaultprov.doctor.model import Answer, Confidence, Diagnosis, Finding, Status
from vaultprov.report.diagnosis.clean import clean, one_line
from vaultprov.report.diagnosis.groups import Group, groups
from vaultprov.report.diagnosis.told import brief
from vaultprov.report.diagnosis.verdict import verdict_lines

MARKS = {
    Status.OK: "ok",
    Status.FAIL: "x ",
    Status.WARN: "! ",
    Status.UNKNOWN: "? ",
    Status.SKIPPED: "- ",
}
_COLOURS = {
    Status.OK: "32",
    Status.FAIL: "1;31",
    Status.WARN: "33",
    Status.UNKNOWN: "36",
    Status.SKIPPED: "2",
}

# Stages of the chain, by the letters of a code. Those that doctor asks in another stage than their
# letters say stand there: what comes first may be the cause of what comes later.
_CLUSTER = "Cluster and External Secrets"
_STORE = "Store and ServiceAccount"
_WAY = "Way to Vault"
_VAULT = "Vault"
_LOGIN = "Login"
_BACK = "Way back to the cluster"
_JWT = "Login at a JWT mount"
_SECRETS = "Token and secrets"
STAGES = {
    "CLU": _CLUSTER,
    "OP": _CLUSTER,
    "ES": _STORE,
    "SA": _STORE,
    "NET": _WAY,
    "DNS": _WAY,
    "POD": _WAY,
    "TLS": _WAY,
    "VLT": _VAULT,
    "CFG": _VAULT,
    "AUTH": _LOGIN,
    "REV": _BACK,
    "JWT": _JWT,
    "KV": _SECRETS,
    "VP-OP-002": _STORE,
    "VP-OP-003": _SECRETS,
    "VP-TLS-003": _STORE,
    "VP-NET-004": _VAULT,
    "VP-SA-003": _BACK,
    "VP-AUTH-006": _BACK,
    "VP-AUTH-007": _SECRETS,
    "VP-AUTH-008": _SECRETS,
    "VP-ES-003": _SECRETS,
    "VP-ES-004": _SECRETS,
    "VP-ES-006": _SECRETS,
    "VP-ES-007": _SECRETS,
    "VP-ES-008": _SECRETS,
}

_WIDTH = 100
_INDENT = " " * 6  # below the code of a check
_LABEL = 12
_BEHIND = 19  # columns of mark and code, behind which the words of a check begin
_BRIEF = 70  # characters of an observation that fit behind a title

Paint = Callable[[str, str], str]


def lines(diagnosis: Diagnosis, *, colour: bool = False, verbose: bool = False) -> Iterator[str]:
    """The whole report, line by line; its last lines are the root cause and the one next command.

    colour: with the escape sequences of a terminal. Such lines are printed as they are. verbose:
    with a line for every check that is well, and what does not apply.
    """
    safe = clean(diagnosis)

    def paint(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colour else text

    yield f"Diagnosis of {one_line(safe.env)}/{one_line(safe.cluster)}"
    # The columns within a server's line are its own.
    yield from (f"  {' '.join(server.splitlines())}" for server in safe.servers)
    yield ""
    apart = groups(safe)
    told = {answer.check.code for group in apart for answer in group.answers}
    if not verbose:
        apart = [group for group in apart if group.worth_a_line]
    below = safe.root.check.code if safe.root is not None else ""
    left = [answer for answer in safe.answers if answer.check.code not in told]
    for stage, answers in _stages(left):
        fine = sum(answer.status is Status.OK for answer in answers)
        yield paint(stage, "1") + (f": {fine} ok" if fine and not verbose else "")
        for answer in answers:
            if verbose or answer.status is not Status.OK:
                yield from _check(answer, paint, told_below=answer.check.code == below)
        if verbose:
            yield ""
    if left and not verbose:
        yield ""
    if apart or safe.suppressed:
        yield paint("Without an answer", "1")
        for group in apart:
            yield from _apart(group, paint)
        if safe.suppressed:
            mark = paint(MARKS[Status.SKIPPED], _COLOURS[Status.SKIPPED])
            yield f"  {mark}  suppressed: {', '.join(map(one_line, safe.suppressed))}"
        yield ""
    yield from verdict_lines(safe, paint)


def summary(answers: Sequence[Answer]) -> str:
    """States in a few words, to see whether anything changed between two looks."""
    return " ".join(f"{a.check.code}={a.status}" for a in answers if a.status is not Status.OK)


def stage_of(code: str) -> str:
    """Where in the chain a check belongs, as a heading."""
    letters = code.removeprefix("VP-").partition("-")[0]
    return STAGES.get(code) or STAGES.get(letters) or "More"


def _stages(answers: Sequence[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    """In the order in which the stages come first; a stage comes once."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(stage_of(answer.check.code), []).append(answer)
    yield from found.items()


def _check(answer: Answer, paint: Paint, *, told_below: bool) -> Iterator[str]:
    """One line, and below it what is not well.

    told_below: the fix of the first finding is what the report ends with.
    """
    status = answer.status
    unwell = [f for f in answer.findings if f.status not in (Status.OK, Status.SKIPPED)]
    alone = status is Status.UNKNOWN and len(unwell) == 1
    seen = one_line(brief(unwell[0])) if alone else _seen(answer) if status is Status.OK else ""
    mark = paint(MARKS[status], _COLOURS[status])
    # What is wrong, and not the title: that says what is so when all is well.
    wrong = answer.first(status).cause if status in (Status.FAIL, Status.WARN) else ""
    title = one_line(wrong or answer.check.title) + (f" ({seen})" if seen else "")
    first, *more = (_wrapped(title, _WIDTH - _BEHIND) if wrong else []) or [title]
    yield f"  {mark}  {one_line(answer.check.code):<11}  {first}"
    yield from (" " * _BEHIND + line for line in more)
    for number, finding in enumerate(unwell):
        if number:
            yield ""
        if finding.status is Status.UNKNOWN:
            if not alone:
                yield f"{_INDENT}? {one_line(brief(finding))}"
            yield from _rows("evidence", finding.evidence)
        else:
            yield from _in_full(finding, status, told_below=told_below and not number)
    if status is Status.UNKNOWN:
        yield from _rows("next", answer.hint.splitlines())
    if status in (Status.FAIL, Status.WARN):
        yield from _rows("more", [f"vaultprov explain {one_line(answer.check.code)}"])


def _seen(answer: Answer) -> str:
    """What is worth a word of a check that is ok."""
    seen = dict.fromkeys(one_line(f.observed) for f in answer.findings if f.observed.strip())
    told = "; ".join(seen)
    return told if len(told) <= _BRIEF else ""


def _in_full(finding: Finding, status: Status, *, told_below: bool) -> Iterator[str]:
    """Prose is wrapped; evidence, commands and manifests are as they are, to be copied.

    status: of the check, which a finding of it need not share. The cause of the first finding
    stands in its check's line.
    """
    if finding.status is not status:
        yield from _rows("status", [finding.status])
    for name in ("subject", "observed", "expected"):
        yield from _rows(name, _wrapped(getattr(finding, name)))
    if finding.confidence is not Confidence.HIGH:
        yield from _rows("confidence", [finding.confidence])
    yield from _rows("evidence", [line for each in finding.evidence for line in each.splitlines()])
    if finding.fix is not None:
        yield from _rows("fix", _wrapped(finding.fix.text))
        below = told_below and finding.fix.manifest.strip()
        yield from _rows("command", ["below"] if below else finding.fix.command.splitlines())
        if finding.fix.manifest.strip() and not told_below:
            yield f"{_INDENT}manifest:"
            yield from (f"{_INDENT}  {line}" for line in finding.fix.manifest.rstrip().splitlines())


def _rows(name: str, values: Sequence[str]) -> Iterator[str]:
    """A label, and its lines in one column."""
    for number, value in enumerate(values):
        label = f"{name}:" if number == 0 else ""
        yield f"{_INDENT}{label:<{_LABEL}} {' '.join(value.splitlines())}".rstrip()


def _wrapped(text: str, width: int = _WIDTH - len(_INDENT) - _LABEL - 1) -> list[str]:
    wrapped = [
        textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    ]
    return [line for each in wrapped for line in each]


def _apart(group: Group, paint: Paint) -> Iterator[str]:
    mark = paint(MARKS[group.status], _COLOURS[group.status])
    hanging = f"{_INDENT}  "
    first, *more = _wrapped(group.text, _WIDTH - len(hanging)) or [""]
    yield f"  {mark}  {first}"
    yield from (f"{hanging}{line}" for line in more)
