"""The main job, as a user runs it, against real servers."""

from __future__ import annotations

import json

import hvac
import hvac.exceptions
import pytest

from tests.conftest import Lab
from tests.e2e.worlds import (
    BINDING,
    kubernetes,
    login,
    reviewer_token,
    runbook,
    snapshot,
    vault_read,
    watched,
    workload_token,
)
from vaultprov.devenv.oidc import OidcProvider
from vaultprov.devenv.process import free_port
from vaultprov.redact import Secret


def test_everything_is_in_place_as_the_servers_own_apis_tell(onboarded: Lab) -> None:
    lab = onboarded
    mount = vault_read(lab, "sys/auth")["smaug-k8s/"]
    uid = kubernetes(lab, "GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    assert mount["type"] == "kubernetes"
    for word in ("managed by vaultprov", "environment=moc", "cluster=smaug", f"cluster-uid={uid}"):
        assert word in mount["description"]
    assert f"reviewer={Secret(reviewer_token(lab)).fingerprint}" in mount["description"]
    config = vault_read(lab, "auth/smaug-k8s/config")
    assert config["kubernetes_host"] == lab.kube.server
    assert config["kubernetes_ca_cert"].strip() == lab.kube.ca_pem.strip()
    assert config["disable_local_ca_jwt"] is True
    assert config["token_reviewer_jwt_set"] is True
    role = vault_read(lab, "auth/smaug-k8s/role/moc-ops")
    assert role["bound_service_account_names"] == ["vault-secret-fetcher"]
    assert role["bound_service_account_namespaces"] == [lab.workload_namespace]
    assert role["alias_name_source"] == "serviceaccount_uid"
    assert (role["token_policies"], role["token_ttl"], role["audience"]) == (
        ["moc-kv-r"],
        3600,
        "vault",
    )
    group = vault_read(lab, "identity/group/name/vault-admins-moc")
    assert (group["type"], group["policies"]) == ("external", ["moc-kv-rw"])
    assert group["metadata"]["responsibility"] == "Vault moc Admin"
    assert group["alias"]["mount_path"] == "auth/oidc/"
    assert lab.vault.list("identity/group/name")["data"]["keys"] == ["vault-admins-moc"]
    binding = kubernetes(
        lab, "GET", f"{BINDING}/{lab.reviewer_namespace}-eso-vault-auth-tokenreview"
    )
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert [s["name"] for s in binding["subjects"]] == ["eso-vault-auth"]


def test_a_second_run_writes_nothing_at_either_server(onboarded: Lab) -> None:
    with watched(onboarded) as desk:
        again = desk.onboard("--output", "json")
        assert again.code == 0, again.err
        assert again.document["changed"] is False
        assert desk.writes() == []


def test_a_second_run_needs_at_most_four_round_trips_in_sequence(onboarded: Lab) -> None:
    """With a delay, so that what is sent at once looks so; of three runs the least counts.

    A busy machine can make things sent at once look sequential, but never the opposite.
    """
    depths = []
    with watched(onboarded, delay=0.2) as desk:
        for _ in range(3):
            desk.reset()
            assert desk.onboard().code == 0
            depths.append((desk.vault.depth(), desk.kube.depth()))
    assert min(vault for vault, _ in depths) <= 4
    assert min(kube for _, kube in depths) <= 4


def test_the_workload_reads_its_environment_and_no_other(onboarded: Lab) -> None:
    kv = onboarded.vault.secrets.kv.v2
    for env in ("moc", "osc"):
        kv.create_or_update_secret(f"{env}/smaug/db", {"user": "alice"}, mount_point="k8s_secrets")
    token = login(onboarded, workload_token(onboarded))["client_token"]
    workload = hvac.Client(onboarded.env["VAULT_ADDR"], token)
    read = workload.secrets.kv.v2.read_secret_version
    assert read("moc/smaug/db", mount_point="k8s_secrets")["data"]["data"] == {"user": "alice"}
    # dataFrom.find lists, at the environment and at its root.
    for path in ("moc/smaug", "moc"):
        assert workload.secrets.kv.v2.list_secrets(path, mount_point="k8s_secrets")
    kv = workload.secrets.kv.v2
    with pytest.raises(hvac.exceptions.Forbidden):
        read("osc/smaug/db", mount_point="k8s_secrets")
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.list_secrets("", mount_point="k8s_secrets")
    with pytest.raises(hvac.exceptions.Forbidden):
        kv.create_or_update_secret("moc/smaug/db", {"user": "eve"}, mount_point="k8s_secrets")


def test_a_user_of_the_group_gets_the_write_policy_through_oidc(
    onboarded: Lab, provider: OidcProvider
) -> None:
    subject = f"larsks-{onboarded.id}"
    provider.add_user(subject, ["vault-admins-moc"])
    auth = provider.login(
        onboarded.env["VAULT_ADDR"],
        "oidc",
        "default",
        "http://localhost:8250/oidc/callback",
        subject,
    )
    assert auth["identity_policies"] == ["moc-kv-rw"]
    person = hvac.Client(onboarded.env["VAULT_ADDR"], auth["client_token"])
    kv = person.secrets.kv.v2
    kv.create_or_update_secret("moc/smaug/db", {"a": "1"}, mount_point="k8s_secrets")
    kv.patch("moc/smaug/db", {"b": "2"}, mount_point="k8s_secrets")
    kv.delete_latest_version_of_secret("moc/smaug/db", mount_point="k8s_secrets")
    kv.undelete_secret_versions("moc/smaug/db", [2], mount_point="k8s_secrets")
    kv.destroy_secret_versions("moc/smaug/db", [1], mount_point="k8s_secrets")
    assert kv.list_secrets("moc", mount_point="k8s_secrets")["data"]["keys"] == ["smaug/"]
    # The UI finds the mount, but no listing shows the other environments.
    mounts = person.adapter.get("/v1/sys/internal/ui/mounts")["data"]["secret"]
    assert "k8s_secrets/" in mounts
    for path in ("", "osc"):
        with pytest.raises(hvac.exceptions.Forbidden):
            kv.list_secrets(path, mount_point="k8s_secrets")


@pytest.mark.parametrize("mode", ["secret", "token", "client"])
def test_every_reviewer_mode_ends_in_a_login_and_a_quiet_second_run(site: Lab, mode: str) -> None:
    assert site.onboard("--reviewer", mode).code == 0
    with watched(site) as desk:
        again = desk.onboard("--reviewer", mode, "--output", "json")
        assert (again.code, again.document["changed"]) == (0, False), again.err
        assert desk.writes() == []


def test_modes_can_be_changed_and_changed_back(onboarded: Lab) -> None:
    before = snapshot(onboarded)
    for mode in ("token", "client", "secret"):
        done = onboarded.onboard("--reviewer", mode)
        assert done.code == 0, done.err
    assert snapshot(onboarded) == before


def test_a_token_reviewer_shows_the_expiry_that_was_granted(site: Lab) -> None:
    assert site.onboard("--reviewer", "token", "--set", "reviewer.duration=2h").code == 0
    told = site.onboard("--reviewer", "token", command="status").out
    assert "expires 20" in told
    quiet = site.onboard("--reviewer", "token", "--set", "reviewer.duration=2h", "--output", "json")
    assert quiet.document["changed"] is False


@pytest.mark.parametrize("what", ["secrets/eso-vault-auth-token", "serviceaccounts/eso-vault-auth"])
def test_a_dead_reviewer_is_found_and_replaced(onboarded: Lab, what: str) -> None:
    kubernetes(onboarded, "DELETE", f"/api/v1/namespaces/{onboarded.reviewer_namespace}/{what}")
    done = onboarded.onboard("--output", "json")
    assert done.code == 0, done.err
    assert "vault/auth-config/smaug-k8s" in done.actions()
    assert onboarded.plan().actions() == {}


def test_a_recreated_reviewer_account_is_found_in_token_mode(site: Lab) -> None:
    assert site.onboard("--reviewer", "token").code == 0
    account = f"/api/v1/namespaces/{site.reviewer_namespace}/serviceaccounts"
    kubernetes(site, "DELETE", f"{account}/eso-vault-auth")
    kubernetes(site, "POST", account, {"metadata": {"name": "eso-vault-auth"}})
    assert "vault/auth-config/smaug-k8s" in site.plan("--reviewer", "token").actions()
    assert site.onboard("--reviewer", "token").code == 0


def test_a_reviewer_that_vault_lost_behind_our_back_is_renewed_on_demand(onboarded: Lab) -> None:
    """The JWT is write-only: a replaced one shows only in the proof, whose hint mends it."""
    config: dict[str, object] = {
        "kubernetes_host": onboarded.kube.server,
        "kubernetes_ca_cert": onboarded.kube.ca_pem,
    }
    config |= {"disable_local_ca_jwt": True, "token_reviewer_jwt": "somebody-elses"}
    onboarded.vault.adapter.post("/v1/auth/smaug-k8s/config", json=config)
    failed = onboarded.onboard()
    assert failed.code == 1
    assert "--renew-reviewer" in failed.err
    assert onboarded.onboard("--renew-reviewer").code == 0


def test_an_address_that_vault_does_not_reach_is_what_the_failed_proof_names(
    onboarded: Lab,
) -> None:
    """Vault says no more than `permission denied`; the way is looked at from here."""
    nowhere = f"https://127.0.0.1:{free_port()}"
    failed = onboarded.onboard("--kubernetes-host", nowhere)
    assert failed.code == 1
    assert f"Vault is to ask {nowhere}, not reached from here either" in failed.err
    assert "--kubernetes-host URL" in failed.err
    assert onboarded.onboard().code == 0


def test_foreign_labels_and_fields_in_the_cluster_survive(onboarded: Lab) -> None:
    path = f"{BINDING}/{onboarded.reviewer_namespace}-eso-vault-auth-tokenreview"
    merge = {"Content-Type": "application/merge-patch+json"}
    foreign = {"team": "a", "app.kubernetes.io/managed-by": "somebody"}
    kubernetes(onboarded, "PATCH", path, {"metadata": {"labels": foreign}}, **merge)
    assert onboarded.onboard().code == 0
    labels = kubernetes(onboarded, "GET", path)["metadata"]["labels"]
    assert labels == {"team": "a", "app.kubernetes.io/managed-by": "vaultprov"}


def test_a_namespace_that_people_added_stays_and_is_reported(onboarded: Lab) -> None:
    role = {"bound_service_account_namespaces": [onboarded.workload_namespace, "team-b"]}
    onboarded.vault.adapter.post("/v1/auth/smaug-k8s/role/moc-ops", json=role)
    done = onboarded.onboard("--service-account", "team-c/vault-secret-fetcher")
    assert done.code == 0, done.err
    assert "team-b" in done.out
    bound = vault_read(onboarded, "auth/smaug-k8s/role/moc-ops")["bound_service_account_namespaces"]
    assert sorted(bound) == sorted([onboarded.workload_namespace, "team-b", "team-c"])
    assert onboarded.onboard("--exclusive").code == 0
    bound = vault_read(onboarded, "auth/smaug-k8s/role/moc-ops")["bound_service_account_namespaces"]
    assert bound == [onboarded.workload_namespace]


def test_the_runbooks_vault_is_refused_and_shown_then_adopted_without_loss(lab: Lab) -> None:
    runbook(lab)
    refused = lab.onboard("--output", "json", command="plan")
    assert refused.code == 6
    actions = refused.actions()
    assert actions["vault/auth/smaug-k8s"] == "refuse"
    assert actions["vault/policy/moc-kv-rw"] == "refuse"
    assert "--adopt" in refused.err
    before = snapshot(lab)
    assert lab.onboard().code == 6
    assert snapshot(lab) == before, "a refused run wrote something"
    adopted = lab.onboard("--adopt")
    assert adopted.code == 0, adopted.out + adopted.err
    role = vault_read(lab, "auth/smaug-k8s/role/moc-ops")
    assert {"opf-observatorium", "team-a"} < set(role["bound_service_account_namespaces"])
    assert not role.get("audience"), "clients without an audience would be locked out"
    group = vault_read(lab, "identity/group/name/vault-admins-moc")
    assert set(group["policies"]) == {"moc-kv-rw", "people-added-this"}
    assert vault_read(lab, "sys/auth")["smaug-k8s/"]["description"].endswith("| by hand")
    assert lab.plan().actions() == {}


def test_the_runbooks_policies_are_in_place_with_the_operate_first_set(lab: Lab) -> None:
    runbook(lab)
    plan = lab.plan("--policy-set", "operate-first")
    assert not [key for key in plan.actions() if key.startswith("vault/policy/")]


def test_the_whole_run_works_with_the_provisioner_policy_alone(lab: Lab) -> None:
    assert lab.run("bootstrap").code == 0
    token = lab.vault.auth.token.create(policies=["vaultprov-provisioner"])["auth"]["client_token"]
    desk = lab.having(VAULT_TOKEN=token)
    for words in (["--bootstrap"], [], ["--reviewer", "token"], ["--reviewer", "client"]):
        done = desk.onboard(*words)
        assert done.code == 0, done.out + done.err
    assert desk.run("bootstrap").code == 0
    assert desk.onboard(command="status").code == 0


def test_everything_works_in_a_vault_namespace(lab: Lab) -> None:
    created = lab.vault.adapter.post("/v1/sys/namespaces/team", raise_exception=False)
    if not isinstance(created, dict):
        pytest.skip("this Vault has no namespaces")  # the community edition of HashiCorp's
    desk = lab.having(VAULT_NAMESPACE="team")
    done = desk.onboard("--bootstrap")
    assert done.code == 0, done.err
    again = desk.onboard("--output", "json")
    assert (again.code, again.document["changed"]) == (0, False)
    assert "smaug-k8s/" not in vault_read(lab, "sys/auth")
    lost = lab.having(VAULT_NAMESPACE="no-such").onboard()
    assert lost.code in (1, 3)
    assert "VAULT_NAMESPACE" in lost.err


def test_scope_cluster_narrows_the_read_policy_under_its_own_name(site: Lab) -> None:
    assert site.onboard("--scope", "cluster").code == 0
    policy = vault_read(site, "sys/policies/acl/moc-smaug-kv-r")["policy"]
    assert "k8s_secrets/data/moc/smaug/*" in policy
    role = vault_read(site, "auth/smaug-k8s/role/moc-ops")
    assert role["token_policies"] == ["moc-smaug-kv-r"]


def test_the_halves_can_be_done_by_two_people(site: Lab) -> None:
    assert site.onboard("--only", "cluster").code == 0
    ca_file = site.folder / "ca.crt"
    ca_file.write_text(site.kube.ca_pem)
    uid = kubernetes(site, "GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    vault_half = ["--only", "vault", "--kubernetes-host", site.kube.server]
    vault_half += ["--kubernetes-ca-file", str(ca_file), "--cluster-uid", uid]
    without = site.run("onboard", "--env", "moc", "--cluster", "smaug", *vault_half)
    assert without.code == 2
    assert "--reviewer-jwt-file" in without.err
    assert "smaug-k8s/" not in vault_read(site, "sys/auth"), "something was written"
    done = site.run(
        *["onboard", "--env", "moc", "--cluster", "smaug", *vault_half, "--reviewer-jwt-file", "-"],
        stdin=reviewer_token(site),
    )
    assert done.code == 0, done.err
    both = site.onboard("--output", "json")
    assert (both.code, both.document["changed"]) == (0, False), both.out


def test_ci_with_a_dev_vault_and_no_cluster(site: Lab) -> None:
    ca_file = site.folder / "ca.crt"
    ca_file.write_text(site.kube.ca_pem)
    words = [
        "onboard",
        "--env",
        "moc",
        "--cluster",
        "smaug",
        "--only",
        "vault",
        "--reviewer",
        "client",
    ]
    words += [
        "--kubernetes-host",
        "https://api.smaug.example:6443",
        "--kubernetes-ca-file",
        str(ca_file),
    ]
    assert site.run(*words, KUBECONFIG="/nonexistent").code == 0
    again = site.run(*words, "--output", "json")
    assert again.document["changed"] is False


def test_the_document_says_what_was_done(site: Lab) -> None:
    document = site.onboard("--output", "json").document
    assert document["schema"] == "vaultprov/v1"
    assert (document["ok"], document["changed"]) == (True, True)
    step = next(s for s in document["steps"] if s["key"] == "vault/policy/moc-kv-r")
    assert (step["action"], step["status"]) == ("create", "written")
    assert step["fields"]["path[k8s_secrets/data/moc/*]"] == {"from": None, "to": "read"}
    assert all(check["ok"] for check in document["checks"])
    assert json.dumps(document).count("sha256:") > 0


def test_pending_changes_have_an_exit_code_of_their_own(site: Lab) -> None:
    for command in ("plan", "status"):
        assert site.onboard(command=command).code == 0
        assert site.onboard("--detailed-exitcode", command=command).code == 5
    assert site.onboard().code == 0
    for command in ("plan", "status"):
        assert site.onboard("--detailed-exitcode", command=command).code == 0
    assert "in place" in site.onboard(command="status").out
