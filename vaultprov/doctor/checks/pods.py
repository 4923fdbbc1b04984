"""What a pod beside the operand sees of Vault (`--probe`)."""

from __future__ import annotations

from collections.abc import Iterable

from vaultprov.doctor.checks.network import open_vault
from vaultprov.doctor.egress import egress
from vaultprov.doctor.model import Finding, Fix, fail, ok, unknown
from vaultprov.doctor.pod import probed
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World


def resolves(world: World) -> Iterable[Finding]:
    """VP-POD-001."""
    for store in world.servers():
        told = probed(world, store.url).get("dns", "")
        if told.startswith("ok"):
            yield ok(told.removeprefix("ok").strip(), store.url.host)
            continue
        here = ", ".join(world.addresses(store.url.host)) or "no address either"
        yield fail(
            store.url.host,
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
        if told == "ok":
            yield ok("", store.server)
        elif told.startswith("timeout"):
            yield fail(
                store.server,
                "no answer within 5 s, from a pod with the operand's labels",
                expected="a connection",
                cause="something drops the operand's packets: a NetworkPolicy, an EgressFirewall, "
                "a firewall outside",
                fix=_open(world, store),
            )
        elif told.startswith("refused"):
            yield fail(
                store.server,
                "refused, or no route",
                expected="a connection",
                cause="the packets arrive, and nothing listens on that port",
                fix=Fix("mend port or address", f"kubectl get {store.resource} -o yaml"),
            )
        else:
            yield unknown(told or "the pod did not come to it", store.server)


def _open(world: World, store: Store) -> Fix:
    found = egress(world)
    if found is None or not found.to_vault(store)[0].verdict.isolating:
        return Fix("ask who runs the firewall between cluster and Vault")
    return open_vault(found, found.to_vault(store))


def speaks(world: World) -> Iterable[Finding]:
    """VP-POD-003."""
    for store in world.servers():
        told = probed(world, store.url).get("http", "")
        if told in ("200", "429", "472", "473", "501", "503"):
            yield ok(f"status {told}", store.server)
        elif told.startswith("unknown"):
            yield unknown(told.removeprefix("unknown").strip(), store.server)
        elif told == "000":
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
                f"status {told}, from a pod with the operand's labels",
                expected="Vault's health report",
                cause="something in between answers in Vault's place: a mesh, a proxy, a router",
                fix=Fix("see what answers", f"curl -kv {store.server}/v1/sys/health"),
            )
