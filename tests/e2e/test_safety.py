"""Never clobber, never leak, never lock out: worlds in which a careless tool would."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import Lab
from tests.e2e.worlds import (
    kubernetes,
    login,
    reviewer_token,
    snapshot,
    vault_read,
    watched,
    workload_token,
)
from vaultprov.devenv.proxy import Exchange, Fault, counting_proxy


def test_renewing_the_reviewer_takes_over_nothing(site: Lab) -> None:
    site.vault.sys.enable_auth_method("kubernetes", path="smaug-k8s", description="by hand")
    before = snapshot(site)
    assert site.onboard("--renew-reviewer").code == 6
    assert snapshot(site) == before


def test_a_second_workload_in_client_mode_does_not_lock_out_the_first(site: Lab) -> None:
    accounts = [f"{site.workload_namespace}-{team}/fetcher" for team in "ab"]
    words = ["--reviewer", "client", "--service-account"]
    for account in accounts:
        done = site.onboard(*words, account)
        assert done.code == 0, done.err
    token = client_token(site, accounts[0])
    assert login(site, token)["client_token"]


def client_token(lab: Lab, account: str) -> str:
    """A token that reviews itself: for Vault and for the API server."""
    namespace, _, name = account.partition("/")
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    body = {"spec": {"audiences": ["vault", "https://kubernetes.default.svc"]}}
    token: str = kubernetes(lab, "POST", path, body)["status"]["token"]
    return token


def test_client_mode_is_refused_while_the_role_lets_in_others(onboarded: Lab) -> None:
    """They would lose the stored reviewer that reviews them."""
    role = {"bound_service_account_namespaces": [onboarded.workload_namespace, "team-b"]}
    onboarded.vault.adapter.post("/v1/auth/smaug-k8s/role/moc-ops", json=role)
    before = snapshot(onboarded)
    done = onboarded.onboard("--reviewer", "client")
    assert done.code == 6
    assert "team-b" in done.err
    assert snapshot(onboarded) == before
    assert login(onboarded, workload_token(onboarded))["client_token"]


def changed_kubeconfig(lab: Lab, change: str) -> str:
    file = Path(lab.env["KUBECONFIG"])
    content = yaml.safe_load(file.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    if change == "newline":
        user["token"] += "\n"
    elif change == "control character":
        user["token"] = "SECRET\x01HALF"
    elif change == "insecure":
        del cluster["certificate-authority-data"]
        cluster["insecure-skip-tls-verify"] = True
    elif change == "no current context":
        content["current-context"] = ""
    other = lab.folder / "changed"
    other.write_text(yaml.safe_dump(content))
    return str(other)


def test_kubeconfigs_that_kubectl_takes_are_taken(site: Lab) -> None:
    for change, words in (
        ("newline", []),
        ("no current context", ["--context", "smaug"]),
        ("insecure", ["--only", "cluster"]),
    ):
        done = site.onboard(*words, KUBECONFIG=changed_kubeconfig(site, change))
        assert done.code == 0, f"{change}: {done.err}"
    ca_file = site.folder / "ca.crt"
    ca_file.write_text(site.kube.ca_pem)
    insecure = changed_kubeconfig(site, "insecure")
    assert site.onboard("--kubernetes-ca-file", str(ca_file), KUBECONFIG=insecure).code == 0


def test_credentials_that_cannot_be_sent_are_not_printed(site: Lab) -> None:
    done = site.onboard(KUBECONFIG=changed_kubeconfig(site, "control character"))
    assert done.code == 2
    assert "SECRET" not in done.out + done.err
    done = site.onboard(VAULT_TOKEN="SECRET\nHALF")
    assert done.code == 2
    assert "VAULT_TOKEN" in done.err
    assert "SECRET" not in done.out + done.err
    done = site.onboard(VAULT_ADDR="https://bob:hunter2@vault.example.com")
    assert done.code == 2
    assert "hunter2" not in done.out + done.err


@pytest.mark.parametrize("code", [301, 302])
def test_a_redirect_to_elsewhere_does_not_get_the_token(site: Lab, code: int) -> None:
    with counting_proxy(site.env["VAULT_ADDR"]) as other:
        redirect = Fault.status(code, "", {"Location": f"{other.address}/v1/sys/auth"})
        with watched(site, vault_fault=lambda _: redirect) as desk:
            done = desk.onboard()
        assert done.code == 3
        assert f"export VAULT_ADDR={other.address}" in done.err
        assert other.exchanges == []


def test_a_standbys_redirect_is_followed_with_method_and_body(site: Lab) -> None:
    active = site.env["VAULT_ADDR"]

    def standby(exchange: Exchange) -> Fault:
        return Fault.status(307, "", {"Location": active + exchange.path})

    with watched(site, vault_fault=standby) as desk:
        done = desk.onboard()
    assert done.code == 0, done.err


def vault_half(lab: Lab, host: str) -> list[str]:
    ca_file = lab.folder / "ca.crt"
    ca_file.write_text(lab.kube.ca_pem)
    words = ["onboard", "--env", "moc", "--cluster", "smaug", "--only", "vault"]
    return [*words, "--kubernetes-host", host, "--kubernetes-ca-file", str(ca_file)]


def test_vaults_half_alone_does_not_point_a_mount_at_another_cluster(onboarded: Lab) -> None:
    words = [*vault_half(onboarded, "https://api.other.example:6443"), "--reviewer-jwt-file", "-"]
    before = snapshot(onboarded)
    done = onboarded.run(*words, stdin=reviewer_token(onboarded))
    assert done.code == 6
    assert "--cluster-uid" in done.err
    assert snapshot(onboarded) == before


def unsigned(claims: dict[str, object]) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{body}.c2ln"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (unsigned({"exp": time.time() - 60}), "has expired"),
        (base64.b64encode(unsigned({}).encode()).decode(), "not a JSON Web Token"),
        ("", "no secret in standard input"),
    ],
    ids=["expired", "still base64", "empty"],
)
def test_a_bad_reviewer_jwt_is_refused_before_any_write(site: Lab, text: str, words: str) -> None:
    command = [*vault_half(site, "https://api.smaug.example:6443"), "--reviewer-jwt-file", "-"]
    before = snapshot(site)
    done = site.run(*command, stdin=text)
    assert done.code == 2
    assert words in done.err
    assert snapshot(site) == before


def test_what_people_set_in_the_oidc_role_stays(site: Lab) -> None:
    uri = "https://vault.example.com/ui/vault/auth/oidc/oidc/callback"
    role = vault_read(site, "auth/oidc/role/default")
    role["allowed_redirect_uris"].append(uri)
    site.vault.adapter.post("/v1/auth/oidc/role/default", json=role)
    assert site.run("bootstrap").code == 0
    assert uri in vault_read(site, "auth/oidc/role/default")["allowed_redirect_uris"]


def test_an_oidc_mount_of_somebody_else_is_refused(lab: Lab) -> None:
    lab.vault.sys.enable_auth_method("oidc")
    config = {"oidc_discovery_url": vault_address_of_provider(lab), "oidc_client_id": "theirs"}
    lab.vault.adapter.post("/v1/auth/oidc/config", json={**config, "oidc_client_secret": "x"})
    done = lab.run("bootstrap")
    assert done.code == 6
    assert "add --adopt to the same command" in done.err
    assert vault_read(lab, "auth/oidc/config")["oidc_client_id"] == "theirs"


def vault_address_of_provider(lab: Lab) -> str:
    content = yaml.safe_load((lab.folder / "vaultprov.yaml").read_text())
    return str(content["oidc"]["discovery_url"])


def test_bootstrap_goes_on_where_it_was_killed(lab: Lab) -> None:
    """Between the mount's config and its marker."""

    def die(exchange: Exchange) -> Fault | None:
        return Fault.drop() if exchange.path.endswith("/tune") else None

    with watched(lab, vault_fault=die) as desk:
        assert desk.lab.run("bootstrap", "--timeout", "2s").code != 0
    assert lab.run("bootstrap").code == 0
    assert lab.run("bootstrap", "--output", "json").document["changed"] is False


