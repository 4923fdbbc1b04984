"""import: a site file for a Vault that was set up by hand, and nothing left to change after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import CANARY, Lab, Result
from tests.e2e.worlds import api_servers, vault_read
from vaultprov import site

CLUSTERS = {
    "moc": ("smaug", "infra", "curator"),
    "osc": ("osc-cl1", "osc-cl2"),
    "emea": ("jerry",),
}
PAIRS = [(env, cluster) for env, clusters in CLUSTERS.items() for cluster in clusters]
MORE = ("opf-observatorium", "team-a")


def policies(env: str) -> dict[str, str]:
    """Operate First's, as its runbook has them."""
    return {
        f"{env}-kv-r": f'path "k8s_secrets/data/{env}/*" {{\n capabilities = ["read", "list"]\n}}',
        f"{env}-kv-rw": (
            f'path "k8s_secrets/data/{env}/*" {{\n'
            ' capabilities = ["create", "read", "update", "delete", "list", "sudo"]\n}\n'
            'path "k8s_secrets/*" {\n capabilities = ["list"]\n}\n'
            f'path "k8s_secrets/metadata/{env}/*" {{\n'
            ' capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]\n}'
        ),
    }


def by_hand(lab: Lab, servers: dict[str, Any]) -> None:
    """The runbook's commands, for every environment and cluster."""
    vault = lab.vault
    vault.sys.enable_secrets_engine("kv", "k8s_secrets", options={"version": "2"})
    vault.sys.enable_auth_method("oidc", path="oidc")
    accessor = vault_read(lab, "sys/auth")["oidc/"]["accessor"]
    for env, clusters in CLUSTERS.items():
        for name, text in policies(env).items():
            vault.sys.create_or_update_policy(name, text)
        group = f"vault-admins-{env}"
        vault.write_data(
            "identity/group",
            data={"name": group, "type": "external", "policies": f"{env}-kv-rw",
                  "metadata": {"responsibility": f"Vault {env} Admin"}},
        )  # fmt: skip
        made = vault_read(lab, f"identity/group/name/{group}")
        alias = {"name": group, "mount_accessor": accessor, "canonical_id": made["id"]}
        vault.write_data("identity/group-alias", data=alias)
        for cluster in clusters:
            mount(lab, env, cluster, servers[cluster])


def mount(lab: Lab, env: str, cluster: str, server: Any) -> None:
    vault = lab.vault
    vault.sys.enable_auth_method("kubernetes", path=f"{cluster}-k8s")
    vault.write_data(
        f"auth/{cluster}-k8s/config",
        data={"kubernetes_host": server.server, "kubernetes_ca_cert": server.ca_pem,
              "token_reviewer_jwt": CANARY},
    )  # fmt: skip
    vault.write_data(
        f"auth/{cluster}-k8s/role/{env}-ops",
        data={
            "alias_name_source": "serviceaccount_uid",
            "bound_service_account_names": "vault-secret-fetcher",
            "bound_service_account_namespaces": list(MORE),
            "policies": f"{env}-kv-r",
        },
    )


@pytest.fixture
def servers(lab: Lab) -> Iterator[dict[str, Any]]:
    """An API server and a context for each cluster, and no site file yet."""
    with api_servers(lab, (cluster for _, cluster in PAIRS)) as running:
        (lab.folder / "vaultprov.yaml").unlink()
        yield running


def of(env: str, cluster: str) -> tuple[str, ...]:
    return ("--env", env, "--cluster", cluster)


def imported(lab: Lab, *words: str, **env: str) -> Result:
    return lab.run("import", *words, **env)


