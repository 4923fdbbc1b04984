"""offboard: what goes, what stays, in which order, and that nobody gets in afterwards."""

from __future__ import annotations

import signal

import hvac.exceptions
import pytest

from tests.conftest import Lab, Result
from tests.e2e.test_faults import Nth
from tests.e2e.worlds import (
    BINDING,
    kubernetes,
    login,
    runbook,
    snapshot,
    vault_read,
    watched,
    workload_token,
)
from vaultprov.devenv.kube_api import serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.proxy import Exchange, Fault

COMMAND = ("offboard", "--env", "moc", "--cluster", "smaug")
REMOVALS = 10  # writes of an undisturbed run, which the first test keeps true


def offboard(lab: Lab, *words: str, **env: str) -> Result:
    return lab.run(*COMMAND, "--yes", *words, **env)


def left(lab: Lab) -> dict[str, object]:
    """What of the onboarding is still there, by what it is."""
    account = f"/api/v1/namespaces/{lab.reviewer_namespace}/serviceaccounts/eso-vault-auth"
    secret = f"/api/v1/namespaces/{lab.reviewer_namespace}/secrets/eso-vault-auth-token"
    binding = f"{BINDING}/{lab.reviewer_namespace}-eso-vault-auth-tokenreview"
    found = {
        "mount": vault_read(lab, "sys/auth").get("smaug-k8s/"),
        "read policy": vault_read(lab, "sys/policies/acl/moc-kv-r"),
        "write policy": vault_read(lab, "sys/policies/acl/moc-kv-rw"),
        "group": vault_read(lab, "identity/group/name/vault-admins-moc"),
        "account": kubernetes(lab, "GET", account),
        "token": kubernetes(lab, "GET", secret),
        "binding": kubernetes(lab, "GET", binding),
    }
    return {name: value for name, value in found.items() if value}


def test_everything_of_the_cluster_goes_and_the_secrets_stay(onboarded: Lab) -> None:
    lab = onboarded
    lab.vault.secrets.kv.v2.create_or_update_secret(
        "moc/smaug/db", {"password": "x"}, mount_point="k8s_secrets"
    )
    token = workload_token(lab)
    client_token = login(lab, token)["client_token"]
    with watched(lab) as desk:
        done = desk.lab.run(*COMMAND, "--yes")
        assert done.code == 0, done.out + done.err
        assert len([w for w in desk.writes() if w.method == "DELETE"]) == REMOVALS
    assert left(lab) == {}
    assert vault_read(lab, "k8s_secrets/data/moc/smaug/db") is not None
    assert "oidc/" in vault_read(lab, "sys/auth")
    assert kubernetes(lab, "GET", f"/api/v1/namespaces/{lab.workload_namespace}") is not None
    with pytest.raises(hvac.exceptions.InvalidPath):
        login(lab, token)
    with pytest.raises(hvac.exceptions.Forbidden):
        hvac.Client(lab.env["VAULT_ADDR"], client_token).auth.token.lookup_self()
    assert "1 token ends with the mount" in done.out
    assert "vault-secret-fetcher is refused at auth/smaug-k8s" in done.out
    again = offboard(lab)
    assert again.code == 0, again.err
    assert "Nothing to do" in again.out


def test_offboard_then_onboard_is_as_a_first_onboard(onboarded: Lab) -> None:
    first = snapshot(onboarded)
    assert offboard(onboarded).code == 0
    assert onboarded.onboard().code == 0
    assert snapshot(onboarded) == first


def test_nobody_to_ask_means_no(onboarded: Lab) -> None:
    """The plan is shown, and nothing is removed."""
    before = snapshot(onboarded)
    done = onboarded.run(*COMMAND)
    assert done.code == 6
    assert "- vault/auth/smaug-k8s" in done.out
    assert "--yes" in done.err
    assert snapshot(onboarded) == before


def test_another_cluster_of_the_environment_works_on(onboarded: Lab) -> None:
    lab = onboarded
    with serve() as api:
        kubeconfig = write_kubeconfig(
            lab.folder / "infra",
            server=api.server,
            ca_pem=api.ca_pem,
            token=api.admin_token,
            context="infra",
        )
        infra = ("--env", "moc", "--cluster", "infra")
        there = {"KUBECONFIG": str(kubeconfig)}
        assert lab.run("onboard", *infra, **there).code == 0
        wrong = offboard(lab, **there)
        assert wrong.code == 6
        assert "belongs to a cluster with identity" in wrong.err
        done = offboard(lab)
        assert done.code == 0, done.out + done.err
        assert "kept: used by infra, too" in done.out
        assert set(left(lab)) == {"read policy", "write policy", "group"}
        assert lab.run("verify", *infra, "--oidc-group", **there).code == 0
        assert lab.run("plan", *infra, "--output", "json", **there).actions() == {}


