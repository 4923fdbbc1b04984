"""The fault lab: doctor names the cause first, and its fix mends it."""

from __future__ import annotations

import pytest

from tests.doctor.conftest import Clinic, dumped
from tests.doctor.faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f.code}-{f.name}" for f in FAULTS])
def test_the_cause_is_named_and_the_fix_mends_it(clinic: Clinic, fault: Fault) -> None:
    fault.inject(clinic)
    document = clinic.diagnosed(*fault.words)
    root = document["root"]
    assert root is not None, dumped(document)
    assert root["id"] == fault.code, dumped(document)
    assert document["ok"] is False
    if fault.fix is None:
        clinic.apply(root["fix"])
    else:
        fault.fix(clinic)
    clinic.touch()
    clinic.ready()
    clinic.synced()
    healed = clinic.diagnosed(*fault.words)
    assert healed["root"] is None, dumped(healed)
