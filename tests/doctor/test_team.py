"""team onboard, team offboard: namespaces of a cluster for the people of a group."""

from __future__ import annotations

import pytest

from tests.conftest import Result
from tests.doctor.conftest import STORE, Clinic
from vaultprov.vault.hcl import meaning
from vaultprov.vault.policy import Policy, owner

ROLE = "auth/smaug-k8s/role/dragons"
PEOPLE, WORKLOADS = "moc-smaug-dragons-kv-rw", "moc-smaug-dragons-kv-r"
READ = "create, read, update, patch, delete"


@pytest.fixture
def spaces(clinic: Clinic) -> Clinic:
    """With the namespaces lair and hoard."""
    for name in ("lair", "hoard"):
        metadata = {"name": name}
        clinic.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return clinic


def team(clinic: Clinic, verb: str, *words: str) -> Result:
    return clinic.run(f"team {verb}", "--group", "dragons", *words)


def onboarded(clinic: Clinic, *namespaces: str) -> Result:
    done = team(clinic, "onboard", *(w for each in namespaces for w in ("--namespace", each)))
    assert done.code == 0, done.out + done.err
    return done


def rules(clinic: Clinic, policy: str) -> dict[str, str]:
    return dict(meaning(clinic.read(f"sys/policies/acl/{policy}")["policy"]))


def store(namespace: str) -> tuple[str, str, str, str]:
    return ("external-secrets.io/v1", "SecretStore", namespace, "vault")


def account(namespace: str) -> tuple[str, str, str, str]:
    return ("v1", "ServiceAccount", namespace, "vault-secret-fetcher")


def test_the_team_gets_its_namespaces_and_nothing_beside_them(spaces: Clinic) -> None:
    done = onboarded(spaces, "lair")
    assert "may not read another team, cluster or environment" in done.out
    assert rules(spaces, WORKLOADS) == {
        "k8s_secrets/data/moc/smaug/lair/*": "read",
        "k8s_secrets/metadata/moc/smaug/lair/*": "read, list",
    }
    people = rules(spaces, PEOPLE)
    assert people["k8s_secrets/data/moc/smaug/lair/*"] == READ
    assert all("/moc/smaug/lair/" in path for path in people)
    group = spaces.read("identity/group/name/dragons")
    assert group["type"] == "external"
    assert group["policies"] == [PEOPLE]
    assert group["alias"]["mount_path"] == "auth/oidc/"
    assert spaces.read(ROLE)["bound_service_account_namespaces"] == ["lair"]
    assert spaces.condition(store("lair"))["status"] == "True"
    again = team(spaces, "onboard", "--namespace", "lair", "--output", "json")
    assert again.document["changed"] is False
    assert again.document["team"] == "dragons"
    assert spaces.run("plan", "--output", "json").actions() == {}, "the cluster's own is as it was"


