"""The fault lab: doctor names the cause first, and its fix mends it."""

from __future__ import annotations

import pytest

from tests.doctor.conftest import Clinic
from tests.doctor.fault import Fault, note, prove
from tests.doctor.faults import FAULTS
from tests.doctor.faults_jwt import JWT_FAULTS
from tests.doctor.faults_servers import SERVER_FAULTS

ALL = (*FAULTS, *SERVER_FAULTS, *JWT_FAULTS)


@pytest.mark.parametrize("fault", ALL, ids=[f"{f.code}-{f.name}" for f in ALL])
def test_the_cause_is_named_and_the_fix_mends_it(clinic: Clinic, fault: Fault) -> None:
    took = prove(clinic, fault)
    note(fault.name, fault.code, took, "as printed" if fault.fix is None else "by hand")
