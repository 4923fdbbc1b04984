"""The commands that fixes are made of, in one spelling."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from vaultprov.doctor.model import Fix
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.names import joined


def onboard(world: World, text: str, *flags: str) -> Fix:
    """Most things on Vault's side are mended by onboarding again."""
    return Fix(text, " ".join(["vaultprov onboard", world.case.who, *flags]))


def patch_provider(store: Store, vault: Mapping[str, Any], text: str) -> Fix:
    """A change of the store's `spec.provider.vault`; for a store in git it is to be made there."""
    return patch(store, {"spec": {"provider": {"vault": vault}}}, text)


def patch(store: Store, change: Mapping[str, Any], text: str) -> Fix:
    """A merge patch of the store."""
    body = shlex.quote(json.dumps(change, separators=(",", ":")))
    return Fix(text, f"kubectl patch {store.resource} --type merge -p {body}")


def patch_login(store: Store, change: Mapping[str, Any], text: str) -> Fix:
    """A change of how the store logs in with its ServiceAccount."""
    method = store.methods[0]
    return patch_provider(store, {"auth": {method: change}}, text)


def set_role(store: Store, world: World, field: str, value: str, text: str) -> Fix:
    """A field of the role; a role write that leaves the selector out would empty it."""
    role = world.role(store.mount, store.role) or {}
    selector = str(role.get("bound_service_account_namespace_selector") or "")
    kept = f" bound_service_account_namespace_selector={shlex.quote(selector)}" if selector else ""
    if store.methods == ("jwt",):
        kept = " role_type=jwt"  # a write without it makes the role one for OIDC
    return Fix(text, f"vault write {role_path(store)} {field}={shlex.quote(value)}{kept}")


def role_path(store: Store) -> str:
    """For a command. Whoever may write a store chooses these names, so they are quoted."""
    return shlex.quote(joined("auth", store.mount, "role", store.role))


def config_path(mount: str) -> str:
    """For a command, quoted as well."""
    return shlex.quote(joined("auth", mount, "config"))


def manifest(*objects: Mapping[str, Any]) -> str:
    """Objects as YAML that `kubectl apply -f -` takes."""
    return "---\n".join(yaml.safe_dump(dict(each), sort_keys=False) for each in objects)
