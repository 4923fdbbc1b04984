"""The objects, their one version counter, and the history that watches read.

Stored objects are never changed in place: a write stores a new object, so readers need no copies
and a watch sees each state as it was. A read-modify-write holds `lock` from the read to the write.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import takewhile

from vaultprov.devenv.kube_api.status import Object

Collection = tuple[str, str]
"""API group and plural name of a resource."""


class TooOldError(Exception):
    """The history does not reach back to the version asked for."""

    def __init__(self, wanted: int, oldest: int) -> None:
        super().__init__(f"{wanted} < {oldest}")
        self.wanted = wanted
        self.oldest = oldest


@dataclass(frozen=True)
class Event:
    """One write. `before` is None for a creation, `after` for a deletion."""

    version: int
    collection: Collection
    before: Object | None
    after: Object | None


class Store:
    """Objects by collection, namespace and name."""

    def __init__(self, history: int = 10_000) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._objects: dict[Collection, dict[tuple[str, str], Object]] = {}
        self._events: deque[Event] = deque(maxlen=history)
        self._version = 1
        self._forgotten = 0
        self._closed = False

    @property
    def version(self) -> int:
        return self._version

    @property
    def closed(self) -> bool:
        return self._closed

    def get(self, collection: Collection, namespace: str, name: str) -> Object | None:
        with self.lock:
            return self._objects.get(collection, {}).get((namespace, name))

    def items(self, collection: Collection, namespace: str = "") -> list[Object]:
        """All objects of a collection, or those of one namespace, in the order of their names."""
        with self.lock:
            stored = sorted(self._objects.get(collection, {}).items())
            return [item for (home, _), item in stored if namespace in ("", home)]

    def collections(self) -> list[Collection]:
        with self.lock:
            return list(self._objects)

    def put(self, collection: Collection, new: Object) -> Object:
        """Create or replace an object under the next version."""
        metadata = new["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        with self.lock:
            before = self._objects.get(collection, {}).get(key)
            after = self._next_version(new)
            self._objects.setdefault(collection, {})[key] = after
            self._record(Event(self._version, collection, before, after))
            return after

    def remove(self, collection: Collection, namespace: str, name: str) -> None:
        with self.lock:
            before = self._next_version(self._objects[collection].pop((namespace, name)))
            # The last state carries the version of the deletion, as etcd's watch has it.
            self._record(Event(self._version, collection, before, None))

    def events_after(self, version: int, timeout: float | None = None) -> list[Event]:
        """The writes since a version, oldest first; waits for one, and is empty on timeout."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._version <= version and not self._closed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            if version < self._forgotten:
                raise TooOldError(version, self._forgotten)
            newest_first = takewhile(lambda e: e.version > version, reversed(self._events))
            return list(newest_first)[::-1]

    def close(self) -> None:
        """Wake everybody who waits, for the last time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next_version(self, item: Object) -> Object:
        self._version += 1
        metadata = {**item["metadata"], "resourceVersion": str(self._version)}
        return {**item, "metadata": metadata}

    def _record(self, event: Event) -> None:
        if len(self._events) == self._events.maxlen:
            self._forgotten = self._events[0].version
        self._events.append(event)
        self._changed.notify_all()
