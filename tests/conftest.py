"""Real servers for the tests: an OpenBao per test, one Kubernetes API and provider per worker.

VAULTPROV_TEST_KUBE says which Kubernetes API: `embedded` (the default), `control-plane` (a real
kube-apiserver, see scripts/control-plane), or the kubeconfig of a cluster such as kind's, with its
current context. Tests that share one keep apart by their namespaces.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hvac
import pytest
import yaml

from vaultprov.clients.kubeconfig import connect
from vaultprov.devenv.control_plane import control_plane
from vaultprov.devenv.kube_api import serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import OidcProvider, oidc_provider
from vaultprov.devenv.openbao import OpenBao, openbao
from vaultprov.kube import objects
from vaultprov.model import ServiceAccount

CANARY = "canary-3f9a1c-never-to-be-seen"
_ids = itertools.count(1)


def pytest_configure() -> None:
    """A shell starts what it puts into the background deaf to Ctrl-C, and so would be our children.

    The commands under test have to hear it as they do in a terminal.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Kube:
    """A Kubernetes API, and its administrator's token."""

    server: str
    ca_pem: str
    token: str


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    which = os.environ.get("VAULTPROV_TEST_KUBE", "embedded")
    if which == "embedded":
        with serve() as api:
            yield Kube(api.server, api.ca_pem, api.admin_token)
    elif which == "control-plane":
        with control_plane(tmp_path_factory.mktemp("control-plane")) as real:
            yield Kube(real.server, real.ca_pem, real.admin_token)
    else:
        yield _of_kubeconfig(which)


def _of_kubeconfig(file: str) -> Kube:
    """A cluster that is there already; its admin is a ServiceAccount of ours with a day's token."""
    cluster = connect(None, file)
    account = ServiceAccount("kube-system", "vaultprov-tests")
    cluster.client.apply(objects.service_account(account))
    binding = objects.reviewer_binding("vaultprov-tests", account)
    binding["roleRef"]["name"] = "cluster-admin"
    cluster.client.apply(binding)
    granted = cluster.client.request_token(account.namespace, account.name, (), 86400)
    return Kube(cluster.client.server, cluster.ca_pem(), granted.token.reveal())


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        yield running


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    with openbao(tmp_path / "bao") as running:
        yield running


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    def actions(self, *, keep: bool = False) -> dict[str, str]:
        """Key -> action of the JSON document's steps, without those that keep."""
        steps = self.document["steps"]
        return {s["key"]: s["action"] for s in steps if keep or s["action"] != "keep"}


@dataclass(frozen=True)
class Lab:
    """A user's desk: a folder with a site file, an environment, and the servers' raw APIs."""

    folder: Path
    env: Mapping[str, str]
    id: str
    vault: hvac.Client
    kube: Kube
    spoken: list[str] = field(default_factory=list)

    @property
    def reviewer_namespace(self) -> str:
        return f"eso-operator-{self.id}"

    @property
    def workload_namespace(self) -> str:
        return f"external-secrets-{self.id}"

    def run(self, *words: str, stdin: str | None = None, **env: str) -> Result:
        """`vaultprov WORDS`, as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "vaultprov", *words],
            cwd=self.folder,
            env={**self.env, **env},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.spoken.append(done.stdout + done.stderr)
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, in the background and unheard."""
        return subprocess.Popen(
            [sys.executable, "-m", "vaultprov", *words],
            cwd=self.folder,
            env=dict(self.env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def onboard(self, *words: str, command: str = "onboard", **env: str) -> Result:
        """`vaultprov onboard --env moc --cluster smaug WORDS`."""
        return self.run(command, "--env", "moc", "--cluster", "smaug", *words, **env)

    def plan(self, *words: str) -> Result:
        return self.onboard("--output", "json", *words, command="plan")

    def having(self, **env: str) -> Lab:
        """The same desk with other variables."""
        return replace(self, env={**self.env, **env})

    def site(self, content: Mapping[str, Any]) -> None:
        """Adds top-level settings to the site file."""
        file = self.folder / "vaultprov.yaml"
        merged = {**yaml.safe_load(file.read_text()), **content}
        file.write_text(yaml.safe_dump(merged))


@pytest.fixture
def lab(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    bao: OpenBao,
    kube: Kube,
    provider: OidcProvider,
) -> Iterator[Lab]:
    """A desk with nothing onboarded yet; checks at the end that the canaries were never printed."""
    unique = f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}-{os.getpid()}-{next(_ids)}"
    kubeconfig = write_kubeconfig(
        tmp_path / "kubeconfig",
        server=kube.server,
        ca_pem=kube.ca_pem,
        token=kube.token,
        context="smaug",
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),  # what is killed leaves files behind
        "VAULT_ADDR": bao.address,
        "VAULT_TOKEN": bao.root_token,
        "KUBECONFIG": str(kubeconfig),
        "OIDC_CLIENT_SECRET": CANARY,
        "VAULTPROV_DEBUG": "1",
    }
    env |= {name: os.environ[name] for name in os.environ if name.startswith("COV")}
    desk = Lab(tmp_path, env, unique, hvac.Client(bao.address, bao.root_token), kube)
    (tmp_path / "vaultprov.yaml").write_text(
        yaml.safe_dump(
            {
                "reviewer": {"namespace": desk.reviewer_namespace},
                "service_accounts": [f"{desk.workload_namespace}/vault-secret-fetcher"],
                "oidc": {
                    "discovery_url": provider.issuer,
                    "client_id": provider.client_id,
                    "client_secret_env": "OIDC_CLIENT_SECRET",
                },
                "environments": {"moc": {"clusters": {"smaug": None}}},
            }
        )
    )
    with ExitStack() as stack:
        stack.callback(desk.vault.adapter.close)
        yield desk
    printed = "".join(desk.spoken)
    for secret in (CANARY, bao.root_token, kube.token):
        assert secret not in printed
    assert "eyJ" not in printed, "a JSON Web Token was printed"


@pytest.fixture
def site(lab: Lab) -> Lab:
    """A desk whose site is bootstrapped."""
    done = lab.run("bootstrap")
    assert done.code == 0, done.err
    return lab


@pytest.fixture
def onboarded(site: Lab) -> Lab:
    """A desk with moc/smaug onboarded."""
    done = site.onboard()
    assert done.code == 0, done.out + done.err
    return site
