"""Vault's side for a review: the policies' texts, and commands that a shell takes."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.test_desired import SMAUG
from vaultprov.desired import Target, bootstrap_resources, onboarding_resources
from vaultprov.errors import ConfigError
from vaultprov.model import Oidc, Only, Reviewer, ReviewerMode
from vaultprov.redact import Secret
from vaultprov.render import Facts, Layout, render, vault_side, write
from vaultprov.resource import Resource
from vaultprov.vault.policy import Policy

COMMAND = "vaultprov render"
KEYS = "https://api.smaug.example.com:6443/openid/v1/jwks"
JWT = Secret("canary-3f9a1c-never-to-be-seen")


@pytest.fixture(autouse=True)
def any_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CA is not looked at here."""
    monkeypatch.setattr("vaultprov.vault.kubernetes.fingerprints", lambda pem: frozenset({pem}))


def resources(
    mode: ReviewerMode = ReviewerMode.SECRET, only: Only = Only.BOTH, keys: str = KEYS
) -> tuple[Resource, ...]:
    target = Target("https://api.smaug.example.com:6443/", "-----BEGIN\n'CA'\n", "4b1f", JWT)
    reviewer = Reviewer(mode, jwks_url=keys)
    return onboarding_resources(replace(SMAUG, reviewer=reviewer), target, only)


def script(made: tuple[Resource, ...]) -> str:
    return vault_side(made, COMMAND)["vault/commands.sh"]


