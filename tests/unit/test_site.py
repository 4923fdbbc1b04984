"""Configuration in layers: every value knows its source, and every mistake its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vaultprov.errors import ConfigError
from vaultprov.model import (
    NamePatterns,
    Oidc,
    Onboarding,
    Reviewer,
    ReviewerMode,
    Scope,
    ServiceAccount,
)
from vaultprov.settings import BY_KEY, SETTINGS, Setting
from vaultprov.site import Site, Sourced, find, load, onboarding

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "vaultprov.yaml"
        file.write_text(text)
        return file

    return write


LAYERS = """\
kv_mount: site
audience: site
token_ttl: 1h
vault:
  address: https://site
environments:
  moc:
    kv_mount: environment
    audience: environment
    clusters:
      smaug:
        kv_mount: cluster
      ember:
  osc:
    token_ttl: 2h
"""


def effective(
    site: Site,
    key: str,
    env: str | None = "moc",
    cluster: str | None = "smaug",
    environ: Mapping[str, str] | None = None,
    **flags: Any,
) -> Sourced:
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return site.effective(env, cluster, environ or {}, given)[key]


class TestLayers:
    """defaults < site < environment < cluster < variables < flags."""

    @pytest.mark.parametrize(
        ("key", "env", "cluster", "value", "line"),
        [
            ("policy_set", "moc", "smaug", "default", None),
            ("token_ttl", "moc", "smaug", 3600, 3),
            ("vault.address", "moc", "smaug", "https://site", 5),
            ("audience", "moc", "smaug", "environment", 9),
            ("kv_mount", "moc", "smaug", "cluster", 12),
            ("kv_mount", "moc", "ember", "environment", 8),
            ("kv_mount", "moc", "unknown", "environment", 8),
            ("kv_mount", "osc", "smaug", "site", 1),
            ("token_ttl", "osc", None, 7200, 15),
            ("kv_mount", None, None, "site", 1),
        ],
    )
    def test_of_the_file(
        self, write: Write, key: str, env: str, cluster: str, value: object, line: int | None
    ) -> None:
        file = write(LAYERS)
        source = f"{file}:{line}" if line else "default"
        assert effective(load(file), key, env, cluster) == Sourced(value, source)

    def test_a_variable_is_stronger_than_the_file(self, write: Write) -> None:
        environ = {"VAULTPROV_KV_MOUNT": "variable"}
        found = effective(load(write(LAYERS)), "kv_mount", environ=environ)
        assert found == Sourced("variable", "VAULTPROV_KV_MOUNT")

    def test_a_flag_is_the_strongest(self, write: Write) -> None:
        environ = {"VAULTPROV_KV_MOUNT": "variable"}
        found = effective(load(write(LAYERS)), "kv_mount", environ=environ, kv_mount="flag")
        assert found == Sourced("flag", "flag")

    @pytest.mark.parametrize("nothing", [None, ()], ids=["None", "empty"])
    def test_a_flag_that_was_not_given_is_none(self, nothing: object) -> None:
        assert effective(Site(), "service_accounts", service_accounts=nothing).source == "default"

    def test_clusters_without_settings_are_known_all_the_same(self, write: Write) -> None:
        assert list(load(write(LAYERS)).clusters) == [("moc", "smaug"), ("moc", "ember")]


class TestVariables:
    NAMES = ("VAULTPROV_VAULT_ADDRESS", "BAO_ADDR", "VAULT_ADDR")

    @pytest.mark.parametrize("strongest", range(3), ids=NAMES)
    def test_our_own_beats_bao_beats_vault(self, strongest: int) -> None:
        environ = {name: f"https://{name}" for name in self.NAMES[strongest:]}
        name = self.NAMES[strongest]
        expected = Sourced(f"https://{name}", name)
        assert effective(Site(), "vault.address", environ=environ) == expected

    def test_an_empty_one_is_not_set(self) -> None:
        environ = {"BAO_ADDR": "", "VAULT_ADDR": "https://vault"}
        assert effective(Site(), "vault.address", environ=environ).value == "https://vault"

    def test_every_setting_has_one(self) -> None:
        assert BY_KEY["reviewer.renew_before"].variable == "VAULTPROV_REVIEWER_RENEW_BEFORE"
        assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)

    def test_a_wrong_value_names_the_variable_and_the_key(self) -> None:
        with pytest.raises(ConfigError, match=r"^BAO_SKIP_VERIFY: vault\.skip_verify: expected"):
            effective(Site(), "vault.address", environ={"BAO_SKIP_VERIFY": "maybe"})

    def test_a_role_or_secret_of_a_stronger_layer_is_not_read_from_a_weaker_ones_file(
        self, write: Write
    ) -> None:
        site = load(write("vault:\n  auth_role_file: role\n  auth_secret_file: secret\n"))
        environ = {"VAULTPROV_VAULT_AUTH_ROLE": "r", "VAULTPROV_AUTH_SECRET": "s"}
        for key in ("vault.auth_role_file", "vault.auth_secret_file"):
            assert effective(site, key).value is not None
            assert effective(site, key, environ=environ).value is None
        flags: dict[str, Any] = {"vault.auth_role": "r"}
        assert effective(site, "vault.auth_role_file", **flags).value is None
        flags = {"vault.auth_secret_file": "flag"}
        assert effective(site, "vault.auth_secret_file", environ=environ, **flags).value is not None

    def test_a_wrong_flag_names_the_key(self) -> None:
        with pytest.raises(ConfigError, match=r"^scope: expected one of environment, cluster"):
            effective(Site(), "scope", scope="galaxy")


VALUES: dict[str, tuple[str, str, object]] = {
    # what is written: (key, YAML, value)
    "a duration": ("token_ttl", "30m", 1800),
    "a number of seconds": ("token_ttl", "90", 90),
    "a list of accounts": ("service_accounts", "[a/b, c/d]", ("a/b", "c/d")),
    "accounts with commas": ("service_accounts", "a/b, c/d", ("a/b", "c/d")),
    "a truth": ("vault.skip_verify", "yes", True),
    "a truth as text": ("vault.skip_verify", '"false"', False),
    "a mode": ("reviewer.mode", "token", ReviewerMode.TOKEN),
    "a scope": ("scope", "cluster", Scope.CLUSTER),
    "a list of texts": ("oidc.scopes", "[openid, groups]", ("openid", "groups")),
    "an absolute path": ("policy_dir", "/etc/policies", Path("/etc/policies")),
    "standard input": ("vault.auth_secret_file", '"-"', Path("-")),
}


def yaml(key: str, value: str) -> str:
    section, dot, name = key.partition(".")
    return f"{section}:\n  {name}: {value}\n" if dot else f"{key}: {value}\n"


@pytest.mark.parametrize(("key", "text", "value"), VALUES.values(), ids=VALUES)
def test_values_become_what_they_mean(write: Write, key: str, text: str, value: object) -> None:
    if key == "service_accounts":
        assert isinstance(value, tuple)
        value = tuple(map(ServiceAccount.parse, value))
    assert effective(load(write(yaml(key, text))), key).value == value


def test_a_relative_path_is_relative_to_the_file(write: Write) -> None:
    file = write("policy_dir: policies\n")
    assert effective(load(file), "policy_dir").value == file.parent / "policies"


def test_a_path_in_a_variable_is_relative_to_where_we_run() -> None:
    found = effective(Site(), "policy_dir", environ={"VAULTPROV_POLICY_DIR": "policies"})
    assert found.value == Path("policies")


def test_home_is_spelled_out(write: Write) -> None:
    assert effective(load(write("policy_dir: ~/p\n")), "policy_dir").value == Path.home() / "p"


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2ln"
WRONG: dict[str, tuple[str, int, str]] = {
    # what is wrong: (file, line, what is said)
    "unknown key": ("kv_mount: a\nkv_mout: b\n", 2, "unknown key 'kv_mout'"),
    "unknown key in a section": ("vault:\n  adress: a\n", 2, "unknown key 'vault.adress'"),
    "unknown section": ("\nvualt:\n  address: a\n", 2, "unknown key 'vualt'"),
    "unknown key of a cluster": (
        "environments:\n  moc:\n    clusters:\n      smaug:\n        kv: a\n",
        5,
        "unknown key 'kv'",
    ),
    "clusters beside environments": ("clusters: {}\n", 1, "unknown key 'clusters'"),
    "number instead of text": ("\nkv_mount: 7\n", 2, "kv_mount: expected text, found 7"),
    "list instead of text": ("kv_mount: [a]\n", 1, "kv_mount: expected text"),
    "empty text": ('kv_mount: " "\n', 1, "kv_mount: expected text"),
    "nothing instead of text": ("kv_mount:\n", 1, "kv_mount: expected text, found None"),
    "no duration": ("token_ttl: soon\n", 1, "token_ttl: duration 'soon' is not a duration"),
    "truth instead of a duration": ("token_ttl: yes\n", 1, "token_ttl: expected a duration"),
    "no truth": ("oidc:\n  enabled: perhaps\n", 2, "oidc.enabled: expected true or false"),
    "unknown mode": ("reviewer: {mode: magic}\n", 1, "reviewer.mode: expected one of secret"),
    "unknown login": ("vault: {auth: ldap}\n", 1, "vault.auth: expected one of token, approle"),
    "list of numbers": ("oidc:\n  scopes: [1]\n", 2, "oidc.scopes: expected a list of texts"),
    "no account": ("service_accounts: [name]\n", 1, "'name' has no namespace"),
    "section that is a text": ("\nvault: here\n", 2, "vault must be a mapping"),
    "environments in a list": ("environments: [moc]\n", 1, "environments must be a mapping"),
    "file that is a list": ("- a\n", 1, "the file must be a mapping"),
    "environment that is no label": ("environments:\n  MOC:\n", 2, "environment 'MOC' is not"),
    "cluster that is no label": (
        "environments:\n  moc:\n    clusters:\n      a/b:\n",
        4,
        "cluster 'a/b' is not",
    ),
    "key given twice": ("kv_mount: a\nscope: cluster\nkv_mount: b\n", 3, "given twice"),
    "key of a section given twice": ("vault: {address: a, address: b}\n", 1, "given twice"),
    "environment given twice": ("environments:\n  moc:\n  moc:\n", 3, "'moc' is given twice"),
    "cluster given twice": ("environments: {moc: {clusters: {a: , a: }}}\n", 1, "given twice"),
    "no YAML": ("kv_mount: [a\n", 2, "not YAML"),
    "two documents": ("kv_mount: a\n---\nkv_mount: b\n", 2, "not YAML"),
    "a token as key": ("vault:\n  token: canary\n", 2, "vault.token looks like a secret"),
    "a password as key": ("password: canary\n", 1, "password looks like a secret"),
    "a client secret as key": ("oidc: {client_secret: canary}\n", 1, "oidc.client_secret looks"),
    "a JWT as key": ("reviewer: {jwt: canary}\n", 1, "reviewer.jwt looks like a secret"),
    "a token as value": (f"vault:\n  address: {JWT}\n", 2, "vault.address looks like a token"),
    "a token in a list": (f"oidc:\n  scopes: [{JWT}]\n", 2, "oidc.scopes looks like a token"),
    "a token of Vault": (f"audience: hvs.{'a1' * 12}\n", 1, "audience looks like a token"),
}


@pytest.mark.parametrize(("text", "line", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_reported_with_file_and_line(
    write: Write, text: str, line: int, said: str
) -> None:
    file = write(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.message.startswith(f"{file}:{line}: ")
    assert said in caught.value.message
    told = f"{caught.value.message} {caught.value.hint}"
    assert not any(secret in told for secret in ("canary", "eyJ", "a1a1"))


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("kv_mout: a", "did you mean kv_mount?"),
        ("vault: {adress: a}", "did you mean vault.address?"),
        ("enviroments: {}", "did you mean environments?"),
        ("xyz: a", "vaultprov config show lists every key"),
    ],
)
def test_an_unknown_key_names_the_nearest(write: Write, text: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(text))
    assert caught.value.hint == near


@pytest.mark.parametrize("key", [s.key for s in SETTINGS])
def test_no_setting_looks_like_a_secret(write: Write, key: str) -> None:
    """Otherwise it could never be given in a site file."""
    setting = BY_KEY[key]
    value = setting.default if isinstance(setting.default, str) else "token"
    try:
        load(write(yaml(key, value)))
    except ConfigError as error:
        assert "looks like" not in error.message  # noqa: PT017 - the absence of an error is fine too
        assert "unknown" not in error.message  # noqa: PT017 - the absence of an error is fine too


@pytest.mark.parametrize(
    "text",
    ["kv_mount: !foo bar\n", "kv_mount: 2024-99-99\n", "kv_mount: \x07\n"],
    ids=["tag", "date", "control character"],
)
def test_odd_yaml_is_no_bug_of_ours(write: Write, text: str) -> None:
    with pytest.raises(ConfigError):
        load(write(text))


class TestFile:
    def test_an_empty_one_says_nothing(self, write: Write) -> None:
        file = write("# nothing yet\n")
        assert load(file) == Site(file)

    def test_one_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"):
            load(tmp_path / "nowhere.yaml")

    def test_is_found_upwards_then_at_home(self, tmp_path: Path) -> None:
        deep, home = tmp_path / "a" / "b", tmp_path / "home"
        (home / "vaultprov").mkdir(parents=True)
        deep.mkdir(parents=True)
        at_home, near = home / "vaultprov" / "vaultprov.yaml", tmp_path / "a" / "vaultprov.yaml"
        assert find(deep, home) is None
        at_home.touch()
        assert find(deep, home) == at_home
        near.touch()
        assert find(deep, home) == near


class TestOnboarding:
    def test_the_defaults_of_settings_and_model_agree(self) -> None:
        values = Site().effective("moc", "smaug", {}, {})
        made = onboarding(values, "moc", "smaug")
        assert made.oidc.redirect_uris == (
            "http://localhost:8250/oidc/callback",
            "https://127.0.0.1:8200/ui/vault/auth/oidc/oidc/callback",
        )
        oidc = replace(made.oidc, redirect_uris=Oidc().redirect_uris)
        assert replace(made, oidc=oidc) == Onboarding("moc", "smaug")

    def test_every_setting_arrives(self) -> None:
        flags = {
            "kv_mount": "kv",
            "policy_set": "operate-first",
            "policy_dir": "/p",
            "scope": "cluster",
            "service_accounts": ("a/b",),
            "audience": "me",
            "token_ttl": "2h",
            "reviewer.mode": "token",
            "reviewer.namespace": "ns",
            "reviewer.service_account": "sa",
            "reviewer.duration": "1d",
            "reviewer.renew_before": "1h",
            "reviewer.wait": "5",
            "oidc.enabled": "no",
            "oidc.mount": "/login/",
            "oidc.redirect_uris": "https://v/{mount}",
            "names.role": "r",
        }
        values = Site().effective(None, None, {}, flags)
        assert onboarding(values, "moc", "smaug", exclusive=True) == Onboarding(
            "moc",
            "smaug",
            kv_mount="kv",
            oidc=Oidc(enabled=False, mount="login", redirect_uris=("https://v/login",)),
            names=NamePatterns(role="r"),
            policy_set="operate-first",
            policy_dir=Path("/p"),
            scope=Scope.CLUSTER,
            reviewer=Reviewer(ReviewerMode.TOKEN, ServiceAccount("ns", "sa"), 86400, 3600, 5),
            service_accounts=(ServiceAccount("a", "b"),),
            audience="me",
            token_ttl=7200,
            exclusive=True,
        )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_what_config_show_prints_can_be_written_into_the_site_file(setting: Setting) -> None:
    written = setting.written(setting.default)
    text = ",".join(map(str, written)) if isinstance(written, tuple) else written
    assert text in (None, "") or setting.parse(text) == setting.default


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (59, "59s"), (5400, "90m"), (3600, "1h"), (172800, "2d")]
)
def test_a_duration_is_told_in_its_largest_unit(seconds: int, told: str) -> None:
    assert BY_KEY["timeout"].written(seconds) == told
