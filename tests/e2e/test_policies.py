"""policy show, diff, test; access: what the policies are, and whom they let in."""

from __future__ import annotations

import pytest

from tests.conftest import Lab, Result
from vaultprov.vault.hcl import meaning
from vaultprov.vault.policy import Policy, owner

WHO = ("--env", "moc", "--cluster", "smaug")
READ, WRITE = "moc-kv-r", "moc-kv-rw"
OPEN = 'path "k8s_secrets/data/*" {\n  capabilities = ["read"]\n}\n'


def policy(lab: Lab, verb: str, *words: str) -> Result:
    return lab.run("policy", verb, *WHO, *words)


def rewrite(lab: Lab, name: str, text: str) -> None:
    lab.vault.sys.create_or_update_policy(name, text)


def test_the_text_is_shown_without_a_server(lab: Lab) -> None:
    done = policy(lab.having(VAULT_ADDR="http://127.0.0.1:1", KUBECONFIG="/nowhere"), "show")
    assert done.code == 0, done.err
    assert set(meaning(done.out)) >= {
        "k8s_secrets/data/moc/*",
        "k8s_secrets/metadata/moc/*",
        "k8s_secrets/destroy/moc/*",
    }
    one = policy(lab, "show", "--scope", "cluster", "moc-smaug-kv-r")
    assert set(meaning(one.out)) == {
        "k8s_secrets/data/moc/smaug/*",
        "k8s_secrets/metadata/moc/smaug/*",
    }
    unknown = policy(lab, "show", "nonsense")
    assert unknown.code == 2
    assert f"one of: {READ}, {WRITE}" in unknown.err


def test_a_policy_that_differs_is_shown_by_path(onboarded: Lab) -> None:
    same = policy(onboarded, "diff", "--detailed-exitcode")
    assert same.code == 0, same.out + same.err
    rewrite(onboarded, READ, f"# managed by vaultprov\n{OPEN}")
    differs = policy(onboarded, "diff", "--detailed-exitcode")
    assert differs.code == 5
    assert "path[k8s_secrets/data/*]: read -> (none)" in differs.out
    assert "path[k8s_secrets/data/moc/*]: read" in differs.out
    assert policy(onboarded, "diff").code == 0


def test_a_policy_of_others_is_told_as_such(onboarded: Lab) -> None:
    rewrite(onboarded, READ, OPEN)
    told = policy(onboarded, "diff", "--output", "json").document
    reasons = {step["key"]: step["reason"] for step in told["steps"]}
    assert "written by somebody else" in reasons[f"vault/policy/{READ}"]
    assert told["changed"] is True
    assert policy(onboarded, "diff", "--detailed-exitcode").code == 5


def test_vault_grants_what_is_promised(onboarded: Lab) -> None:
    done = policy(onboarded, "test", "--output", "json")
    assert done.code == 0, done.out
    titles = {check["title"]: check["ok"] for check in done.document["checks"]}
    assert titles[f"{READ} on k8s_secrets/data/moc/smaug/vaultprov-proof: read"]
    assert titles[f"{READ} on k8s_secrets/data/not-moc/vaultprov-proof: nothing"]
    assert titles[f"{WRITE} on k8s_secrets/destroy/moc/smaug/vaultprov-proof: create, update"]


def test_what_vault_grants_beyond_that_fails(onboarded: Lab) -> None:
    rewrite(onboarded, READ, OPEN)
    failed = policy(onboarded, "test")
    assert failed.code == 1
    assert (
        "x  moc-kv-r on k8s_secrets/data/not-moc/vaultprov-proof: nothing (Vault grants read)"
        in (failed.out)
    )
    assert "vaultprov policy diff --env moc --cluster smaug" in failed.err


def test_a_template_that_promises_too_much_fails(onboarded: Lab) -> None:
    """Though Vault grants just what it says."""
    folder = onboarded.folder / "wide"
    folder.mkdir()
    (folder / "read.hcl").write_text('path "$kv_mount/data/*" { capabilities = ["read"] }\n')
    (folder / "write.hcl").write_text('path "$kv_mount/data/$env/*" { capabilities = ["read"] }\n')
    wide = ("--policy-dir", str(folder))
    assert onboarded.onboard(*wide, "--no-verify").code == 0
    failed = policy(onboarded, "test", *wide)
    assert failed.code == 1
    assert "moc-kv-r grants nothing on another environment" in failed.out


