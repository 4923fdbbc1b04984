"""Onboarding -> what External Secrets needs in the cluster: the way to Vault, and stores. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vaultprov.certificates import given_ca
from vaultprov.kube.decision import Action, Decision
from vaultprov.kube.manifest import Manifest
from vaultprov.kube.store import (
    CaProvider,
    CaSource,
    Conditions,
    JwtLogin,
    KubernetesLogin,
    Retries,
    StoreSpec,
    TokenLogin,
    cluster_store,
    namespaced_stores,
    token_secret,
)
from vaultprov.model import Onboarding, Only, ReviewerMode, ServiceAccount, Store, StoreKind
from vaultprov.names import Names, joined
from vaultprov.redact import Secret
from vaultprov.resource import Key, Resource


def cluster_side_resources(
    onboarding: Onboarding,
    version: str,
    decisions: Iterable[Decision],
    only: Only,
    store_token: Secret | None = None,
) -> tuple[Resource, ...]:
    """The way to Vault where it was closed, and the store. Both need External Secrets.

    version: the API version of stores that the cluster serves, such as `v1`. decisions: about
    NetworkPolicies, in either direction. store_token: for the store's `token_secret`.
    """
    resources: list[Resource] = []
    for decision in decisions:
        entry = decision.action is Action.CONFIG_ENTRY
        resources += [
            Manifest(body, entry=entry, spared="--no-egress") for body in decision.objects
        ]
        resources += [Manifest(body, absent=True) for body in decision.obsolete]
    home = onboarding.store.token_secret
    if store_token is not None and home is not None and onboarding.store.enabled:
        body = token_secret(TokenLogin(home.name), home.namespace, store_token)
        resources.append(Manifest(body, spared="--no-store"))
    ways = tuple(resource.key for resource in resources)
    if onboarding.store.enabled:
        resources += [
            Manifest(each, after=ways, spared="--no-store") for each in stores(onboarding, version)
        ]
    if only is Only.BOTH:
        names = Names.of(onboarding)
        role = Key("vault/role", joined(names.auth_mount, names.role))
        resources = [
            replace(each, after=(*each.after, role)) if is_store(each.body) else each
            for each in resources
            if isinstance(each, Manifest)
        ]
    return tuple(resources)


def is_store(body: Mapping[str, Any]) -> bool:
    """Whether a manifest is a store of External Secrets."""
    return body["kind"] in set(StoreKind)


def stores(onboarding: Onboarding, version: str) -> list[dict[str, Any]]:
    """The ClusterSecretStore, or a SecretStore for each workload ServiceAccount.

    The namespaces of stores and of the role are one list: `service_accounts`. Raises ConfigError
    if the store's CA cannot be read.
    """
    specs = store_specs(onboarding, version)
    if onboarding.store.kind is StoreKind.CLUSTER:
        return [cluster_store(specs[0])]
    return [
        body
        for spec, account in zip(specs, onboarding.service_accounts, strict=True)
        for body in namespaced_stores(spec, [account.namespace])
        if is_store(body)
    ]


def store_specs(onboarding: Onboarding, version: str) -> list[StoreSpec]:
    """A store's particulars for each workload ServiceAccount. version: of the API, such as `v1`."""
    names, wish = Names.of(onboarding), onboarding.store

    def login(account: ServiceAccount) -> KubernetesLogin | TokenLogin:
        if wish.token_secret is not None:
            return TokenLogin(wish.token_secret.name, namespace=wish.token_secret.namespace)
        mode = onboarding.reviewer.mode
        kind = JwtLogin if mode is ReviewerMode.JWT else KubernetesLogin
        also = wish.api_audience if mode is ReviewerMode.CLIENT else ""
        audiences = tuple(filter(None, (onboarding.audience, also)))
        return kind(names.auth_mount, names.role, account.name, audiences, account.namespace)

    return [
        StoreSpec(
            wish.name,
            wish.server,
            onboarding.kv_mount,
            login(account),
            version,
            wish.vault_namespace,
            given_ca(wish.ca_file),
            _ca_of(wish),
            conditions=_conditions(wish),
            retries=_retries(wish),
            refresh=wish.refresh,
        )
        for account in onboarding.service_accounts
    ]


def _ca_of(wish: Store) -> CaProvider | None:
    given = wish.ca_provider
    if given is None:
        return None
    return CaProvider(CaSource(given.kind), given.name, given.key, given.namespace)


def _conditions(wish: Store) -> Conditions | None:
    given = (wish.namespaces, dict(wish.namespace_labels) or None, wish.namespace_regexes)
    return Conditions(*given) if any(given) else None


def _retries(wish: Store) -> Retries | None:
    given = {"most": wish.max_retries, "interval": wish.retry_interval}
    set_here = {name: value for name, value in given.items() if value is not None}
    return Retries(**set_here) if set_here else None
