"""One entry of a rule's `to` or `from`: an ipBlock, or selectors."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from vaultprov.netpol.matching import NO, YES, Match, doubt
from vaultprov.netpol.model import Peer, Pod
from vaultprov.netpol.reading import Malformed, entry, mapping, sequence, text
from vaultprov.netpol.selectors import selects

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# The API server sets this label on every namespace and lets nobody change it.
_NAME_LABEL = "kubernetes.io/metadata.name"
_CIDR = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}")


def peer_matches(given: Any, peer: Peer, namespace: str, where: str) -> Match:
    """Whether the other end is one of these; `namespace` is the policy's. Raises Malformed."""
    fields = entry(given, where, ("ipBlock", "podSelector", "namespaceSelector"))
    block, pods = fields.get("ipBlock"), fields.get("podSelector")
    namespaces = fields.get("namespaceSelector")
    if block is not None:
        if pods is not None or namespaces is not None:
            raise Malformed(f"{where}: an ipBlock stands alone")
        return _in_block(mapping(block, f"{where}.ipBlock", ("cidr", "except")), peer, where)
    if pods is None and namespaces is None:
        raise Malformed(f"{where} names no peer")
    # Looked at even where nothing can match, so that a broken selector is found for every peer.
    pod = peer.pod or Pod("")
    chosen = selects(pods, pod.labels, f"{where}.podSelector")
    if namespaces is None:
        at_home = pod.namespace == namespace
    else:
        labels = {_NAME_LABEL: pod.namespace, **pod.namespace_labels}
        at_home = selects(namespaces, labels, f"{where}.namespaceSelector")
    if peer.pod is None or not (chosen and at_home):
        return NO
    if pod.host_network:
        return doubt("it selects a pod on its node's network, which plugins may take for the node")
    return YES


def _in_block(block: Mapping[str, Any], peer: Peer, where: str) -> Match:
    cidr = text(block.get("cidr"), f"{where}.ipBlock.cidr")
    network = _network(cidr, f"{where}.ipBlock.cidr")
    holes = [
        _network(text(each, f"{where}.ipBlock.except"), f"{where}.ipBlock.except")
        for each in sequence(block.get("except"), f"{where}.ipBlock.except")
    ]
    for hole in holes:
        if not _strictly_within(hole, network):
            raise Malformed(f"{where}.ipBlock.except: {hole} is no part of {network}")
    if peer.address is None:
        return doubt(f"its ipBlock {network} is about addresses, and the address is not known")
    address = _address(peer.address)
    if address is None:
        return doubt(f"{peer.address!r} is no IP address")
    if not _holds(network, address) or any(_holds(hole, address) for hole in holes):
        return NO
    if peer.pod is not None:
        # Before or after translation of a Service's address: that is up to the network plugin.
        return doubt(f"whether its ipBlock {network} covers a pod depends on the network plugin")
    return YES


def _network(cidr: str, where: str) -> _Network:
    # Python also takes a bare address and a netmask; the API server takes neither.
    try:
        network = ipaddress.ip_network(cidr, strict=False) if _CIDR.fullmatch(cidr) else None
    except ValueError:
        network = None
    if network is None or _is_mapped(network.network_address):
        raise Malformed(f"{where}: {cidr!r} is no CIDR")
    return network


def _address(told: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_mapped(address: _Address) -> bool:
    """IPv4 in IPv6 clothes, which network plugins do not agree about."""
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _holds(network: _Network, address: _Address) -> bool:
    return address.version == network.version and address in network


def _strictly_within(inner: _Network, outer: _Network) -> bool:
    return _holds(outer, inner.network_address) and inner.prefixlen > outer.prefixlen