def test_six_clusters_in_three_environments_and_then_nothing_is_left_to_change(
    lab: Lab, servers: dict[str, Any]
) -> None:
    """Before the adoption the plan has what adoption writes, and nobody's binding goes."""
    by_hand(lab, servers)
    done = imported(lab)
    assert done.code == 0, done.out + done.err
    assert "clusters: 6, environments: 3" in done.out
    found = site.load(lab.folder / "vaultprov.yaml")
    assert sorted(found.clusters) == sorted(PAIRS)
    assert found.site["policy_set"].value == "operate-first"
    assert found.clusters["emea", "jerry"]["kubernetes.context"].value == "jerry/admin"
    for env, cluster in PAIRS:
        planned = lab.run("plan", *of(env, cluster), "--output", "json")
        assert planned.code == 6, "adoption is asked for"
        changed = {
            step["key"]: set(step["fields"])
            for step in planned.document["steps"]
            if step["action"] != "keep" and step["key"].startswith("vault/")
        }
        assert not any("/policy/" in key or "/group/" in key for key in changed), changed
        assert changed[f"vault/role/{cluster}-k8s/{env}-ops"] == {"token_ttl"}
        adopted = lab.run("onboard", *of(env, cluster), "--adopt")
        assert adopted.code == 0, adopted.out + adopted.err
        role = vault_read(lab, f"auth/{cluster}-k8s/role/{env}-ops")
        assert sorted(role["bound_service_account_namespaces"]) == sorted(MORE)
    for env, cluster in PAIRS:
        after = lab.run("plan", *of(env, cluster), "--detailed-exitcode")
        assert after.code == 0, after.out + after.err
    again = imported(lab, "--file", "-")
    assert again.code == 0
    assert set(site.parsed(again.out, lab.folder / "again.yaml").clusters) == set(PAIRS)


def test_what_cannot_be_said_is_a_comment(lab: Lab, servers: dict[str, Any]) -> None:
    by_hand(lab, servers)
    vault = lab.vault
    vault.write_data(
        "auth/smaug-k8s/role/apicurio",
        data={"bound_service_account_names": "registry", "policies": "apicurio",
              "bound_service_account_namespaces": "apicurio-*"},
    )  # fmt: skip
    vault.write_data(
        "auth/infra-k8s/role/moc-ops", data={"bound_service_account_namespaces": ["a", "b-*"]}
    )
    vault.sys.enable_auth_method("kubernetes", path="other/place")
    vault.sys.enable_auth_method("kubernetes", path="balrog-k8s")
    vault.sys.enable_auth_method("jwt", path="ci")
    mount(lab, "osc", "twin", servers["jerry"])
    vault.delete("identity/group/name/vault-admins-emea")
    text = imported(lab, "--file", "-").out
    for note in (
        "  apicurio: registry in apicurio-*, policies apicurio",
        "role moc-ops also binds b-*",
        "auth/other/place does not fit names.auth_mount",
        "auth/balrog-k8s (balrog): which environment it is of cannot be told",
        "auth/ci is of type jwt",
        "jerry and twin have the same API server",
        "group vault-admins-emea does not exist",
        "the stored reviewer JWT cannot be read back",
    ):
        assert f"# {note}" in text, note
    found = site.parsed(text, lab.folder / "vaultprov.yaml")
    accounts = found.clusters["moc", "infra"]["service_accounts"].value
    assert list(map(str, accounts)) == ["a/vault-secret-fetcher"]


def test_nothing_that_was_read_becomes_a_setting(lab: Lab, servers: dict[str, Any]) -> None:
    """Who can write one policy or one role does not say whose keys are trusted."""
    evil = '\nreviewer: {mode: jwt, jwks_url: "https://evil.example/jwks"}\n#'
    by_hand(lab, servers)
    escaped = evil.replace("\n", "\\n").replace('"', '\\"')
    text = f'path "k8s_secrets/data/moc/x{escaped}" {{ capabilities = ["read"] }}'
    lab.vault.sys.create_or_update_policy("moc-kv-r", text)
    lab.vault.write_data(
        "auth/smaug-k8s/role/other",
        data={"bound_service_account_names": f"x{evil}", "bound_service_account_namespaces": "y"},
    )
    done = imported(lab)
    assert done.code == 0, done.err
    assert "evil.example" in (lab.folder / "vaultprov.yaml").read_text(), "it is told"
    shown = lab.run("config", "show", *of("moc", "smaug"))
    assert shown.code == 0, shown.err
    assert "evil.example" not in shown.out


