"""Advice on the reviewer mode, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vaultprov.advise import Advice
from vaultprov.report.document import SCHEMA
from vaultprov.report.human import subject


def lines(advice: Advice) -> Iterator[str]:
    """What was seen, the modes, and the one to take."""
    yield f"Reviewer modes for {subject(advice.request)}"
    yield from (f"  {server}" for server in advice.servers)
    yield ""
    yield from (f"  {sentence}" for sentence in advice.seen)
    for choice in advice.choices:
        yield ""
        yield f"  {choice.mode:<7} {choice.fit}: {choice.why}"
        yield f"          good: {choice.good}"
        yield f"          bad:  {choice.bad}"
    yield ""
    if advice.best is None:
        yield f"None of them: {advice.reason}"
        return
    yield f"Take {advice.best}: {advice.reason}"
    if _command(advice):
        yield f"next:  {_command(advice)}"


def document(advice: Advice) -> dict[str, Any]:
    """The same as plain data."""
    onboarding = advice.request.onboarding
    return {
        "schema": SCHEMA,
        "command": advice.request.command,
        "env": onboarding.env,
        "cluster": onboarding.cluster,
        "ok": advice.best is not None,
        "changed": False,
        "servers": list(advice.servers),
        "notes": list(advice.seen),
        "modes": [
            {"mode": c.mode, "fit": c.fit, "why": c.why, "good": c.good, "bad": c.bad}
            for c in advice.choices
        ],
        "recommended": advice.best,
        "reason": advice.reason,
        "next": _command(advice) or None,
    }


def _command(advice: Advice) -> str:
    """What to run; "" if nothing is to be done."""
    if advice.best in (None, advice.now):
        return ""
    onboarding = advice.request.onboarding
    who = f"--env {onboarding.env} --cluster {onboarding.cluster}"
    return f"vaultprov plan {who} --reviewer {advice.best}"
