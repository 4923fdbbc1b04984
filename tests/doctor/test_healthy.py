"""A healthy cluster: nothing fails, nothing warns, nothing is unknown."""

from __future__ import annotations

from tests.doctor.conftest import Clinic, dumped


def test_healthy(clinic: Clinic) -> None:
    document = clinic.diagnosed()
    seen = {check["status"] for check in document["checks"]}
    assert seen <= {"ok", "skipped"}, dumped(document)
    assert document["root"] is None
    assert document["ok"] is True


def test_healthy_with_a_login(clinic: Clinic) -> None:
    done = clinic.doctor("--probe-login")
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[-1].startswith("Healthy: ")
