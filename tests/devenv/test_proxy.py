"""The counting proxy changes nothing but what it is told to, and counts what passed."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from vaultprov.devenv.openbao import OpenBao, openbao
from vaultprov.devenv.process import answers_200
from vaultprov.devenv.proxy import CountingProxy, Exchange, Fault, counting_proxy


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was sent; /watch sends one chunk whenever the test releases it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    released: threading.Semaphore
    seen: list[str]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append(f"{self.command} {self.path}")
        content = json.dumps([self.command, self.path, body.decode()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in (b"one\n", b"two\n"):
            self.released.acquire()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self) -> None:
        if self.path == "/watch":
            self.watch()
        else:
            self.answer()

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def serving(seen: list[str], released: threading.Semaphore) -> Iterator[str]:
    """The address of a server of the above kind."""
    methods = ("HEAD", "LIST", "POST", "PUT", "PATCH", "DELETE")
    answers = {f"do_{method}": Upstream.answer for method in methods}
    handler = type("Handler", (Upstream,), {"seen": seen, "released": released, **answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def upstream() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what reaches it."""
    seen: list[str] = []
    with serving(seen, threading.Semaphore(0)) as address:
        yield address, seen


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=10.0, maxsize=8) as pool:
        yield pool


def test_requests_and_answers_pass_unchanged(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    with counting_proxy(upstream[0]) as proxy:
        big = "x" * 300_000
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "LIST"):
            answer = http.request(method, f"{proxy.address}/a?b=c", body=big)
            assert answer.json() == [method, "/a?b=c", big]
        assert http.request("HEAD", f"{proxy.address}/a").data == b""
        assert [exchange.method for exchange in proxy.exchanges][-2:] == ["LIST", "HEAD"]


def test_an_exchange_is_counted_before_its_client_has_the_answer(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    with counting_proxy(upstream[0]) as proxy:
        for number in range(100):
            http.request("GET", f"{proxy.address}/{number}")
            assert len(proxy.exchanges) == number + 1
        paths = [exchange.path for exchange in proxy.exchanges]
        assert paths == [f"/{number}" for number in range(100)]
        assert [exchange.index for exchange in proxy.exchanges] == list(range(100))


def test_a_connection_is_kept_and_counted_once(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    with counting_proxy(upstream[0]) as proxy:
        for _ in range(5):
            http.request("GET", f"{proxy.address}/")
        assert (proxy.connections, len(proxy.exchanges)) == (1, 5)
        proxy.reset()
        assert (proxy.connections, proxy.exchanges) == (0, [])


def test_the_events_of_a_watch_pass_as_they_come(http: urllib3.PoolManager) -> None:
    release = threading.Semaphore(0)
    with serving([], release) as address, counting_proxy(address) as proxy:
        watch = http.request("GET", f"{proxy.address}/watch", preload_content=False)
        events = watch.stream()
        for event in (b"one\n", b"two\n"):
            assert proxy.exchanges == []
            release.release()
            assert next(events) == event
        assert list(events) == []
        assert len(proxy.exchanges) == 1


def test_logins_questions_and_dry_runs_are_no_writes(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    reads = [
        "/v1/sys/capabilities-self",
        "/v1/auth/kubernetes/dev/smaug/login",
        "/v1/auth/token/revoke-self",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        "/api/v1/namespaces/eso/serviceaccounts/eso/token?timeout=5",
        "/api/v1/namespaces/eso/secrets/x?fieldManager=v&dryRun=All",
    ]
    writes = [
        "/v1/auth/kubernetes/role/login",
        "/v1/secret/data/auth/x/login",
        "/v1/auth/token/revoke",
        "/api/v1/namespaces/eso/serviceaccounts",
        "/api/v1/namespaces/eso/secrets/token",
    ]
    with counting_proxy(upstream[0]) as proxy:
        for path in reads + writes:
            http.request("GET", f"{proxy.address}{path}")
            http.request("POST", f"{proxy.address}{path}")
        assert [exchange.path for exchange in proxy.writes()] == writes
        assert len(proxy.writes(reads=[])) == len(reads + writes)
        assert len(proxy.writes(reads=["secret"])) == len(reads + writes) - 3


def exchange(started: float, ended: float) -> Exchange:
    return Exchange(0, "GET", "/", 200, started, ended)


@pytest.mark.parametrize(
    ("spans", "depth"),
    [
        ([], 0),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 3), (1, 4), (2, 5)], 1),
        ([(0, 9), (0, 1), (2, 3), (4, 5)], 3),  # the long one overlaps all others
    ],
)
def test_the_depth_is_the_longest_sequence_without_overlap(
    spans: list[tuple[float, float]], depth: int
) -> None:
    proxy = CountingProxy("http://x", None, ended=[exchange(*span) for span in spans])
    assert proxy.depth() == depth


