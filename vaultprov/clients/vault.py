"""VaultPort over hvac: the one place that knows Vault's status codes.

The meaning of answers is read off openbao/openbao `http/handler.go` and the kubernetes auth
plugin's `path_login.go`; a body that may hold a secret is scrubbed before it becomes a message.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter

from vaultprov.errors import ConfigError, Denied, Error, LoginFailed, Rejected, Sealed, Unreachable
from vaultprov.redact import Secret, scrub
from vaultprov.resource import Fields

CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0
LOGIN_SECONDS = 40.0  # Vault itself waits 30 s for an API server that drops its packets
_REDIRECTS = 3
# A path is no URL: others give groups and users such names as `C#-devs`, `a?b` or `50%`.
_PLAIN = "/~:@!$&'()*+,;="
POOL = 24  # connections: as many as there are workers


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one Vault. context: TLS trust and client certificate."""

    address: str
    namespace: str | None = None
    context: ssl.SSLContext | None = None
    tls_server_name: str | None = None


class _PoolAdapter(HTTPAdapter):
    """Connections sized to our workers, with TLS settings that requests itself cannot express."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(pool_connections=4, pool_maxsize=POOL)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= self._tls()
        super().init_poolmanager(*args, **kwargs)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        # Behind HTTPS_PROXY the trust is the same.
        return super().proxy_manager_for(proxy, **kwargs, **self._tls())

    def _tls(self) -> dict[str, Any]:
        if self._connection.context is None:
            return {}
        name = self._connection.tls_server_name
        names = {"server_hostname": name, "assert_hostname": name} if name else {}
        return {"ssl_context": self._connection.context, **names}

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # The context says whom to trust; requests would add its own bundle to it.
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """See above: everything is in the context."""


class VaultClient:
    """One token at one Vault. Threads may share it."""

    def __init__(
        self,
        connection: Connection,
        token: Secret | None,
        policies: tuple[str, ...] = (),
        session: requests.Session | None = None,
    ) -> None:
        self.address = connection.address
        self.policies = policies
        self._connection = connection
        self._owned = session is None
        self._session = session or requests.Session()
        if session is None:
            self._session.mount("https://", _PoolAdapter(connection))
            self._session.mount("http://", _PoolAdapter(connection))
        self._token = token

    def read(self, path: str) -> Mapping[str, Any] | None:
        return self._data(self._request("get", path))

    def list(self, path: str) -> Mapping[str, Any] | None:
        return self._data(self._request("list", path))

    def write(self, path: str, payload: Fields) -> Mapping[str, Any]:
        return self._data(self._request("post", path, json=_revealed(payload))) or {}

    def delete(self, path: str) -> None:
        self._request("delete", path)

    def login(self, mount: str, payload: Fields) -> VaultClient:
        """Logs in at `auth/MOUNT/login`; the connections are shared with the new client."""
        anonymous = VaultClient(self._connection, None, session=self._session)
        answer = anonymous.login_answer(mount, payload)
        auth = answer["auth"]
        policies = tuple(auth.get("token_policies") or auth.get("policies") or ())
        token = Secret(auth["client_token"])
        return VaultClient(self._connection, token, policies, self._session)

    def token_with(self, policies: tuple[str, ...], seconds: int) -> VaultClient:
        wish = {"policies": list(policies), "ttl": f"{seconds}s", "renewable": False}
        auth = self._request("post", "auth/token/create", json=wish).json()["auth"]
        token, held = Secret(auth["client_token"]), tuple(auth.get("token_policies") or ())
        return VaultClient(self._connection, token, held, self._session)

    def login_answer(self, mount: str, payload: Fields) -> Mapping[str, Any]:
        """The whole answer of a login. Raises LoginFailed."""
        path = f"auth/{mount}/login"
        response = self._send("post", path, json=_revealed(payload), timeout=LOGIN_SECONDS)
        if response.status_code in (400, 403, 500):
            raise _login_failed(mount, payload, _messages(response))
        self._check(response, "post", path)
        answer: Mapping[str, Any] = response.json() if response.content else {}
        return answer

    def revoke_self(self) -> None:
        self._request("post", "auth/token/revoke-self")

    def close(self) -> None:
        if self._owned:
            self._session.close()

    def _request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        response = self._send(method, path, **kwargs)
        self._check(response, method, path)
        return response

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        base = self.address
        for _ in range(_REDIRECTS):
            answer = self._send_to(base, method, path, **kwargs)
            if not answer.is_redirect:
                return answer
            base = self._next_base(base, answer)
        raise Unreachable(f"Vault {self.address} redirects without an end", hint="check VAULT_ADDR")

    def _send_to(self, base: str, method: str, path: str, **kwargs: Any) -> requests.Response:
        adapter = RawAdapter(
            base_uri=base,
            token=self._token.reveal() if self._token else None,
            namespace=self._connection.namespace,
            session=self._session,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
        )
        try:
            answer: requests.Response = adapter.request(
                method, f"/v1/{quote(path, safe=_PLAIN)}", raise_exception=False, **kwargs
            )
        except requests.exceptions.InvalidHeader:
            raise ConfigError(
                "the Vault token cannot be sent as it is", hint="vault login"
            ) from None
        except requests.exceptions.RequestException as error:
            raise _unreachable(self.address, error) from None  # its text may hold the request
        return answer

    def _next_base(self, base: str, answer: requests.Response) -> str:
        """Where a redirect leads. A standby sends 307 to the active node; the token goes along.

        Anything else (an ingress that wants https, a login page) would get the token too, or make
        a GET of a POST: the address is to be corrected instead.
        """
        target = urlsplit(urljoin(f"{base}/v1/", answer.headers.get("Location", "")))
        there = f"{target.scheme}://{target.netloc}"
        downgraded = base.startswith("https:") and target.scheme != "https"
        if answer.status_code not in (307, 308) or downgraded:
            raise Unreachable(
                f"Vault {self.address} redirects to {there}", hint=f"export VAULT_ADDR={there}"
            )
        return there

    def _check(self, response: requests.Response, method: str, path: str) -> None:
        status = response.status_code
        if response.ok and (not response.content or _is_json(response)):
            return
        messages = _messages(response)
        if response.ok or (status == 404 and not _is_json(response)):
            raise Unreachable(
                f"{self.address} answered {status}, but not as a Vault: {'; '.join(messages)}",
                hint="check VAULT_ADDR: curl $VAULT_ADDR/v1/sys/health",
            )
        where = f"{method.upper()} {path} at Vault {self.address}"
        if status == 404:
            self._check_absent(method, where, messages)
            return
        if status == 403:
            raise _denied(where, messages)
        if status in (503, 501):
            raise self._not_serving(messages)
        text = "; ".join(messages) or f"status {status}"
        if status in (412, 429) or status >= 500 or "Upgrading from non-versioned" in text:
            raise Unreachable(
                f"{where} failed: {text}",
                hint="run the same command again; if it stays, look at Vault's log",
                transient=True,
                retry_after=_seconds(response.headers.get("Retry-After")),
            )
        raise Rejected(
            f"{where} was rejected: {text}",
            hint="mend what the server names and run the same command again",
        )

    def _check_absent(self, method: str, where: str, messages: tuple[str, ...]) -> None:
        """404 is an answer to a question, but not to a write, nor when all of it is missing."""
        if any("namespace not found" in message for message in messages):
            raise Rejected(
                f"Vault {self.address} has no namespace {self._connection.namespace}",
                hint="check VAULT_NAMESPACE",
            )
        if method == "post":
            raise Rejected(f"{where}: nothing is mounted there", hint="vault auth list")

    def _not_serving(self, messages: tuple[str, ...]) -> Error:
        """Sealed, not initialised, a standby without a leader, or a proxy answering for Vault."""
        try:
            health = self._send("get", "sys/health", params={"standbyok": "true"}).json()
        except (Error, ValueError):
            health = {}
        if health.get("initialized") is False:
            return Sealed(f"Vault {self.address} is not initialised", hint="vault operator init")
        if health.get("sealed"):
            return Sealed(f"Vault {self.address} is sealed", hint="vault operator unseal")
        if health.get("standby"):
            return Unreachable(
                f"Vault {self.address} is a standby and has no active node to forward to",
                hint="vault operator raft list-peers",
                transient=True,
            )
        return Unreachable(
            f"Vault {self.address} is not serving: {'; '.join(messages) or 'no reason given'}",
            hint=f"curl {self.address}/v1/sys/health",
            transient=True,
        )

    @staticmethod
    def _data(response: requests.Response) -> Mapping[str, Any] | None:
        if response.status_code == 404:
            return None
        if not response.content:
            return {}
        body = response.json()
        data: Mapping[str, Any] = body.get("data") or {}
        return data


def _revealed(payload: Fields) -> dict[str, Any]:
    return {k: v.reveal() if isinstance(v, Secret) else v for k, v in payload.items()}


def _is_json(response: requests.Response) -> bool:
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False


def _messages(response: requests.Response) -> tuple[str, ...]:
    """What the server says, scrubbed. A body that is not Vault's JSON came from something else."""
    try:
        body = response.json()
    except ValueError:
        text = scrub(response.text.strip())[:200]
        return (f"not an answer of Vault, a proxy or router said: {text!r}",) if text else ()
    errors = body.get("errors") if isinstance(body, dict) else None
    return tuple(scrub(str(message)).strip() for message in errors or ())


