"""From the token to the secret: KV mount, path, version, policy, and what is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from vaultprov.doctor.checks.login import kubernetes_roles, policies_of
from vaultprov.doctor.checks.remedies import onboard, patch_provider
from vaultprov.doctor.logins import within
from vaultprov.doctor.model import Confidence, Finding, Fix, Missing, NotAsked, fail, ok, warn
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, LoginFailed
from vaultprov.names import joined
from vaultprov.redact import scrub
from vaultprov.resource import VaultPort
from vaultprov.vault.acl import granted

_ABSENT = ("Secret does not exist", "cannot find secret data for key")


def path_is_mount(world: World) -> Iterable[Finding]:
    """VP-KV-003."""
    for store in world.stores():
        path = store.path
        bare = path.strip("/").removesuffix("/data").strip("/")
        mounts = _mounts(world)
        slashless = path.strip("/")
        right = slashless if mounts is not None and f"{slashless}/" in mounts else bare
        if path == right:
            yield ok(path, str(store))
            continue
        yield fail(
            str(store),
            f"path {path!r}",
            expected=f"{right!r}, the mount alone",
            cause="External Secrets adds data/ itself, so it asks for "
            f"{path}/data/... and finds nothing",
            fix=patch_provider(store, {"path": right}, "name the mount alone"),
        )


def _mounts(world: World) -> Mapping[str, Any] | None:
    try:
        return world.read("sys/mounts")
    except (Missing, Denied):
        return None


def mount_exists(world: World) -> Iterable[Finding]:
    """VP-KV-006."""
    mounts = world.read("sys/mounts") or {}
    for store in world.stores():
        if store.path.strip("/") + "/" in mounts:
            yield ok("", store.path)
            continue
        ours = world.case.onboarding.kv_mount
        yield fail(
            str(store),
            f"there is no KV mount {store.path}",
            expected=ours,
            cause="the store reads from a mount that is not there",
            fix=patch_provider(store, {"path": ours}, "name the KV mount")
            if store.path != ours and f"{ours}/" in mounts
            else onboard(world, "create the KV mount", "--bootstrap"),
        )


def version(world: World) -> Iterable[Finding]:
    """VP-KV-002."""
    mounts = world.read("sys/mounts") or {}
    for store in world.stores():
        mount = mounts.get(store.path.strip("/") + "/") or {}
        has = "v" + str((mount.get("options") or {}).get("version") or "1")
        if store.version == has:
            yield ok(has, str(store))
            continue
        yield fail(
            str(store),
            f"version {store.version}",
            expected=f"{has}, that of the mount {store.path}",
            cause="the store speaks another version of KV than the mount",
            fix=patch_provider(store, {"version": has}, "name the mount's version"),
        )


def policy_allows(world: World) -> Iterable[Finding]:
    """VP-KV-001."""
    for store, _, role in kubernetes_roles(world):
        held = policies_of(world, role)
        rules = [rule for rule in held.values() if rule is not None]
        absent = [name for name, rule in held.items() if rule is None]
        subject = f"role {store.role} of auth/{store.mount}"
        refused = [
            f"{capability} on {path}"
            for path, capability in _wanted(world, store)
            if capability not in granted(rules, path)
        ]
        if not refused:
            yield ok(", ".join(held), subject)
            continue
        told = f"; {', '.join(absent)} does not exist" if absent else ""
        yield fail(
            subject,
            f"its policies {', '.join(held)} do not give {refused[0]}{told}",
            expected="read on data/, read and list on metadata/",
            cause="the login works, and the policy does not let the workload read",
            fix=onboard(world, "write the policy and give it to the role"),
            evidence=tuple(refused),
            confidence=_by_templates(rules),
        )


def _by_templates(rules: list[Mapping[str, str]]) -> Confidence:
    """Rules with Vault's identity templates depend on who asks, which is not known here."""
    templated = any("{{" in pattern for policy in rules for pattern in policy)
    return Confidence.LOW if templated else Confidence.HIGH


def _wanted(world: World, store: Store) -> list[tuple[str, str]]:
    """Path and capability of what the store's ExternalSecrets read; without any, of its home."""
    onboarding = world.case.onboarding
    wanted: list[tuple[str, str]] = []
    for body in _using(world, store):
        wanted += [(data_path(store, key), "read") for key in keys_of(body)]
        for find in _finds(body):
            wanted.append((joined(store.path, "metadata", find, "x").replace("//", "/"), "read"))
            wanted.append((joined(store.path, "metadata", find) + "/", "list"))
    if wanted:
        return wanted
    home = f"{onboarding.env}/{onboarding.cluster}/x"
    if store.version == "v1":
        return [(joined(store.path, home), "read")]
    return [
        (joined(store.path, "data", home), "read"),
        (joined(store.path, "metadata", home), "read"),
    ]


