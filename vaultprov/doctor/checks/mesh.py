"""Vault in the same cluster: its namespace's policies, and Istio's, have to let the operand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaultprov.doctor.checks.remedies import manifest
from vaultprov.doctor.egress import Egress, egress, ingress
from vaultprov.doctor.model import Finding, Fix, fail, ok
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.kube.objects import LABELS
from vaultprov.netpol import Answer

_ISTIO = "security.istio.io/v1"


def meshed(world: World) -> Iterable[Finding]:
    """VP-NET-008."""
    found = egress(world)
    if found is None:
        return
    for store in world.servers():
        inside = world.service_of(store.url.host)
        if inside is None:
            continue
        yield from _let_in(world, found, store)
        yield from _authorized(world, found, inside[0], store)


def _let_in(world: World, found: Egress, store: Store) -> Iterable[Finding]:
    for way in found.to_vault(store):
        verdict = ingress(world, way, found.pod)
        if verdict is None:
            continue
        if verdict.answer is not Answer.DENIED:
            yield ok("", str(way))
            continue
        yield fail(
            str(way),
            f"ingress denied by {', '.join(verdict.isolating)}",
            expected='a rule for its pods; with Big Bang, their label vault-ingress: "true"',
            cause="the NetworkPolicies of Vault's namespace do not let the operand in",
            fix=Fix(
                "give the pods the label that Vault's policy asks for",
                f"kubectl patch {found.operand.deployment} --type merge -p "
                """'{"spec":{"template":{"metadata":{"labels":{"vault-ingress":"true"}}}}}'""",
            ),
        )


def _authorized(world: World, found: Egress, namespace: str, store: Store) -> Iterable[Finding]:
    """Whether Istio's AuthorizationPolicies of Vault's namespace let the operand in."""
    policies = [
        *world.items(_ISTIO, "AuthorizationPolicy", namespace),
        *world.items("security.istio.io/v1beta1", "AuthorizationPolicy", namespace),
    ]
    port, ours = store.url.port, found.operand.namespace
    specs = [each.get("spec") or {} for each in policies]
    allowing = [spec for spec in specs if (spec.get("action") or "ALLOW") == "ALLOW"]
    if not allowing:
        return  # without an ALLOW policy everything is let in
    if any(_rule_allows(rule, ours, port) for spec in allowing for rule in spec.get("rules") or ()):
        yield ok("an AuthorizationPolicy lets it in", store.server)
        return
    body = {
        "apiVersion": policies[0]["apiVersion"],
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "allow-external-secrets", "namespace": namespace, "labels": LABELS},
        "spec": {
            "action": "ALLOW",
            "rules": [
                {
                    "from": [{"source": {"namespaces": [ours]}}],
                    "to": [{"operation": {"ports": [str(port)]}}],
                }
            ],
        },
    }
    yield fail(
        f"AuthorizationPolicies of namespace {namespace}",
        f"none lets namespace {ours} reach port {port}",
        expected=f"an ALLOW rule for namespace {ours}",
        cause="the service mesh refuses what no AuthorizationPolicy allows",
        fix=Fix("allow it", "kubectl apply -f -", manifest(body)),
        evidence=tuple(each["metadata"]["name"] for each in policies),
    )


def _rule_allows(rule: Mapping[str, Any], namespace: str, port: int) -> bool:
    anybody: list[dict[str, Any]] = [{}]
    sources = [each.get("source") or {} for each in rule.get("from") or anybody]
    targets = [each.get("operation") or {} for each in rule.get("to") or anybody]
    from_us = any(namespace in each.get("namespaces", [namespace]) for each in sources)
    to_port = any(str(port) in map(str, each.get("ports", [port])) for each in targets)
    return from_us and to_port
