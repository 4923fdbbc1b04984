"""Protobuf request bodies, because kubectl creates the built-in kinds in nothing else.

Only the kinds that kubectl's generators and Go controllers send are known, and only fields that
this server looks at; the numbers are those of the generated.proto files in k8s.io/api. Answers are
JSON, which every client accepts beside protobuf.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

from vaultprov.devenv.kube_api.status import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# name[]: repeated, name{}: map; after the colon the type, a string when there is none.
_ROLE = {1: "metadata:ObjectMeta", 2: "rules[]:PolicyRule"}
_BINDING = {1: "metadata:ObjectMeta", 2: "subjects[]:Subject", 3: "roleRef:RoleRef"}
_MESSAGES: dict[str, dict[int, str]] = {
    "Unknown": {1: "typeMeta:TypeMeta", 2: "raw:raw"},
    "TypeMeta": {1: "apiVersion", 2: "kind"},
    "ObjectMeta": {
        1: "name",
        2: "generateName",
        3: "namespace",
        5: "uid",
        6: "resourceVersion",
        11: "labels{}",
        12: "annotations{}",
        13: "ownerReferences[]:OwnerReference",
        14: "finalizers[]",
    },
    "OwnerReference": {
        1: "kind",
        3: "name",
        4: "uid",
        5: "apiVersion",
        6: "controller:bool",
        7: "blockOwnerDeletion:bool",
    },
    "Namespace": {1: "metadata:ObjectMeta"},
    "ServiceAccount": {
        1: "metadata:ObjectMeta",
        2: "secrets[]:ObjectReference",
        3: "imagePullSecrets[]:LocalObjectReference",
        4: "automountServiceAccountToken:bool",
    },
    "ObjectReference": {1: "kind", 2: "namespace", 3: "name", 4: "uid", 5: "apiVersion"},
    "LocalObjectReference": {1: "name"},
    "Secret": {
        1: "metadata:ObjectMeta",
        2: "data{}:bytes",
        3: "type",
        4: "stringData{}",
        5: "immutable:bool",
    },
    "ConfigMap": {
        1: "metadata:ObjectMeta",
        2: "data{}",
        3: "binaryData{}:bytes",
        4: "immutable:bool",
    },
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "PolicyRule": {
        1: "verbs[]",
        2: "apiGroups[]",
        3: "resources[]",
        4: "resourceNames[]",
        5: "nonResourceURLs[]",
    },
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "RoleRef": {1: "apiGroup", 2: "kind", 3: "name"},
    "Subject": {1: "kind", 2: "apiGroup", 3: "name", 4: "namespace"},
    "TokenRequest": {1: "metadata:ObjectMeta", 2: "spec:TokenRequestSpec"},
    "TokenRequestSpec": {1: "audiences[]", 4: "expirationSeconds:int"},
    "SelfSubjectAccessReview": {1: "metadata:ObjectMeta", 2: "spec:AccessReviewSpec"},
    "AccessReviewSpec": {
        1: "resourceAttributes:ResourceAttributes",
        2: "nonResourceAttributes:NonResourceAttributes",
    },
    "ResourceAttributes": {
        1: "namespace",
        2: "verb",
        3: "group",
        4: "version",
        5: "resource",
        6: "subresource",
        7: "name",
    },
    "NonResourceAttributes": {1: "path", 2: "verb"},
    "DeleteOptions": {
        1: "gracePeriodSeconds:int",
        2: "preconditions:Preconditions",
        4: "propagationPolicy",
        5: "dryRun[]",
    },
    "Preconditions": {1: "uid", 2: "resourceVersion"},
}
_FIELD = re.compile(r"(\w+)(\[\]|\{\})?:?(\w*)")


def decode(body: bytes) -> Object | None:
    """The object in an envelope; None for a kind that is not known here."""
    if not body.startswith(_MAGIC):
        raise ValueError("the body is not in the envelope of kubernetes' protobuf")
    envelope = _message(body[len(_MAGIC) :], "Unknown")
    type_meta: Object = envelope.get("typeMeta", {})
    kind = type_meta.get("kind")
    if kind not in _MESSAGES:
        return None
    return type_meta | _message(envelope.get("raw", b""), kind)


def _message(data: bytes, name: str) -> Object:
    known = _MESSAGES[name]
    item: Object = {}
    for number, raw in _fields(data):
        match = _FIELD.fullmatch(known.get(number, ""))
        if match is None:
            continue
        field, shape, kind = match.groups()
        if shape == "[]":
            item.setdefault(field, []).append(_value(raw, kind))
        elif shape == "{}":
            entry = dict(_fields(raw if isinstance(raw, bytes) else b""))
            value = _value(entry.get(2, b""), kind)
            item.setdefault(field, {})[_value(entry.get(1, b""), "")] = value
        elif (value := _value(raw, kind)) not in ("", {}):
            # Go writes strings and messages that are not set, too; JSON leaves them out.
            item[field] = value
    return item


def _value(raw: bytes | int, kind: str) -> Any:
    if isinstance(raw, int):
        return bool(raw) if kind == "bool" else raw
    if kind == "raw":
        return raw
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    return _message(raw, kind) if kind else raw.decode()


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The wire format: https://protobuf.dev/programming-guides/encoding/."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire_type == 2:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"unexpected protobuf wire type {wire_type}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the protobuf message ends in the middle of a number")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
