"""An outcome for people: plain text in the order of the runbook."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from vaultprov.apply import Result, Status
from vaultprov.errors import Error
from vaultprov.namespaces import Standing
from vaultprov.plan import Action, Plan, Step
from vaultprov.redact import Secret
from vaultprov.run import Condition, Outcome, Request
from vaultprov.verify import Check

SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.KEEP: "=",
    Action.DELETE: "-",
    Action.REFUSE: "!",
}


def plan_lines(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """What would be done, resource by resource."""
    yield f"Plan for {subject(outcome.request)}"
    yield from (f"  {server}" for server in outcome.servers)
    yield ""
    for step in plan.steps:
        yield from step_lines(step)
    yield ""
    yield from (f"note: {note}" for note in outcome.notes)
    yield _tally(plan)


def step_lines(step: Step) -> Iterator[str]:
    """One resource: its symbol, and below it what differs."""
    reason = f"  {step.foreign.reason}" if step.foreign and step.action is not Action.KEEP else ""
    yield f"  {SYMBOLS[step.action]} {step.key}{reason}"
    for change in step.changes:
        if change.before is None:
            yield f"      {change.name}: {shown(change.after)}"
        else:
            yield f"      {change.name}: {shown(change.before)} -> {shown(change.after)}"
    for name, members in (step.extra or {}).items():
        everybody = " ('*' lets everybody in: --exclusive removes it)" if "*" in members else ""
        yield f"      {name}: kept, though not ours: {', '.join(members)}{everybody}"


def rotation_lines(outcome: Outcome) -> Iterator[str]:
    """What was renewed, step by step."""
    yield f"Rotation for {subject(outcome.request)}"
    yield from (f"  {server}" for server in outcome.servers)
    yield ""
    for result in outcome.results:
        yield from step_lines(result.step)
    yield from (f"note: {note}" for note in outcome.notes)
    yield from outcome_lines(outcome)


def standing_lines(rows: Sequence[Standing]) -> Iterator[str]:
    """Namespaces in columns: whether they are let in, what logs in there, what does not fit."""
    told = [(row.namespace, row.bound or "-", row.store or "-", row.trouble) for row in rows]
    head = ("NAMESPACE", "BOUND BY", "STORES", "")
    widths = [max(len(line[n]) for line in (head, *told)) for n in range(3)]
    for line in (head, *told):
        columns = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        yield "  ".join([*columns, line[3]]).rstrip()


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What was done and what was proved."""
    counts = Counter(result.status for result in outcome.results)
    if counts[Status.WRITTEN] or counts[Status.FAILED] or counts[Status.SKIPPED]:
        parts = [f"{counts[status]} {status}" for status in Status if counts[status]]
        yield f"Applied: {', '.join(parts)}"
    elif outcome.results and not counts[Status.REFUSED] and not counts[Status.PLANNED]:
        yield "Nothing to do: everything is in place, nothing was written"
    elif outcome.request.command.endswith("offboard") and outcome.error is None:
        yield "Nothing to do: nothing of it is left, nothing was removed"
    for result in outcome.results:
        if result.error is not None:
            yield f"  x {result.step.key}: {result.error.message}"
    if outcome.checks:
        yield "Proof"
        yield from (check_line(check) for check in outcome.checks)
    if outcome.error is None and counts[Status.PLANNED] == 0:
        yield f"Done in {outcome.seconds:.1f} s"


def proof_lines(outcome: Outcome) -> Iterator[str]:
    """What was tried, against which servers, and what came of it."""
    yield f"Proof for {subject(outcome.request)}"
    yield from (f"  {server}" for server in outcome.servers)
    if not outcome.checks:
        return
    yield ""
    yield from (check_line(check) for check in outcome.checks)
    yield ""
    failed = sum(not check.ok for check in outcome.checks)
    if not any("Store " in check.title for check in outcome.checks):
        yield "Not looked at: stores and ExternalSecrets (--touch-store NAME, or vaultprov doctor)"
    yield f"{len(outcome.checks) - failed} proven, {failed} not, in {outcome.seconds:.1f} s"


def difference_lines(outcome: Outcome) -> Iterator[str]:
    """What would be written into each policy."""
    yield f"Policies of {subject(outcome.request)}"
    yield from (f"  {server}" for server in outcome.servers)
    yield ""
    for result in outcome.results:
        yield from step_lines(result.step)


def grant_lines(outcome: Outcome) -> Iterator[str]:
    """What each policy grants, path by path."""
    yield f"What Vault grants for {subject(outcome.request)}"
    yield from (f"  {server}" for server in outcome.servers)
    yield ""
    yield from (check_line(check) for check in outcome.checks)


def check_line(check: Check) -> str:
    """One thing that was tried."""
    detail = f" ({check.detail})" if check.detail else ""
    return f"  {'ok' if check.ok else 'x '} {check.title}{detail}"


def status_lines(outcome: Outcome) -> Iterator[str]:
    """The short form: one line, and what differs."""
    condition = outcome.condition or "unknown"
    yield f"{subject(outcome.request)}: {condition}"
    yield from (f"  {server}" for server in outcome.servers)
    if outcome.reviewer:
        yield f"  reviewer token {outcome.reviewer}"
    if outcome.condition is not Condition.ABSENT:
        for result in outcome.results:
            if result.step.action is not Action.KEEP or result.step.extra:
                yield from step_lines(result.step)


def error_lines(error: Error, *, told: bool = False) -> Iterator[str]:
    """What happened (unless it was told already), and the one next thing to do."""
    if not told:
        yield f"error: {error.message}"
    if error.hint:
        yield f"next:  {error.hint}"


def subject(request: Request) -> str:
    """What a run is about, in words."""
    if request.command == "bootstrap":
        return "the site"
    half = "" if request.only == "both" else f" ({request.only} only)"
    team = f", team {request.onboarding.team}" if request.onboarding.team else ""
    return f"environment {request.onboarding.env}, cluster {request.onboarding.cluster}{team}{half}"


def shown(value: object) -> str:
    """A field's value in one line; secrets show their fingerprint only."""
    if value is None:
        return "(none)"
    if isinstance(value, frozenset | set | tuple):
        return ", ".join(sorted(map(str, value))) or "(empty)"
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def result_event(result: Result) -> str:
    """One line of progress."""
    return f"{result.status} {result.step.key}"


def _tally(plan: Plan) -> str:
    counts = Counter(step.action for step in plan.steps)
    words = {
        Action.CREATE: "to create",
        Action.UPDATE: "to change",
        Action.DELETE: "to remove",
        Action.REFUSE: "refused",
        Action.KEEP: "in place",
    }
    return ", ".join(
        f"{counts[a]} {word}" for a, word in words.items() if counts[a] or a is Action.KEEP
    )