def _using(world: World, store: Store) -> tuple[dict[str, Any], ...]:
    try:
        found = world.external_secrets()
    except Missing:
        return ()
    return tuple(body for body in found if world.store_for(body) == store)


def keys_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that an ExternalSecret asks for by name."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    keys = [(each.get("remoteRef") or {}).get("key") for each in spec.get("data") or ()]
    keys += [(each.get("extract") or {}).get("key") for each in spec.get("dataFrom") or ()]
    return tuple(str(key) for key in dict.fromkeys(keys) if key)


def _finds(body: Mapping[str, Any]) -> tuple[str, ...]:
    spec: Mapping[str, Any] = body.get("spec") or {}
    found = [each.get("find") for each in spec.get("dataFrom") or () if each.get("find")]
    return tuple(str(find.get("path") or "").strip("/") for find in found)


def data_path(store: Store, key: str) -> str:
    """What External Secrets asks Vault for (`client_get.go` buildPath)."""
    bare = key.removeprefix(f"{store.path}/")
    if store.version == "v1":
        return f"{store.path}/{bare}"
    return f"{store.path}/data/{bare.removeprefix('data/')}"


def secret_exists(world: World) -> Iterable[Finding]:
    """VP-KV-004."""
    for body in world.external_secrets():
        store = world.store_for(body)
        name = f"ExternalSecret {body['metadata']['namespace']}/{body['metadata']['name']}"
        told = next((t for t in world.events(body) if any(word in t for word in _ABSENT)), "")
        failing = any(
            c.get("type") == "Ready" and c.get("status") == "False"
            for c in (body.get("status") or {}).get("conditions") or ()
        )
        missing = _absent(world, store, body) if store is not None else ()
        if not missing and not (told and failing):
            yield ok("", name)
            continue
        keys = missing or keys_of(body)
        yield fail(
            name,
            f"Vault has no {', '.join(keys)}" if missing else scrub(told)[:200],
            expected="the secret and the property that it names",
            cause="the key was never written, was deleted, or the property is called otherwise",
            fix=Fix(
                "write it, or mend the key",
                _write_command(store, keys, fresh=bool(missing)),
            ),
            confidence=Confidence.HIGH if missing else Confidence.MEDIUM,
        )


def _write_command(store: Store | None, keys: tuple[str, ...], *, fresh: bool) -> str:
    """Of a secret that is there only the property is added: `put` would drop the others."""
    mount = store.path if store else "MOUNT"
    key = keys[0].removeprefix(f"{mount}/").removeprefix("data/") if keys else "KEY"
    verb = "put" if fresh else "patch"
    return f"vault kv {verb} {shlex.quote(f'-mount={mount}')} {shlex.quote(key)} PROPERTY=-"


def _absent(world: World, store: Store, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of an ExternalSecret that are not there: looked up with the store's own login.

    Only where logins were asked for; nothing of a secret but its metadata is read.
    """
    if not store.logs_in or store.version != "v2":
        return ()

    def missing(session: VaultPort) -> tuple[str, ...]:
        return tuple(key for key in keys_of(body) if _is_absent(session, store, key))

    try:
        return within(world, store, missing)
    except (NotAsked, LoginFailed, Denied, Missing):
        return ()


def _is_absent(session: VaultPort, store: Store, key: str) -> bool:
    path = data_path(store, key).replace(f"{store.path}/data/", f"{store.path}/metadata/", 1)
    metadata = session.read(path)
    if metadata is None:
        return True
    versions = metadata.get("versions") or {}
    newest = versions.get(str(metadata.get("current_version"))) or {}
    return bool(newest.get("deletion_time") or newest.get("destroyed"))


def missing_is_seen(world: World) -> Iterable[Finding]:
    """VP-KV-005."""
    for body in world.external_secrets():
        name = f"ExternalSecret {body['metadata']['namespace']}/{body['metadata']['name']}"
        conditions = (body.get("status") or {}).get("conditions") or ()
        deleted = [c for c in conditions if "DeletionPolicy" in str(c.get("message"))]
        if not deleted:
            yield ok("", name)
            continue
        policy = ((body.get("spec") or {}).get("target") or {}).get("deletionPolicy")
        yield warn(
            name,
            str(deleted[0].get("message")),
            expected="deletionPolicy: Retain where the secret must not vanish",
            cause=f"the source is gone, and deletionPolicy {policy} makes that look well",
            fix=Fix(
                "write the secret again, or keep the target",
                f"kubectl -n {body['metadata']['namespace']} patch externalsecret "
                f"{body['metadata']['name']} --type merge -p "
                """'{"spec":{"target":{"deletionPolicy":"Retain"}}}'""",
            ),
        )
