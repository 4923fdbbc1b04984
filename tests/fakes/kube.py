"""A KubePort in memory: get, server-side apply, delete, watches, tokens and rights.

`tests/contract` holds it to the embedded API and to a real control plane. `FakeHands` is what
people do to the same objects with kubectl.
"""

from __future__ import annotations

import base64
import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.hands import Object
from vaultprov.errors import Denied, NotConverged, Rejected, Unreachable
from vaultprov.kube.manifest import FIELD_MANAGER, plural
from vaultprov.kube.objects import ACCOUNT_ANNOTATION, TOKEN_SECRET_TYPE
from vaultprov.redact import Secret
from vaultprov.resource import Fields, GrantedToken, KubeRight

_SERVED = ("v1", "apps/v1", "rbac.authorization.k8s.io/v1")
_KEY_ID = "the-only-one"
_API_AUDIENCE = "https://kubernetes.default.svc"
_SHORTEST_TOKEN = 600  # seconds
_FOREVER = 10 * 365 * 86400  # seconds
_Identity = tuple[str, str, str, str]
_Path = tuple[str, ...]


@dataclass
class _Stored:
    """An object, and who owns which of its leaves; lists are leaves, as our manifests use them."""

    body: Object
    owners: dict[_Path, set[str]] = field(default_factory=dict)

    def set(self, path: _Path, value: Any, manager: str, *, share: bool) -> None:
        """Sets a leaf; with `share` those who already want the same value keep owning it."""
        parent = self._parent(path)
        same = path[-1] in parent and parent[path[-1]] == value
        parent[path[-1]] = value
        owners = self.owners.setdefault(path, set())
        if not (share and same):
            owners.clear()
        owners.add(manager)

    def drop(self, path: _Path) -> None:
        self._parent(path).pop(path[-1], None)
        self.owners.pop(path, None)

    def release(self, paths: Iterable[_Path], manager: str) -> None:
        """What a manager applied before and does not any more goes, unless somebody shares it."""
        for path in paths:
            self.owners[path].discard(manager)
            if not self.owners[path]:
                self.drop(path)

    def _parent(self, path: _Path) -> Object:
        place = self.body
        for name in path[:-1]:
            place = place.setdefault(name, {})
        return place

    def shown(self) -> Object:
        managers = sorted(set().union(*self.owners.values()) if self.owners else set())
        live = copy.deepcopy(self.body)
        live["metadata"]["managedFields"] = [{"manager": name} for name in managers]
        return live


@dataclass
class Cluster:
    """The state behind all ports of one fake cluster.

    fills_tokens: whether the token controller runs. max_seconds: the longest token it grants.
    """

    fills_tokens: bool = True
    max_seconds: int = _FOREVER
    unreachable: bool = False
    objects: dict[_Identity, _Stored] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        for name in ("default", "kube-system"):
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            with self.changed:
                self.change(manifest, "kube-apiserver", share=False)

    def find(self, manifest: Fields) -> _Stored | None:
        return self.objects.get(_identity(manifest))

    def change(self, manifest: Fields, manager: str, *, share: bool) -> _Stored:
        """Sets every leaf of the manifest, making the object where it is missing."""
        leaves = dict(_leaves(_own(manifest)))
        stored = self.find(manifest)
        namespace = manifest["metadata"].get("namespace")
        if stored is None:
            if namespace and ("v1", "Namespace", "", namespace) not in self.objects:
                raise Rejected(f'namespaces "{namespace}" not found')
            stored = self.objects[_identity(manifest)] = _Stored(_new(manifest))
        else:
            _check_immutable(stored.body, leaves)
        for path, value in leaves.items():
            stored.set(path, copy.deepcopy(value), manager, share=share)
        if share:
            mine = [path for path, owners in stored.owners.items() if manager in owners]
            stored.release([path for path in mine if path not in leaves], manager)
        self._controllers(stored, _identity(manifest))
        self.changed.notify_all()
        return stored

    def _controllers(self, stored: _Stored, identity: _Identity) -> None:
        """The token controller: fills a Secret, or removes one whose ServiceAccount is missing."""
        if stored.body.get("type") != TOKEN_SECRET_TYPE or not self.fills_tokens:
            return
        annotations = stored.body["metadata"].get("annotations") or {}
        namespace, name = stored.body["metadata"]["namespace"], annotations.get(ACCOUNT_ANNOTATION)
        account = self.objects.get(("v1", "ServiceAccount", namespace, str(name)))
        if account is None:
            del self.objects[identity]
        elif "token" not in (stored.body.get("data") or {}):
            token = _jwt(account.body, (), None).encode()
            encoded = base64.b64encode(token).decode()
            stored.set(("data", "token"), encoded, "kube-controller-manager", share=False)

    def remove(self, manifest: Fields) -> None:
        gone = _identity(manifest)
        self.objects.pop(gone, None)
        if gone[1] == "Namespace":
            self.objects = {key: kept for key, kept in self.objects.items() if key[2] != gone[3]}
        self.changed.notify_all()