def test_who_may_not_make_tokens_cannot_tell(onboarded: Lab) -> None:
    made = onboarded.vault.auth.token.create(policies=["vaultprov-provisioner"])
    done = policy(onboarded.having(VAULT_TOKEN=made["auth"]["client_token"]), "test")
    assert done.code == 3
    assert "administrator's token" in done.err


def test_an_absent_policy_is_not_a_policy_that_grants_nothing(site: Lab) -> None:
    failed = policy(site, "test")
    assert failed.code == 1
    assert "policy moc-kv-r exists (absent)" in failed.out
    assert "vaultprov onboard --env moc --cluster smaug" in failed.err


@pytest.mark.parametrize(
    "path", ["team/db", "moc/smaug/team/db", "k8s_secrets/moc/smaug/team/db", "/team/db/"]
)
def test_everybody_who_can_read_a_secret_is_named(onboarded: Lab, path: str) -> None:
    done = onboarded.run("access", *WHO, "--output", "json", path)
    assert done.code == 0, done.out + done.err
    assert done.document["path"] == "k8s_secrets/data/moc/smaug/team/db"
    found = {(h["kind"], h["name"]): h for h in done.document["holders"]}
    role = found["kubernetes role", "smaug-k8s/role/moc-ops"]
    assert role["who"] == f"ServiceAccounts vault-secret-fetcher in {onboarded.workload_namespace}"
    assert (role["may"], role["policies"]) == (["read"], [READ])
    group = found["external group", "vault-admins-moc"]
    assert group["who"] == "people of vault-admins-moc at auth/oidc/"
    assert (group["may"], group["policies"]) == (["read", "write"], [WRITE])
    assert len(found) == 2


def test_each_way_to_be_given_a_policy_is_looked_at(onboarded: Lab) -> None:
    vault = onboarded.vault
    rewrite(onboarded, "all", OPEN)
    vault.sys.enable_auth_method("approle")
    vault.write_data("auth/approle/role/ci", data={"token_policies": ["all"]})
    vault.sys.enable_auth_method("userpass")
    vault.write_data("auth/userpass/users/ann", data={"password": "x", "token_policies": ["all"]})
    vault.sys.enable_auth_method("jwt")
    vault.write_data(
        "auth/jwt/role/ci",
        data={"role_type": "jwt", "user_claim": "sub", "bound_claims": {"sub": ["repo:x"]},
              "token_policies": ["all"]},
    )  # fmt: skip
    vault.write_data("identity/entity", data={"name": "bob", "policies": ["all"]})
    vault.write_data("auth/token/roles/deploy", data={"allowed_policies": ["all"]})
    found = {
        (h["kind"], h["name"]): h["who"]
        for h in onboarded.run("access", *WHO, "--output", "json", "x").document["holders"]
        if h["policies"] == ["all"]
    }
    assert found == {
        ("approle role", "approle/role/ci"): "whoever has the credential",
        ("userpass user", "userpass/users/ann"): "whoever has the credential",
        ("jwt role", "jwt/role/ci"): "sub repo:x",
        ("entity", "bob"): "nobody logs in as it",
        ("token role", "token/roles/deploy"): "whoever has the credential",
    }


def test_a_deny_beats_what_another_policy_of_the_same_holder_grants(onboarded: Lab) -> None:
    shut = 'path "k8s_secrets/data/moc/*" {\n  capabilities = ["deny"]\n}\n'
    rewrite(onboarded, "shut", shut)
    role = "auth/smaug-k8s/role/moc-ops"
    onboarded.vault.write_data(role, data={"token_policies": [READ, "shut"]})
    done = onboarded.run("access", *WHO, "--output", "json", "x").document
    assert [h["kind"] for h in done["holders"]] == ["external group"]


def test_what_depends_on_who_logs_in_is_not_guessed(onboarded: Lab) -> None:
    text = 'path "k8s_secrets/data/moc/{{identity.entity.name}}/*" {\n  capabilities = ["read"]\n}'
    rewrite(onboarded, "templated", text)
    done = onboarded.run("access", *WHO, "team-a/db")
    assert done.code == 3
    assert "not known: policy templated may grant it to some" in done.out
    elsewhere = onboarded.run("access", *WHO, "k8s_secrets/osc/x/db")
    assert elsewhere.code == 0
    assert "nobody was found, besides holders of a root token and of tokens" in elsewhere.out


