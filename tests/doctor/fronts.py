"""What stands in front of a server: TLS with a certificate of choice, or nothing but silence."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def tls_front(
    upstream: str, context: Callable[[], ssl.SSLContext], upstream_ca: str = ""
) -> Iterator[str]:
    """The https:// address of a front that takes TLS off and passes the bytes to `upstream`.

    context: asked for with every connection. upstream_ca: PEM, where that speaks TLS, too.
    """
    host, _, port = upstream.partition("://")[2].rpartition(":")

    def dialled() -> socket.socket:
        plain = socket.create_connection((host, int(port)))
        if not upstream_ca:
            return plain
        context = ssl.create_default_context(cadata=upstream_ca)
        secured = context.wrap_socket(plain, server_hostname=host)
        secured.settimeout(0.1)
        return secured

    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def serve() -> None:
            listener.settimeout(0.1)
            while not stop.is_set():
                with suppress(TimeoutError):
                    accepted, _ = listener.accept()
                    threading.Thread(target=relay, args=(accepted,), daemon=True).start()

        def relay(accepted: socket.socket) -> None:
            with suppress(OSError), accepted, accepted.dup() as wire:
                accepted.settimeout(10)
                client = context().wrap_socket(
                    accepted, server_side=True, do_handshake_on_connect=False
                )
                with client, dialled() as server:
                    try:
                        client.do_handshake()
                    except ssl.SSLError:
                        _ended(wire)
                    while not stop.is_set() and _passed(client, server):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def _ended(wire: socket.socket) -> None:
    """Lets the client read the alert: closing with its bytes unread would reset the connection."""
    wire.shutdown(socket.SHUT_WR)
    while wire.recv(65536):
        pass


def _passed(client: socket.socket, server: socket.socket) -> bool:
    """Passes on what is there; False when one side has ended."""
    both = (client, server)
    held = [one for one in both if isinstance(one, ssl.SSLSocket) and one.pending()]
    ready: Sequence[socket.socket] = held or select.select(both, [], [], 0.1)[0]
    for one in ready:
        try:
            data = one.recv(65536)
        except TimeoutError:
            continue  # of TLS itself, a session ticket for example
        if not data:
            return False
        (server if one is client else client).sendall(data)
    return True


@contextmanager
def black_hole() -> Iterator[str]:
    """An https:// address that answers nothing, as behind a firewall that drops packets.

    A listener whose backlog is full drops what else wants to connect (Linux, tcp(7)).
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"https://127.0.0.1:{address[1]}"