class FakeKube:
    """A port of one user; `rights` None is an administrator's."""

    def __init__(
        self,
        cluster: Cluster | None = None,
        rights: frozenset[KubeRight] | None = None,
        *,
        valid: bool = True,
    ) -> None:
        self.cluster = cluster or Cluster()
        self.rights, self.valid = rights, valid
        self.server, self.context = "memory://cluster", "smaug"

    def limited(self, *rights: KubeRight) -> FakeKube:
        """A port for somebody with these rights."""
        return FakeKube(self.cluster, frozenset(rights))

    def get(self, manifest: Fields) -> dict[str, Any] | None:
        with self.cluster.changed:
            self._check("get", manifest)
            stored = self.cluster.find(manifest)
            return stored.shown() if stored else None

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        right = KubeRight("list", version.rpartition("/")[0], plural(kind), namespace)
        with self.cluster.changed:
            self._check_right(right)
            if version not in _SERVED:
                return None
            wanted = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
            found = [each.shown() for each in self.cluster.objects.values()]
        return [
            body
            for body in found
            if (body["apiVersion"], body["kind"]) == (version, kind)
            and namespace in (None, body["metadata"].get("namespace"))
            and wanted.items() <= (body["metadata"].get("labels") or {}).items()
        ]

    def versions(self, group: str) -> tuple[str, ...]:
        self._check_serving()
        named = (served.partition("/") for served in _SERVED)
        return tuple(version for name, _, version in named if name == group)

    def create(self, manifest: Fields) -> dict[str, Any]:
        with self.cluster.changed:
            self._check("create", manifest)
            if self.cluster.find(manifest) is not None:
                raise Rejected(f"{manifest['kind']} already exists")
            return self.cluster.change(manifest, FIELD_MANAGER, share=False).shown()

    def annotate(self, manifest: Fields, annotations: Mapping[str, str]) -> None:
        with self.cluster.changed:
            self._check("patch", manifest)
            if self.cluster.find(manifest) is None:
                raise Rejected(f"{manifest['kind']} not found")
            metadata = {**manifest["metadata"], "annotations": dict(annotations)}
            self.cluster.change({**manifest, "metadata": metadata}, FIELD_MANAGER, share=False)

    def signing_keys(self) -> list[dict[str, Any]]:
        return [{"kid": _KEY_ID, "kty": "RSA", "n": "w" * 342, "e": "AQAB"}]

    def token_issuer(self) -> str:
        return _API_AUDIENCE

    def apply(self, manifest: Fields) -> dict[str, Any]:
        manifest = json.loads(json.dumps(manifest))
        with self.cluster.changed:
            self._check("patch", manifest)
            if self.cluster.find(manifest) is None:
                self._check("create", manifest)
            self.cluster.writes.append(("apply", str(_identity(manifest))))
            return self.cluster.change(manifest, FIELD_MANAGER, share=True).shown()

    def delete(self, manifest: Fields) -> None:
        with self.cluster.changed:
            self._check("delete", manifest)
            self.cluster.writes.append(("delete", str(_identity(manifest))))
            self.cluster.remove(manifest)

    def wait(
        self, manifest: Fields, ready: Callable[[dict[str, Any]], bool], timeout: float
    ) -> dict[str, Any]:
        def live() -> dict[str, Any] | None:
            stored = self.cluster.find(manifest)
            shown = stored.shown() if stored else None
            return shown if shown is not None and ready(shown) else None

        with self.cluster.changed:
            self._check("list", manifest)
            self._check("watch", manifest)
            found = self.cluster.changed.wait_for(live, timeout)
        if found is None:
            raise NotConverged(f"{manifest['kind']} did not become ready within {timeout:g} s")
        return found

    def request_token(
        self, namespace: str, name: str, audiences: tuple[str, ...], seconds: int
    ) -> GrantedToken:
        right = KubeRight("create", "", "serviceaccounts/token", namespace, name)
        with self.cluster.changed:
            self._check_right(right)
            account = self.cluster.objects.get(("v1", "ServiceAccount", namespace, name))
            if account is None:
                raise Rejected(f"there is no ServiceAccount {namespace}/{name}")
            if seconds < _SHORTEST_TOKEN:
                raise Rejected("may not specify a duration less than 10 minutes")
            ends = int(time.time()) + min(seconds, self.cluster.max_seconds)
            return GrantedToken(Secret(_jwt(account.body, audiences, ends)), float(ends))

    def allowed(self, right: KubeRight) -> bool:
        self._check_serving()
        return self.rights is None or any(_covers(held, right) for held in self.rights)

    def close(self) -> None:
        """There are no connections."""

    def _check(self, verb: str, manifest: Fields) -> None:
        metadata = manifest["metadata"]
        group = str(manifest["apiVersion"]).rpartition("/")[0]
        name = None if verb in ("create", "list", "watch") else metadata["name"]
        resource = plural(str(manifest["kind"]))
        self._check_right(KubeRight(verb, group, resource, metadata.get("namespace"), name))

    def _check_right(self, right: KubeRight) -> None:
        if not self.allowed(right):
            raise Denied(f"cluster smaug: not allowed to {right}")

    def _check_serving(self) -> None:
        if self.cluster.unreachable:
            raise Unreachable("cluster smaug is unreachable")
        if not self.valid:
            raise Denied("cluster smaug: the credentials are not valid")


