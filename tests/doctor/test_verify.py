"""verify: what a workload can do, what is refused, people, and a store that is touched."""

from __future__ import annotations

from tests.doctor.conftest import Clinic

PROVEN = (
    "logs in at auth/smaug-k8s as moc-ops",
    "may read k8s_secrets/moc/smaug/",
    "may not read another environment",
    "may read auth/token/lookup-self",
    "may update auth/token/revoke-self",
    "may list k8s_secrets/metadata/moc/smaug/",
    "may not write k8s_secrets/data/moc/smaug/vaultprov-proof",
    "token is revoked afterwards",
    "another ServiceAccount",
    "a ServiceAccount of another namespace",
    "a token for another audience",
    "group vault-admins-moc is external",
    "its alias is that of auth/oidc",
    "role default reads the groups from claim groups",
    "ClusterSecretStore vault is Ready, as of now",
)


def test_everything_is_proven_on_a_healthy_cluster(clinic: Clinic) -> None:
    done = clinic.run("verify", "--output", "json", "--oidc-group", "--touch-store", "vault")
    assert done.code == 0, done.out + done.err
    checks = done.document["checks"]
    assert done.document["changed"] is True, "the store was annotated"
    assert all(check["ok"] for check in checks)
    for words in PROVEN:
        assert [check for check in checks if words in check["title"]], words


def test_nothing_is_written_and_no_token_is_left(clinic: Clinic) -> None:
    before = clinic.vault.list("auth/token/accessors")["data"]["keys"]
    done = clinic.run("verify", "--output", "json")
    assert (done.code, done.document["changed"]) == (0, False)
    left = set(clinic.vault.list("auth/token/accessors")["data"]["keys"]) - set(before)
    names = [clinic.vault.lookup_accessor(each)["data"]["display_name"] for each in left]
    assert not [name for name in names if "default" in name or "probe" in name]
    assert clinic.vault.read("k8s_secrets/metadata/moc/smaug/vaultprov-proof") is None


def test_what_is_too_wide_is_seen(clinic: Clinic) -> None:
    """A role that lets everybody in, a policy that lets them write."""
    rules = 'path "k8s_secrets/*" { capabilities = ["create", "update", "read", "list"] }'
    clinic.vault.sys.create_or_update_policy("moc-kv-r", rules)
    clinic.role(bound_service_account_names=["*"], bound_service_account_namespaces=["*"])
    done = clinic.run("verify", "--output", "json")
    assert done.code == 1
    failed = " ".join(check["title"] for check in done.document["checks"] if not check["ok"])
    for words in ("another environment", "may not write", "no names but", "no namespaces but"):
        assert words in failed


def test_a_store_that_does_not_get_ready_fails(clinic: Clinic) -> None:
    clinic.login(role="mock-ops")
    clinic.ready(status="False")
    done = clinic.run("verify", "--touch-store", "vault")
    assert done.code == 1
    assert "unable to create client" in done.out
    assert "vaultprov doctor" in done.err


def test_a_store_that_does_not_exist_is_wrong_usage(clinic: Clinic) -> None:
    done = clinic.run("verify", "--touch-store", "valt")
    assert done.code == 2
    assert "no ClusterSecretStore valt" in done.err


def test_a_login_that_is_refused_leads_to_doctor(clinic: Clinic) -> None:
    clinic.role(bound_service_account_names=["somebody-else"])
    done = clinic.run("verify")
    assert done.code == 1
    assert "next:  vaultprov doctor --env moc --cluster smaug --probe-login" in done.err


def test_a_role_that_does_not_exist_leads_to_onboard(clinic: Clinic) -> None:
    clinic.vault.delete("auth/smaug-k8s/role/moc-ops")
    done = clinic.run("verify")
    assert done.code == 1
    assert "next:  vaultprov onboard --env moc --cluster smaug" in done.err


def test_a_token_that_ends_too_early_is_a_finding(clinic: Clinic) -> None:
    """The workload's, and so no reason to look at one's own."""
    clinic.role(token_num_uses=1)
    done = clinic.run("verify")
    assert done.code == 1
    assert "its token is of no use" in done.out
    assert "vaultprov doctor --env moc --cluster smaug" in done.err
