"""The fault lab: doctor names the cause first, and its fix mends it.

VAULTPROV_LAB_TABLE names a file that receives a row for each fault (scripts/doctor-lab).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.doctor.conftest import Clinic
from tests.doctor.fault import Fault, prove
from tests.doctor.faults import FAULTS
from tests.doctor.faults_jwt import JWT_FAULTS
from tests.doctor.faults_servers import SERVER_FAULTS

ALL = (*FAULTS, *SERVER_FAULTS, *JWT_FAULTS)


@pytest.mark.parametrize("fault", ALL, ids=[f"{f.code}-{f.name}" for f in ALL])
def test_the_cause_is_named_and_the_fix_mends_it(clinic: Clinic, fault: Fault) -> None:
    _note(fault, prove(clinic, fault))


def _note(fault: Fault, milliseconds: int) -> None:
    """A row of the lab's table; one line is written at once, so that workers do not mix theirs."""
    table = os.environ.get("VAULTPROV_LAB_TABLE")
    if table:
        how = "as printed" if fault.fix is None else "by hand, as it says"
        row = f"| {fault.name} | {fault.code} | {milliseconds} ms | {how} |\n"
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(row)
