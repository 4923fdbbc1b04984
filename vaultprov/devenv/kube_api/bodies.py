"""Request bodies, decoded and checked as far as the API does before it looks at the object.

JSON, and protobuf for the kinds that kubectl sends in it. YAML, which the real server also takes,
is refused with a 400; what kubectl and the client libraries send as `apply-patch+yaml` is JSON.
"""

import json
from typing import Any

from vaultprov.devenv.kube_api import protobuf
from vaultprov.devenv.kube_api.request import Request
from vaultprov.devenv.kube_api.resources import Resource
from vaultprov.devenv.kube_api.status import Object, bad_request, unsupported_media_type

_JSON = "application/json"
_UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include"


def json_object(request: Request, prefix: str = "") -> Object:
    """The body as an object; `prefix` is how the refusal of a broken one begins."""
    try:
        value = _decoded(request)
    except ValueError as error:
        raise bad_request(f"{prefix}json parse error: {error}") from None
    if not isinstance(value, dict):
        raise bad_request(f"{prefix}json: cannot unmarshal {type(value).__name__} into an object")
    if not isinstance(value.setdefault("metadata", {}), dict):
        raise bad_request(f"{prefix}json: metadata is not an object")
    return value


def _decoded(request: Request) -> Any:
    if request.media_type != protobuf.MEDIA_TYPE:
        return json.loads(request.body)
    item = protobuf.decode(request.body)
    if item is None:
        raise unsupported_media_type(f"{_UNKNOWN_FORMAT}: {_JSON}")
    return item


def typed_object(request: Request, resource: Resource) -> Object:
    """An object of a resource; kind and apiVersion may be left out, but not be others."""
    if request.media_type not in ("", _JSON, protobuf.MEDIA_TYPE):
        raise unsupported_media_type(f"{_UNKNOWN_FORMAT}: {_JSON}, {protobuf.MEDIA_TYPE}")
    prefix = (
        f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get"
        " version/kind; "
    )
    body = json_object(request, prefix)
    kind, version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
    if (kind, version) != (resource.kind, resource.api_version):
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: converting'
            f" ({version}.{kind}) to ({resource.api_version}.{resource.kind}): unknown conversion"
        )
    return body


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), change)
    return merged