def test_a_second_mount_of_the_cluster_keeps_its_reviewer(onboarded: Lab) -> None:
    lab = onboarded
    infra = ("--env", "moc", "--cluster", "infra")
    assert lab.run("onboard", *infra, "--replace-cluster").code == 0
    done = offboard(lab)
    assert done.code == 0, done.out + done.err
    assert "kept: the cluster's side, which auth/infra-k8s needs" in done.out
    assert lab.run("verify", *infra).code == 0


def test_what_others_use_or_made_stays(onboarded: Lab) -> None:
    lab = onboarded
    lab.vault.sys.enable_auth_method("approle", path="machines")
    lab.vault.write_data("auth/machines/role/ci", data={"token_policies": ["moc-kv-r"]})
    path = f"/api/v1/namespaces/{lab.workload_namespace}/serviceaccounts"
    theirs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "theirs"}}
    kubernetes(lab, "POST", path, theirs)
    done = offboard(lab, "--set", f"service_accounts={lab.workload_namespace}/theirs")
    assert done.code == 0, done.out + done.err
    assert "are used by auth/machines/role/ci" in done.out
    assert f"kept: cluster/serviceaccount/{lab.workload_namespace}/theirs" in done.out
    assert "read policy" in left(lab)
    assert kubernetes(lab, "GET", f"{path}/theirs") is not None


def test_a_group_with_other_policies_stays(onboarded: Lab) -> None:
    lab = onboarded
    both = ["moc-kv-rw", "people-added-this"]
    lab.vault.write_data("identity/group/name/vault-admins-moc", data={"policies": both})
    done = offboard(lab)
    assert done.code == 0, done.out + done.err
    assert "group vault-admins-moc, which has other policies as well" in done.out
    assert {"group", "write policy"} <= set(left(lab))


def test_a_mount_made_by_hand_needs_adopt(site: Lab) -> None:
    site.vault.sys.disable_secrets_engine("k8s_secrets")
    site.vault.sys.disable_auth_method("oidc")
    runbook(site)
    done = offboard(site)
    assert done.code == 6
    assert "--adopt" in done.err
    assert "smaug-k8s/" in vault_read(site, "sys/auth")
    done = offboard(site, "--adopt")
    assert done.code == 0, done.out + done.err
    assert "smaug-k8s/" not in vault_read(site, "sys/auth")
    assert "kept: vault/policy/moc-kv-r" in done.out or "used by" in done.out


def test_a_cluster_that_is_no_more(onboarded: Lab) -> None:
    done = offboard(onboarded, "--only", "vault", KUBECONFIG="/nowhere")
    assert done.code == 0, done.out + done.err
    assert "anybody is refused at auth/smaug-k8s" in done.out
    assert set(left(onboarded)) == {"account", "token", "binding"}
    assert offboard(onboarded, "--only", "cluster").code == 0
    assert left(onboarded) == {}


def test_what_is_half_removed_is_removed_whole(onboarded: Lab) -> None:
    onboarded.vault.sys.disable_auth_method("smaug-k8s")
    done = offboard(onboarded)
    assert done.code == 0, done.out + done.err
    assert left(onboarded) == {}


def test_a_missing_right_stops_it_before_anything_is_removed(onboarded: Lab) -> None:
    before = snapshot(onboarded)
    made = onboarded.vault.auth.token.create(policies=["vaultprov-provisioner"])
    done = offboard(onboarded, VAULT_TOKEN=made["auth"]["client_token"])
    assert done.code != 0
    assert "missing right" in done.err
    assert "may delete" in done.err
    assert snapshot(onboarded) == before


@pytest.mark.parametrize("number", range(1, REMOVALS + 1))
def test_killed_at_any_removal_the_next_run_finishes(onboarded: Lab, number: int) -> None:
    """And what works at that moment is what worked before, or nothing: never half a login."""
    strike = Nth(number, None)
    with watched(onboarded, strike, strike) as desk:
        child = desk.lab.start(*COMMAND, "--yes")
        strike.kill = child.pid
        assert child.wait(60) == -signal.SIGKILL
        assert strike.struck
    done = offboard(onboarded)
    assert done.code == 0, done.out + done.err
    assert left(onboarded) == {}


@pytest.mark.parametrize("number", range(1, REMOVALS + 1))
def test_a_lost_answer_is_made_up_for(onboarded: Lab, number: int) -> None:
    strike = Nth(number, Fault.lose_response())
    with watched(onboarded, strike, strike) as desk:
        done = desk.lab.run(*COMMAND, "--yes")
        assert strike.struck
    assert done.code == 0, done.out + done.err
    assert left(onboarded) == {}


def test_what_was_removed_is_told_though_the_proof_could_not_be_had(onboarded: Lab) -> None:
    """Vault goes away between the two: changed is changed."""

    def no_logins(exchange: Exchange) -> Fault | None:
        return Fault.status(503, "{}") if exchange.path == "/v1/auth/smaug-k8s/login" else None

    with watched(onboarded, vault_fault=no_logins) as desk:
        done = offboard(desk.lab, "--output", "json")
    assert done.code != 0
    assert done.document["error"] is not None
    assert done.document["changed"] is True
    assert {s["status"] for s in done.document["steps"] if s["action"] == "delete"} == {"written"}
