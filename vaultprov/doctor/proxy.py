"""Whether the operand goes through a proxy: HTTPS_PROXY and NO_PROXY as Go reads them.

Rules: golang.org/x/net/http/httpproxy `config.go`; a leading dot is optional for a suffix, ports
and address ranges count, names on loopback are never proxied.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping

from vaultprov.doctor.network import Url
from vaultprov.errors import ConfigError
from vaultprov.reach import is_loopback


def proxy_for(url: Url, environment: Mapping[str, str]) -> Url | None:
    """The proxy that a request to `url` takes; None when it goes directly."""
    name = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
    given = environment.get(name) or environment.get(name.lower()) or ""
    if not given or is_loopback(url.host):
        return None
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if any(_exempts(entry.strip().lower(), url) for entry in exempt.split(",")):
        return None
    try:
        return Url.parse(given if "://" in given else f"http://{given}")
    except ConfigError:
        return None


def _exempts(entry: str, url: Url) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    host = url.host.lower().rstrip(".")
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in name.strip("[]"):
        if int(port) != url.port:
            return False
        entry = name
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    bare = entry.removeprefix("*").removeprefix(".")
    if host.endswith("." + bare):
        return True
    return host == bare and not entry.startswith((".", "*."))
