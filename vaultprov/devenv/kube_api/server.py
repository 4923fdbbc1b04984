"""The transport: HTTPS on loopback, HTTP/1.1 with keep-alive, one thread per connection.

A response is one write with TCP_NODELAY on, because header and body in two packets cost a delayed
acknowledgement (40 ms) each.
"""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from vaultprov.devenv.certificates import ServingCertificate
from vaultprov.devenv.kube_api.api import Api, Response, encoded
from vaultprov.devenv.kube_api.request import parse
from vaultprov.devenv.kube_api.status import Object

_HANDSHAKE_SECONDS = 10


class RequestRecord(NamedTuple):
    """One answered request. The verb is the API's (create, patch, list, ...), not HTTP's."""

    verb: str
    path: str
    status: int


class Server(ThreadingHTTPServer):
    """Serves an Api until it is closed, and leaves no thread behind."""

    # So that server_close() waits for the threads; it can, because it closes their connections.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, api: Api, certificate: ServingCertificate, port: int) -> None:
        self.api = api
        self.requests: list[RequestRecord] = []
        self._tls = certificate.server_context()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept only: the handshake is up to the connection's own thread."""
        raw, address = super().get_request()
        connection = self._tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or does not trust the CA, is no error of the server."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        with self._lock:
            for connection in self._connections:
                # Below TLS, whose state belongs to the thread that is reading from it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        super().server_close()


class Handler(BaseHTTPRequestHandler):
    """Carries requests to the Api and its responses back."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "vaultprov-kube-api"
    disable_nagle_algorithm = True
    wbufsize = -1  # collects a response, so that it leaves as one write

    def setup(self) -> None:
        self.request.settimeout(_HANDSHAKE_SECONDS)
        self.request.do_handshake()
        self.request.settimeout(None)
        super().setup()

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = parse(self.command, self.path, self.headers, body)
        response = self.server.api.answer(request)
        # Before the answer leaves, so that a client that has it finds its request counted.
        record = RequestRecord(request.asked.verb, request.path, response.code)
        self.server.requests.append(record)
        self._send(response)

    def _send(self, response: Response) -> None:
        body = response.body
        self.send_response(response.code)
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        for name, value in ({"Content-Type": kind} | response.headers).items():
            self.send_header(name, value)
        if isinstance(body, Iterator):
            self._stream(body)
            return
        payload = body.encode() if isinstance(body, str) else encoded(body)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def _stream(self, events: Iterator[Object]) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for event in events:
            line = encoded(event)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silent: `requests` is the log."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Handler, f"do_{_method}", Handler.respond)