def test_a_further_namespace_is_added_to_the_others(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    onboarded(spaces, "hoard")
    assert set(spaces.read(ROLE)["bound_service_account_namespaces"]) == {"lair", "hoard"}
    assert {path.split("/")[4] for path in rules(spaces, PEOPLE)} == {"lair", "hoard"}


def test_one_namespace_is_taken_back(spaces: Clinic) -> None:
    onboarded(spaces, "lair", "hoard")
    done = team(spaces, "offboard", "--namespace", "hoard", "--yes")
    assert done.code == 0, done.out + done.err
    assert "hoard/vault-secret-fetcher is refused" in done.out
    assert spaces.read(ROLE)["bound_service_account_namespaces"] == ["lair"]
    assert {path.split("/")[4] for path in rules(spaces, PEOPLE)} == {"lair"}
    assert spaces.absent(store("hoard"))
    assert not spaces.absent(store("lair"))


def test_with_the_last_namespace_all_of_it_goes_and_nothing_else(spaces: Clinic) -> None:
    onboarded(spaces, "lair", "hoard")
    asked = team(spaces, "offboard")
    assert asked.code == 6
    assert "--yes" in asked.err
    done = team(spaces, "offboard", "--yes")
    assert done.code == 0, done.out + done.err
    for path in (ROLE, "identity/group/name/dragons", f"sys/policies/acl/{PEOPLE}"):
        assert spaces.find(path) is None, path
    for namespace in ("lair", "hoard"):
        assert spaces.absent(store(namespace))
        assert spaces.absent(account(namespace))
    assert not spaces.absent(STORE)
    assert spaces.run("plan", "--output", "json").actions() == {}
    again = team(spaces, "offboard", "--yes")
    assert again.code == 0, again.out + again.err
    assert "nothing was removed" in again.out


def test_a_group_with_other_policies_keeps_them(spaces: Clinic) -> None:
    """It may be the same team's on another cluster."""
    onboarded(spaces, "lair")
    spaces.write("identity/group", name="dragons", policies=[PEOPLE, "osc-other-dragons-kv-rw"],
                 metadata={"managed-by": "vaultprov"})  # fmt: skip
    done = team(spaces, "offboard", "--yes")
    assert done.code == 0, done.out + done.err
    assert spaces.read("identity/group/name/dragons")["policies"] == ["osc-other-dragons-kv-rw"]
    assert spaces.find(f"sys/policies/acl/{PEOPLE}") is None


def test_an_account_that_the_clusters_role_needs_stays(spaces: Clinic) -> None:
    assert spaces.run("namespace add", "lair").code == 0
    onboarded(spaces, "lair")
    done = team(spaces, "offboard", "--yes")
    assert done.code == 0, done.out + done.err
    assert "kept: ServiceAccount lair/vault-secret-fetcher" in done.out
    assert not spaces.absent(account("lair"))


def test_what_the_team_uses_outlives_the_namespaces_other_part(spaces: Clinic) -> None:
    assert spaces.run("namespace add", "lair").code == 0
    onboarded(spaces, "lair")
    listed = spaces.run("namespace list")
    assert "nothing uses it: no store logs in from here" in listed.out
    done = spaces.run("namespace remove", "lair", "--yes")
    assert done.code == 0, done.out + done.err
    assert "kept: SecretStore lair/vault, which logs in as dragons" in done.out
    assert not spaces.absent(account("lair"))
    spaces.looked_at(store("lair"))
    assert spaces.condition(store("lair"))["status"] == "True"


def test_a_group_of_others_is_not_taken_over(spaces: Clinic) -> None:
    spaces.write("identity/group", name="dragons", type="external", policies=["theirs"])
    refused = team(spaces, "onboard", "--namespace", "lair")
    assert refused.code == 6
    assert "--adopt" in refused.err
    assert spaces.find(ROLE) is None
    done = team(spaces, "onboard", "--namespace", "lair", "--adopt")
    assert done.code == 0, done.out + done.err
    assert set(spaces.read("identity/group/name/dragons")["policies"]) == {"theirs", PEOPLE}


def test_offboarding_the_cluster_tells_of_the_team_and_takes_its_stores(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    done = spaces.run("offboard", "--yes")
    assert done.code == 0, done.out + done.err
    assert "roles of others that end with the mount: dragons" in done.out
    assert spaces.absent(store("lair"))
    assert spaces.absent(account("lair"))


def test_what_a_team_has_left_after_its_cluster_goes_can_be_taken(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    assert spaces.run("offboard", "--yes").code == 0
    assert spaces.find("identity/group/name/dragons") is not None
    done = team(spaces, "offboard", "--yes")
    assert done.code == 0, done.out + done.err
    for path in ("identity/group/name/dragons", f"sys/policies/acl/{PEOPLE}"):
        assert spaces.find(path) is None, path


def test_a_cluster_that_is_not_onboarded_has_no_teams(spaces: Clinic) -> None:
    assert spaces.run("offboard", "--yes").code == 0
    refused = team(spaces, "onboard", "--namespace", "lair")
    assert refused.code == 6
    assert "vaultprov onboard --env moc --cluster smaug" in refused.err


def test_a_group_that_is_no_name_for_a_policy_is_refused(spaces: Clinic) -> None:
    refused = spaces.run("team onboard", "--group", "a/b", "--namespace", "lair")
    assert refused.code == 2
    assert "'a/b'" in refused.err


@pytest.mark.parametrize("group", ["moc-ops", "vault-admins-moc", "Vault-Admins-moc"])
def test_a_group_of_the_clusters_own_name_is_refused(spaces: Clinic, group: str) -> None:
    """It would be given the cluster's own role, or share the administrators' group."""
    before = spaces.read("auth/smaug-k8s/role/moc-ops")
    refused = spaces.run("team onboard", "--group", group, "--namespace", "lair")
    assert refused.code == 2
    assert "the cluster's own role or group" in refused.err
    assert spaces.read("auth/smaug-k8s/role/moc-ops") == before


def test_a_role_of_the_teams_name_that_others_made_is_no_teams(spaces: Clinic) -> None:
    """Roles carry no marker: what a team's role gives is the team's own policy."""
    made = {
        "bound_service_account_names": "ci",
        "bound_service_account_namespaces": "hoard",
        "token_policies": "ci-admin",
    }
    spaces.write(ROLE, **made)
    before = spaces.read(ROLE)
    for words in (["onboard", "--namespace", "lair"], ["offboard", "--yes"]):
        refused = team(spaces, *words)
        assert refused.code == 6, refused.out
        assert "ci-admin" in refused.err
        assert spaces.read(ROLE) == before
    assert spaces.find(f"sys/policies/acl/{PEOPLE}") is None


def test_one_team_does_not_take_anothers_namespace(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    for taking in (
        ("team onboard", "--group", "orcs", "--namespace", "lair"),
        ("namespace add", "lair"),
    ):
        refused = spaces.run(*taking)
        assert refused.code == 6, refused.out
        assert "SecretStore lair/vault logs in at auth/smaug-k8s as dragons" in refused.err
    assert spaces.find("auth/smaug-k8s/role/orcs") is None


def test_a_namespace_is_not_taken_from_a_role_that_a_pattern_lets_in(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    role = spaces.read(ROLE)
    spaces.write(ROLE, **{**role, "bound_service_account_namespaces": ["lair", "la*"]})
    refused = team(spaces, "offboard", "--namespace", "lair", "--yes")
    assert refused.code == 6
    assert "la*" in refused.err
    assert not spaces.absent(account("lair"))


def test_the_alias_of_a_group_that_stays_stays(spaces: Clinic) -> None:
    """It lets people in, whoever made the group."""
    spaces.write("identity/group", name="sre", type="external")
    group = spaces.read("identity/group/name/sre")
    accessor = spaces.read("sys/auth")["oidc/"]["accessor"]
    spaces.write("identity/group-alias", name="sre", mount_accessor=accessor,
                 canonical_id=group["id"])  # fmt: skip
    done = spaces.run("team offboard", "--group", "sre", "--yes")
    assert done.code == 0, done.out + done.err
    assert "kept: vault/group/sre" in done.out
    assert spaces.read("identity/group/name/sre")["alias"]["name"] == "sre"


def test_an_audience_that_people_chose_is_asked_for(spaces: Clinic) -> None:
    onboarded(spaces, "lair")
    spaces.write(ROLE, **{**spaces.read(ROLE), "audience": "theirs"})
    onboarded(spaces, "lair", "hoard")
    assert spaces.condition(store("hoard"))["status"] == "True"


def test_a_policy_of_another_clusters_team_is_not_overwritten(spaces: Clinic) -> None:
    """Names are joined by hyphens: team `db` of `infra-dev` is named as `dev-db` of `infra`."""
    rule = 'path "k8s_secrets/data/moc/smaug-b/lair/*" {\n capabilities = ["read"]\n}\n'
    text = Policy("moc-smaug-b-c-kv-r", rule, owner("moc", "smaug-b", "c")).marked
    spaces.write("sys/policies/acl/moc-smaug-b-c-kv-r", policy=text)
    refused = spaces.run("team onboard", "--group", "b-c", "--namespace", "lair")
    assert refused.code == 6, refused.out
    assert "belongs to environment=moc cluster=smaug-b team=c" in refused.err
    assert spaces.read("sys/policies/acl/moc-smaug-b-c-kv-r")["policy"] == text
