"""Policies and peers in few words, and hypothesis strategies for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from vaultprov.netpol import Direction, Peer, Pod

Policy = dict[str, Any]
HOME, AWAY = "home", "away"
VM = "192.0.2.10"
CORE = Pod(HOME, {"app": "core"}, namespace_labels={"team": "x"}, ports={"api": (8200, "TCP")})
VAULT_POD = Pod(
    AWAY, {"app": "vault"}, namespace_labels={"team": "y"}, ports={"api": (8200, "TCP")}
)


def policy(
    *,
    name: str = "p",
    namespace: str = HOME,
    selector: Any = None,
    types: Sequence[str] | None = ("Egress",),
    **rules: Any,
) -> Policy:
    """A policy; `egress` and `ingress` as they are in the spec."""
    spec: dict[str, Any] = {"podSelector": selector or {}, **rules}
    if types is not None:
        spec["policyTypes"] = list(types)
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def egress(*rules: Any, **fields: Any) -> Policy:
    """A policy that isolates every pod of HOME for egress, with these rules."""
    return policy(egress=list(rules), **fields)


def block(cidr: str, *holes: str) -> dict[str, Any]:
    """An ipBlock peer."""
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


def vm(port: int = 8200, protocol: str = "TCP", address: str | None = VM) -> Peer:
    """A peer outside the cluster."""
    return Peer(address, port, protocol)


def in_pod(pod: Pod = VAULT_POD, port: int = 8200, protocol: str = "TCP") -> Peer:
    """A peer that is a pod; no ipBlock of these tests covers its address unless one says so."""
    return Peer("10.128.0.7", port, protocol, pod)


def expression(operator: str, *values: str, key: str = "app") -> dict[str, Any]:
    """A selector of one match expression."""
    told = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
    return {"matchExpressions": [told]}


_keys, _values = st.sampled_from(["app", "tier"]), st.sampled_from(["core", "vault", "web"])
labels = st.dictionaries(_keys, _values, max_size=2)
_expressions = st.one_of(
    st.fixed_dictionaries(
        {
            "key": _keys,
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(_values, min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries({"key": _keys, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": labels, "matchExpressions": st.lists(_expressions, max_size=2)}
)
_protocols = st.sampled_from(["TCP", "UDP", "SCTP"])
_ports = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"protocol": _protocols, "port": st.sampled_from([53, 443, 8200, "api"])}
    ),
    st.fixed_dictionaries(
        {"port": st.sampled_from([53, 443]), "endPort": st.sampled_from([443, 8200])},
        optional={"protocol": _protocols},
    ),
)
_blocks = st.sampled_from(
    [
        block("0.0.0.0/0"),
        block("192.0.2.0/24", "192.0.2.8/29"),
        block("192.0.2.10/32"),
        block("198.51.100.0/24"),
        block("2001:db8::/32", "2001:db8:1::/48"),
    ]
)
_chosen = st.one_of(
    st.fixed_dictionaries({"podSelector": selectors}, optional={"namespaceSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors}),
)


def rules(direction: Direction = Direction.EGRESS) -> st.SearchStrategy[dict[str, Any]]:
    """Well-formed rules."""
    return st.fixed_dictionaries(
        {},
        optional={
            direction.peers_key: st.lists(st.one_of(_blocks, _chosen), max_size=2),
            "ports": st.lists(_ports, max_size=2),
        },
    )


_types = st.sampled_from([None, ("Ingress",), ("Egress",), ("Ingress", "Egress")])


@st.composite
def policies(draw: st.DrawFn, namespace: str = HOME) -> Policy:
    """Well-formed policies of one namespace."""
    return policy(
        name=draw(st.sampled_from(["a", "b", "c"])),
        namespace=namespace,
        selector=draw(selectors),
        types=draw(_types),
        egress=draw(st.lists(rules(), max_size=2)),
        ingress=draw(st.lists(rules(Direction.INGRESS), max_size=2)),
    )


@st.composite
def pods(draw: st.DrawFn, namespaces: Sequence[str] = (HOME, AWAY)) -> Pod:
    """Pods of these namespaces, with one named port or none."""
    ports: Mapping[str, tuple[int, str]] = draw(
        st.sampled_from([{}, {"api": (8200, "TCP")}, {"api": (53, "UDP")}])
    )
    namespace = draw(st.sampled_from(namespaces))
    return Pod(namespace, draw(labels), namespace_labels=draw(labels), ports=ports)


peers = st.builds(
    Peer,
    st.sampled_from([None, VM, "192.0.2.77", "198.51.100.1", "2001:db8::1", "2001:db8:1::1"]),
    st.sampled_from([53, 443, 444, 8200]),
    _protocols,
    st.one_of(st.none(), pods()),
)
