"""Who uses what a cluster's onboarding made: what breaks, and what has to stay, when it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vaultprov.doctor.external_secrets import name_of
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, Error, Refused
from vaultprov.model import Onboarding
from vaultprov.names import Names, joined
from vaultprov.resource import Io
from vaultprov.vault.marker import Marker, find_mount, marker_of

# Auth methods with roles that give policies, and where their roles are listed.
_ROLES = {"kubernetes": "role", "jwt": "role", "oidc": "role", "approle": "role"}
_WORKERS = 12
_MANY = 8  # names that are told one by one


@dataclass(frozen=True, slots=True)
class Shared:
    """Whether the environment's things have to stay, and why, as a sentence; "" if they need not.

    twins: other auth mounts of the very same cluster, which need its accounts and stores.
    reviewed: whether one of them needs the reviewer, too; a JWT mount needs none.
    namesakes: mounts of this environment and cluster in another reviewer mode, whose roles give the
    cluster's own policy, too.
    """

    environment: str = ""
    twins: tuple[str, ...] = ()
    reviewed: bool = False
    namesakes: tuple[str, ...] = ()


def shared(onboarding: Onboarding, io: Io, cluster_uid: str | None) -> Shared:
    """Who else is there. cluster_uid: of the cluster at hand; None without its half."""
    names = Names.of(onboarding)
    ours = names.auth_mount + "/"
    others = other_mounts(onboarding, io)
    same = sorted(
        str(each.facts.get("cluster"))
        for each in others.values()
        if each.facts.get("environment") == onboarding.env
    )
    twins = _of_cluster(others, cluster_uid)
    namesakes = tuple(path.strip("/") for path, each in others.items() if is_of(onboarding, each))
    if same:
        reason = f"used by {_some(same)}, too: policies and groups of environment {onboarding.env}"
    else:
        reason = _other_users(names, io, ours)
    return Shared(reason, twins, _is_reviewed(twins, io), namesakes)


def is_of(onboarding: Onboarding, marker: Marker) -> bool:
    """Whether a marker is of this very onboarding, in another reviewer mode."""
    named = (marker.facts.get("environment"), marker.facts.get("cluster"))
    return named == (onboarding.env, onboarding.cluster)


def _is_reviewed(mounts: Iterable[str], io: Io) -> bool:
    return any(io.listing("sys/auth")[mount + "/"].get("type") == "kubernetes" for mount in mounts)


def shared_reviewer(onboarding: Onboarding, io: Io, cluster_uid: str) -> tuple[str, ...]:
    """The other auth mounts of the cluster: `auth/MOUNT`. Their reviewer may be ours."""
    others = other_mounts(onboarding, io)
    return tuple(f"auth/{mount}" for mount in _of_cluster(others, cluster_uid))


def other_mounts(onboarding: Onboarding, io: Io) -> dict[str, Marker]:
    """The markers of the auth mounts besides this onboarding's, by path with its slash."""
    ours = Names.of(onboarding).auth_mount + "/"
    return {
        path: marker_of(entry)
        for path, entry in io.listing("sys/auth").items()
        if path != ours and isinstance(entry, Mapping)
    }


def _of_cluster(mounts: Mapping[str, Marker], cluster_uid: str | None) -> tuple[str, ...]:
    return tuple(
        path.strip("/")
        for path, each in mounts.items()
        if cluster_uid and each.facts.get("cluster-uid") == cluster_uid
    )


def _other_users(names: Names, io: Io, ours: str) -> str:
    """Roles and groups of others that give the environment's policies."""
    wanted = {names.read_policy, names.retired_read_policy, names.write_policy}
    try:
        users = sorted({*_roles(io, ours, wanted), *_groups(io, names.group, wanted)})
    except Denied as error:
        return f"who else uses the environment's policies and groups is not known: {error.message}"
    return f"the environment's policies and groups are used by {_some(users)}" if users else ""


def _roles(io: Io, ours: str, wanted: set[str]) -> Iterable[str]:
    paths = []
    for path, entry in io.listing("sys/auth").items():
        kind = _ROLES.get(entry.get("type", "")) if isinstance(entry, Mapping) else None
        if kind and path != ours:
            listed = io.vault.list(joined("auth", path, kind)) or {}
            paths += [joined("auth", path, kind, str(name)) for name in listed.get("keys") or ()]
    for path, found in _read_all(io, paths):
        if wanted & _policies(found):
            yield path


