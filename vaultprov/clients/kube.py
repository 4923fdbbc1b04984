"""KubePort over the kubernetes client: its configuration, credentials and connections, our JSON.

The generated models would cost a conversion of every object in both directions and drop unknown
fields; manifests are plain JSON here, as they are in a file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject

from vaultprov.errors import ConfigError, Denied, Error, NotConverged, Rejected, Unreachable
from vaultprov.kube.manifest import FIELD_MANAGER, plural
from vaultprov.redact import Secret, scrub
from vaultprov.resource import Fields, GrantedToken, KubeRight

TIMEOUT = urllib3.Timeout(connect=10.0, read=20.0)  # seconds
POOL = 24  # connections: as many as there are workers
_TOUCH_MANAGER = "vaultprov-touch"


class KubeClient:
    """One context of a kubeconfig. Threads may share it."""

    def __init__(self, configuration: Configuration, context: str) -> None:
        self.server = str(configuration.host).rstrip("/")
        self.context = context
        self._configuration = configuration
        configuration.connection_pool_maxsize = POOL
        self._pool: urllib3.PoolManager = RESTClientObject(configuration).pool_manager

    def get(self, manifest: Fields) -> dict[str, Any] | None:
        status, body = self._request("GET", object_path(manifest))
        return None if status == 404 else body

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        query = "?" + urlencode({"labelSelector": labels}) if labels else ""
        path = collection_path(version, kind, namespace) + query
        # An API server says `404 page not found` in plain text to a group that it does not know.
        status, body = self._request("GET", path, plain_absence=True)
        if status == 404:
            return None
        return [_typed(live, {"apiVersion": version, "kind": kind}) for live in body["items"]]

    def versions(self, group: str) -> tuple[str, ...]:
        status, body = self._request("GET", f"/apis/{group}", plain_absence=True)
        found = () if status == 404 else body.get("versions") or ()
        return tuple(str(each["version"]) for each in found)

    def create(self, manifest: Fields) -> dict[str, Any]:
        path = collection_path(
            manifest["apiVersion"],
            manifest["kind"],
            (manifest.get("metadata") or {}).get("namespace"),
        )
        status, body = self._request("POST", path, manifest)
        if status == 404:
            raise Rejected(f"cluster {self.context} ({self.server}) has no {path}")
        return body

    def annotate(self, manifest: Fields, annotations: Mapping[str, str]) -> None:
        body = {"metadata": {"annotations": dict(annotations)}}
        # A merge patch: with server-side apply the fields of ours that are not sent would go. And a
        # manager of its own: who has only been touched is not ours.
        path = f"{object_path(manifest)}?{urlencode({'fieldManager': _TOUCH_MANAGER})}"
        self._request("PATCH", path, body, "application/merge-patch+json")

    def apply(self, manifest: Fields) -> dict[str, Any]:
        # force: a field of ours that somebody took over by editing it is what we repair.
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        _, body = self._request(
            "PATCH",
            f"{object_path(manifest)}?{query}",
            _revealed(manifest),
            "application/apply-patch+yaml",
        )
        return body

    def delete(self, manifest: Fields) -> None:
        self._request("DELETE", object_path(manifest))

    def wait(
        self, manifest: Fields, ready: Callable[[dict[str, Any]], bool], timeout: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        name = manifest["metadata"]["name"]
        collection = object_path(manifest).rpartition("/")[0]
        while (left := deadline - time.monotonic()) > 0:
            _, listed = self._request("GET", f"{collection}?fieldSelector=metadata.name%3D{name}")
            for live in listed.get("items") or ():
                if ready(live):
                    return _typed(live, manifest)
            query = {
                "watch": "true",
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": listed["metadata"].get("resourceVersion", ""),
                "timeoutSeconds": str(max(1, int(left))),
            }
            for event in self._watch(f"{collection}?{urlencode(query)}", left):
                if event.get("type") == "ERROR":
                    break  # the version is too old: list again
                if event.get("type") != "DELETED" and ready(event["object"]):
                    return _typed(event["object"], manifest)
        raise NotConverged(f"{manifest['kind']} {name} did not become ready within {timeout:g} s")

    def request_token(
        self, namespace: str, name: str, audiences: tuple[str, ...], seconds: int
    ) -> GrantedToken:
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = list(audiences)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        status, answer = self._request("POST", path, body)
        if status == 404:
            raise Rejected(
                f"there is no ServiceAccount {namespace}/{name}",
                hint=f"kubectl -n {namespace} get serviceaccount {name}",
            )
        ends = datetime.fromisoformat(answer["status"]["expirationTimestamp"])
        return GrantedToken(Secret(answer["status"]["token"]), ends.timestamp())

    def allowed(self, right: KubeRight) -> bool:
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": right.namespace or "",
            "name": right.name or "",
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        _, answer = self._request("POST", path, body)
        return bool(answer["status"]["allowed"])

    def signing_keys(self) -> list[dict[str, Any]]:
        # A real API server offers this one type here, and answers 406 to application/json alone.
        _, answer = self._request("GET", "/openid/v1/jwks", accept="application/jwk-set+json")
        return list(answer.get("keys") or ())

    def token_issuer(self) -> str:
        _, answer = self._request("GET", "/.well-known/openid-configuration")
        return str(answer.get("issuer") or "")

    def close(self) -> None:
        self._pool.clear()

    def _watch(self, path: str, seconds: float) -> Iterator[dict[str, Any]]:
        response = self._send("GET", path, timeout=urllib3.Timeout(connect=10.0, read=seconds + 5))
        try:
            if response.status != 200:
                raise self._error("GET", path, response.status, _json(response.read()))
            buffer = b""
            for chunk in response.stream(2**16):
                *lines, buffer = (buffer + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            response.close()

    def _request(
        self,
        method: str,
        path: str,
        body: Fields | None = None,
        content_type: str = "application/json",
        *,
        plain_absence: bool = False,
        accept: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": accept}
        response = self._send(method, path, body=data, headers=headers)
        try:
            answer = _json(response.read())
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            response.release_conn()
        # 404 is an answer to a question; to an apply it means that the namespace is missing.
        told = answer.get("kind") == "Status" or (plain_absence and not answer)
        absent = response.status == 404 and told and method != "PATCH"
        if response.status >= 300 and not absent:
            raise self._error(
                method, path, response.status, answer, response.headers.get("Retry-After")
            )
        if response.status < 300 and not answer:
            raise self._error(method, path, response.status, answer)
        return response.status, answer

    def _send(self, method: str, path: str, **kwargs: Any) -> urllib3.BaseHTTPResponse:
        headers = {
            "Accept": "application/json",
            "User-Agent": "vaultprov",
            **kwargs.pop("headers", {}),
        }
        # Through the configuration each time: it renews tokens of exec and OIDC credentials.
        settings: Any = self._configuration.auth_settings()
        for setting in settings.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = self._header(str(setting["value"]))
        timeout = kwargs.pop("timeout", TIMEOUT)
        try:
            return self._pool.request(
                method,
                self.server + path,
                headers=headers,
                timeout=timeout,
                retries=False,
                preload_content=False,
                **kwargs,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None

    def _header(self, value: str) -> str:
        """A credential as it may stand in a header; a token from a file often ends in a newline."""
        value = value.strip()
        if not value.isascii() or not value.isprintable():
            raise ConfigError(
                f"the credentials of context {self.context} hold characters that cannot be sent",
                hint="oc login (or renew the kubeconfig)",
            )
        return value

    def _error(
        self,
        method: str,
        path: str,
        status: int,
        answer: dict[str, Any],
        retry_after: str | None = None,
    ) -> Error:
        message = scrub(str(answer.get("message") or f"status {status}"))
        where = f"cluster {self.context} ({self.server})"
        if answer.get("kind") != "Status":
            return Unreachable(
                f"{where} answered {status}, but not as a Kubernetes API server",
                hint=f"check the server of context {self.context}: kubectl cluster-info",
                transient=status >= 500,
            )
        if status == 401:
            return Denied(
                f"{where}: the credentials are not valid", hint="oc login (or renew the kubeconfig)"
            )
        if status == 403:
            return Denied(f"{where}: {message}", hint="use a kubeconfig of a cluster admin")
        if status in (409, 429) or status >= 500:
            return Unreachable(
                f"{where}: {message}",
                hint="run the same command again",
                transient=True,
                retry_after=float(retry_after) if retry_after and retry_after.isdigit() else None,
            )
        return Rejected(f"{where} rejected {method} {path.partition('?')[0]}: {message}")

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> Unreachable:
        text = scrub(str(error)).rpartition("> ")[2].rpartition(">: ")[2]
        if isinstance(error, urllib3.exceptions.SSLError):
            hint = (
                f"the CA of context {self.context} does not match the server: kubectl cluster-info"
            )
        else:
            hint = f"check the kubeconfig: kubectl --context {self.context} cluster-info"
        refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a TimeoutError, too
        if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
            text = "it did not answer in time"
        reset = isinstance(
            error, urllib3.exceptions.ProtocolError | urllib3.exceptions.ReadTimeoutError
        )
        return Unreachable(
            f"cluster {self.context} ({self.server}) is unreachable: {text}",
            hint=hint,
            transient=reset,
        )


def collection_path(version: str, kind: str, namespace: str | None) -> str:
    """The API's path of a kind's objects, in one namespace or (None) in all."""
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{within}/{plural(kind)}"


def object_path(manifest: Fields) -> str:
    """The API's path of a manifest's object."""
    metadata = manifest["metadata"]
    collection = collection_path(
        str(manifest["apiVersion"]), str(manifest["kind"]), metadata.get("namespace")
    )
    return f"{collection}/{metadata['name']}"


def _typed(live: dict[str, Any], manifest: Fields) -> dict[str, Any]:
    """Items of a listing carry no type of their own."""
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], **live}


def _json(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _revealed(value: Any) -> Any:
    """What goes on the wire: secrets as they are, at any depth."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {name: _revealed(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_revealed(each) for each in value]
    return value
