"""What only a live cluster knows of its External Secrets, read before anything is planned.

It reads with doctor's eyes, so that what `onboard` opens is what doctor would have found closed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vaultprov.doctor.checks.network import nodes
from vaultprov.doctor.egress import Egress, egress
from vaultprov.doctor.network import Url, is_address
from vaultprov.doctor.proxy import proxy_for
from vaultprov.doctor.stores import Reference
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Denied, Error, Refused, Rejected
from vaultprov.jwt import claims
from vaultprov.kube import egress as kube_egress
from vaultprov.kube import ingress as kube_ingress
from vaultprov.kube.decision import Action, Decision, Workload
from vaultprov.kube.destinations import (
    KUBE_DNS,
    OPENSHIFT_DNS,
    Destination,
    Pods,
    addresses,
    cidrs,
)
from vaultprov.model import EgressMode, Onboarding, ReviewerMode
from vaultprov.netpol import Peer
from vaultprov.reach import is_loopback

_ABSENT = (
    "External Secrets is not installed: no store and no egress policy; install it and run this "
    "again"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was found. version: of the stores' API, "" without External Secrets.

    decisions: about NetworkPolicies. notes: what a reader has to know, a sentence each.
    """

    version: str = ""
    decisions: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()


def with_api_audience(onboarding: Onboarding, world: World | None) -> Onboarding:
    """In reviewer mode `client`, the onboarding with the API server's audience.

    As a workload's own token has it; before there is one, the issuer, which it is by default.
    """
    store = onboarding.store
    if world is None or onboarding.reviewer.mode is not ReviewerMode.CLIENT or store.api_audience:
        return onboarding
    account = onboarding.service_accounts[0]
    try:
        own = claims(world.token(Reference(account.name, account.namespace), ()).token)
        audience = next(iter([own["aud"]] if isinstance(own["aud"], str) else own["aud"]))
    except (Rejected, LookupError, StopIteration):
        audience = world.live.token_issuer()
    return replace(onboarding, store=replace(store, api_audience=audience))


def survey(world: World) -> Surroundings:
    """Looks at the operand and the policies around it. What may not be looked at is a note."""
    try:
        version = (world.store_version() or "").rpartition("/")[2]
    except Denied as error:
        return Surroundings(notes=(f"no store and no egress policy: {error.message}",))
    if not version:
        return Surroundings(notes=(_ABSENT,))
    _check_server(world)
    if world.case.onboarding.egress.mode is EgressMode.NONE:
        return Surroundings(version, notes=_left_closed(world))
    _check_mode(world)
    try:
        decisions = _decisions(world)
    except Error as error:
        told = f"the way from External Secrets to Vault could not be looked at: {error.message}"
        return Surroundings(version, notes=(told,))
    if not decisions:
        told = "no Deployment of External Secrets was found, so its way to Vault was not looked at"
        return Surroundings(version, notes=(told,))
    notes = [f"egress: {decisions[0].why}"] if decisions[0].action is Action.NOTHING else []
    notes += [warning for decision in decisions for warning in decision.warnings]
    return Surroundings(version, decisions, tuple(notes))


def _check_server(world: World) -> None:
    """Raises Refused for a store whose server no pod can reach, by the form of its address.

    A cluster on loopback shares the machine, so for it a Vault there is fine.
    """
    store = world.case.onboarding.store
    far = not is_loopback(Url.parse(world.kube.server).host)
    if store.enabled and far and is_loopback(Url.parse(store.server).host):
        raise Refused(
            f"refused, nothing was written: the store's server {store.server} is an address of "
            "this machine alone; in a pod it is the pod itself",
            hint="--set store.server=https://... with the address that pods are to use, or "
            "--no-store",
        )


def _check_mode(world: World) -> None:
    """Raises ConfigError if an entry is asked for where nothing takes one."""
    if world.case.onboarding.egress.mode is not EgressMode.CONFIG_ENTRY:
        return
    if world.known_items(*kube_egress.CONFIG) is None:
        raise ConfigError(
            "this cluster has no ExternalSecretsConfig: Red Hat's operator is not installed",
            hint="--egress networkpolicy",
        )