@dataclass
class FakeHands:
    """Somebody with kubectl at a fake cluster."""

    cluster: Cluster

    def create(self, manifest: Fields) -> None:
        with self.cluster.changed:
            assert self.cluster.find(manifest) is None, "it exists"
            self.cluster.change(manifest, "kubectl-create", share=False)

    def patch(self, manifest: Fields, patch: Fields) -> None:
        with self.cluster.changed:
            stored = self.cluster.find(manifest)
            assert stored is not None, "there is nothing to patch"
            for path in [path for path, value in _leaves(patch) if value is None]:
                stored.drop(path)
            kept = _pruned(patch)
            identity = {name: manifest[name] for name in ("apiVersion", "kind")}
            metadata = {**manifest["metadata"], "labels": {}, "annotations": {}}
            metadata |= kept.get("metadata", {})
            self.cluster.change(
                {**identity, **kept, "metadata": metadata}, "kubectl-edit", share=False
            )

    def delete(self, manifest: Fields) -> None:
        with self.cluster.changed:
            self.cluster.remove(manifest)

    def live(self, manifest: Fields) -> Object | None:
        with self.cluster.changed:
            stored = self.cluster.find(manifest)
            return stored.shown() if stored else None


def _identity(manifest: Fields) -> _Identity:
    metadata = manifest["metadata"]
    where = metadata.get("namespace", "")
    return str(manifest["apiVersion"]), str(manifest["kind"]), where, metadata["name"]


def _own(manifest: Fields) -> Object:
    """What of a manifest has owners: everything but its identity."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k in ("labels", "annotations")}
    rest = {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": metadata}


def _new(manifest: Fields) -> Object:
    metadata = {k: v for k, v in manifest["metadata"].items() if k in ("name", "namespace")}
    metadata |= {"uid": str(uuid.uuid4())}
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": metadata,
    }


def _leaves(value: Any, path: _Path = ()) -> Iterable[tuple[_Path, Any]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _leaves(member, (*path, name))
    else:
        yield path, value


def _pruned(patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    return {name: _pruned(member) for name, member in patch.items() if member is not None}


def _check_immutable(body: Object, leaves: Mapping[_Path, Any]) -> None:
    for path, value in leaves.items():
        now = body
        for name in path:
            now = now.get(name, {})
        fixed = path[0] == "roleRef" or (path == ("type",) and body["kind"] == "Secret")
        if fixed and now != value:
            raise Rejected(f"{body['kind']} is invalid: {path[0]}: field is immutable")


def _covers(held: KubeRight, asked: KubeRight) -> bool:
    same = (held.verb, held.group, held.resource) == (asked.verb, asked.group, asked.resource)
    place = held.namespace is None or held.namespace == asked.namespace
    return same and place and (held.name is None or held.name == asked.name)


def _jwt(account: Object, audiences: tuple[str, ...], ends: int | None) -> str:
    metadata = account["metadata"]
    said: dict[str, Any] = {
        "iss": _API_AUDIENCE,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        "jti": str(uuid.uuid4()),
    }
    if ends is not None:
        said |= {"exp": ends, "aud": list(audiences or (_API_AUDIENCE,))}
    parts = ({"alg": "none", "kid": _KEY_ID}, said)
    encoded = (base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    return ".".join([*encoded, "fake-signature"])
