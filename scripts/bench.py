"""Times vaultprov and its rivals in turn; see `bench`, which starts this."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median, median_low

import urllib3
from competitors import (
    AGAIN,
    BARE,
    BIN,
    DIRECT,
    FRESH,
    OURS,
    PEER,
    PLAY,
    SHELL,
    SLOW,
    Competitor,
    Desk,
    Route,
    World,
    command,
    competitors,
    programs,
    servers,
)

from vaultprov.devenv.kube_api import KubeApi
from vaultprov.devenv.process import DevenvError

_DEPTH, _HELP_FACTOR = 4, 2.0  # promised, see _limits
_START = "start"
_TITLES = {
    FRESH: "fresh: an onboarding, nothing there before",
    AGAIN: "again: the same once more, nothing to change",
    _START: "start: no server involved",
}
_HELP, _CLICK = "(a) vaultprov --help", "python -c 'import click'"
_STARTS = {
    _HELP: (BIN / "vaultprov", "--help"),
    _CLICK: (sys.executable, "-c", "import click"),
    "python -c pass": (sys.executable, "-c", "pass"),
}
_VERDICTS = {True: "holds", False: "BROKEN", None: "OPEN"}
_WHAT = "vaultprov beside the shell runbook, a bare client and hashivault's modules, in one run."
_BEATEN = {SHELL: (OURS, "the shell runbook"), PEER: (PLAY, "hashivault's modules and kubectl")}
_NOTES = f"""\
(a) reads, plans, checks rights, writes, reads again what it wrote, proves a workload's login.
(b) scripts/runbook.sh, Operate First's runbook with the repairs that it needs; kubectl's cache is
    warm. It does not compare before it writes (policies, config and role are rewritten each time,
    and namespaces that people added to the role are lost), check rights, notice that the context
    is another cluster's, or read again what it wrote. It proves the login as (a) does.
(c) the requests of one recorded run of (a), their names and tokens replaced, over keep-alive
    connections opened for the run, as many at once as (a) sends; no start-up, no thinking, and a
    listing repeated where (a) watches. The floor that servers and wire set, not a product.
(d) scripts/playbook-vaultprov.yml: (a) as one task of ansible-playbook, whose start is in it.
(e) scripts/playbook-hashivault.yml: the same from ansible-modules-hashivault and kubectl, one task
    each, in the same ansible-playbook. It compares before it writes, except for the reviewer's
    token, which it never renews; it has no option for the role's audience, and checks no rights.
{SLOW} is added to each request and not to connecting: that favours (b), which connects once per
command. Counts are medians at {SLOW}; depth is the longest chain of round trips in sequence, of
all runs the least, because noise makes things sent at once look sequential, never the opposite."""


Key = tuple[str, str, str]  # job, competitor, route


@dataclass(slots=True)
class Figures:
    """times: seconds, one per run. counts: of the slow route, one per run."""

    times: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[Key, list[dict[str, int]]] = field(default_factory=lambda: defaultdict(list))

    def ratio(self, job: str, route: str, one: str, other: str) -> float:
        """The median of the runs' ratios; 0.0 when one was not measured."""
        times = (self.times.get((job, name, route), ()) for name in (one, other))
        return float(median([a / b for a, b in zip(*times, strict=False)] or [0.0]))

    def count(self, job: str, name: str, what: str) -> int:
        counts = [each[what] for each in self.counts[job, name, SLOW]]
        # A stalled machine can only make more look sequential than is.
        return min(counts) if "depth" in what else median_low(counts)

    def spread(self, job: str, name: str, route: str) -> str:
        """Median and range of the times, in milliseconds."""
        ms = [seconds * 1000 for seconds in self.times[job, name, route]]
        return f"{median(ms):.0f} ({min(ms):.0f}-{max(ms):.0f})"


def _round(
    figures: Figures, desk: Desk, routes: list[Route], rivals: dict[str, Competitor]
) -> None:
    """One run of everything."""
    for route in routes:
        for name, onboard in rivals.items():
            world = World(next(desk.tags))
            for job in (FRESH, AGAIN):
                for proxy in route.proxies:
                    proxy.reset()
                started = time.perf_counter()
                onboard(job, route, world)
                figures.times[job, name, route.name].append(time.perf_counter() - started)
                if route.proxies:
                    figures.counts[job, name, route.name].append(route.counts())
    for name, argv in _STARTS.items():
        started = time.perf_counter()
        command(argv, desk.folder, routes[0].environ)
        figures.times[_START, name, DIRECT].append(time.perf_counter() - started)


