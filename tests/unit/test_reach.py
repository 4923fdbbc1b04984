"""Addresses that a Vault elsewhere can never reach are refused before anything is stored."""

from __future__ import annotations

import pytest

from vaultprov.errors import ConfigError, Refused
from vaultprov.reach import api_server, check_reachable, is_loopback

FAR, NEAR = "https://vault.example.com", "http://127.0.0.1:8200"


@pytest.mark.parametrize(
    ("host", "stored"),
    [
        ("https://api.smaug.example.com:6443", "https://api.smaug.example.com:6443"),
        ("https://api.smaug.example.com:6443/", "https://api.smaug.example.com:6443"),
        ("https://rancher.example.com/k8s/clusters/c-1/", None),
    ],
)
def test_https_urls_are_api_servers(host: str, stored: str | None) -> None:
    assert api_server(host) == (stored or host.rstrip("/"))


@pytest.mark.parametrize(
    "host", ["", "x", "api.smaug.example.com:6443", "http://api.example.com", "https://", "//a"]
)
def test_other_texts_are_not(host: str) -> None:
    with pytest.raises(ConfigError, match="no https:// URL"):
        api_server(host)


def test_a_broken_address_is_no_bug_of_ours() -> None:
    with pytest.raises(ConfigError):
        api_server("https://[::1")


UNREACHABLE = {
    "https://127.0.0.1:6443": "loopback",
    "https://127.8.9.10:6443": "loopback",
    "https://[::1]:6443": "loopback",
    "https://localhost:6443": "loopback",
    "https://LOCALHOST:6443": "loopback",
    "https://smaug.localhost": "loopback",
    "https://kubernetes": "cluster-internal",
    "https://kubernetes.default": "cluster-internal",
    "https://kubernetes.default.svc": "cluster-internal",
    "https://kubernetes.default.svc.cluster.local:443": "cluster-internal",
    "https://api-int.smaug.example.com:6443": "cluster-internal",
}


@pytest.mark.parametrize(("host", "nature"), UNREACHABLE.items())
def test_vault_elsewhere_cannot_reach_it(host: str, nature: str) -> None:
    with pytest.raises(Refused, match=f"cannot reach cluster smaug at .* {nature} address") as no:
        check_reachable(host, FAR, "smaug")
    assert no.value.hint.startswith("--kubernetes-host")


@pytest.mark.parametrize(
    "host",
    [
        "https://api.smaug.example.com:6443",
        "https://10.0.0.1:6443",
        "https://192.168.1.1",
        "https://kubernetes.example.com",
        "https://api-internal.example.com",
    ],
)
def test_what_a_vault_may_well_reach_is_let_through(host: str) -> None:
    check_reachable(host, FAR, "smaug")


def test_a_vault_on_loopback_shares_the_machine() -> None:
    check_reachable("https://127.0.0.1:6443", NEAR, "smaug")


def test_a_vault_on_loopback_is_still_not_in_the_cluster() -> None:
    with pytest.raises(Refused):
        check_reachable("https://kubernetes.default.svc", NEAR, "smaug")


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback(name: str, yes: bool) -> None:
    assert is_loopback(name) is yes
