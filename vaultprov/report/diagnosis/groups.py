"""Checks that could not look, put together by the reason that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby

from vaultprov.doctor.model import Answer, Diagnosis, Status
from vaultprov.report.diagnosis.clean import one_line
from vaultprov.report.diagnosis.told import brief

_FEW = 4  # checks that are named by their titles, too


class Kind(IntEnum):
    """Why checks are told together, in the order in which it is told."""

    NO_VIEW = 1
    UNKNOWN = 2
    BLOCKED = 3
    SYMPTOM = 4
    NOT_ASKED = 5
    NOTHING = 6


@dataclass(frozen=True, slots=True)
class Reason:
    """kind, and what tells one reason of a kind from another."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """One line of the report."""

    status: Status
    text: str
    answers: tuple[Answer, ...]
    worth_a_line: bool = True  # also for who wants to see no more than has to be seen


def groups(diagnosis: Diagnosis) -> list[Group]:
    """What is not worth a line for each check. Every other answer has a line of its own."""
    by_code = {answer.check.code: answer for answer in diagnosis.answers}
    found: dict[Reason, list[Answer]] = {}
    for answer in diagnosis.answers:
        reason = _reason(answer, by_code)
        if reason is not None:
            found.setdefault(reason, []).append(answer)
    # An unknown of its own keeps its place in the chain.
    shared = [
        (reason, answers)
        for reason, answers in found.items()
        if len(answers) > 1 or reason.kind is not Kind.UNKNOWN or answers[0].blocked_by
    ]
    shared.sort(key=lambda each: each[0].kind)
    made = []
    for kind, members in groupby(shared, key=lambda each: each[0].kind):
        each = list(members)
        if kind is Kind.NOT_ASKED:
            flags = ", ".join(f"{r.text} ({_names(a, full=True)})" for r, a in each)
            everything = tuple(answer for _, answers in each for answer in answers)
            made.append(Group(Status.SKIPPED, f"not asked: {flags}", everything))
        else:
            seen = kind is not Kind.NOTHING
            made += [Group(a[0].status, _text(r, a), tuple(a), seen) for r, a in each]
    return made


def _reason(answer: Answer, by_code: Mapping[str, Answer]) -> Reason | None:
    """Why an answer says nothing about its own subject; None when it does."""
    if answer.status is Status.SKIPPED:
        return _why_skipped(answer)
    # A check that saw something before it gave up has more to tell than its reason.
    if answer.status is not Status.UNKNOWN or len(answer.findings) > 1:
        return None
    # What is blocked has no words of its own: those of the check that blocks it are the reason.
    source = by_code.get(answer.blocked_by, answer) if answer.blocked_by else answer
    if source.status is not Status.UNKNOWN:
        source = answer
    if answer.missing is not None:
        why = [] if source.blocked_by else [source.first(Status.UNKNOWN).observed]
        told = "; ".join(one_line(part) for part in [*why, answer.hint] if part)
        return Reason(Kind.NO_VIEW, f"cannot look from {answer.missing}" + _in_brackets(told))
    if answer.blocked_by:
        return Reason(Kind.UNKNOWN, f"{answer.blocked_by} could not be told")
    seen = answer.first(Status.UNKNOWN)
    if seen.subject or seen.evidence:
        return None
    return Reason(Kind.UNKNOWN, one_line(seen.observed) + _in_brackets(one_line(answer.hint)))


def _why_skipped(answer: Answer) -> Reason:
    if answer.blocked_by and answer.check.symptom:
        return Reason(Kind.SYMPTOM, answer.blocked_by)
    if answer.blocked_by:
        return Reason(Kind.BLOCKED, f"blocked by {answer.blocked_by}")
    if answer.hint.startswith("-"):  # the flag that would have it asked
        return Reason(Kind.NOT_ASKED, one_line(answer.hint))
    said = next((one_line(each.observed) for each in answer.findings if each.observed), "")
    return Reason(Kind.NOTHING, said or "nothing of the kind here")


def _text(reason: Reason, answers: Sequence[Answer]) -> str:
    if reason.kind is Kind.SYMPTOM:
        return f"symptom of {reason.text}: {', '.join(map(_symptom, answers))}"
    full = reason.kind in (Kind.NO_VIEW, Kind.UNKNOWN)
    return f"{reason.text}: {_names(answers, full=full)}"


def _names(answers: Sequence[Answer], *, full: bool) -> str:
    """What each would have told; of many that is too much, unless it is all that they tell."""
    full = full or len(answers) <= _FEW
    return ", ".join(
        one_line(f"{a.check.code} {a.check.title}" if full else a.check.code) for a in answers
    )


def _symptom(answer: Answer) -> str:
    """What the user saw is explained by it."""
    prefix = f"blocked by {answer.blocked_by}: "
    seen = [replace(each, observed=each.observed.removeprefix(prefix)) for each in answer.findings]
    return one_line(f"{answer.check.code} {'; '.join(map(brief, seen))}")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