def _seconds(header: str | None) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return min(60.0, float(header or ""))
    return None


def _denied(where: str, messages: tuple[str, ...]) -> Denied:
    if any("invalid token" in message or "bad token" in message for message in messages):
        return Denied(f"{where}: the token is not valid", hint="vault login")
    return Denied(
        f"{where}: permission denied (policy vaultprov-provisioner is enough for clusters that the "
        "site file had when bootstrap wrote it, but not for offboard, team, access, policy test "
        "and import)",
        hint="vault token lookup",
    )


def _login_failed(mount: str, payload: Fields, messages: tuple[str, ...]) -> LoginFailed:
    """The reason as far as Vault tells it; a bare `permission denied` can be many things."""
    text = "; ".join(messages) or "no reason given"
    role = payload.get("role", "")
    hints = {
        "invalid role name": f"the role {role} is missing: run vaultprov onboard",
        "could not load backend": "the auth config is missing: run vaultprov onboard",
        "service account name not authorized": f"vault read auth/{mount}/role/{role}",
        "namespace not authorized": f"vault read auth/{mount}/role/{role}",
        "audience": f"compare the role's audience: vault read auth/{mount}/role/{role}",
    }
    hint = next((hint for words, hint in hints.items() if words in text), "")
    # Bare, it is Vault's TokenReview call that failed: another node may still have to load the CA.
    bare = text == "permission denied"
    return LoginFailed(f"login at auth/{mount} was refused: {text}", hint=hint, transient=bare)


