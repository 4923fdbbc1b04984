"""Vault as External Secrets talks to it, refusals in the words of Vault's Go client.

Unlike the Go client it does not try again what may pass, so failures come sooner.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

_OPENSSL = {10: "has expired or is not yet valid"}  # X509_V_ERR_CERT_HAS_EXPIRED


class ProviderError(Exception):
    """What went wrong, as an Event shows it."""


class NoSecretError(ProviderError):
    """There is no such secret in Vault."""

    def __init__(self) -> None:
        super().__init__("Secret does not exist")


@contextmanager
def told(prefix: str) -> Iterator[None]:
    """A failure inside begins like this."""
    try:
        yield
    except ProviderError as error:
        raise ProviderError(prefix + str(error)) from None


class Vault:
    """A connection to one server; one that does not answer is waited for `timeout` seconds."""

    def __init__(self, server: str, ca_pem: str, namespace: str, timeout: float) -> None:
        self.token = ""
        self._server = server.rstrip("/")
        self._namespace = namespace
        context = ssl.create_default_context(cadata=ca_pem or None)
        self._http = urllib3.PoolManager(ssl_context=context, retries=False, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()

    def login(self, mount: str, role: str, jwt: str) -> None:
        """Log in with a JWT."""
        answer = self._call("PUT", f"auth/{mount}/login", {"jwt": jwt, "role": role})
        self.token = str(answer["auth"]["client_token"])

    def check_token(self) -> None:
        """Raises ProviderError unless the token is one."""
        try:
            self._call("GET", "auth/token/lookup-self")
        except ProviderError as error:
            raise ProviderError(f"invalid vault credentials: {error}") from None

    def revoke(self) -> None:
        """Give the token back."""
        self._call("PUT", "auth/token/revoke-self")

    def read(self, path: str, **query: str) -> dict[str, Any]:
        """The data at a path. Raises NoSecretError if there are none."""
        try:
            return dict(self._call("GET", path, query=query).get("data") or {})
        except NoSecretError:
            raise
        except ProviderError as error:
            raise ProviderError(f"cannot read secret data from Vault: {error}") from None

    def _call(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        if not self.token.isprintable():
            why = "configured Vault token contains non-printable characters and cannot be used"
            raise ProviderError(why)
        url = f"{self._server}/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"X-Vault-Request": "true", "X-Vault-Token": self.token}
        headers["X-Vault-Namespace"] = self._namespace
        headers = {name: value for name, value in headers.items() if value}
        try:
            answer = self._http.request(method, url, json=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ProviderError(_network(method, url, error)) from None
        if answer.status < 300:
            return json.loads(answer.data) if answer.data else {}
        raise self._refusal(method, url, answer.status, answer.data)

    def _refusal(self, method: str, url: str, status: int, body: bytes) -> ProviderError:
        try:
            decoded = json.loads(body)
            errors = decoded.get("errors") or []
        except (ValueError, AttributeError):
            told, kind = body.decode(errors="replace"), "Raw Message"
        else:
            if status == 404 and method == "GET":
                return NoSecretError()
            told, kind = "".join(f"* {error}" for error in errors), "Errors"
        where = f"Namespace: {self._namespace.strip('/')}/\n" if self._namespace else ""
        return ProviderError(
            f"Error making API request.\n\n{where}URL: {method} {url}\nCode: {status}. {kind}:"
            f"\n\n{told}"
        )


def _network(method: str, url: str, error: urllib3.exceptions.HTTPError) -> str:
    """A failure below HTTP as Go tells it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    cause = error.__cause__ or (error.args[-1] if error.args else None)
    if isinstance(error, urllib3.exceptions.LocationValueError):
        why = f'unsupported protocol scheme "{parts.scheme}"'
    elif isinstance(error, urllib3.exceptions.NameResolutionError):
        why = f"dial tcp: lookup {host}{_resolver()}: no such host"
    elif isinstance(error, urllib3.exceptions.NewConnectionError):
        refused = isinstance(cause, ConnectionRefusedError)
        strerror = str(getattr(cause, "strerror", cause)).lower()
        told = "connection refused" if refused else strerror
        why = f"dial tcp {_address(host)}:{port}: connect: {told}"
    elif isinstance(error, urllib3.exceptions.TimeoutError):
        return "context deadline exceeded"  # its own error takes the place of the request's
    elif isinstance(error, urllib3.exceptions.SSLError):
        why = _tls(cause, host)
    else:
        why = "EOF"
    return f'{method.capitalize()} "{url}": {why}'


