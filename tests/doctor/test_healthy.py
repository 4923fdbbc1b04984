"""A healthy cluster: nothing fails, nothing warns, nothing is unknown."""

from __future__ import annotations

from tests.doctor.conftest import Clinic, dumped
from tests.doctor.fault import note


def test_healthy(clinic: Clinic) -> None:
    document = clinic.diagnosed()
    seen = {check["status"] for check in document["checks"]}
    assert seen <= {"ok", "skipped"}, dumped(document)
    assert document["root"] is None
    assert document["ok"] is True
    note("nothing is wrong", "", document["duration_ms"], "")


def test_healthy_with_a_login(clinic: Clinic) -> None:
    done = clinic.doctor("--probe-login")
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[-1].startswith("Healthy: ")


def test_healthy_with_the_provisioners_policy_alone(clinic: Clinic) -> None:
    """Exactly enough to run every command is enough for these, too."""
    made = clinic.vault.auth.token.create(policies=["vaultprov-provisioner"])
    token = made["auth"]["client_token"]
    done = clinic.doctor(VAULT_TOKEN=token)
    assert done.code == 0, done.out + done.err
    proof = clinic.run("verify", "--oidc-group", VAULT_TOKEN=token)
    assert proof.code == 0, proof.out + proof.err