def test_a_policy_of_all_clusters_must_not_depend_on_one(site: Lab) -> None:
    folder = site.folder / "templates"
    folder.mkdir()
    for name in ("read", "write"):
        text = 'path "$kv_mount/data/$env/$cluster/*" {\n  capabilities = ["read"]\n}\n'
        (folder / f"{name}.hcl").write_text(text)
    done = site.onboard("--policy-dir", str(folder))
    assert done.code == 2
    assert "depends on $cluster" in done.err
    own = [
        "--set",
        "names.read_policy={env}-{cluster}-r",
        "--set",
        "names.write_policy={cluster}-w",
    ]
    assert site.onboard("--policy-dir", str(folder), *own).code == 0


def test_narrowing_the_scope_narrows_what_the_workload_reads(onboarded: Lab) -> None:
    assert onboarded.onboard("--scope", "cluster").code == 0
    role = vault_read(onboarded, "auth/smaug-k8s/role/moc-ops")
    assert role["token_policies"] == ["moc-smaug-kv-r"]
    assert onboarded.onboard().code == 0
    assert vault_read(onboarded, "auth/smaug-k8s/role/moc-ops")["token_policies"] == ["moc-kv-r"]


def test_the_proof_uses_the_audience_that_an_existing_role_has(onboarded: Lab) -> None:
    role = {"audience": "https://other", "bound_service_account_namespace_selector": ""}
    onboarded.vault.adapter.post("/v1/auth/smaug-k8s/role/moc-ops", json=role)
    done = onboarded.onboard()
    assert done.code == 0, done.err
    assert vault_read(onboarded, "auth/smaug-k8s/role/moc-ops")["audience"] == "https://other"


