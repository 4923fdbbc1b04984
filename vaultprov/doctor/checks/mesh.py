"""Vault in the same cluster: its namespace's policies, and Istio's, have to let the operand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vaultprov.doctor.authorization import Caller, answer
from vaultprov.doctor.checks.remedies import manifest
from vaultprov.doctor.egress import Egress, egress, ingress
from vaultprov.doctor.model import Finding, Fix, fail, ok, unknown
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.kube.objects import LABELS
from vaultprov.netpol import Answer

# Different releases serve them; a cluster that serves both shows every policy in both.
_ISTIO = ("security.istio.io/v1", "security.istio.io/v1beta1")


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
    """Whether Istio's AuthorizationPolicies of Vault's pods let the operand in.

    Order and defaults: Istio's reference, "Authorization Policy": DENY first; where no ALLOW policy
    selects the pods, everything is let in.
    """
    served = (world.known_items(version, "AuthorizationPolicy", namespace) for version in _ISTIO)
    bodies = next((bodies for bodies in served if bodies is not None), [])
    policies = [body for body in bodies if _selects_vault(body, found, store)]
    ours = Caller(found.operand.namespace, found.operand.service_account, store.url.port)
    denying = _of_action(policies, "DENY")
    allowing = _of_action(policies, "ALLOW")
    denied = [b["metadata"]["name"] for b in denying if answer(b, ours) is True]
    allowed = [answer(body, ours) for body in allowing]
    unclear = [b["metadata"]["name"] for b in (*denying, *allowing) if answer(b, ours) is None]
    names = tuple(body["metadata"]["name"] for body in policies)
    if denied:
        yield fail(
            f"AuthorizationPolicy {namespace}/{denied[0]}",
            f"denies namespace {ours.namespace} port {ours.port}",
            expected=f"no DENY rule for namespace {ours.namespace}",
            cause="the service mesh denies the operand by name",
            fix=Fix(
                "take the operand out of it",
                f"kubectl -n {namespace} get authorizationpolicy {denied[0]} -o yaml",
            ),
            evidence=names,
        )
    elif unclear and not (True in allowed and not denying):
        yield unknown(f"{', '.join(unclear)} judge by more than namespace and port", store.server)
    elif allowing and True not in allowed:
        yield _not_allowed(policies[0]["apiVersion"], namespace, ours, names)
    elif allowing:
        yield ok("an AuthorizationPolicy lets it in", store.server)


def _not_allowed(version: str, namespace: str, ours: Caller, names: tuple[str, ...]) -> Finding:
    body = {
        "apiVersion": version,
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "allow-external-secrets", "namespace": namespace, "labels": LABELS},
        "spec": {
            "action": "ALLOW",
            "rules": [
                {
                    "from": [{"source": {"namespaces": [ours.namespace]}}],
                    "to": [{"operation": {"ports": [str(ours.port)]}}],
                }
            ],
        },
    }
    return fail(
        f"AuthorizationPolicies of namespace {namespace}",
        f"none lets namespace {ours.namespace} reach port {ours.port}",
        expected=f"an ALLOW rule for namespace {ours.namespace}",
        cause="the service mesh refuses what no AuthorizationPolicy allows",
        fix=Fix("allow it", "kubectl apply -f -", manifest(body)),
        evidence=names,
    )


def _selects_vault(body: Mapping[str, Any], found: Egress, store: Store) -> bool:
    """Whether a policy is for Vault's pods; where those are not known, it may be."""
    wanted = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    pods = [way.peer.pod for way in found.to_vault(store) if way.peer.pod is not None]
    return not pods or any(wanted.items() <= pod.labels.items() for pod in pods)


def _of_action(policies: Iterable[Mapping[str, Any]], action: str) -> list[Mapping[str, Any]]:
    return [p for p in policies if ((p.get("spec") or {}).get("action") or "ALLOW") == action]
