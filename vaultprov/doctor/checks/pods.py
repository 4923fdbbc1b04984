"""What a pod beside the operand sees of Vault (`--probe`)."""

from __future__ import annotations

from collections.abc import Iterable

from vaultprov.doctor.checks.openings import open_vault
from vaultprov.doctor.egress import egress
from vaultprov.doctor.model import Finding, Fix, fail, ok, unknown
from vaultprov.doctor.network import Url, is_address
from vaultprov.doctor.pod import first_hop, probed
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World


def resolves(world: World) -> Iterable[Finding]:
    """VP-POD-001."""
    for store in world.servers():
        told = probed(world, store.url).get("dns", "")
        host = _hop(world, store).host
        if is_address(host):
            yield ok("an address, not a name", host)
            continue
        if told.startswith("ok"):
            yield ok(told.removeprefix("ok").strip(), host)
            continue
        here = ", ".join(world.addresses(host)) or "no address either"
        yield fail(
            host,
            "no such host, asked by a pod of the cluster",
            expected=f"an address; this machine finds {here}",
            cause="the cluster's resolver does not know Vault's name",
            fix=Fix(
                "teach it the name, or use one that it knows in the store's server",
                "kubectl -n kube-system get configmap coredns -o yaml",
            ),
        )


def connects(world: World) -> Iterable[Finding]:
    """VP-POD-002."""
    for store in world.servers():
        told = probed(world, store.url).get("tcp", "")
        hop = str(_hop(world, store))
        if told == "ok":
            yield ok("", hop)
        elif told.startswith("timeout"):
            yield fail(
                hop,
                "no answer within 5 s, from a pod with the operand's labels",
                expected="a connection",
                cause="something drops the operand's packets: a NetworkPolicy, an EgressFirewall, "
                "a firewall outside",
                fix=_open(world, store),
            )
        elif told.startswith("refused"):
            yield fail(
                hop,
                "refused, or no route",
                expected="a connection",
                cause="the packets arrive, and nothing listens on that port",
                fix=Fix("mend port or address", f"kubectl get {store.resource} -o yaml"),
            )
        else:
            yield unknown(told or "the pod did not come to it", hop)


def _hop(world: World, store: Store) -> Url:
    operand = world.operand()
    return store.url if operand is None else first_hop(operand, store.url)


def _open(world: World, store: Store) -> Fix:
    found = egress(world)
    ways = found.to_vault(store) if found is not None else ()
    if found is None or not any(way.verdict.isolating for way in ways):
        return Fix("ask who runs the firewall between cluster and Vault")
    return open_vault(found, ways)


def speaks(world: World) -> Iterable[Finding]:
    """VP-POD-003."""
    for store in world.servers():
        told = probed(world, store.url).get("http", "")
        if told == "200 vault":
            yield ok("Vault's health report", store.server)
        elif told.startswith("unknown"):
            yield unknown(told.removeprefix("unknown").strip(), store.server)
        elif told.startswith("000"):
            yield fail(
                store.server,
                "the connection ends before there is an answer",
                expected="Vault's health report",
                cause="TLS is not spoken as expected, or something in between ends the connection",
                fix=Fix("see what answers", f"curl -kv {store.server}/v1/sys/health"),
            )
        else:
            yield fail(
                store.server,
                f"status {told.split()[0]}, from a pod with the operand's labels",
                expected="Vault's health report",
                cause="something in between answers in Vault's place: a mesh, a proxy, a router",
                fix=Fix("see what answers", f"curl -kv {store.server}/v1/sys/health"),
            )
