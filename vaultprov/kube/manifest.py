"""All cluster kinds are one: a manifest, applied server-side with our own field manager.

The field manager is the marker: what `vaultprov` has applied to is ours. An object of others that
already has what we need is kept as it is, with all its labels and fields.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import NotConverged
from vaultprov.redact import Secret
from vaultprov.resource import Fields, Foreign, Io, Key, KubeRight, Right, State

FIELD_MANAGER = "vaultprov"
SYNC_WAVE = "argocd.argoproj.io/sync-wave"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of the cluster.

    body: the whole manifest as it would stand in a file.
    immutable: fields that the API refuses to change: differing means replace.
    also: rights that writing it needs besides those on the object itself.
    wait: seconds to wait for the controller to fill in a token Secret; 0: there is none.
    spared: the flag that leaves it out of a run. entry: only an entry in an object of others, which
    stays theirs. absent: it must not exist.
    """

    body: Fields
    immutable: tuple[str, ...] = ()
    also: tuple[KubeRight, ...] = ()
    wait: int = 0
    after: tuple[Key, ...] = ()
    required: str = ""
    spared: str = ""
    entry: bool = False
    absent: bool = False

    @property
    def key(self) -> Key:
        metadata = self.body["metadata"]
        name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        return Key("cluster/" + str(self.body["kind"]).lower(), name)

    def wanted(self) -> State | None:
        """The top-level fields of the manifest, and of its metadata labels and annotations."""
        return None if self.absent else State(self._fields())

    def _fields(self) -> dict[str, Any]:
        fields = {k: v for k, v in self.body.items() if k not in ("apiVersion", "kind", "metadata")}
        for name in ("labels", "annotations"):
            if self.body["metadata"].get(name):
                fields[f"metadata.{name}"] = self.body["metadata"][name]
        if self.wait:
            fields["data.token"] = "filled in"
        return fields

    def read(self, io: Io) -> State | None:
        live = io.kube.get(self.body)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return None
        wanted = self._fields()
        token = token_of(live)
        have = {
            **_guarded(live),
            "metadata.labels": live["metadata"].get("labels"),
            "metadata.annotations": live["metadata"].get("annotations"),
            "data.token": "filled in" if token else None,
        }
        fields = {name: project(have.get(name), value) for name, value in wanted.items()}
        managers = {entry.get("manager") for entry in live["metadata"].get("managedFields") or ()}
        foreign = None
        if FIELD_MANAGER not in managers and not self.entry:
            names = ", ".join(sorted(filter(None, managers))) or "somebody else"
            leave = f"add --adopt to take it over, or {self.spared} to leave it"
            foreign = Foreign(f"is managed by {names}", hint=leave if self.spared else "")
            # Labels say whose an object is, and Argo CD's annotations who delivers it: of somebody
            # else's object they are not ours to want.
            fields["metadata.labels"] = wanted.get("metadata.labels")
            if set(wanted.get("metadata.annotations") or ()) == {SYNC_WAVE}:
                fields["metadata.annotations"] = wanted["metadata.annotations"]
        attrs = {"uid": live["metadata"].get("uid")} | ({"token": token} if token else {})
        return State(fields, attrs, foreign)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        if found and any(found.fields.get(f) != target.get(f) for f in self.immutable):
            io.kube.delete(self.body)
        if self.entry:
            self._write_entry(io)
        else:
            io.kube.apply(self.body)
        if self.wait:
            try:
                io.kube.wait(self.body, lambda live: token_of(live) is not None, self.wait)
            except NotConverged as error:
                raise NotConverged(
                    f"{self.key} was not filled in within {self.wait} s",
                    hint="look whether the ServiceAccount exists and kube-controller-manager runs, "
                    "or use --reviewer token",
                ) from error

    def _write_entry(self, io: Io) -> None:
        """Others' entries must survive. API servers that take the list for atomic drop them.

        Seen on Kubernetes 1.20 with a definition whose schema it cannot build a model of. Raises
        NotConverged then, with what was dropped put back.
        """
        before = io.kube.get(self.body) or {}
        io.kube.apply(self.body)
        whole = _with_lost(self.body, before, io.kube.get(self.body) or {})
        if whole != self.body:
            io.kube.apply(whole)
            raise NotConverged(
                f"{self.key}: this API server drops the entries of others when ours is applied; "
                "they were put back",
                hint="--egress networkpolicy",
            )

    def remove(self, io: Io, found: State) -> None:
        io.kube.delete(self.body)

    def rights(self, action: str) -> tuple[Right, ...]:
        # Server-side apply is checked as patch, and as create too when the object is not there.
        verbs = {
            "read": ("get",),
            "create": ("create", "patch"),
            "update": ("patch", "create", "delete") if self.immutable else ("patch",),
            "delete": ("delete",),
        }[action]
        if self.wait and action in ("create", "update"):
            verbs += ("list", "watch")
        metadata = self.body["metadata"]
        group = str(self.body["apiVersion"]).rpartition("/")[0]
        resource = plural(str(self.body["kind"]))
        on_it = tuple(
            KubeRight(
                verb,
                group,
                resource,
                metadata.get("namespace"),
                None if verb in ("create", "list", "watch") else metadata["name"],
            )
            for verb in verbs
        )
        return on_it + (self.also if action in ("create", "update") else ())


