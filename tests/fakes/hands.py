"""What people do to a cluster's objects with kubectl, past the port under test."""

from __future__ import annotations

import json
import ssl
from typing import Any, Protocol

import urllib3

from vaultprov.clients.kube import object_path
from vaultprov.resource import Fields

Object = dict[str, Any]


class Hands(Protocol):
    """Somebody else's access, as another field manager than ours."""

    def create(self, manifest: Fields) -> None:
        """`kubectl create`."""

    def patch(self, manifest: Fields, patch: Fields) -> None:
        """`kubectl edit`, as a JSON merge patch of the object with the manifest's identity."""

    def delete(self, manifest: Fields) -> None:
        """`kubectl delete`."""

    def live(self, manifest: Fields) -> Object | None:
        """`kubectl get`; None when absent."""


class RawKube:
    """Hands at a real API server."""

    def __init__(self, server: str, ca_pem: str, token: str) -> None:
        context = ssl.create_default_context(cadata=ca_pem)
        self._http = urllib3.PoolManager(ssl_context=context, retries=False)
        self._server, self._token = server, token

    def create(self, manifest: Fields) -> None:
        collection = object_path(manifest).rpartition("/")[0]
        self._sent("POST", f"{collection}?fieldManager=kubectl-create", manifest)

    def patch(self, manifest: Fields, patch: Fields) -> None:
        path = f"{object_path(manifest)}?fieldManager=kubectl-edit"
        self._sent("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, manifest: Fields) -> None:
        self._sent("DELETE", object_path(manifest))

    def live(self, manifest: Fields) -> Object | None:
        found = self._sent("GET", object_path(manifest))
        return None if found.get("kind") == "Status" else found

    def close(self) -> None:
        """Gives the connections back."""
        self._http.clear()

    def _sent(
        self, method: str, path: str, body: Fields | None = None, kind: str = "application/json"
    ) -> Object:
        answer = self._http.request(
            method,
            self._server + path,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        absent = answer.status == 404 and method in ("GET", "DELETE")
        assert answer.status < 300 or absent, answer.data.decode()
        found: Object = answer.json()
        return found