def test_an_error_during_the_proof_does_not_hide_what_was_written(site: Lab) -> None:
    def refuse(exchange: Exchange) -> Fault | None:
        if exchange.path.endswith("/vault-secret-fetcher/token"):
            return Fault.status(500, '{"kind":"Status","message":"etcd is tired"}')
        return None

    with watched(site, kube_fault=refuse) as desk:
        done = desk.onboard("--output", "json", "--timeout", "8s")
    assert done.code == 3
    assert done.document["changed"] is True
    assert {s["status"] for s in done.document["steps"]} == {"written", "kept"}


def test_a_trailing_slash_is_no_other_mount(site: Lab) -> None:
    assert site.onboard("--set", "kv_mount=k8s_secrets/", "--set", "oidc.mount=oidc/").code == 0


@pytest.mark.parametrize(
    ("code", "body"),
    [(404, "not here"), (404, '{"errors":[]}'), (200, "<html>log in</html>")],
    ids=["a proxy's 404", "a 404 to all", "a login page"],
)
def test_what_is_no_vault_is_not_taken_for_an_empty_one(lab: Lab, code: int, body: str) -> None:
    with watched(lab, vault_fault=lambda _: Fault.status(code, body)) as desk:
        done = desk.onboard()
    assert done.code == 3
    assert "VAULT_ADDR" in done.err


def test_a_misspelt_key_in_a_template_is_found_before_any_write(site: Lab) -> None:
    folder = site.folder / "templates"
    folder.mkdir()
    for name in ("read", "write"):
        (folder / f"{name}.hcl").write_text('path "x" {\n  capabilites = ["read"]\n}\n')
    done = site.onboard("--policy-dir", str(folder))
    assert done.code == 2
    assert "unknown key 'capabilites'" in done.err
    assert "did you mean 'capabilities'?" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["--cluster-uid", "x"],
        ["--reviewer-jwt-file", "/nonexistent"],
        ["--only", "cluster", "--bootstrap"],
        ["--only", "cluster", "--renew-reviewer"],
    ],
    ids=" ".join,
)
def test_a_flag_that_would_do_nothing_is_a_mistake(site: Lab, words: list[str]) -> None:
    assert site.onboard(*words).code == 2


def test_an_empty_cluster_uid_is_refused(site: Lab) -> None:
    """As from a command substitution that failed."""
    done = site.run(*vault_half(site, "https://api.example:6443"), "--cluster-uid", "")
    assert done.code == 2
    assert "smaug-k8s/" not in vault_read(site, "sys/auth")


def test_the_document_tells_the_state_after_the_run(site: Lab) -> None:
    document = site.onboard("--no-verify", "--reviewer", "token", "--output", "json").document
    assert document["condition"] == "in place"
    assert "expires 20" in document["reviewer"]
