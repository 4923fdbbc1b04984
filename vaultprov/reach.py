"""API server addresses that a Vault elsewhere can never reach, known by their form alone."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from vaultprov.errors import ConfigError, Refused

_IN_CLUSTER = ("kubernetes", "kubernetes.default")


def api_server(host: str) -> str:
    """`host` without a trailing slash if it is an https URL. Raises ConfigError.

    Vault stores any text and fails at the first login.
    """
    if not host.startswith("https://") or not hostname(host):
        raise ConfigError(
            f"the API server's address {host!r} is no https:// URL",
            hint="--kubernetes-host https://api.CLUSTER.example.com:6443",
        )
    return host.rstrip("/")


def check_reachable(host: str, vault_address: str, cluster: str) -> None:
    """Raises Refused if Vault cannot reach `host` by the nature of the address.

    A Vault on loopback shares the machine, so for it a loopback API server is fine.
    """
    why = private_nature(hostname(host))
    if why == "loopback" and is_loopback(hostname(vault_address)):
        return
    if why:
        raise Refused(
            f"Vault at {vault_address} cannot reach cluster {cluster} at {host}: "
            f"that is a {why} address",
            hint="--kubernetes-host https://... with the address that Vault is to use",
        )


def hostname(url: str) -> str:
    """The host of a URL; empty when it has none or is broken."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.port != 0 else ""
    except ValueError:  # a bracket that is not closed, a port that is no number
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address stands for the machine itself."""
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return False


def private_nature(host: str) -> str:
    """What keeps others from a host, by its form: a word; "" if nothing does."""
    if is_loopback(host):
        return "loopback"
    if host in _IN_CLUSTER or host.startswith("kubernetes.default.svc"):
        return "cluster-internal"
    # OpenShift's apiServerInternalURL (openshift/api config/v1 types_infrastructure.go).
    return "cluster-internal" if host.startswith("api-int.") else ""
