"""The store object itself: what in it can be seen to be wrong without asking anybody."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from vaultprov.certificates import fingerprints
from vaultprov.doctor.checks.remedies import manifest, patch_provider
from vaultprov.doctor.model import Finding, Fix, Status, fail, ok, warn
from vaultprov.doctor.stores import GROUP, Store
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError
from vaultprov.kube.egress import CONFIG


def exists(world: World) -> Iterable[Finding]:
    """VP-ES-009."""
    stores = world.live_stores()
    for store in stores:
        yield ok(f"{store.server} path {store.path}", str(store))
    if stores:
        return
    planned = world.stores()[0]
    yield warn(
        "the cluster",
        f"no store of {world.case.vault_address} or of auth/{world.names.auth_mount}",
        expected="a ClusterSecretStore or SecretStore",
        cause="the cluster is onboarded, and nothing uses it yet",
        fix=Fix("create a store", "kubectl apply -f -", manifest(store_body(world, planned))),
    )


def store_body(world: World, store: Store) -> dict[str, Any]:
    """The object of a store that does not exist yet."""
    account = store.account
    return {
        "apiVersion": world.store_version() or f"{GROUP}/v1",
        "kind": store.kind,
        "metadata": {"name": "vault"},
        "spec": {
            "provider": {
                "vault": {
                    "server": store.server,
                    "path": store.path,
                    "version": store.version,
                    "auth": {
                        "kubernetes": {
                            "mountPath": store.mount,
                            "role": store.role,
                            "serviceAccountRef": {
                                "name": account.name if account else "",
                                "namespace": account.namespace if account else "",
                                "audiences": list(store.audiences),
                            },
                        }
                    },
                }
            }
        },
    }


def auth_method(world: World) -> Iterable[Finding]:
    """VP-ES-001."""
    for store in world.live_stores():
        if len(store.methods) == 1:
            yield ok(store.methods[0], str(store))
            continue
        yield fail(
            str(store),
            f"auth methods: {', '.join(store.methods) or 'none'}",
            expected="exactly one, kubernetes for example",
            cause="External Secrets does not know how to log in with this store",
            fix=_one_method(world, store),
        )


def _one_method(world: World, store: Store) -> Fix:
    planned = store_body(world, world.planned())["spec"]["provider"]["vault"]["auth"]
    others = {name: None for name in store.methods if name != "kubernetes"}
    return patch_provider(store, {"auth": planned | others}, "name the one method that is meant")


def own_namespace(world: World) -> Iterable[Finding]:
    """VP-ES-005."""
    for store in world.live_stores():
        if store.namespace is None:
            continue
        foreign = [
            reference
            for reference in (store.account, store.secret)
            if reference and reference.namespace != store.namespace
        ]
        if not foreign:
            yield ok("", str(store))
            continue
        change = {store.methods[0]: _refer(store, store.namespace)} if store.methods else {}
        yield fail(
            str(store),
            f"refers to {foreign[0].name} in namespace {foreign[0].namespace}",
            expected=f"namespace {store.namespace}, or none",
            cause="a SecretStore may use only what lies in its own namespace",
            fix=patch_provider(store, {"auth": change}, "refer to its own namespace"),
        )


def referent(world: World) -> Iterable[Finding]:
    """VP-ES-002."""
    for store in world.live_stores():
        loose = [
            reference
            for reference in (store.account, store.secret)
            if store.namespace is None and reference and reference.namespace is None
        ]
        if not loose:
            yield ok("", str(store))
            continue
        home = world.case.onboarding.service_accounts[0]
        namespace = next(
            (
                a.namespace
                for a in world.case.onboarding.service_accounts
                if a.name == loose[0].name
            ),
            home.namespace,
        )
        yield fail(
            str(store),
            f"refers to {loose[0].name} without a namespace",
            expected=f"namespace {namespace}",
            cause="External Secrets never logs in with such a cluster store and calls it Ready all "
            "the same",
            fix=patch_provider(
                store,
                {"auth": {store.methods[0]: _refer(store, namespace)}},
                "say in which namespace it is",
            ),
        )


def _refer(store: Store, namespace: str) -> dict[str, Any]:
    """The part of the auth method that names the namespace."""
    where = {"namespace": namespace}
    if store.methods[0] == "kubernetes":
        return {"serviceAccountRef" if store.account else "secretRef": where}
    if store.methods[0] == "jwt":
        if store.account:
            return {"kubernetesServiceAccountToken": {"serviceAccountRef": where}}
        return {"secretRef": where}
    return where


def readable_ca(world: World) -> Iterable[Finding]:
    """VP-TLS-003."""
    for store in world.stores():
        if store.planned:
            yield Finding(Status.SKIPPED, str(store), "no store to read it from")
            continue
        try:
            pem = ca_of(world, store)
            if pem is not None:
                fingerprints(pem)
        except ConfigError as error:
            yield fail(
                str(store),
                error.message,
                expected="certificates in PEM form",
                cause="External Secrets cannot read the CA that the store names",
                fix=Fix(
                    "give the CA of Vault's certificate",
                    f"kubectl explain {store.kind.lower()}.spec.provider.vault.caBundle",
                )
                if store.ca_provider
                else patch_provider(store, {"caBundle": _known_ca(world)}, "give Vault's CA"),
            )
        else:
            yield ok("its own CA" if pem else "the system's CAs", str(store))


def _known_ca(world: World) -> str:
    """The CA that this machine trusts for Vault, as a store has it."""
    return base64.b64encode((world.case.vault_ca or "").encode()).decode()


def ca_of(world: World, store: Store) -> str | None:
    """The CAs that the store trusts, PEM; None for the system's. Raises ConfigError."""
    if store.planned:
        return world.case.vault_ca or None
    given = store.ca_pem()
    if given is not None:
        return given
    provider = store.ca_provider
    if not provider:
        return _trusted_bundle(world)
    kind, name = str(provider.get("type") or "Secret"), str(provider.get("name") or "")
    namespace = store.namespace or provider.get("namespace")
    key = str(provider.get("key") or "")
    if not namespace:
        raise ConfigError(f"the caProvider of {store} names no namespace")
    body = world.get("v1", kind, name, str(namespace))
    if body is None:
        world.missed(f"{kind} {namespace}/{name}")
        raise ConfigError(f"{kind} {namespace}/{name}, the caProvider of {store}, does not exist")
    text = (body.get("data") or {}).get(key)
    if text is None:
        raise ConfigError(f"{kind} {namespace}/{name} has no key {key!r}")
    return base64.b64decode(text).decode("utf-8", "replace") if kind == "Secret" else str(text)


def _trusted_bundle(world: World) -> str | None:
    """Red Hat's operator 1.2 mounts a ConfigMap of the CAs that its operand trusts."""
    configs = world.items(*CONFIG)
    for config in configs:
        bundle = ((config.get("spec") or {}).get("controllerConfig") or {}).get("trustedCABundle")
        operand = world.operand()
        if bundle and operand is not None:
            body = world.get("v1", "ConfigMap", str(bundle.get("name")), operand.namespace) or {}
            return "\n".join((body.get("data") or {}).values()) or None
    return None
