"""Where the operand has to go: addresses outside the cluster, or pods inside it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.netpol import Peer, Pod, selects

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# The API server sets this label on every namespace and lets nobody change it (Kubernetes 1.21).
NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses outside the cluster, and the port there."""

    network: _Network
    port: int

    def __str__(self) -> str:
        return f"{self.network} port {self.port}"


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of one Service.

    selector: the Service's, so that the policy keeps fitting when pods are replaced. port: the
    target port, because policies judge after a Service's address is translated. endpoints: the
    pods as they are now; empty while none is ready, then the selector's labels stand for them.
    """

    namespace: str
    selector: Mapping[str, str]
    port: int
    namespace_labels: Mapping[str, str]
    endpoints: tuple[Peer, ...] = ()

    def __str__(self) -> str:
        return f"pods of {self.namespace} port {self.port}"


Destination = Block | Pods

# The resolvers of OpenShift (its dns-operator) and of everybody else, for when nobody can look.
OPENSHIFT_DNS = Pods(
    "openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}, 5353, {}
)
KUBE_DNS = Pods("kube-system", {"k8s-app": "kube-dns"}, 53, {})


def addresses(texts: Iterable[str], port: int) -> tuple[Block, ...]:
    """One block for each address, sorted, IPv4 first.

    texts: every address of every node of Vault, IPv4 or IPv6. Raises ConfigError if one is no
    address, or if there is none: a policy without addresses would allow nothing.
    """
    blocks = []
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise ConfigError(f"{text!r} is no IP address") from None
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id:
                raise ConfigError(
                    f"{text!r} is an address of one machine's network link alone",
                    hint="give Vault an address that the cluster can route to",
                )
            address = address.ipv4_mapped or address
        blocks.append(Block(ipaddress.ip_network(address), port))
    return _sorted(blocks)


def cidrs(texts: Iterable[str], port: int) -> tuple[Block, ...]:
    """One block for each address range given by hand. Raises ConfigError."""
    blocks = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigError(
                f"{text!r} is no address range ({error})",
                hint="write it as 192.0.2.10/32 or 2001:db8::/64",
            ) from None
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped or getattr(network.network_address, "scope_id", None):
            raise ConfigError(f"{text!r} means different things to different network plugins")
        blocks.append(Block(network, port))
    return _sorted(blocks)


def _sorted(blocks: Iterable[Block]) -> tuple[Block, ...]:
    def order(block: Block) -> tuple[int, int, int, int]:
        network = block.network
        return network.version, int(network.network_address), network.prefixlen, block.port

    found = tuple(sorted(set(blocks), key=order))
    if not found:
        raise ConfigError(
            "no address of Vault is known, so nothing can be opened",
            hint="give --vault-cidr ADDRESS/32",
        )
    return found


def to_rules(
    destinations: Sequence[Destination], protocols: Sequence[str] = ("TCP",)
) -> list[dict[str, Any]]:
    """Egress rules that open these destinations and nothing else, one for each port."""
    by_port: dict[int, list[dict[str, Any]]] = {}
    for each in destinations:
        by_port.setdefault(each.port, []).append(_peer(each))
    return [
        {"to": peers, "ports": [{"protocol": name, "port": port} for name in protocols]}
        for port, peers in sorted(by_port.items())
    ]


def _peer(destination: Destination) -> dict[str, Any]:
    if isinstance(destination, Block):
        return {"ipBlock": {"cidr": str(destination.network)}}
    return pods_peer(destination.namespace, {"matchLabels": dict(destination.selector)})


def pods_peer(namespace: str, selector: Mapping[str, Any]) -> dict[str, Any]:
    """The pods of a namespace that a label selector selects: both selectors in one item."""
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": dict(selector),
    }


def to_peers(
    destination: Destination, policies: Iterable[Mapping[str, Any]], protocol: str = "TCP"
) -> tuple[Peer, ...]:
    """Peers that stand for a whole destination, whatever these policies say about parts of it.

    An answer can change only where an ipBlock begins or ends, so one address of each stretch in
    between is enough for a range of any size.
    """
    if isinstance(destination, Pods):
        labels = dict(destination.selector)
        pod = Pod(destination.namespace, labels, namespace_labels=destination.namespace_labels)
        fitting = tuple(p for p in destination.endpoints if p.protocol == protocol)
        return fitting or (Peer(None, destination.port, protocol, pod),)
    network = destination.network
    first, last = int(network.network_address), int(network.broadcast_address)
    starts = {first}
    for block in _blocks(policies):
        if block.version == network.version:
            starts |= {int(block.network_address), int(block.broadcast_address) + 1}
    make = type(network.network_address)
    inside = sorted(start for start in starts if first <= start <= last)
    return tuple(Peer(str(make(start)), destination.port, protocol) for start in inside)


def _blocks(value: Any) -> Iterable[_Network]:
    """Every address range anywhere in a policy; what is no range, the evaluator refuses itself."""
    if isinstance(value, str) and "/" in value:
        try:
            yield ipaddress.ip_network(value, strict=False)
        except ValueError:
            return
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _blocks(each)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for each in value:
            yield from _blocks(each)


def misfits(destination: Pods) -> tuple[Peer, ...]:
    """Endpoints that the policy's selector would not cover; nothing is opened to these."""
    return tuple(
        peer
        for peer in destination.endpoints
        if peer.pod is None
        or peer.pod.namespace != destination.namespace
        or peer.port != destination.port
        or not selects({"matchLabels": dict(destination.selector)}, peer.pod.labels)
    )