def _left_closed(world: World) -> tuple[str, ...]:
    """That the way is closed, where opening it is left to somebody else."""
    store = world.case.onboarding.store
    try:
        found = egress(world)
        to = replace(world.planned(), server=store.server)
        closed = [way for way in found.to_vault(to) if way.closed] if found is not None else []
    except Error as error:
        return (f"the way from External Secrets to Vault could not be looked at: {error.message}",)
    if not closed:
        return ()
    return (f"policies deny {closed[0]} (VP-NET-001), and opening it is left to you",)


def _decisions(world: World) -> tuple[Decision, ...]:
    found = egress(world)
    if found is None:
        return ()
    wish, url = world.case.onboarding.egress, Url.parse(world.case.onboarding.store.server)
    operand = Workload.of_deployment(
        found.operand.body, world.namespace_labels(found.operand.namespace)
    )
    proxy = proxy_for(url, found.operand.environment)
    reached = proxy or url
    inside = world.service_of(reached.host)
    pods = _pods(world, found, reached, *inside) if inside else None
    request = kube_egress.Request(
        operand,
        found.everywhere,
        (pods,) if pods else _addresses(world, reached, wish.cidrs, alone=proxy is not None),
        f"proxy {proxy.host}" if proxy else url.host,
        () if is_address(reached.host) else _resolvers(world, found),
        wish.mode,
        found.unmodelled() if found.policies else (),
    )
    decided = [kube_egress.decide(request)]
    if pods is not None:
        decided.append(kube_ingress.decide(operand, pods, found.everywhere))
    return tuple(decided)


def _addresses(
    world: World, url: Url, given: tuple[str, ...], *, alone: bool
) -> tuple[Destination, ...]:
    """Every address of the server and, unless it stands alone, of the nodes behind it."""
    if given:
        return cidrs(given, url.port)
    found = list(addresses(world.addresses(url.host), url.port))
    for node in () if alone else _nodes(world):
        found += addresses(world.addresses(node.host), node.port)
    return tuple(dict.fromkeys(found))


def _nodes(world: World) -> tuple[Url, ...]:
    """Nodes that do not resolve here are left to doctor, which says so."""
    try:
        return tuple(n for n in nodes(world, world.planned()) if world.addresses(n.host))
    except Error:
        return ()  # without a Vault half nobody tells


def _pods(world: World, found: Egress, url: Url, namespace: str, name: str) -> Pods:
    """Vault's pods behind its Service. Raises ConfigError for a Service without a selector."""
    service = world.get("v1", "Service", name, namespace)
    if service is None:
        raise ConfigError(f"Service {namespace}/{name} of {url} does not exist")
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    if not selector:
        raise ConfigError(
            f"Service {namespace}/{name} has no selector", hint="give --vault-cidr ADDRESS/32"
        )
    served = [each.get("port") for each in (service.get("spec") or {}).get("ports") or ()]
    if url.port not in served:
        raise ConfigError(
            f"Service {namespace}/{name} has no port {url.port} (it has "
            f"{', '.join(map(str, served)) or 'none'})",
            hint=f"--set store.server={url.scheme}://{url.host}:PORT",
        )
    endpoints = tuple(peer for peer in found.peers(url) if peer.pod is not None)
    port = _target_port(service, endpoints, url.port)
    return Pods(namespace, selector, port, world.namespace_labels(namespace), endpoints)


def _target_port(service: Any, endpoints: tuple[Peer, ...], port: int) -> int:
    if endpoints:
        return endpoints[0].port
    ports = (service.get("spec") or {}).get("ports") or ()
    target = next((each.get("targetPort") for each in ports if each.get("port") == port), port)
    return target if isinstance(target, int) else port


def _resolvers(world: World, found: Egress) -> tuple[Destination, ...]:
    openshift = world.get("v1", "Service", "dns-default", "openshift-dns")
    default = OPENSHIFT_DNS if openshift else KUBE_DNS
    endpoints = tuple(
        way.peer for way in found.to_dns() if way.peer.pod is not None and way.peer.port
    )
    labels = world.namespace_labels(default.namespace)
    return (Pods(default.namespace, default.selector, default.port, labels, endpoints),)
