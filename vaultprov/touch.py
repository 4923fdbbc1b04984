"""Touching a store: it is looked at at once, however long External Secrets would have waited.

Any change of its metadata enqueues it (external-secrets `clustersecretstore_controller.go`), which
is gentler than restarting the operand. A condition that stays the same is not written again, so the
Event of the look counts, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.resource import Io
from vaultprov.verify import Check

ANNOTATION = "vaultprov/touched"
_GROUP = "external-secrets.io"
_POLL = 0.3  # seconds between two looks
_AGAIN = 10.0  # seconds for a second look; one that finds the same may leave no trace at all
# The Ready condition, and every Event about the store with its version.
_State = tuple[tuple[str, str, str], frozenset[tuple[str, str]]]


def touched(name: str, io: Io, timeout: float) -> Check:
    """Touches the store [NAMESPACE/]NAME and waits until its status is newer (seconds).

    Raises ConfigError if there is no such store.
    """
    namespace, _, bare = name.rpartition("/")
    return ready(_find(bare, namespace, io), io, timeout, anew=True)


def ready(manifest: Mapping[str, Any], io: Io, timeout: float, *, anew: bool) -> Check:
    """Whether a store is Ready. anew: a status of before this call does not count.

    Without it the store is touched only if it is not Ready. timeout: seconds for one look.
    """
    metadata = manifest["metadata"]
    name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    title = f"{manifest['kind']} {name} is Ready"
    before = _state(manifest, io)
    if before[0][0] == "True" and not anew:
        return Check(title, ok=True, detail=f"{before[0][1]}; not asked again")
    title += ", as of now"
    condition = _looked_at(manifest, io, timeout, before)
    if condition is not None and condition[0] != "True":
        # A look that was under way, or that did not see yet what was written with the store
        # (External Secrets reads through a cache), is not the last word: the second one is.
        condition = _looked_at(manifest, io, _AGAIN, _state(manifest, io)) or condition
    if condition is None:
        told = f"External Secrets did not look at it within {timeout:.0f} s"
        hint = "see whether the operand runs"
        return Check(title, ok=False, detail=told, hint=hint, wrote=True)
    well = condition[0] == "True"
    hint = "" if well else "vaultprov doctor finds the cause"
    return Check(title, well, condition[1], hint, wrote=True)


def _looked_at(
    manifest: Mapping[str, Any], io: Io, timeout: float, before: _State
) -> tuple[str, str, str] | None:
    """Touches the store; its condition once that is not as `before`, None if it stays so."""
    now = datetime.fromtimestamp(io.now(), UTC).isoformat(timespec="milliseconds")
    io.kube.annotate(manifest, {ANNOTATION: now})
    deadline = time.monotonic() + timeout
    while (state := _state(manifest, io)) == before or not state[0][0]:
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL)
    return state[0]


def _find(name: str, namespace: str, io: Io) -> dict[str, Any]:
    kind = "SecretStore" if namespace else "ClusterSecretStore"
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    for version in ("v1", "v1beta1"):
        served = f"{_GROUP}/{version}"
        manifest = {"apiVersion": served, "kind": kind, "metadata": metadata}
        if io.kube.items(served, kind) is not None:
            if io.kube.get(manifest) is not None:
                return manifest
            break
    raise ConfigError(
        f"there is no {kind} {name}", hint="kubectl get clustersecretstores,secretstores -A"
    )


def _state(manifest: Mapping[str, Any], io: Io) -> _State:
    """The Ready condition, and every Event about the store with its version."""
    live = io.kube.get(manifest) or {}
    conditions = (live.get("status") or {}).get("conditions") or []
    ready: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    metadata = manifest["metadata"]
    events = io.kube.items("v1", "Event", metadata.get("namespace") or "default") or []
    about = {
        (str(event["metadata"]["name"]), str(event["metadata"].get("resourceVersion")))
        for event in events
        if (event.get("involvedObject") or {}).get("name") == metadata["name"]
        and (event.get("involvedObject") or {}).get("kind") == manifest["kind"]
    }
    told = tuple(str(ready.get(name) or "") for name in ("status", "message", "lastTransitionTime"))
    return (told[0], told[1], told[2]), frozenset(about)