def test_a_program_that_gives_policies_is_not_nobody(onboarded: Lab) -> None:
    """OpenBao's CEL roles are beside the others of a JWT mount."""
    vault = onboarded.vault
    vault.sys.enable_auth_method("jwt")
    program = {"cel_program": {"expression": "pb.Auth{}"}}
    vault.write_data("auth/jwt/cel/role/smart", data=program)
    done = onboarded.run("access", *WHO, "k8s_secrets/osc/x/db")
    assert done.code == 3
    assert "nobody was found where it could be looked" in done.out
    assert "not known: auth/jwt/cel/role/smart decides" in done.out


def test_a_name_that_means_something_in_a_url_is_a_name(onboarded: Lab) -> None:
    onboarded.vault.write_data("sys/policies/acl/c%23-or-50%25", data={"policy": OPEN})
    onboarded.vault.sys.enable_auth_method("approle")
    role = {"token_policies": ["c#-or-50%"]}
    onboarded.vault.write_data("auth/approle/role/ci", data=role)
    done = onboarded.run("access", *WHO, "--output", "json", "x").document
    assert ["c#-or-50%"] in [holder["policies"] for holder in done["holders"]]


def test_what_may_not_be_looked_at_is_not_nobody(onboarded: Lab) -> None:
    text = (
        'path "sys/policies/acl" { capabilities = ["list"] }\n'
        'path "sys/policies/acl/*" { capabilities = ["read"] }\n'
        'path "sys/auth" { capabilities = ["read"] }\n'
    )
    rewrite(onboarded, "narrow", text)
    made = onboarded.vault.auth.token.create(policies=["narrow"])
    narrow = onboarded.having(VAULT_TOKEN=made["auth"]["client_token"])
    done = narrow.run("access", *WHO, "x")
    assert done.code == 3
    assert "not known: auth/smaug-k8s/role/ may not be listed" in done.out
    none = onboarded.vault.auth.token.create(policies=["default"])
    refused = onboarded.having(VAULT_TOKEN=none["auth"]["client_token"]).run("access", *WHO, "x")
    assert refused.code == 3
    assert "sys/policies/acl" in refused.err
    assert "vaultprov-provisioner is enough for clusters" in refused.err
    assert "not for offboard, team, access, policy test and import" in refused.err


def test_what_the_default_policy_grants_everybody_has(onboarded: Lab) -> None:
    """But those whose role says otherwise."""
    rewrite(onboarded, "default", OPEN)
    vault = onboarded.vault
    vault.sys.enable_auth_method("approle")
    vault.write_data("auth/approle/role/with", data={"token_policies": ["x"]})
    lean = {"token_policies": ["x"], "token_no_default_policy": True}
    vault.write_data("auth/approle/role/without", data=lean)
    done = onboarded.run("access", *WHO, "--output", "json", "k8s_secrets/osc/x").document
    found = {h["name"] for h in done["holders"] if h["kind"] == "approle role"}
    assert found == {"approle/role/with"}


def test_a_policy_of_another_owner_with_the_same_name_is_never_touched(site: Lab) -> None:
    """Environment `moc-smaug` and cluster `smaug` of `moc` both call theirs `moc-smaug-kv-r`."""
    name = "moc-smaug-kv-r"
    theirs = Policy(name, OPEN, owner("moc-smaug")).marked
    rewrite(site, name, theirs)
    for flags in ((), ("--adopt",)):
        refused = site.onboard("--scope", "cluster", *flags)
        assert refused.code == 6, refused.out + refused.err
        assert f"vault/policy/{name}  belongs to environment=moc-smaug" in refused.out
        assert "names.*" in refused.err
    assert site.onboard().code == 0
    gone = site.run("offboard", *WHO, "--yes")
    assert gone.code == 0, gone.out + gone.err
    assert f"kept: vault/policy/{name} belongs to environment=moc-smaug" in gone.out
    assert site.vault.sys.read_policy(name)["data"]["rules"] == theirs
