"""Watches: the history of the store as ADDED, MODIFIED and DELETED events of one resource.

With a selector an object that starts or ceases to match is ADDED or DELETED for the watcher,
whatever happened to it in the store.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from vaultprov.devenv.kube_api.selectors import Selector
from vaultprov.devenv.kube_api.status import ApiError, Object, expired
from vaultprov.devenv.kube_api.store import Collection, Event, Store, TooOldError


class Scope(NamedTuple):
    """What is watched."""

    collection: Collection
    namespace: str
    matches: Selector

    def includes(self, item: Object | None) -> bool:
        if item is None:
            return False
        home = item["metadata"].get("namespace", "")
        return self.namespace in ("", home) and self.matches(item)


def start(store: Store, scope: Scope, since: str) -> tuple[int, list[Object]]:
    """Where a watch begins, and the objects that it reports as ADDED first.

    Without a resourceVersion, or with "0", it begins with the present state.
    """
    if since not in ("", "0"):
        try:
            return int(since), []
        except ValueError:
            why = f'strconv.ParseUint: parsing "{since}": invalid syntax'
            message = f'resourceVersion: Invalid value: "{since}": {why}'
            raise ApiError(500, "", message) from None
    with store.lock:
        items = store.items(scope.collection, scope.namespace)
        return store.version, [item for item in items if scope.matches(item)]


def follow(
    store: Store, scope: Scope, version: int, seconds: float
) -> Iterator[tuple[str, Object]]:
    """Events after a version until the time is up or the store closes."""
    deadline = time.monotonic() + seconds
    while not store.closed and (left := deadline - time.monotonic()) > 0:
        try:
            events = store.events_after(version, left)
        except TooOldError as error:
            yield "ERROR", expired(error.wanted, error.oldest).body()
            return
        for event in events:
            version = event.version
            if event.collection == scope.collection and (seen := _seen(event, scope)):
                yield seen


def _seen(event: Event, scope: Scope) -> tuple[str, Object] | None:
    was, now = scope.includes(event.before), scope.includes(event.after)
    if now and event.after is not None:
        return ("MODIFIED" if was else "ADDED"), event.after
    if was and event.before is not None:
        return "DELETED", _last_state(event.before, event.version)
    return None


def _last_state(item: Object, version: int) -> Object:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}}
