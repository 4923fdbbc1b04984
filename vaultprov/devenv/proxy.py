"""A reverse proxy that counts what a client sends to one server, slows it down or breaks it.

Every connection of a client gets its own to the server, and the bytes pass as they are (`Host`
too), so counts and timing are those of the client. HTTP/1.1 only. One thread with an event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from time import perf_counter
from urllib.parse import urlsplit

from vaultprov.devenv.certificates import serving_certificate

# Requests that change no lasting state, though their method says otherwise: questions, logins,
# logouts, short-lived tokens and dry runs. Regular expressions to search `Exchange.path` for.
READS: tuple[str, ...] = (
    r"^/v1/sys/capabilities(-self|-accessor)?$",
    r"^/v1/auth/.+(?<!/role)/(login|auth_url)$",  # a role may be called login
    r"^/v1/auth/token/(lookup|lookup-self|lookup-accessor|renew-self|revoke-self)$",
    r"/(selfsubjectaccess|selfsubjectrules|subjectaccess|token)reviews(\?|$)",
    r"/serviceaccounts/[^/]+/token(\?|$)",
    r"[?&]dryRun=All(&|$)",
)
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, without headers and bodies.

    index: the order of arrival, from 0. path: as sent, with the query.
    status: 0 when the server was not asked or did not answer.
    started, ended: seconds of `time.perf_counter`, the proxy's delay included.
    """

    index: int
    method: str
    path: str
    status: int
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls an exchange; made by the methods. Without an `answer` the connection ends."""

    code: int = 0
    answer: bytes = b""
    forward: bool = False

    @classmethod
    def status(cls, code: int, body: str = "", headers: Mapping[str, str] | None = None) -> Fault:
        """Answer with this status and body (JSON unless `headers` say otherwise), unforwarded."""
        content = body.encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        start = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Length: {len(content)}\r\n"
        return cls(code, f"{start}{lines}\r\n".encode("latin-1") + content)

    @classmethod
    def lose_response(cls) -> Fault:
        """Forward, wait for the server's whole answer, then close the connection without it."""
        return cls(forward=True)

    @classmethod
    def drop(cls) -> Fault:
        """Close the connection without forwarding."""
        return cls()


@dataclass(slots=True)
class CountingProxy:
    """A running proxy: where it listens, and what passed. `ca_pem` is None for plain HTTP.

    connections: how many were accepted (with TLS: whose handshake succeeded).
    ended: the exchanges in the order of their ends, each there before its client has all of it.
    """

    address: str
    ca_pem: str | None
    connections: int = 0
    ended: list[Exchange] = field(default_factory=list)  # list operations are atomic: no lock

    @property
    def exchanges(self) -> list[Exchange]:
        """The ended exchanges in the order of their arrival."""
        return sorted(self.ended, key=lambda exchange: exchange.index)

    def reset(self) -> None:
        """Forget all exchanges and connections so far."""
        self.ended.clear()
        self.connections = 0

    def writes(self, reads: Sequence[str] = READS) -> list[Exchange]:
        """The exchanges whose request would change state, answered or not; see `READS`."""
        sent = [each for each in self.exchanges if each.method not in {"GET", "HEAD", "LIST"}]
        return [each for each in sent if not any(re.search(read, each.path) for read in reads)]

    def depth(self) -> int:
        """The greatest number of exchanges that followed one another: round trips in sequence."""
        depth, free_from = 0, float("-inf")
        for exchange in sorted(self.ended, key=lambda exchange: exchange.ended):
            if exchange.started >= free_from:
                depth, free_from = depth + 1, exchange.ended
        return depth