def test_policies_of_ones_own_become_templates(lab: Lab, servers: dict[str, Any]) -> None:
    by_hand(lab, servers)
    for env in CLUSTERS:
        lab.vault.sys.create_or_update_policy(
            f"{env}-kv-r",
            f'path "k8s_secrets/data/{env}/*" {{ capabilities = ["read"] }}\n'
            'path "k8s_secrets/data/shared/*" { capabilities = ["read"] }',
        )
    told = imported(lab, "--file", "-")
    assert "add --templates DIR" in told.err
    done = imported(lab, "--templates", "rules")
    assert done.code == 0, done.err
    text = (lab.folder / "rules" / "read.hcl").read_text()
    assert 'path "$kv_mount/data/$scope_path/*"' in text
    assert 'path "$kv_mount/data/shared/*"' in text
    differs = lab.run("policy", "diff", *of("osc", "osc-cl1"), "--detailed-exitcode")
    assert differs.code == 0, differs.out


def test_policies_that_no_template_means_are_told_in_full(
    lab: Lab, servers: dict[str, Any]
) -> None:
    by_hand(lab, servers)
    lab.vault.sys.create_or_update_policy(
        "osc-kv-r", 'path "k8s_secrets/data/osc/only/*" { capabilities = ["read"] }'
    )
    text = imported(lab, "--file", "-").out
    assert "#     k8s_secrets/data/osc/only/*: read" in text
    assert "# set policy_dir to a folder" in text


def test_names_of_ones_own(lab: Lab, servers: dict[str, Any]) -> None:
    lab.vault.sys.enable_secrets_engine("kv", "secrets", options={"version": "2"})
    lab.vault.sys.enable_auth_method("kubernetes", path="kubernetes/moc/smaug")
    lab.vault.write_data(
        "auth/kubernetes/moc/smaug/role/eso",
        data={"bound_service_account_names": "x", "bound_service_account_namespaces": "y",
              "audience": "hub", "token_ttl": "30m"},
    )  # fmt: skip
    rules = 'path "secrets/data/moc/*" { capabilities = ["read", "list"] }'
    lab.vault.sys.create_or_update_policy("moc-kv-r", rules)
    refused = imported(lab)
    assert refused.code == 6
    assert "--set names.auth_mount=" in refused.err
    own = ("--set", "names.auth_mount=kubernetes/{env}/{cluster}", "--set", "names.role=eso")
    done = imported(lab, *own)
    assert done.code == 0, done.err
    found = site.load(lab.folder / "vaultprov.yaml")
    assert found.site["names.auth_mount"].value == "kubernetes/{env}/{cluster}"
    assert (found.site["kv_mount"].value, found.site["audience"].value) == ("secrets", "hub")
    assert found.site["oidc.enabled"].value is False
    assert found.site["token_ttl"].value == 1800


def test_a_file_that_is_there_is_not_lost(lab: Lab, servers: dict[str, Any]) -> None:
    by_hand(lab, servers)
    file = lab.folder / "vaultprov.yaml"
    file.write_text("kv_mount: mine\n")
    refused = imported(lab)
    assert refused.code == 6
    assert "--overwrite" in refused.err
    assert file.read_text() == "kv_mount: mine\n"
    assert imported(lab, "--overwrite").code == 0
    assert "environments:" in file.read_text()


def test_what_may_not_be_read_is_not_absent(lab: Lab, servers: dict[str, Any]) -> None:
    by_hand(lab, servers)
    text = 'path "sys/auth" { capabilities = ["read"] }'
    lab.vault.sys.create_or_update_policy("narrow", text)
    made = lab.vault.auth.token.create(policies=["narrow"])
    denied = imported(lab, VAULT_TOKEN=made["auth"]["client_token"])
    assert denied.code == 3
    assert "auth/curator-k8s/role" in denied.err
    assert not (lab.folder / "vaultprov.yaml").exists()
