"""What External Secrets itself says. It shows that something is wrong; the cause is upstream."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaultprov.doctor.checks.remedies import patch
from vaultprov.doctor.external_secrets import is_ready, name_of, stores_named
from vaultprov.doctor.model import Confidence, Finding, Fix, fail, ok, unknown
from vaultprov.doctor.stores import KINDS, Store
from vaultprov.doctor.world import World
from vaultprov.explain.match import match
from vaultprov.kube.destinations import NAMESPACE_LABEL
from vaultprov.netpol import selects
from vaultprov.redact import scrub

_OWN_CODES = ("VP-ES-007", "VP-ES-008")  # their words are what is to be explained
_OWNED = ("target is owned by another ExternalSecret", "immutable")


def conditions_allow(world: World) -> Iterable[Finding]:
    """VP-ES-003."""
    for body in world.external_secrets():
        for store in world.stores_for(body):
            if store.namespace is not None:
                continue
            namespace = str(body["metadata"]["namespace"])
            if not store.conditions or _allowed(world, store.conditions, namespace):
                yield ok("", name_of(body))
                continue
            more = [*store.conditions, _letting_in(world, namespace)]
            yield fail(
                name_of(body),
                f"{store} does not serve namespace {namespace}",
                expected="a condition that lets the namespace in",
                cause="spec.conditions of the store leave the namespace out"
                if _has_name_label(world, namespace)
                else "External Secrets finds the namespaces of spec.conditions by a label that "
                "Kubernetes before 1.21 does not set",
                fix=patch(store, {"spec": {"conditions": more}}, "let the namespace in"),
            )


def _has_name_label(world: World, namespace: str) -> bool:
    return world.namespace_labels(namespace).get(NAMESPACE_LABEL) == namespace


def _letting_in(world: World, namespace: str) -> dict[str, list[str]]:
    if _has_name_label(world, namespace):
        return {"namespaces": [namespace]}
    return {"namespaceRegexes": [f"^{re.escape(namespace)}$"]}


def _allowed(world: World, conditions: Sequence[Mapping[str, Any]], namespace: str) -> bool:
    """As `pkg/controllers/secretstore/client_manager.go` (shouldProcessSecret) decides."""
    for condition in conditions:
        named = namespace in (condition.get("namespaces") or ())
        if named and _has_name_label(world, namespace):
            return True
        if any(re.search(each, namespace) for each in condition.get("namespaceRegexes") or ()):
            return True
        selector = condition.get("namespaceSelector")
        if selector is not None and selects(selector, world.namespace_labels(namespace)):
            return True
    return False


def store_of_secret(world: World) -> Iterable[Finding]:
    """VP-ES-004."""
    version = world.store_version()
    if version is None:
        return
    stores = {(s.kind, s.namespace, s.name) for s in world.all_stores()}
    wanted = world.case.external_secret
    named = world.external_secrets() if wanted else world.items(version, "ExternalSecret")
    for body in named:
        for kind, name in sorted(stores_named(body)):
            if kind not in KINDS:
                continue
            namespace = body["metadata"]["namespace"] if kind == "SecretStore" else None
            if (kind, namespace, name) in stores or world.get(version, kind, name, namespace):
                yield ok("", name_of(body))
                continue
            world.missed(f"{kind} {name}")
            others = [s.name for s in world.live_stores()]
            yield fail(
                name_of(body),
                f"refers to {kind} {name}, which does not exist",
                expected="a store that exists" + (f": {', '.join(others)}" if others else ""),
                cause="the ExternalSecret names a store that is not there",
                fix=_other_store(world, body),
            )


def _other_store(world: World, body: Mapping[str, Any]) -> Fix:
    metadata = body["metadata"]
    fitting = [s for s in world.live_stores() if s.namespace in (None, metadata["namespace"])]
    if not fitting:
        return Fix("create the store, or mend the reference")
    reference = f'{{"kind":"{fitting[0].kind}","name":"{fitting[0].name}"}}'
    return Fix(
        "refer to a store that exists",
        f"kubectl -n {metadata['namespace']} patch externalsecret {metadata['name']} "
        f"""--type merge -p '{{"spec":{{"secretStoreRef":{reference}}}}}'""",
    )


def target_free(world: World) -> Iterable[Finding]:
    """VP-ES-006."""
    for body in world.external_secrets():
        told = [*_failures(body), *(world.events(body) if is_ready(body) is False else ())]
        owned = next((text for text in told if any(word in text for word in _OWNED)), "")
        if not owned:
            yield ok("", name_of(body))
            continue
        metadata = body["metadata"]
        target = ((body.get("spec") or {}).get("target") or {}).get("name") or metadata["name"]
        yield fail(
            name_of(body),
            scrub(owned)[:200],
            expected=f"a Secret {target} that nothing else writes",
            cause="two ExternalSecrets write one Secret, or the Secret is immutable",
            fix=Fix(
                "give one of them another spec.target.name, or delete the immutable Secret",
                f"kubectl -n {metadata['namespace']} get secret {target} "
                "-o jsonpath='{.metadata.ownerReferences}{.immutable}'",
            ),
        )


def store_ready(world: World) -> Iterable[Finding]:
    """VP-ES-007."""
    for store in world.live_stores():
        condition = store.ready
        if condition is None:
            yield unknown("no status yet", str(store))
        elif condition.get("status") == "True":
            yield ok(str(condition.get("message") or ""), str(store))
        else:
            yield _unready(world, str(store), condition, store.body, store)


def secret_synced(world: World) -> Iterable[Finding]:
    """VP-ES-008."""
    for body in world.external_secrets():
        if is_ready(body) is not False:
            yield ok("", name_of(body))
            continue
        condition = next(
            c for c in (body.get("status") or {}).get("conditions") or () if c["type"] == "Ready"
        )
        store = next(iter(world.stores_for(body)), None)
        yield _unready(world, name_of(body), condition, body, store)


def _unready(
    world: World,
    subject: str,
    condition: Mapping[str, Any],
    body: Mapping[str, Any],
    store: Store | None,
) -> Finding:
    """Without a cause upstream: what its own words point to."""
    told = world.events(body)
    words = scrub(told[0])[:500] if told else ""
    pages = [m.page for m in match(words) if m.page.code not in _OWN_CODES][:3] if words else []
    likely = [f"{page.code}, in doubt: {page.title}" for page in pages]
    if words and world.is_outdated(body, store):
        cause = "External Secrets has not spoken since the store was changed: these words are old"
        command = f"vaultprov verify {world.case.who} --touch-store {store.name if store else ''}"
    elif not words:
        cause = "its event is gone (events end after an hour); touch the store and look again"
        command = f"vaultprov verify {world.case.who} --touch-store"
    elif world.case.probe_login:
        cause = "nothing upstream is wrong as far as it can be seen; its words point to " + (
            likely[0] if likely else "nothing that is known"
        )
        command = (
            f"kubectl describe {store.resource}" if store else "kubectl describe externalsecret"
        )
    else:
        cause = "nothing upstream is wrong as far as it can be seen without a login"
        command = f"vaultprov doctor {world.case.who} --probe-login"
    return fail(
        subject,
        f"{condition.get('reason')}: {condition.get('message')}",
        expected="Ready",
        cause=cause,
        fix=Fix("look closer", command),
        evidence=(*((words,) if words else ()), *(f"likely: {each}" for each in likely)),
        confidence=Confidence.LOW,
    )


def _failures(body: Mapping[str, Any]) -> list[str]:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return [str(c.get("message") or "") for c in conditions if c.get("status") == "False"]
