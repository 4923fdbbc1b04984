"""namespace add, remove, list: one namespace more or less, and nobody else's."""

from __future__ import annotations

import re
import threading

import pytest

from tests.conftest import Result
from tests.doctor.conftest import STORE, Clinic

ROLE = "auth/smaug-k8s/role/moc-ops"
TEAM = ("external-secrets.io/v1", "SecretStore", "team-a", "vault")
ACCOUNT = ("v1", "ServiceAccount", "team-a", "vault-secret-fetcher")


@pytest.fixture
def teams(clinic: Clinic) -> Clinic:
    """With the namespaces team-a and team-b."""
    for name in ("team-a", "team-b"):
        metadata = {"name": name}
        clinic.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return clinic


def namespace(clinic: Clinic, verb: str, *words: str) -> Result:
    return clinic.run(f"namespace {verb}", *words)


def bound(clinic: Clinic) -> set[str]:
    return set(clinic.read(ROLE)["bound_service_account_namespaces"])


def test_a_namespace_is_let_in_with_a_store_of_its_own(teams: Clinic) -> None:
    done = namespace(teams, "add", "team-a")
    assert done.code == 0, done.out + done.err
    assert bound(teams) == {"external-secrets", "team-a"}
    assert teams.condition(TEAM)["status"] == "True"
    assert "team-a/vault-secret-fetcher logs in" in done.out
    again = namespace(teams, "add", "team-a", "--output", "json")
    assert again.code == 0
    assert again.document["changed"] is False
    assert teams.run("plan", "--output", "json").actions() == {}, "onboard keeps it"


def test_and_taken_out_again(teams: Clinic) -> None:
    assert namespace(teams, "add", "team-a", "team-b").code == 0
    asked = namespace(teams, "remove", "team-a")
    assert asked.code == 6
    assert "--yes" in asked.err
    done = namespace(teams, "remove", "team-a", "--yes")
    assert done.code == 0, done.out + done.err
    assert bound(teams) == {"external-secrets", "team-b"}
    assert "team-a/vault-secret-fetcher is refused" in done.out
    assert teams.absent(TEAM)
    assert teams.absent(ACCOUNT)
    assert not teams.absent(STORE)
    assert namespace(teams, "remove", "team-a", "--yes").code == 0, "nothing is left to do"


def test_what_others_added_stays(teams: Clinic) -> None:
    teams.role(bound_service_account_namespaces=["external-secrets", "theirs"])
    assert namespace(teams, "add", "team-a").code == 0
    assert bound(teams) == {"external-secrets", "theirs", "team-a"}
    assert namespace(teams, "remove", "team-a", "--yes").code == 0
    assert bound(teams) == {"external-secrets", "theirs"}


def test_who_writes_at_the_same_time_loses_nothing(teams: Clinic) -> None:
    """As Vault's interface does it: read, think for a while, write the whole list."""
    read, written = threading.Event(), threading.Event()

    def by_hand() -> None:
        found = sorted(bound(teams))
        read.set()
        teams.until("ours", lambda: "team-a" in bound(teams))
        teams.role(bound_service_account_namespaces=[*found, "theirs"])
        written.set()

    person = threading.Thread(target=by_hand)
    person.start()
    read.wait()
    done = namespace(teams, "add", "team-a")
    person.join()
    assert written.is_set()
    assert done.code == 0, done.out + done.err
    assert bound(teams) == {"external-secrets", "team-a", "theirs"}


def test_a_namespace_that_does_not_exist_is_not_made(teams: Clinic) -> None:
    done = namespace(teams, "add", "taem-a")
    assert done.code == 6
    assert "kubectl create namespace taem-a" in done.err
    assert bound(teams) == {"external-secrets"}


def test_the_last_one_and_a_pattern_are_refused(teams: Clinic) -> None:
    done = namespace(teams, "remove", "external-secrets", "--yes")
    assert done.code == 6
    assert "vaultprov offboard" in done.err
    teams.role(bound_service_account_namespaces=["external-secrets", "team-*"])
    done = namespace(teams, "remove", "team-a", "--yes")
    assert done.code == 6
    assert "would keep nobody out" in done.err


def test_the_list_shows_what_does_not_fit(teams: Clinic) -> None:
    assert namespace(teams, "list").code == 0
    assert namespace(teams, "add", "team-a").code == 0
    teams.role(bound_service_account_namespaces=["external-secrets", "nobody"])
    done = namespace(teams, "list")
    assert done.code == 1
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert "so its store cannot log in" in rows["team-a"]
    assert "no store logs in from here" in rows["nobody"]
    assert "Ready" in rows["external-secrets"]
    listed = namespace(teams, "list", "--output", "json").document["namespaces"]
    assert [row["namespace"] for row in listed] == ["external-secrets", "nobody", "team-a"]


def test_a_cluster_that_is_not_onboarded(teams: Clinic) -> None:
    teams.vault.delete(ROLE)
    done = namespace(teams, "add", "team-a")
    assert done.code == 6
    assert "vaultprov onboard --env moc --cluster smaug" in done.err


def test_what_was_written_is_told_though_the_run_fails_after_it(teams: Clinic) -> None:
    """Somebody keeps writing the role without it."""
    stop = threading.Event()

    def undo() -> None:
        while not stop.wait(0.02):
            if "team-a" in bound(teams):
                teams.write(ROLE, bound_service_account_namespaces=["external-secrets"])

    other = threading.Thread(target=undo)
    other.start()
    try:
        done = namespace(teams, "add", "team-a", "--output", "json")
    finally:
        stop.set()
        other.join()
    assert done.code == 1
    assert any(step["status"] in ("written", "failed") for step in done.document["steps"])
    assert done.document["changed"] is True


def test_a_context_that_is_another_cluster_is_refused(teams: Clinic) -> None:
    """Else its role would be widened, and stores of this cluster would log in there."""
    mount = teams.read("sys/auth")["smaug-k8s/"]
    other = re.sub(r"cluster-uid=\S+", "cluster-uid=another", mount["description"])
    teams.write("sys/auth/smaug-k8s/tune", description=other)
    for verb in (["add", "team-a"], ["remove", "team-a", "--yes"], ["list"]):
        refused = namespace(teams, *verb)
        assert refused.code == 6, refused.out
        assert "another" in refused.err
    assert bound(teams) == {"external-secrets"}


def test_the_namespace_that_the_clusters_own_store_logs_in_from_stays(teams: Clinic) -> None:
    assert namespace(teams, "add", "team-a").code == 0
    refused = namespace(teams, "remove", "external-secrets", "--yes")
    assert refused.code == 6
    assert "ClusterSecretStore vault logs in from external-secrets/vault-secret-fetcher" in (
        refused.err
    )
    assert bound(teams) == {"external-secrets", "team-a"}


def test_an_audience_that_people_chose_is_asked_for(teams: Clinic) -> None:
    teams.role(audience="theirs")
    assert namespace(teams, "add", "team-a").code == 0
    assert teams.condition(TEAM)["status"] == "True"