def _unreachable(address: str, error: requests.exceptions.RequestException) -> Unreachable:
    text = scrub(str(error))
    if isinstance(error, requests.exceptions.SSLError):
        plain = "wrong version number" in text.lower().replace("_", " ")
        return Unreachable(
            f"Vault {address}: TLS failed: {_tail(text)}",
            hint="the server speaks plain HTTP: set VAULT_ADDR to http://..."
            if plain
            else "set VAULT_CACERT to the CA of Vault's certificate",
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(
            f"Vault {address} did not answer in time",
            hint=f"curl {address}/v1/sys/health",
            transient=isinstance(error, requests.exceptions.ReadTimeout),
        )
    # Reset or closed in the middle: the next attempt may be lucky. Refused or no such name: not.
    reset = any(
        word in text for word in ("reset", "aborted", "RemoteDisconnected", "IncompleteRead")
    )
    return Unreachable(
        f"Vault {address} is unreachable: {_tail(text)}",
        hint="check VAULT_ADDR, then: curl $VAULT_ADDR/v1/sys/health",
        transient=reset,
    )


def _tail(text: str) -> str:
    """The innermost reason of requests' nested messages."""
    innermost = text.rpartition("(Caused by ")[2] or text
    told = re.search(r"\] (.*?)(?: \(_ssl\.c:\d+\))?['\")]*$", innermost)
    return told[1] if told else innermost.strip("()'\" ")
