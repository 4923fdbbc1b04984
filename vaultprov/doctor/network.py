"""What doctor asks the network itself: names, ports, certificates, bare HTTP. Values and a port."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from vaultprov.errors import ConfigError, Error
from vaultprov.redact import Secret


class Reached(StrEnum):
    """How an attempt to talk to an address ended."""

    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timed out"
    NO_ROUTE = "no route"
    NO_NAME = "no such name"
    UNTRUSTED = "untrusted"  # the chain does not end at a CA that is trusted
    MISFIT = "misfit"  # another name, or not valid now
    PLAIN = "plain HTTP"  # the server does not speak TLS
    CLIENT_CERT = "client certificate required"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: how it ended, what was said, how long it took (seconds)."""

    reached: Reached
    detail: str = ""
    seconds: float = 0.0
    status: int = 0  # of HTTP, 0 when it did not come to that
    body: Mapping[str, Any] | None = None  # JSON; None when it was none
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Url:
    """Host, port and scheme of a server's URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ConfigError if it is no http(s) URL."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in ("http", "https"):
            raise ConfigError(f"{text!r} is no http(s):// URL", hint="mend the store's server")
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def in_cluster(host: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that a cluster-internal name stands for."""
    parts = host.removesuffix(".").removesuffix(".cluster.local").split(".")
    if len(parts) == 3 and parts[2] == "svc":
        return parts[1], parts[0]
    return None


class Network(Protocol):
    """The network as seen from this machine. An attempt does not raise, it says how it ended."""

    def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of a name; empty when it has none. An address is its own.

        Raises Unreachable if the resolver does not answer.
        """

    def connect(self, address: str, port: int) -> Attempt:
        """A TCP connection, closed at once."""

    def handshake(self, url: Url, address: str, ca_pem: str | None) -> Attempt:
        """TLS with exactly these CAs (None: the system's)."""

    def get(self, url: Url, address: str, path: str) -> Attempt:
        """GET without any credential and without looking at the certificate: it tells no secret."""

    def review(
        self, server: str, ca_pem: str, reviewer: Secret, token: Secret, audiences: tuple[str, ...]
    ) -> Attempt:
        """Vault's own TokenReview call, replayed: POST to `server` with the reviewer's token."""


def anonymous(network: Network, url: str) -> Attempt | None:
    """GET of a whole URL without a credential, at its first address.

    None if its name has no address or could not be looked up. Raises ConfigError if it is no URL.
    """
    where, path = Url.parse(url), urlsplit(url).path
    try:
        addresses = network.resolve(where.host)
    except Error:
        return None
    tried = [network.get(where, address, path) for address in addresses[:1]]
    return tried[0] if tried else None
