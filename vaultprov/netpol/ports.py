"""One entry of a rule's `ports`."""

from __future__ import annotations

import re
from typing import Any

from vaultprov.netpol.model import Peer, Pod
from vaultprov.netpol.reading import Malformed, entry

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_HIGHEST = 65535
# apimachinery IsValidPortName: "8200" as a text is none, and is a common slip.
_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")


def port_matches(given: Any, peer: Peer, target: Pod | None, where: str) -> bool:
    """Whether the port that is spoken to is this one. Raises Malformed.

    target: the pod that is spoken to, on which a named port is looked up; None is no pod, and
    nothing there has a name.
    """
    fields = entry(given, where, ("protocol", "port", "endPort"))
    protocol = "TCP" if fields.get("protocol") is None else fields["protocol"]
    if protocol not in _PROTOCOLS:
        raise Malformed(f"{where} has the unknown protocol {protocol!r}")
    first, last = fields.get("port"), fields.get("endPort")
    if isinstance(first, str):
        if not _NAME.fullmatch(first):
            raise Malformed(f"{where}: {first!r} is neither a port number nor a port name")
        if last is not None:
            raise Malformed(f"{where}: endPort needs a numeric port")
        named = target.ports.get(first) if target else None
        return named == (peer.port, protocol) and protocol == peer.protocol
    if first is None:
        if last is not None:
            raise Malformed(f"{where}: endPort needs a numeric port")
        return protocol == peer.protocol
    low = _number(first, where)
    high = low if last is None else _number(last, where)
    if high < low:
        raise Malformed(f"{where}: endPort {high} is below port {low}")
    return protocol == peer.protocol and low <= peer.port <= high


def _number(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _HIGHEST:
        raise Malformed(f"{where}: {value!r} is no port")
    return value
