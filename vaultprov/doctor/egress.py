"""Egress from the operand's pods, decided from the NetworkPolicies that are there.

To whom: every address of the store's server, of the proxy in between, of Vault's other nodes, of
DNS and of the cluster's API server. A Service address stands for its endpoints, because it depends
on the network plugin whether a policy sees the one or the others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vaultprov.doctor.network import Url
from vaultprov.doctor.proxy import proxy_for
from vaultprov.netpol import Answer, Direction, Peer, Pod, Verdict, evaluate

if TYPE_CHECKING:
    from vaultprov.doctor.operand import Operand
    from vaultprov.doctor.stores import Store
    from vaultprov.doctor.world import World

# API version and kind of what can change a NetworkPolicy's answer and is not evaluated here.
UNMODELLED = (
    ("k8s.ovn.org/v1", "EgressFirewall"),
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
    ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
    ("crd.projectcalico.org/v1", "NetworkPolicy"),
    ("crd.projectcalico.org/v1", "GlobalNetworkPolicy"),
    ("networking.istio.io/v1", "Sidecar"),
)
_CLUSTER_WIDE = ("Admin", "Baseline", "Cluster", "Global", "CiliumClusterwide")
_DNS_LABEL = "k8s-app=kube-dns"  # on the resolver's Service, whatever a distribution calls it
_DNS = (("openshift-dns", "dns-default"), ("kube-system", "kube-dns"))


@dataclass(frozen=True, slots=True)
class Way:
    """One way that the operand has to be able to go, and whether it may."""

    target: str
    peer: Peer
    verdict: Verdict

    @property
    def open(self) -> bool:
        return self.verdict.answer is Answer.ALLOWED

    @property
    def closed(self) -> bool:
        return self.verdict.answer is Answer.DENIED

    def __str__(self) -> str:
        address = self.peer.address
        if address is None:
            return f"{self.target}, wherever it is, port {self.peer.port}/{self.peer.protocol}"
        where = f"[{address}]" if ":" in address else address
        return f"{self.target} at {where}:{self.peer.port}/{self.peer.protocol}"


class Egress:
    """The operand's pods and the policies around them."""

    def __init__(self, world: World, operand: Operand) -> None:
        self._world, self.operand = world, operand
        self.pod = operand.pod(world.namespace_labels(operand.namespace))
        self.everywhere = world.items("networking.k8s.io/v1", "NetworkPolicy")
        self.policies = [
            p
            for p in self.everywhere
            if p["metadata"].get("namespace", operand.namespace) == operand.namespace
        ]

    def unmodelled(self) -> tuple[str, ...]:
        """Objects in force that are not evaluated: `EgressFirewall external-secrets/default`."""
        return self._world.once("unmodelled", lambda: tuple(self._unmodelled()))

    def _unmodelled(self) -> Iterable[str]:
        for version, kind in UNMODELLED:
            wide = kind.startswith(_CLUSTER_WIDE)
            namespace = None if wide or self._world.is_offline else self.operand.namespace
            for body in self._world.items(version, kind, namespace):
                metadata = body["metadata"]
                if not wide and metadata.get("namespace") != self.operand.namespace:
                    continue
                where = "" if wide else f"{metadata['namespace']}/"
                calico = "Calico" if "calico" in version and kind == "NetworkPolicy" else ""
                yield f"{calico}{kind} {where}{metadata['name']}"

    def to(self, target: str, peers: Iterable[Peer]) -> tuple[Way, ...]:
        """Whether the operand may go to these."""
        return tuple(
            Way(
                target,
                peer,
                evaluate(self.pod, peer, self.policies, unmodelled=self.unmodelled()),
            )
            for peer in peers
        )

    def to_vault(self, store: Store) -> tuple[Way, ...]:
        """To the store's server, or to the proxy that stands before it."""
        url = store.url
        proxy = proxy_for(url, self.operand.environment)
        if proxy is not None:
            return self.to(f"proxy {proxy.host}", self.peers(proxy))
        return self.to(url.host, self.peers(url))

    def to_dns(self) -> tuple[Way, ...]:
        """To the cluster's resolvers; where they are not known, to any address."""
        for namespace, name in _DNS:
            peers = self._service_peers(namespace, name, 53, "UDP")
            if peers:
                return self.to("DNS", peers)
        for service in self._world.items("v1", "Service", "kube-system", _DNS_LABEL):
            peers = self._service_peers("kube-system", service["metadata"]["name"], 53, "UDP")
            if peers:
                return self.to("DNS", peers)
        return tuple(self._somewhere(way) for way in self.to("DNS", (Peer(None, 53, "UDP"),)))

    def _somewhere(self, way: Way) -> Way:
        """A way to nobody knows where is not closed if it is open to somebody."""
        anywhere = [_without_targets(policy) for policy in self.policies]
        ports = (53, 5353)  # OpenShift's resolvers listen on the latter
        peers = [Peer(None, port, way.peer.protocol) for port in ports]
        found = {evaluate(self.pod, peer, anywhere).answer for peer in peers}
        if not way.closed or Answer.ALLOWED not in found:
            return way
        told = "the policies open DNS to some, and where the resolver runs is not known"
        return replace(way, verdict=replace(way.verdict, answer=Answer.UNKNOWN, reason=told))

    def to_api(self) -> tuple[Way, ...]:
        """To the cluster's own API server."""
        peers = [
            Peer(address, int(port.get("port") or 443))
            for each in self._slices("default", "kubernetes")
            for endpoint in each.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
            for port in each.get("ports") or ()
        ]
        return self.to("the API server", peers or (Peer(None, 6443),))

    def peers(self, url: Url) -> tuple[Peer, ...]:
        """What a host name stands for: addresses outside, or the pods behind a Service."""
        inside = self._world.service_of(url.host)
        if inside is not None:
            peers = self._service_peers(*inside, url.port, "TCP")
            return peers or (Peer(None, url.port),)
        addresses = self._world.addresses(url.host)
        return tuple(Peer(address, url.port) for address in addresses if self._has_family(address))

    def _has_family(self, address: str) -> bool:
        """Whether the pods have an address of that family: without one nobody goes there."""
        own = [
            ipaddress.ip_address(str(each["ip"])).version
            for pod in self.operand.pods
            for each in (pod.get("status") or {}).get("podIPs") or ()
        ]
        return not own or ipaddress.ip_address(address).version in own

    def _service_peers(
        self, namespace: str, name: str, port: int, protocol: str
    ) -> tuple[Peer, ...]:
        service = self._world.get("v1", "Service", name, namespace)
        ports = ((service or {}).get("spec") or {}).get("ports") or ()
        named = next(
            (
                each.get("name") or ""
                for each in ports
                if each.get("port") == port and (each.get("protocol") or "TCP") == protocol
            ),
            None,
        )
        if named is None:
            return ()
        return tuple(
            Peer(address, int(target["port"]), protocol, self._pod(namespace, endpoint))
            for each in self._slices(namespace, name)
            for target in each.get("ports") or ()
            if (target.get("name") or "") == named and (target.get("protocol") or "TCP") == protocol
            for endpoint in each.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
        )

    def _slices(self, namespace: str, service: str) -> list[dict[str, Any]]:
        labels = f"kubernetes.io/service-name={service}"
        for version in ("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"):
            found = self._world.known_items(version, "EndpointSlice", namespace, labels)
            if found is not None:
                return found
        return []

    def _pod(self, namespace: str, endpoint: Mapping[str, Any]) -> Pod | None:
        reference = endpoint.get("targetRef") or {}
        if reference.get("kind") != "Pod":
            return None
        body = self._world.get("v1", "Pod", reference["name"], namespace) or {}
        spec: Mapping[str, Any] = body.get("spec") or {}
        ports = {
            str(port["name"]): (int(port["containerPort"]), str(port.get("protocol") or "TCP"))
            for container in spec.get("containers") or ()
            for port in container.get("ports") or ()
            if port.get("name")
        }
        return Pod(
            namespace,
            (body.get("metadata") or {}).get("labels") or {},
            host_network=bool(spec.get("hostNetwork")),
            namespace_labels=self._world.namespace_labels(namespace),
            ports=ports,
        )

    def near_misses(self, ways: Iterable[Way]) -> tuple[str, ...]:
        """Policies that were meant for these ways and do not fit, each with what is wrong."""
        return tuple(
            dict.fromkeys(
                told for way in ways for body in self.everywhere if (told := self._miss(body, way))
            )
        )

    def _miss(self, body: Mapping[str, Any], way: Way) -> str:
        spec: Mapping[str, Any] = body.get("spec") or {}
        metadata = body["metadata"]
        name = f"{metadata.get('namespace')}/{metadata['name']}"
        rules = [rule for rule in spec.get("egress") or () if isinstance(rule, Mapping)]
        covers = [rule for rule in rules if _covers(rule, way.peer.address)]
        opens = [rule for rule in covers if _has_port(rule, way.peer.port)]
        if metadata.get("namespace") != self.operand.namespace:
            return f"{name} allows it in another namespace" if opens else ""
        selected = evaluate(
            self.pod, way.peer, [{**body, "spec": {**spec, "egress": [{}]}}]
        ).isolating
        if opens and not selected:
            return f"{name} allows it and selects other pods"
        if covers and not opens:
            return f"{name} allows {way.peer.address}, but not port {way.peer.port}"
        blocks = [rule for rule in rules if _has_blocks(rule) and _has_port(rule, way.peer.port)]
        if selected and blocks:
            return f"{name} allows port {way.peer.port}, but not {way.peer.address}"
        return ""