def plural(kind: str) -> str:
    """The resource name of a kind; all kinds that we use are regular."""
    lower = kind.lower()
    return lower[:-1] + "ies" if lower.endswith("y") else lower + "s"


def project(live: Any, shape: Any) -> Any:
    """`live` reduced to what `shape` sets: what others or the API added is not ours."""
    if isinstance(live, Mapping) and isinstance(shape, Mapping):
        return {name: project(live[name], shape[name]) for name in shape if name in live}
    if isinstance(live, list) and isinstance(shape, list):
        found = _entries(live, shape)
        if len(found) == len(shape):
            return [project(one, other) for one, other in zip(found, shape, strict=True)]
    return live


def _guarded(live: Fields) -> Fields:
    """The values of a Secret as secrets: only their fingerprints are compared and shown."""
    if live["kind"] != "Secret":
        return live
    values = live.get("data") or {}
    return {**live, "data": {name: Secret(str(value)) for name, value in values.items()}}


def _with_lost(shape: Any, before: Any, after: Any) -> Any:
    """`shape` with the entries of others that were in `before` and are not in `after`."""
    if isinstance(shape, Mapping):
        was, is_now = (each if isinstance(each, Mapping) else {} for each in (before, after))
        return {
            name: _with_lost(value, was.get(name), is_now.get(name))
            for name, value in shape.items()
        }
    if isinstance(shape, list) and shape and None not in map(_key, shape):
        kept = {_key(each) for each in (*(after or ()), *shape)}
        return [*shape, *(each for each in before or () if _key(each) not in kept)]
    return shape


def _entries(live: list[Any], shape: list[Any]) -> list[Any]:
    """Of a list in which each applier owns entries by their keys: those that `shape` sets."""
    keys = [_key(each) for each in shape]
    if None in keys:
        return live
    by_key = {_key(each): each for each in live}
    return [by_key[key] for key in keys if key in by_key]


def _key(entry: Any) -> tuple[str, str] | None:
    """The map keys of `ExternalSecretsConfig`'s list networkPolicies, our only such list."""
    if not isinstance(entry, Mapping) or not {"name", "componentName"} <= set(entry):
        return None
    return str(entry["name"]), str(entry["componentName"])


def token_of(live: Fields) -> Secret | None:
    """The token in a Secret of a ServiceAccount; None while the controller has not filled it in."""
    encoded = (live.get("data") or {}).get("token")
    return Secret(base64.b64decode(encoded).decode()) if encoded else None