def run(text: str, folder: Path, **env: str) -> list[list[str]]:
    """The argv of each `vault` call when a shell runs the script; `!` and standard input last."""
    tools = folder / "bin"
    tools.mkdir()
    log = folder / "log"
    (tools / "vault").write_text(
        "#!/bin/sh\n"
        f'for word in "$@"; do printf "%s\\0" "$word" >> {log}; done\n'
        f'case " $* " in *"=- "*) printf "!%s\\0" "$(cat)" >> {log};; esac\n'
        f'printf "\\1" >> {log}\n'
        'case "$1 $2" in "auth list") printf "{\\"oidc/\\":{\\"accessor\\":\\"ACC\\"}}";;'
        ' "read -field=id") echo GROUP;; esac\n'
    )
    (tools / "jq").write_text("#!/bin/sh\ncat > /dev/null\necho ACC\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (folder / "commands.sh").write_text(text)
    done = subprocess.run(
        ["sh", str(folder / "commands.sh")],
        env={"PATH": f"{tools}:/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildProcessError(done.stderr)
    calls = log.read_text().split("\1")[:-1]
    return [call.split("\0")[:-1] for call in calls]


def test_a_policys_file_is_what_vault_gets() -> None:
    """With the marker: written by hand, the policy is ours to the next run."""
    files = vault_side(resources(), COMMAND)
    assert sorted(files) == [
        "vault/commands.sh",
        "vault/policies/moc-kv-r.hcl",
        "vault/policies/moc-kv-rw.hcl",
    ]
    [policy] = [r for r in resources() if isinstance(r, Policy) and r.name == "moc-kv-r"]
    assert files["vault/policies/moc-kv-r.hcl"] == policy.marked


def test_the_commands_write_what_the_resources_do(tmp_path: Path) -> None:
    """A shell runs the script; what `vault` is called with is compared."""
    jwt = tmp_path / "jwt"
    jwt.write_text("the.reviewer.jwt\n")
    calls = run(script(resources()), tmp_path, REVIEWER_JWT_FILE=str(jwt))
    assert calls == [
        ["policy", "write", "moc-kv-r", f"{tmp_path}/policies/moc-kv-r.hcl"],
        ["policy", "write", "moc-kv-rw", f"{tmp_path}/policies/moc-kv-rw.hcl"],
        [
            "write",
            "identity/group",
            "name=vault-admins-moc",
            "type=external",
            "policies=moc-kv-rw",
            "metadata=managed-by=vaultprov",
            "metadata=responsibility=Vault moc Admin",
        ],
        ["auth", "list", "-format=json"],
        ["read", "-field=id", "identity/group/name/vault-admins-moc"],
        [
            "write",
            "identity/group-alias",
            "name=vault-admins-moc",
            "mount_accessor=ACC",
            "canonical_id=GROUP",
        ],
        [
            "auth",
            "enable",
            "-path=smaug-k8s",
            "-description=managed by vaultprov: environment=moc cluster=smaug",
            "kubernetes",
        ],
        [
            "write",
            "auth/smaug-k8s/config",
            "kubernetes_host=https://api.smaug.example.com:6443",
            "kubernetes_ca_cert=-----BEGIN\n'CA'\n",
            "disable_local_ca_jwt=true",
            "token_reviewer_jwt=-",
            "!the.reviewer.jwt",
        ],
        [
            "write",
            "auth/smaug-k8s/role/moc-ops",
            "alias_name_source=serviceaccount_uid",
            "bound_service_account_names=vault-secret-fetcher",
            "bound_service_account_namespaces=external-secrets",
            "token_policies=moc-kv-r",
            "token_ttl=3600",
            "audience=vault",
        ],
    ]


@pytest.mark.parametrize("content", ["", "\n"], ids=["empty", "a line end"])
def test_an_empty_reviewer_jwt_is_not_written(tmp_path: Path, content: str) -> None:
    """It would erase the one that Vault has."""
    jwt = tmp_path / "jwt"
    jwt.write_text(content)
    with pytest.raises(ChildProcessError, match="jwt is empty"):
        run(script(resources()), tmp_path, REVIEWER_JWT_FILE=str(jwt))


def test_a_missing_reviewer_jwt_is_asked_for(tmp_path: Path) -> None:
    """The variable's name is in the message."""
    with pytest.raises(ChildProcessError, match="REVIEWER_JWT_FILE"):
        run(script(resources()), tmp_path)


def test_a_client_that_reviews_itself_needs_no_secret(tmp_path: Path) -> None:
    """Mode `client` stores none."""
    calls = run(script(resources(ReviewerMode.CLIENT)), tmp_path)
    assert not any("token_reviewer_jwt=-" in call for call in calls)


@pytest.mark.parametrize("mode", ReviewerMode)
@pytest.mark.parametrize("only", Only)
def test_no_secret_is_in_any_file(mode: ReviewerMode, only: Only) -> None:
    """Neither the reviewer JWT nor the OIDC client's secret, whatever the run."""
    oidc = Oidc(discovery_url="https://sso.example.com", client_id="vault")
    site = bootstrap_resources(replace(SMAUG, oidc=oidc), JWT, 'path "x" {}\n')
    files = vault_side((*site, *resources(mode, only)), COMMAND)
    text = "".join(files.values())
    assert JWT.reveal() not in text
    assert JWT.fingerprint not in text
    assert "OIDC_CLIENT_SECRET_FILE" in text


def test_keys_from_a_url_and_exact_subjects_are_written(tmp_path: Path) -> None:
    """A mapping cannot be given as NAME=VALUE: it comes on standard input."""
    calls = run(script(resources(ReviewerMode.JWT)), tmp_path)
    config = next(call for call in calls if call[1] == "auth/smaug-jwt/config")
    assert f"jwks_url={KEYS}" in config
    role = next(call for call in calls if call[1] == "auth/smaug-jwt/role/moc-ops")
    subject = "system:serviceaccount:external-secrets:vault-secret-fetcher"
    assert role[-2:] == ["bound_claims=-", f'!{{"sub": ["{subject}"]}}']


def test_keys_that_only_the_cluster_knows_cannot_be_rendered() -> None:
    with pytest.raises(ConfigError, match="public keys"):
        script(resources(ReviewerMode.JWT, keys=""))


def test_what_has_to_be_there_already_is_a_comment() -> None:
    """An onboarding does not make the site's mounts."""
    text = script(resources())
    assert "# vault/mount/k8s_secrets\n# has to be there already: " in text
    assert "secrets enable" not in text


def test_a_bootstrap_makes_the_mounts(tmp_path: Path) -> None:
    """The site's resources, in the order of the run."""
    calls = run(script(bootstrap_resources(SMAUG, None, 'path "x" {}\n')), tmp_path)
    assert [call[:2] for call in calls] == [
        ["secrets", "enable"],
        ["auth", "enable"],
        ["policy", "write"],
    ]


def test_every_word_is_quoted(tmp_path: Path) -> None:
    """A policy's name is what it is, whatever a shell would make of it."""
    evil = "a; touch x $(id) `id` 'q'"
    text = script((Policy(evil, 'path "x" {}\n'),))
    assert run(text, tmp_path)[0][2] == evil
    assert shlex.quote(evil) in text


def test_a_host_that_is_not_known_is_an_error() -> None:
    """Only a cluster or a flag can say it."""
    made = onboarding_resources(SMAUG, Target("", "a CA"), Only.VAULT)
    with pytest.raises(ConfigError, match="address of the cluster's API server"):
        script(made)


def test_the_texts_are_part_of_a_tree(tmp_path: Path) -> None:
    """Their first lines stay: the policy's is the marker in Vault."""
    files = vault_side(resources(), COMMAND)
    write(render(Facts("moc", "smaug", Layout.PLAIN), [], files), tmp_path)
    assert {path: (tmp_path / path).read_text() for path in files} == files


def test_the_same_resources_give_the_same_bytes() -> None:
    """For a review, and for `render --check`."""
    assert vault_side(resources(), COMMAND) == vault_side(resources(), COMMAND)