@contextmanager
def counting_proxy(
    upstream: str,
    *,
    upstream_ca_pem: str | None = None,
    delay: float = 0.0,
    fault: Callable[[Exchange], Fault | None] | None = None,
) -> Iterator[CountingProxy]:
    """A proxy on a free loopback port in front of `upstream` (a URL without a path).

    upstream_ca_pem: what an https upstream must be signed by; None means the system's CAs.
    delay: seconds added to every round trip, half on the way there and half on the way back.
    fault: asked about every request (`status` 0); called in the proxy's thread: it must be quick.
    """
    target = urlsplit(upstream)
    certificate = serving_certificate() if target.scheme == "https" else None
    served = certificate.server_context() if certificate else None
    trusted = ssl.create_default_context(cadata=upstream_ca_pem) if certificate else None
    connect = partial(asyncio.open_connection, target.hostname, target.port, ssl=trusted)
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio does this only to sockets that it makes; accepted ones inherit it from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"{target.scheme}://127.0.0.1:{listener.getsockname()[1]}"
    proxy = CountingProxy(address, certificate.ca if certificate else None)
    relay = _Relay(proxy, connect, delay / 2, fault or (lambda _: None))
    # Its exit cancels the connections that are left. Ours is not to be this thread's own loop.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        loop = runner.get_loop()
        server = runner.run(asyncio.start_server(relay.serve, sock=listener, ssl=served))
        thread = threading.Thread(target=loop.run_forever, name="counting-proxy")
        thread.start()
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()


@dataclass(frozen=True, slots=True)
class _Relay:
    proxy: CountingProxy
    connect: Callable[[], Awaitable[_Streams]]
    half_delay: float  # seconds
    fault: Callable[[Exchange], Fault | None]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay a client's connection until one side hangs up; then hang up on the other."""
        self.proxy.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            server_reader, server_writer = await self.connect()
            try:
                while await self._exchange((reader, writer), (server_reader, server_writer)):
                    pass
            finally:
                server_writer.close()
        writer.close()

    async def _exchange(self, client: _Streams, server: _Streams) -> bool:
        """Relay one request and its answer; whether another may follow."""
        request = await _Message.read(client[0])
        sent = request.raw + b"".join([piece async for piece, _ in request.body(client[0])])
        method, path = request.start[:2]
        begun = Exchange(next(self.numbers), method, path, 0, perf_counter(), 0.0)
        await asyncio.sleep(self.half_delay)
        fault = self.fault(begun)
        if fault and not fault.forward:
            await asyncio.sleep(self.half_delay)
            self._end(begun, fault.code)
            client[1].write(fault.answer)
            return bool(fault.answer)
        try:
            server[1].write(sent)
            answer = await _Message.read(server[0])
        except (OSError, asyncio.IncompleteReadError):
            self._end(begun, 0)
            raise
        await asyncio.sleep(self.half_delay)
        if method == "HEAD":
            answer.fields.clear()  # they describe a body that does not come
        head = answer.raw
        async for piece, last in answer.body(server[0]):
            if last:
                self._end(begun, int(answer.start[1]))
            if not fault:
                client[1].write(head + piece)
                await client[1].drain()
                head = b""
        # A server that was asked to close, by `Connection: close`, says so in its answer.
        return not fault and answer.fields.get("connection") != "close"

    def _end(self, begun: Exchange, status: int) -> None:
        self.proxy.ended.append(replace(begun, status=status, ended=perf_counter()))


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or an answer up to its body; header fields in lower case."""

    raw: bytes
    start: list[str]
    fields: dict[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> _Message:
        raw = await reader.readuntil(b"\r\n\r\n")
        start, *lines = raw.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.lower().partition(":") for line in lines)
        return cls(raw, start.split(" ", 2), {name: value.strip() for name, _, value in pairs})

    async def body(self, reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bool]]:
        """The pieces of the body as they come, framing included, each with "it is the last"."""
        if self.fields.get("transfer-encoding") == "chunked":
            yield b"", False  # the head may go on: the first event of a watch can take long
            while size := int((line := await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield line + await reader.readexactly(size + 2), False
            yield line + await reader.readexactly(2), True  # neither of our servers has trailers
        else:
            yield await reader.readexactly(int(self.fields.get("content-length", 0))), True
