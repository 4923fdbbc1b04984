"""The API's own form of failure: a refusal is one `Status` object, worded as kube-apiserver does.

Clients decide by `reason`, people read `message`, and both are part of what we stand in for; the
wordings here were compared with a running kube-apiserver.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

Object = dict[str, Any]


class Cause(NamedTuple):
    """One field of an object that is wrong."""

    reason: str
    message: str
    field: str

    def body(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A request that is refused; raised anywhere, answered in one place."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {key: value for key, value in status.items() if value not in (None, "")}


def quoted(value: object) -> str:
    """A value as Go's %q (strings) or %v prints it."""
    return json.dumps(value, ensure_ascii=False)


def required(field: str, detail: str = "") -> Cause:
    message = f"Required value: {detail}" if detail else "Required value"
    return Cause("FieldValueRequired", message, field)


def invalid_value(field: str, shown: str, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {detail}", field)


def not_supported(field: str, shown: str, supported: Sequence[str]) -> Cause:
    choices = ", ".join(quoted(choice) for choice in supported)
    message = f"Unsupported value: {shown}: supported values: {choices}"
    return Cause("FieldValueNotSupported", message, field)


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def _details(**fields: object) -> Object:
    return {key: value for key, value in fields.items() if value}


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    qualified = f"{plural}.{group}" if group else plural
    subject = f"{qualified} {quoted(name)}" if name else qualified
    details = _details(name=name, group=group, kind=plural)
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def forbidden_path(why: str) -> ApiError:
    return ApiError(403, "Forbidden", f"forbidden: {why}", {})


def unknown_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def not_found(group: str, plural: str, name: str) -> ApiError:
    qualified = f"{plural}.{group}" if group else plural
    details = _details(name=name, group=group, kind=plural)
    return ApiError(404, "NotFound", f"{qualified} {quoted(name)} not found", details)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    qualified = f"{plural}.{group}" if group else plural
    details = _details(name=name, group=group, kind=plural)
    return ApiError(409, "AlreadyExists", f"{qualified} {quoted(name)} already exists", details)


def conflict(group: str, plural: str, name: str, why: str) -> ApiError:
    qualified = f"{plural}.{group}" if group else plural
    message = f"Operation cannot be fulfilled on {qualified} {quoted(name)}: {why}"
    details = _details(name=name, group=group, kind=plural)
    return ApiError(409, "Conflict", message, details)


def expired(wanted: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {wanted} ({oldest})")


def not_acceptable() -> ApiError:
    return ApiError(406, "NotAcceptable", "406: Not Acceptable", {})


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message, {})


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    qualified = f"{kind}.{group}" if group else kind
    errors = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    details = _details(name=name, group=group, kind=kind, causes=[cause.body() for cause in causes])
    return ApiError(422, "Invalid", f"{qualified} {quoted(name)} is invalid: {listed}", details)