def egress(world: World) -> Egress | None:
    """The egress of the operand; None when there is no operand."""
    operand = world.operand()
    return None if operand is None else world.once("egress", lambda: Egress(world, operand))


def ingress(world: World, way: Way, source: Pod) -> Verdict | None:
    """Whether Vault's own pods let the operand in; None when Vault is outside the cluster."""
    target = way.peer.pod
    if target is None:
        return None
    policies = world.items("networking.k8s.io/v1", "NetworkPolicy", target.namespace)
    peer = Peer(None, way.peer.port, way.peer.protocol, source)
    return evaluate(target, peer, policies, direction=Direction.INGRESS)


def _without_targets(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The policy as if each of its egress rules were for everybody."""
    spec = policy.get("spec") or {}
    rules = spec.get("egress") or ()
    loose = [{k: v for k, v in rule.items() if k != "to"} for rule in rules]
    return {**policy, "spec": {**spec, "egress": loose}}


def _covers(rule: Mapping[str, Any], address: str | None) -> bool:
    """Whether an ipBlock of the rule covers the address."""
    if address is None:
        return False
    for to in rule.get("to") or ():
        block = to.get("ipBlock") or {}
        try:
            wanted = ipaddress.ip_address(address)
            if wanted in ipaddress.ip_network(block.get("cidr", ""), strict=False) and not any(
                wanted in ipaddress.ip_network(each, strict=False)
                for each in block.get("except") or ()
            ):
                return True
        except ValueError:
            continue
    return False


def _has_blocks(rule: Mapping[str, Any]) -> bool:
    return any(to.get("ipBlock") for to in rule.get("to") or ())


def _has_port(rule: Mapping[str, Any], port: int) -> bool:
    ports = rule.get("ports") or ()
    if not ports:
        return True
    for each in ports:
        start = each.get("port")
        if start is None:
            return True
        if isinstance(start, int) and start <= port <= int(each.get("endPort") or start):
            return True
    return False
