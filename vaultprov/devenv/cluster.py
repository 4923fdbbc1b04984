"""A development cluster as its administrator, or somebody else with a token, sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import urllib3

from vaultprov.devenv.process import DevenvError

MANAGER = "vaultprov-devenv"
"""The field manager of what the development environment writes."""

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


class KubeRefusedError(DevenvError):
    """The API refused a request; `status` is HTTP's, the message the API's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a Kubernetes API, and the calls that development servers need.

    Threads may share it.
    """

    server: str
    ca_pem: str
    token: str = field(repr=False)
    _http: urllib3.PoolManager = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        http = urllib3.PoolManager(ca_cert_data=self.ca_pem, retries=False, maxsize=4)
        object.__setattr__(self, "_http", http)

    def as_user(self, token: str) -> Cluster:
        """The same cluster with another token."""
        return replace(self, token=token)

    def call(
        self, method: str, path: str, body: object = None, media_type: str = "application/json"
    ) -> dict[str, Any]:
        """The answer's object. Raises KubeRefusedError unless the request succeeded."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": media_type}
        data = None if body is None else json.dumps(body)
        answer = self._http.request(
            method, f"{self.server}{path}", body=data, headers=headers, timeout=30.0
        )
        is_json = "json" in answer.headers.get("Content-Type", "")
        found: dict[str, Any] = answer.json() if is_json else {"message": answer.data.decode()}
        if answer.status >= 300:
            raise KubeRefusedError(answer.status, str(found.get("message")).strip())
        return found

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at a path; None when there is none."""
        try:
            return self.call("GET", path)
        except KubeRefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create or adapt an object, and its status if the manifest has one."""
        path = path_of(manifest)
        query = f"?fieldManager={MANAGER}&force=true"
        applied = self.call("PATCH", path + query, manifest, _APPLY)
        if "status" not in manifest:
            return applied
        # A merge, because older API servers do not take a status by server-side apply.
        return self.merge(f"{path}/status", {"status": manifest["status"]})

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Change parts of an object."""
        return self.call("PATCH", f"{path}?fieldManager={MANAGER}", patch, _MERGE)

    def request_token(
        self, namespace: str, account: str, audiences: list[str] | None = None, seconds: int = 86400
    ) -> str:
        """A ServiceAccount's token."""
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = audiences
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.call("POST", path, {"spec": spec})["status"]["token"])


def collection_of(api_version: str, kind: str, namespace: str | None = None) -> str:
    """The path of all objects of a kind, or of those in a namespace."""
    root = "/apis/" if "/" in api_version else "/api/"
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    lower = kind.lower()
    if lower.endswith("y"):
        plural = lower[:-1] + "ies"
    else:
        plural = lower if lower.endswith("s") else lower + "s"
    return f"{root}{api_version}{where}/{plural}"


def path_of(manifest: dict[str, Any]) -> str:
    """The path of an object."""
    metadata = manifest["metadata"]
    collection = collection_of(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"))
    return f"{collection}/{quote(metadata['name'], safe='')}"
