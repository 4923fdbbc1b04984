"""The fault lab: a fault of the catalogue, how it is made, and the rule that it has to obey."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.doctor.conftest import Clinic, dumped


@dataclass(frozen=True)
class Fault:
    """One fault.

    inject: breaks a healthy clinic. fix: None applies the fix that doctor names; a callable is for
    what no command of ours can mend (somebody else's server, a choice that is not ours), and does
    what the fix says in words. seen: the operand looks at its objects in spite of the fault.
    """

    name: str
    code: str
    inject: Callable[[Clinic], None]
    words: tuple[str, ...] = ()
    fix: Callable[[Clinic], None] | None = None
    seen: bool = True


def prove(clinic: Clinic, fault: Fault) -> int:
    """The rule of the lab: the cause is named first, and the fix mends it. Returns milliseconds."""
    fault.inject(clinic)
    if fault.seen:
        clinic.settle()
    document = clinic.diagnosed(*fault.words)
    root = document["root"]
    assert root is not None, dumped(document)
    assert root["id"] == fault.code, dumped(document)
    assert document["ok"] is False
    if fault.fix is None:
        clinic.apply(root["fix"])
    else:
        fault.fix(clinic)
    clinic.recover()
    healed = clinic.diagnosed(*fault.words)
    assert healed["root"] is None, dumped(healed)
    return int(document["duration_ms"])


def note(fault: str, code: str, milliseconds: int, how: str) -> None:
    """A row of the lab's table (scripts/doctor-lab); written at once, as workers share the file."""
    table = os.environ.get("VAULTPROV_LAB_TABLE")
    if table:
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(f"| {fault} | {code} | {milliseconds} ms | {how} |\n")
