"""Runs checks: independent ones at once, none whose premise does not hold, symptoms last."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from vaultprov.doctor.model import Answer, Check, Finding, Missing, NotAsked, Status
from vaultprov.doctor.world import World
from vaultprov.errors import Error

WORKERS = 24

OnAnswer = Callable[[Answer], None]


def examine(
    checks: Sequence[Check],
    world: World,
    suppressed: Collection[str] = (),
    on_answer: OnAnswer = lambda _: None,
) -> tuple[Answer, ...]:
    """The answers in the order of `checks`, in which a check comes after all that it needs.

    suppressed: codes that are not asked; what needs them is asked as if they were ok.
    """
    asked = [check for check in checks if check.code not in suppressed]
    futures: dict[str, Future[Answer]] = {}

    def answer(check: Check) -> Answer:
        # A worker waits for earlier checks only, and the pool starts them in order: no deadlock.
        premises = {code: futures[code].result() for code in check.needs if code in futures}
        made = _blocked(check, premises) or _answer(check, world)
        on_answer(made)
        return made

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for check in asked:
                if not check.symptom:
                    futures[check.code] = pool.submit(answer, check)
            answers = {code: future.result() for code, future in futures.items()}
        except BaseException:
            # Interrupted: whoever waits for a pod gives up, removes it and ends.
            world.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    root = next((a for a in answers.values() if a.status is Status.FAIL), None)
    for check in asked:
        if check.symptom:
            symptom = _answer(check, world)
            if symptom.status is Status.FAIL and root is not None:
                symptom = _because_of(symptom, root)
            answers[check.code] = symptom
            on_answer(symptom)
            root = root or (symptom if symptom.status is Status.FAIL else None)
    return tuple(answers[check.code] for check in asked)


def _blocked(check: Check, premises: Mapping[str, Answer]) -> Answer | None:
    """The answer of a check that cannot mean anything, because a premise does not hold."""
    for code, premise in premises.items():
        failed = premise.status is Status.FAIL
        if failed or (premise.status is Status.SKIPPED and premise.blocked_by):
            root = code if failed else premise.blocked_by
            return Answer(check, (_said(Status.SKIPPED, f"blocked by {root}"),), blocked_by=root)
    for code, premise in premises.items():
        if premise.status is Status.UNKNOWN:
            root = premise.blocked_by or code
            said = _said(Status.UNKNOWN, f"{root} could not be told")
            return Answer(
                check, (said,), blocked_by=root, missing=premise.missing, hint=premise.hint
            )
    return None


def _answer(check: Check, world: World) -> Answer:
    started = time.monotonic()
    missing, hint = None, ""
    try:
        findings = tuple(check.run(world))
    except NotAsked as error:
        findings, hint = (_said(Status.SKIPPED, error.message),), error.flag
    except Missing as error:
        findings = (_said(Status.UNKNOWN, error.message),)
        missing, hint = error.vantage, error.hint
    except Error as error:
        findings, hint = (_said(Status.UNKNOWN, error.message),), error.hint
    except Exception as error:
        if world.case.debug:
            raise
        # A cluster may hold what nobody foresaw; the other checks still have something to say.
        told = f"this check of vaultprov failed itself ({type(error).__name__})"
        findings, hint = (_said(Status.UNKNOWN, told),), "VAULTPROV_DEBUG=1 shows where"
    else:
        findings = findings or (_said(Status.SKIPPED, "nothing of the kind here"),)
    return Answer(check, findings, time.monotonic() - started, missing=missing, hint=hint)


def _because_of(symptom: Answer, root: Answer) -> Answer:
    """A symptom of a cause that is known: it is told, and it is not the cause."""
    seen = symptom.first(Status.FAIL)
    code = root.check.code
    said = Finding(
        Status.SKIPPED, seen.subject, f"blocked by {code}: {seen.observed}", evidence=seen.evidence
    )
    return Answer(symptom.check, (said,), symptom.seconds, blocked_by=code)


def _said(status: Status, text: str) -> Finding:
    return Finding(status, observed=text)
