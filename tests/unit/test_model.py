"""What the user asks for is validated once: nothing below trusts a string again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from vaultprov.errors import ConfigError
from vaultprov.model import (
    NamePatterns,
    Oidc,
    Onboarding,
    Scope,
    ServiceAccount,
    dns_label,
    object_name,
    seconds,
    vault_path,
)


@pytest.mark.parametrize("value", ["a", "0", "moc", "emea-2", "a" * 63])
def test_dns_labels(value: str) -> None:
    assert dns_label(value, "cluster") == value


@pytest.mark.parametrize(
    "value",
    ["", "A", "-a", "a-", "a.b", "a/b", "a_b", "a*", "+", "..", "a b", "a\n", "é", "a" * 64],
    ids=repr,
)
def test_other_texts_are_no_dns_labels(value: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster .* is not a DNS label"):
        dns_label(value, "cluster")


@pytest.mark.parametrize("value", ["a", "a.b", "eso-vault-auth", "a" * 253])
def test_object_names(value: str) -> None:
    assert object_name(value, "service account") == value


@pytest.mark.parametrize(
    "value", ["", "A", ".a", "a.", "a..b", "a/b", "a:b", "*", "a\n", "a" * 254], ids=repr
)
def test_other_texts_are_no_object_names(value: str) -> None:
    with pytest.raises(ConfigError, match="service account"):
        object_name(value, "service account")


@pytest.mark.parametrize(
    ("value", "path"),
    [("kv", "kv"), ("/kv/", "kv"), ("team/k8s_secrets", "team/k8s_secrets"), ("a.b-c", "a.b-c")],
)
def test_vault_paths(value: str, path: str) -> None:
    assert vault_path(value, "KV mount") == path


@pytest.mark.parametrize(
    "value",
    ["", "/", "a//b", "..", "a/../b", "./a", "*", "a/*", "+/a", "a b", "a?b", "{env}", "a\n", "é"],
    ids=repr,
)
def test_other_texts_are_no_vault_paths(value: str) -> None:
    with pytest.raises(ConfigError, match="KV mount"):
        vault_path(value, "KV mount")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("30s", 30), ("15m", 900), ("1h", 3600), ("365d", 31536000), ("60", 60), (60, 60), ("0", 0)],
)
def test_durations(value: str | int, expected: int) -> None:
    assert seconds(value, "token_ttl") == expected


@pytest.mark.parametrize("value", ["", "h", "1w", "-1h", "1.5h", "1h30m", "1 h", "1H"], ids=repr)
def test_other_texts_are_no_durations(value: str) -> None:
    with pytest.raises(ConfigError, match="token_ttl"):
        seconds(value, "token_ttl")


def test_a_service_account_is_written_namespace_slash_name() -> None:
    account = ServiceAccount.parse("external-secrets/vault-secret-fetcher")
    assert account == ServiceAccount("external-secrets", "vault-secret-fetcher")
    assert str(account) == "external-secrets/vault-secret-fetcher"


@pytest.mark.parametrize("text", ["name", "/name", "ns/", "ns/a/b", "n.s/a", "*/a", "ns/*"])
def test_other_texts_are_no_service_accounts(text: str) -> None:
    with pytest.raises(ConfigError):
        ServiceAccount.parse(text)


def onboarding(**values: Any) -> Onboarding:
    return Onboarding(**{"env": "moc", "cluster": "smaug", **values})


INVALID: dict[str, Callable[[], object]] = {
    "environment": lambda: onboarding(env="MOC"),
    "environment that climbs": lambda: onboarding(env=".."),
    "cluster": lambda: onboarding(cluster="smaug/x"),
    "KV mount with a wildcard": lambda: onboarding(kv_mount="kv/*"),
    "policy set that climbs": lambda: onboarding(policy_set="../x"),
    "no service account": lambda: onboarding(service_accounts=()),
    "tokens that live too short": lambda: onboarding(token_ttl=59),
    "tokens that live too long": lambda: onboarding(token_ttl=32 * 86400 + 1),
    "OIDC mount": lambda: Oidc(mount="oidc/+"),
    "name pattern with a wildcard": lambda: NamePatterns(role="{env}-*"),
    "name pattern with an unknown placeholder": lambda: NamePatterns(group="{team}-admins"),
    "name pattern that is empty": lambda: NamePatterns(read_policy=""),
}


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID)
def test_nothing_invalid_can_be_constructed(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("ttl", [60, 3600, 32 * 86400])
def test_token_lives(ttl: int) -> None:
    assert onboarding(token_ttl=ttl).token_ttl == ttl


def test_an_onboarding_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        onboarding().env = "osc"  # type: ignore[misc]  # that is the test


def test_the_defaults_are_those_of_the_runbook() -> None:
    asked = onboarding()
    assert str(asked.reviewer.account) == "external-secrets-operator/eso-vault-auth"
    assert (asked.kv_mount, asked.scope, asked.oidc.mount) == (
        "k8s_secrets",
        Scope.ENVIRONMENT,
        "oidc",
    )


@pytest.mark.parametrize(
    ("url", "client", "enough"),
    [("https://idp", "vault", True), (None, "vault", False), ("https://idp", None, False)],
)
def test_oidc_can_be_configured_with_provider_and_client(
    url: str | None, client: str | None, enough: bool
) -> None:
    assert Oidc(discovery_url=url, client_id=client).configurable is enough
