"""Vault's way back to the cluster: the auth configs, and Vault's TokenReview asked again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from vaultprov.doctor.external_secrets import is_ready, name_of
from vaultprov.doctor.model import Missing
from vaultprov.doctor.network import Attempt
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.kube.manifest import token_of
from vaultprov.model import ReviewerMode

_HOUR = 3600.0  # the usual refreshInterval


def configs(world: World) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The auth config of every kubernetes mount that the stores log in at."""
    mounts = dict.fromkeys(s.mount for s in world.stores() if s.methods == ("kubernetes",))
    for mount in mounts:
        found = world.config(mount)
        if found is not None:
            yield mount, found


def is_ours(world: World, mount: str) -> bool:
    """Whether onboarding this cluster writes the mount; of others we know no reviewer."""
    return mount == world.names.auth_mount


def is_inside(world: World, mount: str) -> bool:
    """Whether the Vault of the mount runs in this very cluster, as its stores' server tells.

    Such a Vault may use its pod's own CA and token, and the cluster's inner names.
    """
    servers = [store.url.host for store in world.stores() if store.mount == mount]
    return bool(servers) and all(world.service_of(host) is not None for host in servers)


def is_local(world: World, mount: str, config: Mapping[str, Any]) -> bool:
    """Whether Vault rightly asks with the CA and the token of its own pod."""
    return not config.get("disable_local_ca_jwt") and is_inside(world, mount)


def host_of(config: Mapping[str, Any]) -> str:
    """The API server's address as Vault has it."""
    return str(config.get("kubernetes_host") or "").rstrip("/")


def replayed(world: World, mount: str, config: Mapping[str, Any]) -> Attempt | None:
    """Vault's TokenReview, asked again from here; None when the reviewer's token is not at hand."""
    if world.case.onboarding.reviewer.mode is not ReviewerMode.SECRET or not is_ours(world, mount):
        return None
    reviewer = token_of(world.reviewer_secret() or {})
    store = next((each for each in world.stores() if _names_account(each, mount)), None)
    if reviewer is None or store is None or store.account is None:
        return None
    token = world.token(store.account, store.audiences).token
    ca = str(config.get("kubernetes_ca_cert") or "")
    return world.once(
        ("review", mount),
        lambda: world.network.review(host_of(config), ca, reviewer, token, store.audiences),
    )


def _names_account(store: Store, mount: str) -> bool:
    account = store.account
    return store.mount == mount and account is not None and account.namespace is not None


def works_now(world: World, mount: str) -> str:
    """Proof by what runs: what was synced just now by a login at the mount; "" if nothing was.

    A store that fails by now takes it back: the next sync will fail as well.
    """
    try:
        found = world.external_secrets()
    except Missing:
        return ""
    for body in found:
        refreshed = (body.get("status") or {}).get("refreshTime")
        if not (refreshed and is_ready(body)):
            continue
        if all(store.mount == mount and _not_failing(store) for store in world.stores_for(body)):
            age = world.case.now() - datetime.fromisoformat(refreshed).timestamp()
            if age < 2 * _HOUR:
                return f"{name_of(body)} was synced {max(age, 0) / 60:.0f} min ago"
    return ""


def _not_failing(store: Store) -> bool:
    return (store.ready or {}).get("status") != "False"
