"""From the operand's pods to Vault: policies, proxies, mesh, DNS, and the port itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vaultprov.doctor.checks.openings import open_vault, policy
from vaultprov.doctor.checks.remedies import manifest
from vaultprov.doctor.egress import Egress, Way, egress
from vaultprov.doctor.model import Confidence, Finding, Fix, Status, fail, ok, unknown, warn
from vaultprov.doctor.network import Attempt, Reached, Url, is_address
from vaultprov.doctor.proxy import proxy_for
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.errors import Error
from vaultprov.kube.objects import LABELS

_SIDECAR = "istio-proxy"


def understood(world: World) -> Iterable[Finding]:
    """VP-NET-006."""
    found = egress(world)
    if found is None:
        return
    names = found.unmodelled()
    if names:
        yield unknown(
            "policies that are not evaluated here are in force: whether the operand may reach "
            "Vault is not certain",
            evidence=names,
        )
    else:
        yield ok(f"{len(found.policies)} NetworkPolicies")


def not_cut_off(world: World) -> Iterable[Finding]:
    """VP-NET-002."""
    found = egress(world)
    if found is None:
        return
    dns, api = found.to_dns(), found.to_api()
    if not (_all_closed(dns) and _all_closed(api)):
        yield ok()
        return
    isolating = dns[0].verdict.isolating
    yield fail(
        ", ".join(isolating),
        "neither DNS nor the API server may be reached",
        expected="an egress policy only where another one isolates the pods already",
        cause=f"{_first(isolating)} isolates the operand for egress, and nothing opens DNS and the "
        "API server to it",
        fix=_drop_or_open(found, isolating),
        evidence=tuple(str(way) for way in (*dns, *api)),
    )


def _drop_or_open(found: Egress, isolating: tuple[str, ...]) -> Fix:
    """A policy of ours that did it alone may go; one of others may be there for a good reason."""
    if len(isolating) == 1 and _is_ours(found, isolating[0]):
        namespace, _, name = isolating[0].partition("/")
        return Fix(
            "take the policy away: without it nothing isolates the pods",
            f"kubectl -n {namespace} delete networkpolicy {name}",
        )
    resolver = next((way.peer.port for way in found.to_dns()), 53)
    rules: list[dict[str, Any]] = [
        {"ports": [{"protocol": protocol, "port": resolver} for protocol in ("UDP", "TCP")]},
        {"ports": [{"protocol": "TCP", "port": way.peer.port} for way in found.to_api()[:1]]},
    ]
    body = policy(found, "vaultprov-egress-base", rules)
    return Fix("open DNS and the API server", "kubectl apply -f -", manifest(body))


def _is_ours(found: Egress, name: str) -> bool:
    namespace, _, bare = name.partition("/")
    for body in found.everywhere:
        metadata = body["metadata"]
        if (metadata.get("namespace"), metadata["name"]) == (namespace, bare):
            return bool(LABELS.items() <= (metadata.get("labels") or {}).items())
    return False


def to_api(world: World) -> Iterable[Finding]:
    """VP-NET-005."""
    found = egress(world)
    if found is None:
        return
    ways = found.to_api()
    closed = [way for way in ways if way.closed]
    if not closed:
        yield from _open_or_unknown(ways)
        return
    port = closed[0].peer.port
    body = policy(found, "vaultprov-egress-api", [{"ports": [{"protocol": "TCP", "port": port}]}])
    yield fail(
        str(closed[0]),
        "denied",
        expected=f"egress to port {port}",
        cause=f"the API server listens on port {port}, and the policies open another one"
        if port != 6443
        else "the operand may not talk to its own API server",
        fix=Fix(
            f"open TCP {port} to the operand, at any address", "kubectl apply -f -", manifest(body)
        ),
        evidence=closed[0].verdict.isolating,
    )


def to_dns(world: World) -> Iterable[Finding]:
    """VP-DNS-001."""
    found = egress(world)
    if found is None:
        return
    if all(is_address(store.url.host) for store in world.stores()):
        yield ok("the store names an address, not a name")
        return
    ways = found.to_dns()
    if any(way.open for way in ways):
        yield ok("", str(ways[0]))
        return
    if not _all_closed(ways):
        yield unknown(ways[0].verdict.reason, str(ways[0]))
        return
    port = ways[0].peer.port
    ports = [{"protocol": p, "port": port} for p in ("UDP", "TCP")]
    yield fail(
        str(ways[0]),
        "denied",
        expected="egress to a resolver",
        cause="policies let the operand reach no resolver, so it never learns Vault's address",
        fix=Fix(
            f"open port {port} to the operand, at any address",
            "kubectl apply -f -",
            manifest(policy(found, "vaultprov-egress-dns", [{"ports": ports}])),
        ),
        evidence=ways[0].verdict.isolating,
    )


def policy_fits(world: World) -> Iterable[Finding]:
    """VP-NET-003."""
    found = egress(world)
    if found is None:
        return
    for store in world.servers():
        ways = found.to_vault(store)
        closed = [way for way in ways if way.closed]
        misses = found.near_misses(closed)
        partly = any(way.open for way in ways) and closed
        if not (misses or partly):
            continue
        yield fail(
            f"egress to {store.server}",
            f"denied: {', '.join(map(str, closed))}",
            expected="every address of Vault, at the port of the store's server",
            cause=misses[0]
            if misses
            else f"the policies allow {len(ways) - len(closed)} of {len(ways)} addresses",
            fix=open_vault(found, ways),
            evidence=(*misses, *closed[0].verdict.isolating),
        )


def may_reach(world: World) -> Iterable[Finding]:
    """VP-NET-001."""
    found = egress(world)
    if found is None:
        return
    for store in world.servers():
        ways = found.to_vault(store)
        closed = [way for way in ways if way.closed]
        if not closed:
            yield from _open_or_unknown(ways)
            continue
        yield fail(
            f"egress to {store.server}",
            f"denied: {', '.join(map(str, closed))}",
            expected=f"egress from pods of {found.operand.namespace} to port {store.url.port}",
            cause=f"NetworkPolicy {_first(closed[0].verdict.isolating)} isolates the operand, and "
            "none lets it go to Vault",
            fix=open_vault(found, ways),
            evidence=closed[0].verdict.isolating,
        )


def to_nodes(world: World) -> Iterable[Finding]:
    """VP-NET-004."""
    found = egress(world)
    for store in world.servers():
        ways: list[Way] = []
        if _is_balanced(world, store):
            told = "a load balancer sends clients to the active node"
            yield Finding(Status.SKIPPED, store.server, told)
            continue
        for node in nodes(world, store):
            if node.host == store.url.host and node.port == store.url.port:
                continue
            if not world.addresses(node.host):
                yield fail(
                    f"Vault node {node}",
                    "its name does not resolve here",
                    expected="an api_addr that every client can use",
                    cause="a standby sends clients to the active node's api_addr",
                    fix=Fix("mend api_addr in the node's configuration", "vault read sys/leader"),
                    confidence=Confidence.MEDIUM,
                )
            elif found is not None:
                ways += found.to(node.host, found.peers(node))
        closed = [way for way in ways if way.closed]
        if found is not None and closed:
            yield fail(
                f"egress to the nodes behind {store.server}",
                f"denied: {', '.join(map(str, closed))}",
                expected="every node that a standby may send clients to",
                cause="the policies allow the address of the store's server, and a standby "
                "answers with a redirect (307) to the active node",
                fix=open_vault(found, tuple(ways), name="vaultprov-egress-vault-nodes"),
                evidence=closed[0].verdict.isolating,
            )
        elif ways:
            yield ok(f"{len(ways)} addresses", f"the nodes behind {store.server}")


def _is_balanced(world: World, store: Store) -> bool:
    """Whether only the active node answers, and at another address than its own.

    Then a standby, which would send clients to the node's own address, is never seen.
    """
    addresses = world.addresses(store.url.host)
    answers = [world.health(store.url, address).body or {} for address in addresses]
    if any(each.get("standby", True) for each in answers):
        return False
    leaders = [world.leader(store.url, address).body or {} for address in addresses]
    own = {str(each["leader_address"]) for each in leaders if each.get("leader_address")}
    return bool(own) and not any(
        set(world.addresses(Url.parse(each).host)) & set(addresses) for each in own
    )


def nodes(world: World, store: Store) -> tuple[Url, ...]:
    """The API addresses that Vault itself names: of the leader, and with a token of all nodes."""
    named: list[str] = []
    for address in world.addresses(store.url.host):
        told = world.leader(store.url, address).body or {}
        if told.get("ha_enabled"):
            named.append(str(told.get("leader_address") or ""))
    if named:
        status = world.read("sys/ha-status") or {}
        named += [str(node.get("api_address") or "") for node in status.get("nodes") or ()]
    return tuple(Url.parse(each) for each in dict.fromkeys(named) if each)


def proxied(world: World) -> Iterable[Finding]:
    """VP-NET-007."""
    found = egress(world)
    if found is None:
        return
    for store in world.servers():
        proxy = proxy_for(store.url, found.operand.environment)
        if proxy is None:
            continue
        ways = found.to_vault(store)
        closed = [way for way in ways if way.closed]
        if not ways:
            yield unknown(f"the proxy's name {proxy.host} does not resolve here", store.server)
        elif closed:
            yield fail(
                f"proxy {proxy}",
                f"denied: {', '.join(map(str, closed))}",
                expected="egress to the proxy, or Vault in NO_PROXY",
                cause=f"External Secrets goes to Vault through proxy {proxy}, as its environment "
                "says, and no NetworkPolicy allows that",
                fix=replace(
                    open_vault(found, ways, name="vaultprov-egress-proxy"),
                    text="allow egress to the proxy; or, if Vault can be reached directly, add it "
                    "to NO_PROXY",
                ),
                evidence=closed[0].verdict.isolating,
            )
        else:
            yield ok(f"through {proxy}", store.server)


def resolves(world: World) -> Iterable[Finding]:
    """VP-DNS-002."""
    for store in world.servers():
        host = store.url.host
        if world.service_of(host) is not None:
            yield ok("a name of the cluster", host)
        elif _is_proxied(world, store):
            yield Finding(Status.SKIPPED, host, "the proxy resolves it")
        elif addresses := world.addresses(host):
            yield ok(", ".join(addresses), host)
        elif _works_for_the_operand(world, store):
            yield unknown("no such host, asked from this machine; but the store is Ready", host)
        else:
            yield fail(
                host,
                "no such host, asked from this machine",
                expected="an address",
                cause=f"the name in {store} does not exist, or only another resolver knows it",
                fix=Fix("mend the name, or add it to DNS", f"kubectl get {store.resource} -o yaml"),
                confidence=Confidence.MEDIUM,
            )


def _is_proxied(world: World, store: Store) -> bool:
    try:
        operand = world.operand()
    except Error:
        return False
    return operand is not None and proxy_for(store.url, operand.environment) is not None


def port_open(world: World) -> Iterable[Finding]:
    """VP-NET-009."""
    for store in world.servers():
        if world.service_of(store.url.host) is not None:
            yield Finding(Status.SKIPPED, store.server, "only the cluster reaches this address")
            continue
        if _is_proxied(world, store):
            yield Finding(Status.SKIPPED, store.server, "the operand goes through a proxy")
            continue
        addresses = world.addresses(store.url.host)
        if not addresses:
            yield unknown("its name does not resolve here", store.server)
            continue
        tried = world.connects(addresses, store.url.port)
        shut = {a: each for a, each in tried.items() if each.reached is not Reached.OK}
        if len(shut) < len(tried):
            told = f"{len(tried) - len(shut)} of {len(tried)} addresses"
            yield (
                ok(told, store.server)
                if not shut
                else warn(
                    store.server,
                    f"{told} answer; not {', '.join(shut)}",
                    expected="every address of its name",
                    cause="one address of Vault's name does not answer this machine",
                    fix=Fix("see whether that node runs", f"vault status -address={store.url}"),
                )
            )
        elif _works_for_the_operand(world, store):
            yield unknown(
                f"{_attempts(shut)} from this machine, but the store is Ready",
                store.server,
            )
        else:
            yield fail(
                store.server,
                f"{_attempts(shut)}, from this machine",
                expected="a connection",
                cause=_why_shut(next(iter(shut.values()))),
                fix=Fix("see whether Vault runs there", f"curl -k {store.server}/v1/sys/health"),
                confidence=Confidence.MEDIUM,
            )


def _works_for_the_operand(world: World, store: Store) -> bool:
    return not world.is_offline and (store.ready or {}).get("status") == "True"


def _attempts(shut: Mapping[str, Attempt]) -> str:
    return ", ".join(f"{address}: {each.detail}" for address, each in shut.items())


def _why_shut(attempt: Attempt) -> str:
    if attempt.reached is Reached.REFUSED:
        return "the host is up and nothing listens on the port: wrong port, or Vault is down"
    if attempt.reached is Reached.TIMEOUT:
        return "something drops the packets: a firewall, or no such host on the network"
    return f"the address cannot be reached: {attempt.detail}"


def _all_closed(ways: tuple[Way, ...]) -> bool:
    return bool(ways) and all(way.closed for way in ways)


def _open_or_unknown(ways: tuple[Way, ...]) -> Iterable[Finding]:
    for way in ways:
        if way.open:
            yield ok(way.verdict.allowed_by or "no policy isolates the operand", str(way))
        else:
            yield unknown(way.verdict.reason, str(way))


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else "a policy"
