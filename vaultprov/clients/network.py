"""Doctor's network probes, over sockets, ssl and urllib3. Every attempt ends within seconds."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import urllib3

from vaultprov.doctor.network import Attempt, Reached, Url, is_address
from vaultprov.errors import Unreachable
from vaultprov.redact import Secret, scrub

# Looking without judging the certificate is meant here; judging it is a question of its own.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
RESOLVE_SECONDS = 6.0  # one try of most resolvers is 5 s, and the second one asks another server
SECONDS = 4.0  # for one attempt: a black hole must not be waited for longer than a person does
# OpenSSL's x509_vfy.h: who signed it is not known; it is not for this name, or not for now.
_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 24, 79})
_MISFIT = frozenset({9, 10, 62, 63, 64})


def _looked_up(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return ()
    except socket.gaierror as error:
        if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL):
            raise _no_resolver(host, "the resolver does not answer") from error
        return ()
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _no_resolver(host: str, why: str) -> Unreachable:
    return Unreachable(
        f"this machine could not look {host} up: {why}", hint=f"getent ahosts {host}"
    )


def _within(seconds: float, look: Callable[[], tuple[str, ...]], host: str) -> tuple[str, ...]:
    """`look()`; the C library's resolver takes no limit of ours, so it is left behind at that.

    Raises Unreachable.
    """
    answer: Future[tuple[str, ...]] = Future()

    def ask() -> None:
        try:
            answer.set_result(look())
        except Unreachable as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()  # the end of the process waits for no daemon
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise _no_resolver(host, f"no answer within {seconds:g} s") from None


class SocketNetwork:
    """The network as this machine sees it. Threads may share it."""

    def resolve(self, host: str) -> tuple[str, ...]:
        if is_address(host):
            return (host,)
        return _within(RESOLVE_SECONDS, lambda: _looked_up(host), host)

    def connect(self, address: str, port: int) -> Attempt:
        def attempt() -> Attempt:
            socket.create_connection((address, port), SECONDS).close()
            return Attempt(Reached.OK)

        return _timed(attempt)

    def handshake(self, url: Url, address: str, ca_pem: str | None) -> Attempt:
        def attempt() -> Attempt:
            context = _as_go(ssl.create_default_context(cadata=ca_pem))
            with (
                socket.create_connection((address, url.port), SECONDS) as raw,
                context.wrap_socket(raw, server_hostname=url.host) as secured,
            ):
                return Attempt(Reached.OK, f"{secured.version()}")

        return _timed(attempt)

    def get(self, url: Url, address: str, path: str) -> Attempt:
        def attempt() -> Attempt:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return _request(url, address, "GET", path, context, {})

        return _timed(attempt)

    def review(
        self, server: str, ca_pem: str, reviewer: Secret, token: Secret, audiences: tuple[str, ...]
    ) -> Attempt:
        url = Url.parse(server)
        body: dict[str, Any] = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {
                "token": token.reveal(),
                **({"audiences": list(audiences)} if audiences else {}),
            },
        }
        headers = {
            "Authorization": f"Bearer {reviewer.reveal()}",
            "Content-Type": "application/json",
        }

        def attempt() -> Attempt:
            context = ssl.create_default_context(cadata=ca_pem)
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            return _request(url, url.host, "POST", path, context, headers, json.dumps(body))

        return _timed(attempt)


def _as_go(context: ssl.SSLContext) -> ssl.SSLContext:
    """Judges as Go's crypto/x509 does, with which External Secrets looks at Vault's certificate.

    Any certificate of the store's bundle is a root, an intermediate or the server's own too; a
    common name is no host name; and no more is asked of extensions than that.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    return context


def _request(
    url: Url,
    address: str,
    method: str,
    path: str,
    context: ssl.SSLContext,
    headers: dict[str, str],
    body: str | None = None,
) -> Attempt:
    timeout = urllib3.Timeout(connect=SECONDS, read=SECONDS)
    pool: urllib3.HTTPConnectionPool
    if url.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address, url.port, timeout=timeout, ssl_context=context, server_hostname=url.host,
            assert_hostname=url.host if context.check_hostname else None,
        )  # fmt: skip
    else:
        pool = urllib3.HTTPConnectionPool(address, url.port, timeout=timeout)
    host = f"[{url.host}]" if ":" in url.host else url.host
    with pool:
        response = pool.request(
            method, path, body=body, retries=False, redirect=False,
            headers={"Host": f"{host}:{url.port}", "User-Agent": "vaultprov", **headers},
        )  # fmt: skip
        text = response.data.decode("utf-8", "replace")
    return Attempt(
        Reached.OK,
        "" if _json(text) is not None else scrub(text.strip())[:200],
        status=response.status,
        body=_json(text),
        headers={name.lower(): value for name, value in response.headers.items()},
    )


def _timed(attempt: Callable[[], Attempt]) -> Attempt:
    started = time.monotonic()
    try:
        made = attempt()
    except (OSError, ssl.SSLError, urllib3.exceptions.HTTPError, ValueError) as error:
        reached, detail = _reason(error)
        return Attempt(reached, detail, time.monotonic() - started)
    return Attempt(
        made.reached, made.detail, time.monotonic() - started, made.status, made.body, made.headers
    )


def _reason(error: BaseException) -> tuple[Reached, str]:
    """How it ended, and the innermost reason in words."""
    inner = _innermost(error)
    text = scrub(str(inner))
    if isinstance(inner, ssl.SSLCertVerificationError):
        code = inner.verify_code
        reached = Reached.UNTRUSTED if code in _UNTRUSTED else Reached.MISFIT
        return reached if code in _UNTRUSTED | _MISFIT else Reached.BROKEN, inner.verify_message
    if isinstance(inner, ssl.SSLError):
        return _tls_reason(inner, text)
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError)
    if isinstance(inner, timeouts):
        return Reached.TIMEOUT, f"no answer within {SECONDS:g} s"
    if isinstance(inner, ConnectionRefusedError):
        return Reached.REFUSED, "connection refused"
    if isinstance(inner, socket.gaierror):
        return Reached.NO_NAME, "no such host"
    if isinstance(inner, OSError) and inner.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Reached.NO_ROUTE, inner.strerror or "no route to host"
    return Reached.BROKEN, text


def _tls_reason(error: ssl.SSLError, text: str) -> tuple[Reached, str]:
    reason = (error.reason or "").lower().replace("_", " ")
    if "wrong version number" in reason or "http request" in reason or "record layer" in reason:
        return Reached.PLAIN, "the server does not speak TLS"
    if "certificate required" in reason or "handshake failure" in reason:
        return Reached.CLIENT_CERT, reason
    return Reached.BROKEN, reason or text


def _innermost(error: BaseException) -> BaseException:
    """urllib3 wraps what happened; what it wraps is its argument or its context."""
    while True:
        reason = getattr(error, "reason", None)
        wrapped = [reason, *error.args, error.__cause__, error.__context__]
        inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
        if isinstance(error, OSError) or inner is None:
            return error
        error = inner


def _json(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
