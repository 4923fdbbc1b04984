"""The use cases stop before the first write when something is missing, foreign or not allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.worlds import Clock, MemoryVault
from vaultprov.desired import Target
from vaultprov.errors import ConfigError, Denied, MissingRight, Refused
from vaultprov.model import Onboarding, Only, Reviewer, ReviewerMode
from vaultprov.redact import Secret
from vaultprov.resource import Io
from vaultprov.run import Condition, Outcome, Request, execute

HOST, UID = "https://api.smaug.example.com:6443", "4b1f0c9e"
OURS = f"managed by vaultprov: environment=moc cluster=smaug cluster-uid={UID}"
MOUNTS = {"k8s_secrets/": {"type": "kv", "options": {"version": "2"}}}
OIDC = {"oidc/": {"type": "oidc", "accessor": "auth_oidc_1"}}
SITE: dict[str, Mapping[str, Any]] = {"sys/mounts": MOUNTS, "sys/auth": OIDC}


def with_mount(description: str, kind: str = "kubernetes") -> dict[str, Mapping[str, Any]]:
    mount = {"smaug-k8s/": {"type": kind, "description": description}}
    return {**SITE, "sys/auth": {**OIDC, **mount}}


@pytest.fixture(autouse=True)
def _certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultprov.vault.kubernetes.fingerprints", lambda pem: frozenset({pem}))


VAULT_ONLY = Request(
    "onboard",
    Onboarding("moc", "smaug"),
    Target(HOST, "a CA", UID, Secret("e30.e30.")),
    Only.VAULT,
)


def run(
    clock: Clock, vault: MemoryVault, request: Request = VAULT_ONLY, *, write: bool = True
) -> Outcome:
    return execute(request, Io(vault, None), clock.budget(), write=write)


def test_a_site_without_its_mounts_is_refused_with_the_command_that_makes_them(
    clock: Clock,
) -> None:
    vault = MemoryVault({"sys/mounts": {"other/": {}}, "sys/auth": {"token/": {}}})
    outcome = run(clock, vault)
    assert isinstance(outcome.error, Refused)
    assert "vault/mount/k8s_secrets is missing" in outcome.error.message
    assert "vaultprov bootstrap" in outcome.error.hint
    assert (outcome.exit_code, vault.written) == (6, [])


def test_a_plan_writes_nothing(clock: Clock) -> None:
    vault = MemoryVault(SITE)
    outcome = run(clock, vault, write=False)
    assert (outcome.exit_code, outcome.changed, vault.written) == (0, True, [])
    assert {str(result.status) for result in outcome.results} == {"kept", "planned"}


def test_the_plan_is_told_before_the_first_write(clock: Clock) -> None:
    vault = MemoryVault(SITE)
    written: list[int] = []
    execute(
        VAULT_ONLY,
        Io(vault, None),
        clock.budget(timeout=0),
        write=True,
        on_plan=lambda *_: written.append(len(vault.written)),
    )
    assert written == [0]


def test_a_missing_right_stops_before_the_first_write(clock: Clock) -> None:
    vault = MemoryVault(SITE)
    outcome = run(clock, vault)
    assert isinstance(outcome.error, MissingRight)
    assert "Vault path sys/auth/smaug-k8s needs write and sudo" in outcome.error.message
    assert [path for path, _ in vault.written] == ["sys/capabilities-self"]
    assert outcome.exit_code == 1


def test_a_run_that_stopped_before_the_first_write_changed_nothing(clock: Clock) -> None:
    """Ansible reads `changed`."""
    assert not run(clock, MemoryVault(SITE)).changed


def test_a_reviewer_jwt_that_is_not_at_hand_stops_before_the_first_write(clock: Clock) -> None:
    vault = MemoryVault(SITE)
    request = replace(VAULT_ONLY, target=replace(VAULT_ONLY.target, reviewer_jwt=None))
    outcome = run(clock, vault, request)
    assert isinstance(outcome.error, ConfigError)
    assert "--reviewer-jwt-file" in outcome.error.hint
    assert vault.written == []


def test_mode_client_needs_no_reviewer_jwt(clock: Clock) -> None:
    client = replace(VAULT_ONLY.onboarding, reviewer=Reviewer(ReviewerMode.CLIENT))
    target = replace(VAULT_ONLY.target, reviewer_jwt=None)
    request = replace(VAULT_ONLY, onboarding=client, target=target)
    assert isinstance(run(clock, MemoryVault(SITE), request).error, MissingRight)


CONDITIONS: dict[str, tuple[dict[str, Mapping[str, Any]], Condition]] = {
    "no mount": (SITE, Condition.ABSENT),
    "our mount alone": (with_mount(OURS), Condition.DRIFTED),
    "somebody's mount": (with_mount("mine"), Condition.FOREIGN),
    "another cluster's mount": (with_mount(OURS.replace(UID, "9e0a")), Condition.FOREIGN),
}


@pytest.mark.parametrize(("answers", "condition"), CONDITIONS.values(), ids=CONDITIONS)
def test_condition(
    clock: Clock, answers: dict[str, Mapping[str, Any]], condition: Condition
) -> None:
    outcome = run(clock, MemoryVault(answers), replace(VAULT_ONLY, command="status"), write=False)
    assert outcome.condition is condition


def test_another_clusters_mount_is_never_pointed_at_this_one(clock: Clock) -> None:
    """Somebody forgot to switch contexts; --adopt does not help."""
    vault = MemoryVault(with_mount(OURS.replace(UID, "9e0a")))
    outcome = run(clock, vault, replace(VAULT_ONLY, allow=frozenset({"--adopt"})))
    assert isinstance(outcome.error, Refused)
    assert "belongs to cluster smaug with identity 9e0a" in outcome.error.message
    assert "--replace-cluster" in outcome.error.hint
    assert (outcome.exit_code, vault.written) == (6, [])


def test_a_cluster_takes_anothers_place_with_the_flag(clock: Clock) -> None:
    vault = MemoryVault(with_mount(OURS.replace(UID, "9e0a")))
    outcome = run(clock, vault, replace(VAULT_ONLY, allow=frozenset({"--replace-cluster"})))
    assert isinstance(outcome.error, MissingRight)


def test_a_mount_of_another_type_is_refused_whatever_the_flags(clock: Clock) -> None:
    flags = frozenset({"--adopt", "--replace-cluster"})
    outcome = run(clock, MemoryVault(with_mount(OURS, "jwt")), replace(VAULT_ONLY, allow=flags))
    assert isinstance(outcome.error, Refused)
    assert "is an auth mount of type jwt" in outcome.error.message


def test_what_somebody_else_made_is_refused_with_the_flag_that_takes_it_over(clock: Clock) -> None:
    vault = MemoryVault(with_mount("mine"))
    outcome = run(clock, vault)
    assert isinstance(outcome.error, Refused)
    assert outcome.error.hint == ("to take over what is shown, add --adopt to the same command")
    assert vault.written == []


def test_an_error_while_looking_is_part_of_the_outcome(clock: Clock) -> None:
    def denied() -> None:
        raise Denied("permission denied")

    vault = MemoryVault(SITE)
    vault.on_read = denied
    outcome = run(clock, vault)
    assert isinstance(outcome.error, Denied)
    assert (outcome.exit_code, outcome.results, vault.written) == (3, (), [])
    assert outcome.servers == (
        "site     no vaultprov.yaml found",
        "vault    https://vault.example.com",
    )
