"""From the token to the secret: KV mount, path, version, policy, and what is there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vaultprov.doctor.checks.login import policies_of, role_of
from vaultprov.doctor.checks.remedies import onboard, patch_provider
from vaultprov.doctor.external_secrets import Ask, asks, data_path, is_ready, metadata_path, name_of
from vaultprov.doctor.logins import within
from vaultprov.doctor.model import (
    Confidence,
    Finding,
    Fix,
    Missing,
    NotAsked,
    Status,
    fail,
    ok,
    warn,
)
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
        if not path:
            yield Finding(Status.SKIPPED, str(store), "every key names its mount")
            continue
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
    for store in world.known_stores():
        yield from _doubled(world, store)


def _doubled(world: World, store: Store) -> Iterable[Finding]:
    """Keys that bring a `data/` of their own, as the API's paths do and the client's do not."""
    for body, asked in _asks_of(world, store):
        if asked.find or store.version != "v2" or "/data/data/" not in data_path(store, asked.text):
            continue
        metadata = body["metadata"]
        right = asked.text.removeprefix("data/")
        patch = [{"op": "replace", "path": asked.field, "value": right}]
        yield fail(
            name_of(body),
            f"key {asked.text!r}",
            expected=right,
            cause="External Secrets adds data/ itself, so it asks for "
            f"{data_path(store, asked.text)} and finds nothing",
            fix=Fix(
                "name the key without data/",
                f"kubectl -n {metadata['namespace']} patch externalsecret {metadata['name']} "
                f"--type json -p {shlex.quote(json.dumps(patch))}",
            ),
            confidence=Confidence.MEDIUM,  # there may be a folder of that name
        )


def _mounts(world: World) -> Mapping[str, Any] | None:
    try:
        return world.read("sys/mounts")
    except (Missing, Denied):
        return None


def _with_path(world: World) -> Iterable[Store]:
    return (store for store in world.stores() if store.path)


def mount_exists(world: World) -> Iterable[Finding]:
    """VP-KV-006."""
    mounts = world.read("sys/mounts") or {}
    for store in _with_path(world):
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
    for store in _with_path(world):
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
    for store in _readers(world):
        held = policies_of(world, role_of(world, store))
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


def _readers(world: World) -> tuple[Store, ...]:
    """The stores that log in, each role and KV path once."""
    found = {(s.methods, s.mount, s.role, s.path, s.version): s for s in reversed(world.stores())}
    return tuple(store for store in found.values() if store.logs_in)


def _by_templates(rules: list[Mapping[str, str]]) -> Confidence:
    """Rules with Vault's identity templates depend on who asks, which is not known here."""
    templated = any("{{" in pattern for policy in rules for pattern in policy)
    return Confidence.LOW if templated else Confidence.HIGH


def _wanted(world: World, store: Store) -> list[tuple[str, str]]:
    """Path and capability of what the store's ExternalSecrets read; without any, of its home."""
    wanted = []
    for _, asked in _asks_of(world, store):
        if not asked.find:
            wanted.append((data_path(store, asked.text), "read"))
        elif store.path:
            metadata = joined(store.path, "metadata", asked.text).rstrip("/")
            wanted += [(f"{metadata}/x", "read"), (f"{metadata}/", "list")]
    if wanted or store.role != world.names.role or not store.path:
        return wanted  # of other roles we know no home
    onboarding = world.case.onboarding
    home = f"{onboarding.env}/{onboarding.cluster}/x"
    paths = {data_path(store, home), metadata_path(store, home)}
    return [(path, "read") for path in sorted(paths)]


def _asks_of(world: World, store: Store) -> Iterator[tuple[Mapping[str, Any], Ask]]:
    try:
        found = world.external_secrets()
    except Missing:
        return
    for body in found:
        for asked in asks(body):
            if asked.is_of(store, body["metadata"].get("namespace")):
                yield body, asked


def secret_exists(world: World) -> Iterable[Finding]:
    """VP-KV-004."""
    for body in world.external_secrets():
        told = next((t for t in world.events(body) if any(word in t for word in _ABSENT)), "")
        failing = is_ready(body) is False
        absent = [
            (store, keys)
            for store in world.stores_for(body)
            if (keys := _absent(world, store, body))
        ]
        if not absent and not (told and failing):
            yield _no_trace(world, body)
            continue
        store, keys = absent[0] if absent else _first_asked(world, body)
        yield fail(
            name_of(body),
            f"Vault has no {', '.join(keys)}" if absent else scrub(told)[:200],
            expected="the secret and the property that it names",
            cause="the key was never written, was deleted, or the property is called otherwise",
            fix=Fix(
                "write it, or mend the key",
                _write_command(store, keys, fresh=bool(absent)),
            ),
            confidence=Confidence.HIGH if absent else Confidence.MEDIUM,
        )


def _no_trace(world: World, body: Mapping[str, Any]) -> Finding:
    """Nothing says that a secret is missing; whether it is there shows by a sync or a login."""
    if is_ready(body):
        return ok("synced", name_of(body))
    if world.case.probe_login:
        return ok("", name_of(body))
    return Finding(Status.SKIPPED, name_of(body), "needs --probe-login")


def _first_asked(world: World, body: Mapping[str, Any]) -> tuple[Store, tuple[str, ...]]:
    store = world.stores_for(body)[0]
    return store, _keys(store, body)


def _keys(store: Store, body: Mapping[str, Any]) -> tuple[str, ...]:
    namespace = body["metadata"].get("namespace")
    keys = [a.text for a in asks(body) if not a.find and a.is_of(store, namespace)]
    return tuple(dict.fromkeys(keys))


def _write_command(store: Store, keys: tuple[str, ...], *, fresh: bool) -> str:
    """Of a secret that is there only the property is added: `put` would drop the others."""
    verb = "put" if fresh else "patch"
    path = data_path(store, keys[0]) if keys else joined(store.path, "data/KEY")
    mount, _, key = path.partition("/data/") if store.version == "v2" else path.partition("/")
    return f"vault kv {verb} {shlex.quote(f'-mount={mount}')} {shlex.quote(key)} PROPERTY=-"


def _absent(world: World, store: Store, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of an ExternalSecret that are not there: looked up with the store's own login.

    Only where logins were asked for; nothing of a secret but its metadata is read.
    """
    if not store.logs_in or store.version != "v2":
        return ()

    def missing(session: VaultPort) -> tuple[str, ...]:
        return tuple(key for key in _keys(store, body) if _is_absent(session, store, key))

    try:
        return within(world, store, missing)
    except (NotAsked, LoginFailed, Denied, Missing):
        return ()


def _is_absent(session: VaultPort, store: Store, key: str) -> bool:
    metadata = session.read(metadata_path(store, key))
    if metadata is None:
        return True
    versions = metadata.get("versions") or {}
    newest = versions.get(str(metadata.get("current_version"))) or {}
    return bool(newest.get("deletion_time") or newest.get("destroyed"))


def missing_is_seen(world: World) -> Iterable[Finding]:
    """VP-KV-005."""
    for body in world.external_secrets():
        name = name_of(body)
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