def _groups(io: Io, own: str, wanted: set[str]) -> Iterable[str]:
    listed = io.vault.list("identity/group/name") or {}
    paths = [joined("identity/group/name", str(name)) for name in listed.get("keys") or ()]
    for path, found in _read_all(io, paths):
        held = _policies(found)
        name = path.rpartition("/")[2]
        if name == own and held - wanted:
            yield f"group {name}, which has other policies as well"
        elif name != own and held & wanted:
            yield f"group {name}"


def _read_all(io: Io, paths: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    with ThreadPoolExecutor(_WORKERS) as pool:
        found = list(pool.map(io.vault.read, paths))
    return [(path, each or {}) for path, each in zip(paths, found, strict=True)]


def _policies(found: Mapping[str, Any]) -> set[str]:
    held = [*(found.get("token_policies") or ()), *(found.get("policies") or ())]
    return {str(name).lower() for name in held}


def dependants(world: World) -> tuple[str, ...]:
    """What in the cluster stops working without the mount, a sentence each.

    What may not be looked at is said as such.
    """
    try:
        using = [s for s in world.all_stores() if s.mount == world.names.auth_mount]
        version = world.store_version()
        secrets = world.items(version, "ExternalSecret") if version else []
    except Error as error:
        return (f"which stores use it could not be looked at: {error.message}",)
    if not using:
        return ("no store of the cluster logs in at the mount",)
    known = {(store.kind, store.namespace, store.name) for store in using}
    hit = [body for body in secrets if _uses(body, known)]
    told = [f"{_some(sorted(map(str, using)))} cannot log in any more"]
    if hit:
        named = _some(sorted(name_of(body).removeprefix("ExternalSecret ") for body in hit))
        told.append(
            f"ExternalSecrets that are refreshed no more: {named}; the Secrets that they made stay"
        )
    return tuple(told)


def _uses(body: Mapping[str, Any], known: set[tuple[str, str | None, str]]) -> bool:
    reference = (body.get("spec") or {}).get("secretStoreRef") or {}
    kind = str(reference.get("kind") or "SecretStore")
    namespace = body["metadata"].get("namespace") if kind == "SecretStore" else None
    return (kind, namespace, str(reference.get("name"))) in known


def tokens(io: Io, mount: str) -> str:
    """How many tokens end with the mount, as a sentence."""
    path = joined("sys/leases/lookup/auth", mount, "login")
    try:
        found = io.vault.list(path + "/")
    except Denied:
        return f"how many tokens end with the mount is not known (needs sudo and list on {path}/)"
    count = len((found or {}).get("keys") or ())
    return f"{count} tokens end with the mount" if count != 1 else "1 token ends with the mount"


def other_roles(io: Io, mount: str, own: str) -> tuple[str, ...]:
    """The roles of teams and others that end with the mount, as a sentence if there are any."""
    path = joined("auth", mount, "role")
    try:
        found = [str(name) for name in (io.vault.list(path) or {}).get("keys") or ()]
    except Denied:
        return (f"which other roles end with the mount is not known (needs list on {path}/)",)
    names = [name for name in found if name != own]
    if not names:
        return ()
    stay = "their policies and groups stay (vaultprov team offboard takes a team's away before)"
    return (f"roles of others that end with the mount: {_some(names)}; {stay}",)


def check_cluster(onboarding: Onboarding, io: Io, cluster_uid: str) -> None:
    """Raises Refused if the mount is another cluster's than the one at hand."""
    entry = find_mount(io, Names.of(onboarding).auth_mount)
    belongs = marker_of(entry).facts.get("cluster-uid") if entry else None
    if belongs and belongs != cluster_uid:
        raise Refused(
            f"refused, nothing was done: auth/{Names.of(onboarding).auth_mount} belongs to a "
            f"cluster with identity {belongs}, and this context is {cluster_uid}",
            hint="check the context (kubectl config get-contexts); to take away a cluster that is "
            "no more: vaultprov offboard with --only vault",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more
