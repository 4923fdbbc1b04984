"""An outcome for programs: one versioned JSON document."""

from __future__ import annotations

import json
from typing import Any

from vaultprov.apply import Result
from vaultprov.errors import Error
from vaultprov.jwt import PublicKey
from vaultprov.redact import Secret
from vaultprov.resource import UNKNOWN
from vaultprov.run import Outcome

SCHEMA = "vaultprov/v1"


def document(outcome: Outcome) -> dict[str, Any]:
    """The document as plain data."""
    request = outcome.request
    site_wide = request.command == "bootstrap"
    return {
        "schema": SCHEMA,
        "command": request.command,
        "env": None if site_wide else request.onboarding.env,
        "cluster": None if site_wide else request.onboarding.cluster,
        **({"team": request.onboarding.team} if request.onboarding.team else {}),
        "ok": outcome.exit_code == 0,
        "changed": outcome.changed,
        "condition": outcome.condition,
        "reviewer": outcome.reviewer or None,
        "servers": list(outcome.servers),
        "notes": list(outcome.notes),
        "steps": [_step(result) for result in outcome.results],
        "checks": [
            {"title": c.title, "ok": c.ok, "detail": c.detail, "hint": c.hint or None}
            for c in outcome.checks
        ],
        "error": error_of(outcome.error),
        "duration_ms": round(outcome.seconds * 1000),
    }


def failure(command: str, error: Error) -> dict[str, Any]:
    """The document of a run that ended before there was anything to report."""
    return {
        "schema": SCHEMA,
        "command": command,
        "ok": False,
        "changed": False,
        "steps": [],
        "checks": [],
        "error": error_of(error),
    }


def text(content: dict[str, Any]) -> str:
    """The document as it is printed."""
    return json.dumps(content, indent=2, default=_plain)


def _step(result: Result) -> dict[str, Any]:
    step = result.step
    return {
        "key": str(step.key),
        "action": step.action,
        "status": result.status,
        "fields": {c.name: {"from": _plain(c.before), "to": _plain(c.after)} for c in step.changes},
        "kept": {name: list(members) for name, members in (step.extra or {}).items()},
        "reason": step.foreign.reason if step.foreign else None,
        "error": error_of(result.error),
    }


def error_of(error: Error | None) -> dict[str, Any] | None:
    """An error as the document has it."""
    if error is None:
        return None
    return {"message": error.message, "hint": error.hint or None, "exit_code": error.exit_code}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Secret):
        return value.fingerprint
    if value is UNKNOWN:
        return "(known after apply)"
    if isinstance(value, PublicKey):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value