def _tls(cause: object, host: str) -> str:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        if "WRONG_VERSION_NUMBER" in str(cause) or "RECORD_LAYER_FAILURE" in str(cause):
            return "http: server gave HTTP response to HTTPS client"
        return f"remote error: tls: {cause}"
    if cause.verify_code in _OPENSSL:
        why = f"certificate {_OPENSSL[cause.verify_code]}"
    elif "match" in cause.verify_message:
        why = f"certificate is valid for other names, not {host}"
    else:
        why = "certificate signed by unknown authority"
    return f"tls: failed to verify certificate: x509: {why}"


def _resolver() -> str:
    """The name server that Go would name."""
    with suppress(OSError, StopIteration):
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
        first = next(line.split()[1] for line in lines if line.startswith("nameserver "))
        return f" on {first}:53"
    return ""


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


class Keys:
    """The secrets of a KV mount, as a store names it."""

    def __init__(self, vault: Vault, mount: str | None, version: str) -> None:
        self._vault, self._mount, self._v2 = vault, mount, version == "v2"

    def value(self, reference: Mapping[str, Any]) -> str:
        """What a remoteRef is: the whole secret as JSON, or one property."""
        query = {"version": str(reference["version"])} if reference.get("version") else {}
        data = self._vault.read(self._path(str(reference["key"])), **query)
        if self._v2:
            data = data.get("data") or {}
        if not data:
            raise NoSecretError
        wanted = reference.get("property")
        if not wanted:
            return text(data)
        if wanted in data:
            return text(data[wanted])
        found: Any = data
        for part in str(wanted).split("."):
            if not isinstance(found, dict) or part not in found:
                raise ProviderError(f"cannot find secret data for key: {json.dumps(wanted)}")
            found = found[part]
        return text(found)

    def all_values(self, reference: Mapping[str, Any]) -> dict[str, str]:
        """`extract`: the fields of a secret."""
        fields = json.loads(self.value(reference))
        if not isinstance(fields, dict):
            raise ProviderError("json: cannot unmarshal into Go value of type map[string]interface")
        return {name: text(value) for name, value in fields.items()}

    def find(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """`find` by name: whole secrets."""
        pattern = re.compile((wanted.get("name") or {}).get("regexp") or "")
        path = f"{wanted['path']}/" if wanted.get("path") else ""
        names = [name for name in self._listed(path) if pattern.search(name)]
        return {name: self.value({"key": name}) for name in names}

    def _listed(self, path: str) -> Iterator[str]:
        listing = f"{self._mount}/metadata/{path}" if self._v2 else f"{self._mount}/{path}"
        for name in self._vault.read(listing, list="true").get("keys") or ():
            if name.endswith("/"):
                yield from self._listed(path + name)
            else:
                yield path + name

    def _path(self, key: str) -> str:
        if self._mount is None:
            mount, _, key = key.partition("/")
            inherited = not self._v2 or "data" in key.split("/")[:-1]
            return f"{mount}/{key}" if inherited else f"{mount}/data/{key}"
        if key.startswith(f"{self._mount}/"):
            key = key.removeprefix(f"{self._mount}/")
            key = key.removeprefix("data/") if self._v2 else key
        return f"{self._mount}/data/{key}" if self._v2 else f"{self._mount}/{key}"


def text(value: object) -> str:
    """A value of Vault's as it stands in a Kubernetes Secret."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", written)