def test_the_delay_is_added_to_every_round_trip_and_not_between_parallel_ones(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    delay = 0.2
    with counting_proxy(upstream[0], delay=delay) as proxy, ThreadPoolExecutor(4) as threads:
        begun = time.monotonic()
        list(threads.map(lambda _: http.request("GET", f"{proxy.address}/"), range(4)))
        assert delay <= time.monotonic() - begun < 4 * delay
        assert proxy.depth() == 1
        http.request("GET", f"{proxy.address}/")
        assert proxy.depth() == 2
        assert all(each.ended - each.started >= delay for each in proxy.exchanges)


def first(fault: Fault) -> Callable[[Exchange], Fault | None]:
    """The fault for the first request, none for later ones."""
    return lambda begun: fault if begun.index == 0 else None


def test_a_status_is_answered_without_asking_the_server(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    fault = Fault.status(429, '{"errors": ["slow down"]}', {"Retry-After": "7"})
    with counting_proxy(upstream[0], fault=first(fault)) as proxy:
        answer = http.request("GET", f"{proxy.address}/first")
        assert (answer.status, answer.json()) == (429, {"errors": ["slow down"]})
        assert answer.headers["Retry-After"] == "7"
        assert http.request("GET", f"{proxy.address}/second").status == 200
        assert [each.status for each in proxy.exchanges] == [429, 200]
        assert proxy.connections == 1
    assert upstream[1] == ["GET /second"]


@pytest.mark.parametrize(
    ("fault", "status", "reached"),
    [(Fault.lose_response(), 200, ["POST /x"]), (Fault.drop(), 0, [])],
)
def test_a_lost_response_reaches_the_server_and_a_drop_does_not(
    upstream: tuple[str, list[str]],
    http: urllib3.PoolManager,
    fault: Fault,
    status: int,
    reached: list[str],
) -> None:
    with counting_proxy(upstream[0], fault=first(fault)) as proxy:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            http.request("POST", f"{proxy.address}/x")
        assert [each.status for each in proxy.exchanges] == [status]
        assert upstream[1] == reached
        assert http.request("POST", f"{proxy.address}/x").status == 200


def test_in_front_of_nobody_it_hangs_up(http: urllib3.PoolManager) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        address = f"http://127.0.0.1:{server.server_port}"
    with counting_proxy(address) as proxy, pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("GET", f"{proxy.address}/")


def test_afterwards_nobody_listens_and_open_connections_are_closed(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    with counting_proxy(upstream[0]) as proxy:
        http.request("GET", f"{proxy.address}/")
    assert not answers_200(proxy.address)
    assert "counting-proxy" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao"), tls=True) as server:
        yield server


def strict_pool(ca_pem: str | None) -> urllib3.PoolManager:
    """A client as strict as Python 3.13's default."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return urllib3.PoolManager(ssl_context=context, retries=False)


def test_in_front_of_https_it_has_a_ca_of_its_own(bao: OpenBao) -> None:
    assert bao.ca_file is not None
    headers = {"X-Vault-Token": bao.root_token}
    with (
        counting_proxy(bao.address, upstream_ca_pem=bao.ca_file.read_text()) as proxy,
        strict_pool(proxy.ca_pem) as http,
    ):
        answer = http.request("GET", f"{proxy.address}/v1/sys/mounts", headers=headers)
        assert "secret/" in answer.json()["data"]
        chunks = [b'{"data": {"ring":', b'"one"}}']
        http.request("POST", f"{proxy.address}/v1/secret/data/x", body=chunks, headers=headers)
        stored = http.request("GET", f"{proxy.address}/v1/secret/data/x", headers=headers)
        assert stored.json()["data"]["data"] == {"ring": "one"}
        paths = [each.path for each in proxy.exchanges]
        assert paths == ["/v1/sys/mounts", "/v1/secret/data/x", "/v1/secret/data/x"]


def test_it_trusts_no_upstream_but_the_given_ca(bao: OpenBao, tmp_path: Path) -> None:
    with (
        counting_proxy(bao.address) as proxy,
        strict_pool(proxy.ca_pem) as http,
        pytest.raises(urllib3.exceptions.ProtocolError),
    ):
        http.request("GET", f"{proxy.address}/v1/sys/health")


def test_no_secret_can_be_in_what_is_kept(
    upstream: tuple[str, list[str]], http: urllib3.PoolManager
) -> None:
    with counting_proxy(upstream[0]) as proxy:
        headers = {"X-Vault-Token": "s.secret"}
        http.request("POST", f"{proxy.address}/x", body="s.secret", headers=headers)
        assert "s.secret" not in repr(proxy)
