"""The verbs on stored objects: create, update, patch, apply and delete with all their conditions.

One write is one pipeline: change the live object, keep what the client may not change, default,
validate, account for the fields, store if anything differs. It runs under the store's lock, so
that its read and its write are one step.
"""

import copy
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from vaultprov.devenv.kube_api import apply, managed, strategy
from vaultprov.devenv.kube_api.fields import schema_of
from vaultprov.devenv.kube_api.managed import Manager, Managers
from vaultprov.devenv.kube_api.resources import CRDS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from vaultprov.devenv.kube_api.status import (
    ApiError,
    Object,
    already_exists,
    conflict,
    invalid,
    invalid_value,
    not_found,
    quoted,
)
from vaultprov.devenv.kube_api.store import Store

# Without 0, 1, 3 and the vowels, as generateName has it, so that no words come out.
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_KEPT = (
    *("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    "generation",
)
_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
_DELETED_IS_RETURNED = (NAMESPACES, SERVICE_ACCOUNTS)


@dataclass(frozen=True)
class Target:
    """The object that a request is about."""

    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Writer:
    """On whose behalf a write is done, and whether it is kept."""

    manager: str
    dry_run: bool = False


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """The write side of the store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, target: Target) -> Object:
        found = self.store.get(target.resource.collection, target.namespace, target.name)
        if found is None:
            raise not_found(*target.resource.collection, target.name)
        return found

    def create(self, target: Target, body: Object, writer: Writer) -> Object:
        resource = target.resource
        metadata = body.get("metadata", {})
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(secrets.choice(_SUFFIX) for _ in range(5))
            body = {**body, "metadata": {**metadata, "name": metadata["generateName"] + suffix}}
        if resource.has_status:
            body = {key: value for key, value in body.items() if key != "status"}
        with self.store.lock:
            new = strategy.prepare(resource, self._fresh(target, body))
            schema = schema_of(resource)
            changes = managed.track({}, new, schema, without=_unowned(target))
            manager = Manager.updater(writer.manager, resource.api_version)
            owned = managed.owned_after_update(
                {}, changes, manager, resource.api_version, timestamp()
            )
            return self._insert(target, new, owned, writer)

    def update(self, target: Target, change: Callable[[Object], Object], writer: Writer) -> Object:
        """PUT and the plain patches: `change` makes the wanted object from a copy of the live."""
        resource = target.resource
        with self.store.lock:
            live = self.get(target)
            wanted = change(resource.stamped(copy.deepcopy(live)))
            new = self._replacement(target, live, wanted)
            changes = managed.track(live, new, schema_of(resource), without=_unowned(target))
            manager = Manager.updater(writer.manager, resource.api_version, target.subresource)
            owned = managed.owned_after_update(
                managed.read(live), changes, manager, resource.api_version, timestamp()
            )
            return self._replace(target, live, new, owned, writer)

    def apply(
        self, target: Target, config: Object, writer: Writer, *, force: bool
    ) -> tuple[Object, bool]:
        """Server-side apply; also tells whether it created the object."""
        resource = target.resource
        with self.store.lock:
            live = self.store.get(resource.collection, target.namespace, target.name)
            if live is None and target.subresource:
                raise not_found(*resource.collection, target.name)
            _check_applied_identity(target, live, config.get("metadata", {}))
            api_version = resource.api_version
            merged, owned = apply.apply(
                live or {"metadata": {}},
                _without_other_half(target, config),
                Manager.applier(writer.manager, target.subresource),
                schema_of(resource),
                api_version=api_version,
                now=timestamp(),
                force=force,
            )
            if live is None:
                new = strategy.prepare(resource, self._fresh(target, merged))
                return self._insert(target, new, owned, writer), True
            new = self._replacement(target, live, merged)
            return self._replace(target, live, new, owned, writer), False

    def delete(self, target: Target, uid: str, writer: Writer) -> Object:
        """Delete an object, or mark it while it has finalizers; returns what the API answers."""
        resource = target.resource
        with self.store.lock:
            live = self.get(target)
            metadata = live["metadata"]
            if uid and uid != metadata["uid"]:
                why = (
                    f"the UID in the precondition ({uid}) does not match the UID in record"
                    f" ({metadata['uid']}). The object might have been deleted and then recreated"
                )
                raise conflict(resource.group, resource.kind, target.name, why)
            if metadata.get("finalizers"):
                return resource.stamped(self._mark_deleted(resource, live, writer))
            if not writer.dry_run:
                self._remove(target)
        if resource in _DELETED_IS_RETURNED:
            return resource.stamped(_terminating(live) if resource == NAMESPACES else live)
        details = {"name": target.name, "group": resource.group, "kind": resource.plural}
        details = {key: value for key, value in details.items() if value}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details | {"uid": metadata["uid"]},
        }

    # --- steps ------------------------------------------------------------------------------------

    def _fresh(self, target: Target, body: Object) -> Object:
        """A new object: the client's content under the server's own metadata."""
        metadata = {
            key: value
            for key, value in body.get("metadata", {}).items()
            if key not in (*_KEPT, "resourceVersion", "managedFields", "selfLink")
        }
        if target.name:
            metadata["name"] = target.name
        if target.namespace:
            metadata["namespace"] = target.namespace
        metadata.setdefault("name", "")
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if target.resource.counts_changes:
            metadata["generation"] = 1
        content = {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}
        return {**content, "metadata": metadata}

    def _insert(self, target: Target, new: Object, owned: Managers, writer: Writer) -> Object:
        resource = target.resource
        name = new["metadata"]["name"]
        if target.namespace and not self.store.get(("", "namespaces"), "", target.namespace):
            raise not_found("", "namespaces", target.namespace)
        if causes := strategy.validate(resource, new, None):
            raise invalid(resource.group, resource.kind, name, causes)
        if self.store.get(resource.collection, target.namespace, name):
            raise already_exists(*resource.collection, name)
        new = _with_owners(new, owned)
        return new if writer.dry_run else self.store.put(resource.collection, new)

    def _replacement(self, target: Target, live: Object, wanted: Object) -> Object:
        """What the client wants, with what it may not change kept as it is."""
        resource = target.resource
        metadata = wanted.get("metadata", {})
        _check_preconditions(target, live, metadata)
        if target.subresource == "status":
            return {**live, "status": wanted.get("status", {})}
        old = live["metadata"]
        own = {k: v for k, v in metadata.items() if k not in (*_KEPT, "managedFields")}
        kept = {key: old[key] for key in (*_KEPT, "name", "namespace") if key in old}
        new = {k: v for k, v in wanted.items() if k not in ("apiVersion", "kind")}
        if resource.has_status:
            new.pop("status", None)
            if "status" in live:
                new["status"] = live["status"]
        new["metadata"] = {**own, **kept, "resourceVersion": old["resourceVersion"]}
        return _counted(strategy.prepare(resource, new), live)

    def _replace(
        self, target: Target, live: Object, new: Object, owned: Managers, writer: Writer
    ) -> Object:
        resource = target.resource
        if causes := strategy.validate(resource, new, live):
            raise invalid(resource.group, resource.kind, target.name, causes)
        new = _with_owners(new, owned)
        if writer.dry_run or new == live:
            return new
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._remove(target)
            return new
        return self.store.put(resource.collection, new)

    def _mark_deleted(self, resource: Resource, live: Object, writer: Writer) -> Object:
        if "deletionTimestamp" in live["metadata"]:
            return live
        mark = {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
        marked = {**live, "metadata": {**live["metadata"], **mark}}
        return marked if writer.dry_run else self.store.put(resource.collection, marked)

    def _remove(self, target: Target) -> None:
        """Remove an object; a namespace and a definition take their contents with them."""
        collection = target.resource.collection
        if target.resource == NAMESPACES:
            for content in self.store.collections():
                for item in self.store.items(content, target.name):
                    self.store.remove(content, target.name, item["metadata"]["name"])
        elif collection == CRDS:
            spec = self.get(target)["spec"]
            content = (spec["group"], spec["names"]["plural"])
            for item in self.store.items(content):
                metadata = item["metadata"]
                self.store.remove(content, metadata.get("namespace", ""), metadata["name"])
        self.store.remove(collection, target.namespace, target.name)


def _counted(new: Object, live: Object) -> Object:
    """With the next generation, if more than the metadata differs."""
    generation = live["metadata"].get("generation")
    if generation is None or {**new, "metadata": {}} == {**live, "metadata": {}}:
        return new
    return {**new, "metadata": {**new["metadata"], "generation": generation + 1}}


def _check_preconditions(target: Target, live: Object, metadata: Object) -> None:
    """A write may name the version and the uid that it means."""
    resource = target.resource
    old = live["metadata"]
    version = metadata.get("resourceVersion")
    if version and version != old["resourceVersion"]:
        raise conflict(*resource.collection, target.name, _MODIFIED)
    if (uid := metadata.get("uid")) and uid != old["uid"]:
        path = "/".join(filter(None, (resource.plural, target.namespace, target.name)))
        why = (
            f"StorageError: invalid object, Code: 4, Key: /registry/{path}, ResourceVersion: 0,"
            f" AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object"
            f" meta: {old['uid']}"
        )
        raise conflict(*resource.collection, target.name, why)


def _check_applied_identity(target: Target, live: Object | None, metadata: Object) -> None:
    """A uid in an applied configuration says which object is meant, and that it exists."""
    resource, uid = target.resource, metadata.get("uid")
    if uid and live is None:
        why = (
            f"uid mismatch: the provided object specified uid {uid}, and no existing object was"
            " found"
        )
        raise conflict(*resource.collection, target.name, why)
    if uid and live and uid != live["metadata"]["uid"]:
        cause = invalid_value("metadata.uid", quoted(uid), "field is immutable")
        raise invalid(resource.group, resource.kind, target.name, [cause])
    if live:
        _check_preconditions(target, live, metadata)


def require_version(target: Target, body: Object) -> None:
    """Custom resources and their definitions cannot be replaced blindly."""
    blind = not (target.resource.custom or target.resource.collection == CRDS)
    if blind or body.get("metadata", {}).get("resourceVersion"):
        return
    cause = invalid_value("metadata.resourceVersion", "0x0", "must be specified for an update")
    raise invalid(target.resource.group, target.resource.kind, target.name, [cause])


def _unowned(target: Target) -> str:
    """The half of the object that the other endpoint writes, and so owns."""
    return "status" if target.resource.has_status and not target.subresource else ""


def _without_other_half(target: Target, config: Object) -> Object:
    if target.subresource == "status":
        return {"metadata": {}, "status": config.get("status", {})}
    return {key: value for key, value in config.items() if key != _unowned(target)}


def _with_owners(item: Object, owned: Managers) -> Object:
    metadata = {k: v for k, v in item["metadata"].items() if k != "managedFields"}
    if listed := managed.written(owned):
        metadata["managedFields"] = listed
    return {**item, "metadata": metadata}


def _terminating(namespace: Object) -> Object:
    metadata = {**namespace["metadata"], "deletionTimestamp": timestamp()}
    return {**namespace, "metadata": metadata, "status": {"phase": "Terminating"}}
