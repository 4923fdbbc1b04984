"""What a request asks: method and path as verb, resource, namespace and name.

This is kube-apiserver's RequestInfo; authorization works on it before anything is looked up, so a
path that does not exist is forbidden first and unknown second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl, unquote, urlsplit

from vaultprov.devenv.kube_api.rbac import Attributes
from vaultprov.devenv.kube_api.selectors import single_name

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True)
class Request:
    """One request as it came in, and what it asks for."""

    asked: Attributes
    path: str
    query: Mapping[str, str]
    headers: Message  # names in any case
    body: bytes
    version: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.asked.resource)

    def flag(self, name: str) -> bool:
        """A boolean option as the API reads it: anything that does not say no is a yes."""
        value = self.query.get(name)
        return value is not None and value.lower() not in ("false", "0")

    @property
    def user_agent(self) -> str:
        """The manager of writes that name none: the User-Agent up to its version."""
        return self.headers.get("User-Agent", "").partition("/")[0][:128] or "unknown"

    @property
    def metadata_only(self) -> bool:
        """Whether the client wants objects reduced to their metadata."""
        return "as=PartialObjectMetadata" in self.headers.get("Accept", "")

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def parse(method: str, target: str, headers: Message, body: bytes) -> Request:
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    path = unquote(url.path)
    parts = [part for part in path.split("/") if part]
    verb = _VERBS.get(method, method.lower())
    if len(parts) > 2 and parts[0] == "api":
        asked = _resource_attributes("", parts[2:], verb, query)
        return Request(asked, path, query, headers, body, parts[1])
    if len(parts) > 3 and parts[0] == "apis":
        asked = _resource_attributes(parts[1], parts[3:], verb, query)
        return Request(asked, path, query, headers, body, parts[2])
    on_path = Attributes("get" if verb == "get" else method.lower(), path=path)
    return Request(on_path, path, query, headers, body)


def _resource_attributes(
    group: str, parts: list[str], verb: str, query: Mapping[str, str]
) -> Attributes:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        # /namespaces/x is the namespace itself, and lies in that namespace for authorization.
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in ("status", "finalize"):
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    subresource = "/".join(parts[2:])
    if verb == "get" and not name:
        watching = query.get("watch", "false").lower() not in ("false", "0")
        verb, name = "watch" if watching else "list", single_name(query.get("fieldSelector", ""))
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return Attributes(verb, group, parts[0], subresource, namespace, name)
