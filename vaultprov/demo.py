"""`vaultprov demo`: the main job, for real, against servers of its own.

A real OpenBao, an OIDC provider and the embedded Kubernetes API are started on free loopback ports;
everything else is what a user would type, run by the command line itself.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vaultprov.clients.connect import connection
from vaultprov.clients.kubeconfig import connect
from vaultprov.clients.vault import VaultClient
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.openbao import openbao
from vaultprov.devenv.process import Child, DevenvError, start, unwind_on_signals, wait_until
from vaultprov.errors import Error
from vaultprov.model import ServiceAccount
from vaultprov.redact import Secret
from vaultprov.resource import VaultPort
from vaultprov.settings import SETTINGS

ENV, CLUSTER = "moc", "smaug"
_READY = 20.0  # seconds; a server is up within one
_MOUNT, _PATH = "k8s_secrets", f"data/{ENV}/{CLUSTER}/greeting"
_WORKLOAD = ServiceAccount("external-secrets", "vault-secret-fetcher")

Command = Callable[[list[str]], int]


@dataclass(frozen=True, slots=True)
class Servers:
    """What was started, and the variables that lead a client to it."""

    environ: dict[str, str]
    pids: tuple[int, ...]


def play(command: Command, *, keep: bool) -> int:
    """Runs the whole story with `command`, the command line; its exit code.

    keep: the servers stay, and how to use and to end them is printed. Otherwise nothing is left, on
    Ctrl-C too. Raises Error when a server cannot be started.
    """
    unwind_on_signals(130)
    folder = Path(tempfile.mkdtemp(prefix="vaultprov-demo-"))
    kept = False
    try:
        with _servers(folder, keep=keep) as servers, _surroundings(folder, servers.environ):
            code = _story(command, servers)
            kept = keep and code == 0
            if kept:
                _say("The servers stay. To use them:")
                print(f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
                for name, value in servers.environ.items():
                    print(f"  export {name}={shlex.quote(value)}")
                print(f"  cd {folder}\nTo end them:")
                print(f"  kill {' '.join(map(str, servers.pids))}; rm -r {folder}")
            elif keep:
                raise Error("the demo failed, so nothing was kept")
        return code
    except DevenvError as error:
        raise Error(str(error)) from error
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _story(command: Command, servers: Servers) -> int:
    vault = VaultClient(
        connection(
            {s.key: s.default for s in SETTINGS} | {"vault.address": servers.environ["VAULT_ADDR"]},
            _say,
        ),
        Secret(servers.environ["VAULT_TOKEN"]),
    )
    steps = (
        ("Once for the site:", ["bootstrap"]),
        ("The cluster, from nothing to a proof:", ["onboard", "--env", ENV, "--cluster", CLUSTER]),
        ("Again: nothing changes.", ["onboard", "--env", ENV, "--cluster", CLUSTER]),
    )
    for number, (title, words) in enumerate(steps):
        _say(f"{title}\n$ vaultprov {' '.join(words)}")
        code = command(words)
        if code != 0:
            return code
        if number == 1:
            _read_as_the_workload(vault, servers)
    vault.close()
    return 0


def _read_as_the_workload(vault: VaultPort, servers: Servers) -> None:
    """What External Secrets does: a token for the ServiceAccount, a login, a read."""
    _say(f"A secret, written by an admin and read by ServiceAccount {_WORKLOAD}:")
    vault.write(f"{_MOUNT}/{_PATH}", {"data": {"greeting": "hello from Vault"}})
    kube = connect(CLUSTER, servers.environ["KUBECONFIG"]).client
    granted = kube.request_token(_WORKLOAD.namespace, _WORKLOAD.name, ("vault",), 600)
    session = vault.login(f"{CLUSTER}-k8s", {"role": f"{ENV}-ops", "jwt": granted.token})
    found = session.read(f"{_MOUNT}/{_PATH}") or {}
    print(f"  {_MOUNT}/{ENV}/{CLUSTER}/greeting: {found['data']['greeting']}")
    session.revoke_self()
    kube.close()


@contextmanager
def _servers(folder: Path, *, keep: bool) -> Iterator[Servers]:
    _say("Starting OpenBao, an OIDC provider and a Kubernetes API on free loopback ports")
    with ExitStack() as stack:
        api = _module(stack, folder, "kube_api", keep=keep)
        provider = _module(stack, folder, "oidc", keep=keep)
        bao = stack.enter_context(openbao(folder / "bao", detach=keep))
        api_facts, provider_facts = _facts(api), _facts(provider)
        kubeconfig = write_kubeconfig(
            folder / "kubeconfig",
            server=api_facts["server"],
            ca_pem=api_facts["ca_pem"],
            token=api_facts["token"],
            context=CLUSTER,
        )
        site = {
            "oidc": {
                "discovery_url": provider_facts["issuer"],
                "client_id": provider_facts["client_id"],
                "client_secret_env": "OIDC_CLIENT_SECRET",
            },
            "environments": {ENV: {"clusters": {CLUSTER: {"kubernetes": {"context": CLUSTER}}}}},
        }
        (folder / "vaultprov.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
        environ = {
            "VAULT_ADDR": bao.address,
            "VAULT_TOKEN": bao.root_token,
            "KUBECONFIG": str(kubeconfig),
            "OIDC_CLIENT_SECRET": provider_facts["client_secret"],
        }
        yield Servers(environ, (bao.pid, api.pid, provider.pid))


def _module(stack: ExitStack, folder: Path, name: str, *, keep: bool) -> Child:
    """One of our own servers, as a process, so that it can outlive us (not after a failure)."""
    argv = [sys.executable, "-m", f"vaultprov.devenv.{name}"]
    child = start(argv, folder / f"{name}.log", detach=keep)

    def leave(kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or not keep:
            child.stop()

    stack.push(leave)
    return child


def _facts(child: Child) -> dict[str, Any]:
    """What a server of ours says of itself once it is ready."""

    def first_line() -> str:
        return next((x for x in child.log.read_text().splitlines() if x.startswith("{")), "")

    wait_until(lambda: first_line().endswith("}"), _READY, f"{child.log.stem} is ready", child)
    facts: dict[str, Any] = json.loads(first_line())
    return facts


@contextmanager
def _surroundings(folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """The folder and variables that the commands run in; whatever the user has set is set aside."""
    before, where = dict(os.environ), Path.cwd()
    foreign = ("VAULT_", "BAO_", "VAULTPROV_")
    for name in [name for name in os.environ if name.startswith(foreign)]:
        del os.environ[name]
    os.environ.update(environ)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)


def _say(text: str) -> None:
    print(f"\n# {text}", flush=True)
