"""metadata.managedFields: who owns which field, and what a plain write changes about it.

Server-side apply, which decides by this, is in apply.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vaultprov.devenv.kube_api import fields
from vaultprov.devenv.kube_api.fields import Changes, Fields, Schema
from vaultprov.devenv.kube_api.status import Object, quoted


@dataclass(frozen=True, order=True)
class Manager:
    """Who owns fields. An applier is the same one in every API version; an updater is not."""

    operation: str
    name: str
    version: str = ""
    subresource: str = ""

    @classmethod
    def applier(cls, name: str, subresource: str = "") -> "Manager":
        return cls("Apply", name, subresource=subresource)

    @classmethod
    def updater(cls, name: str, api_version: str, subresource: str = "") -> "Manager":
        return cls("Update", name, api_version, subresource)

    def __str__(self) -> str:
        text = quoted(self.name)
        if self.subresource:
            text += f" with subresource {quoted(self.subresource)}"
        return f"{text} using {self.version}" if self.operation == "Update" else text


@dataclass(frozen=True)
class Entry:
    fields: Fields
    api_version: str
    time: str


Managers = Mapping[Manager, Entry]


def read(item: Object | None) -> Managers:
    listed = item["metadata"].get("managedFields", []) if item else []
    return {_manager(entry): _entry(entry) for entry in listed}


def _manager(entry: Object) -> Manager:
    subresource = entry.get("subresource", "")
    if entry["operation"] == "Apply":
        return Manager.applier(entry["manager"], subresource)
    return Manager.updater(entry["manager"], entry["apiVersion"], subresource)


def _entry(entry: Object) -> Entry:
    owned = frozenset(fields.decode(entry["fieldsV1"]))
    return Entry(owned, entry["apiVersion"], entry["time"])


def written(managers: Managers) -> list[Object]:
    """Owners as the API lists them: appliers first, then by time; without those of nothing."""
    ordered = sorted(managers.items(), key=lambda pair: (pair[0].operation, pair[1].time, pair[0]))
    return [_body(manager, entry) for manager, entry in ordered if entry.fields]


def _body(manager: Manager, entry: Entry) -> Object:
    body: Object = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields.encode(entry.fields),
    }
    return body | {"subresource": manager.subresource} if manager.subresource else body


def owned_after_update(
    managers: Managers, changes: Changes, manager: Manager, api_version: str, now: str
) -> Managers:
    """A plain write takes what it changes from everybody else."""
    gone = changes.changed | changes.removed
    after = {
        other: narrowed(entry, changes.removed if other == manager else gone, now)
        for other, entry in managers.items()
    }
    mine = after.get(manager, Entry(frozenset(), api_version, now))
    after[manager] = with_fields(mine, mine.fields | changes.changed, now)
    return after


def narrowed(entry: Entry, gone: Fields, now: str) -> Entry:
    return with_fields(entry, entry.fields - gone, now)


def with_fields(entry: Entry, owned: Fields, now: str) -> Entry:
    """The same owner with other fields; the time tells when they last changed."""
    return entry if owned == entry.fields else replace(entry, fields=owned, time=now)


def track(before: Object, after: Object, schema: Schema, *, without: str) -> Changes:
    """What a write changed, looking only at the half that its endpoint may write."""
    return Changes.between(
        fields.trackable(before, without=without), fields.trackable(after, without=without), schema
    )