def _table(figures: Figures) -> Iterator[str]:
    """Times and counts, for people."""
    form = "  {:24}{:>20}{:>20}{:>12}{:>12}{:>7}{:>13}".format
    yield form("milliseconds,", "", "", "requests", "depth", "depth", "").rstrip()
    titles = (DIRECT, SLOW, "vault+kube", "vault, kube", "both", "connections")
    yield form("median (range)", *titles)
    for job, title in _TITLES.items():
        yield title
        for name in dict.fromkeys(key[1] for key in figures.times if key[0] == job):
            columns = [figures.spread(job, name, DIRECT), "", "", "", "", ""]
            if job != _START:
                kinds = figures.counts[job, name, SLOW][0]
                n = {kind: figures.count(job, name, kind) for kind in kinds}
                each, depths = f"{n['vault']}+{n['kube']}", f"{n['vault depth']}, {n['kube depth']}"
                slow = figures.spread(job, name, SLOW)
                columns[1:] = [slow, each, depths, str(n["depth"]), str(n["connections"])]
            yield form(name, *columns).rstrip()


def _ratios(figures: Figures) -> dict[str, float]:
    """How many times as long the one takes as the other."""
    start = figures.ratio(_START, DIRECT, _HELP, _CLICK)
    ratios = {
        f"{job}, {route}: {one} / {other}": figures.ratio(job, route, one, other)
        for one, other in ((SHELL, OURS), (OURS, BARE), (PEER, PLAY), (PLAY, OURS))
        for job in (FRESH, AGAIN)
        for route in (DIRECT, SLOW)
    }
    return {**ratios, f"{_START}: {_HELP} / {_CLICK}": start}


def _limits(figures: Figures) -> dict[str, tuple[str, bool | None]]:
    """What is promised -> what was found, and whether it holds (None: who knows)."""
    limits: dict[str, tuple[str, bool | None]] = {}
    for rival, (ours, title) in _BEATEN.items():
        for job in (FRESH, AGAIN):
            for route in (DIRECT, SLOW):
                ratio = figures.ratio(job, route, rival, ours)
                found = f"{ratio:.2f} times as fast" if ratio else f"{rival} was not measured"
                holds = ratio > 1 if ratio else None
                limits[f"{job}, {route}: faster than {title}"] = (found, holds)
    for server in ("vault", "kube"):
        depth = figures.count(AGAIN, OURS, f"{server} depth")
        title = f"again: depth at {server} at most {_DEPTH}, connecting apart"
        limits[title] = (str(depth), depth <= _DEPTH)
    ratio = figures.ratio(_START, DIRECT, _HELP, _CLICK)
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
        f"Python {platform.python_version()}, ansible-core {version('ansible-core')}\n"
        f"OpenBao {vault['version']}, Kubernetes {kube['gitVersion']} ({kind}), "
        f"{f'kubectl {kubectl}' if kubectl else 'no kubectl, so (b) and (e) ARE NOT MEASURED'}\n"
        f"{runs} runs after one to warm up, competitors by turns, everything on loopback\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=_WHAT)
    parser.add_argument("--runs", type=int, default=7, help="default: 7")
    which = parser.add_mutually_exclusive_group()
    help_ = "the real kube-apiserver, built if need be (default: if there is one already)"
    which.add_argument("--control-plane", dest="real", action="store_const", const=True, help=help_)
    help_ = "the embedded Kubernetes API"
    which.add_argument("--embedded", dest="real", action="store_const", const=False, help=help_)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures (seconds)")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs: at least 1")
    return arguments


def main() -> int:
    """Measure and print; 1 when a promised limit does not hold."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    with tempfile.TemporaryDirectory(prefix="vaultprov-bench-") as name:
        folder = Path(name)
        kubectl = programs(folder)
        with servers(folder, real=arguments.real) as (desk, routes):
            heading = _heading(desk, kubectl, arguments.runs)
            peer = bool(os.environ.get("VAULTPROV_BENCH_HASHIVAULT"))
            rivals = competitors(desk, routes[1], kubectl=bool(kubectl), peer=peer)
            _round(Figures(), desk, routes, rivals)
            figures = Figures()
            for _ in range(arguments.runs):
                _round(figures, desk, routes, rivals)
    ratios, limits = _ratios(figures), _limits(figures)
    print(
        heading, *_table(figures), "", _NOTES, "", "ratios (median of the runs' ratios)", sep="\n"
    )
    for title, ratio in ratios.items():
        print(f"  {ratio:6.2f}  {title}" if ratio else f"  not measured: {title}")
    print("limits")
    for title, (found, holds) in limits.items():
        print(f"  {_VERDICTS[holds]:6}  {title}: {found}")
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
    except KeyboardInterrupt:
        sys.exit(130)
