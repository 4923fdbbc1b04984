"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

It runs no pods. `python -m vaultprov.devenv.control_plane` runs one until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.asymmetric import rsa

from vaultprov.devenv.certificates import (
    ServingCertificate,
    private_key_pem,
    serving_certificate,
)
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.process import (
    Child,
    DevenvError,
    answers_200,
    free_port,
    retry_port_taken,
    start,
    unwind_on_signals,
    wait_until,
)

_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
_SCRIPT = Path(__file__).parents[2] / "scripts" / "control-plane"
_TIMEOUT = 60.0  # seconds for each step of the start; the whole start usually takes 6
_GRACE = 2.0  # seconds to stop in; all data are thrown away anyway


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane; `admin_token` belongs to the group system:masters."""

    server: str
    ca_pem: str
    admin_token: str
    pids: tuple[int, ...]


@contextmanager
def control_plane(folder: Path, *, assets: Path | None = None) -> Iterator[ControlPlane]:
    """A control plane whose ServiceAccount tokens work: Secrets are filled, TokenRequest answers.

    folder: created where missing; receives data, keys and logs.
    assets: the folder of the three programs; None takes KUBEBUILDER_ASSETS, or what the source
    tree's `scripts/control-plane assets` has or builds.
    Raises DevenvError when a program is missing or does not start.
    """
    programs = _programs(assets)
    folder.mkdir(parents=True, exist_ok=True)
    plane, running = retry_port_taken(lambda: _boot(folder, programs))
    with running:
        yield plane


def _programs(assets: Path | None) -> Path:
    given = os.environ.get("KUBEBUILDER_ASSETS")
    folder = assets or (Path(given) if given else None)
    if folder and not _missing(folder):
        return folder
    if assets is None and _SCRIPT.exists():  # adds to KUBEBUILDER_ASSETS what envtest lacks
        command = [str(_SCRIPT), "assets"]
        script = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if script.returncode:
            raise DevenvError(f"{_SCRIPT} assets failed; see its messages above")
        return Path(script.stdout.strip())
    lacking = f"{folder} has no {', '.join(_missing(folder))}" if folder else "no Kubernetes here"
    raise DevenvError(f"{lacking}; set KUBEBUILDER_ASSETS to a folder with {', '.join(_PROGRAMS)}")


def _missing(folder: Path) -> list[str]:
    return [name for name in _PROGRAMS if not os.access(folder / name, os.X_OK)]


def _boot(folder: Path, programs: Path) -> tuple[ControlPlane, ExitStack]:
    """The three programs running, and the stack that stops them in the opposite order."""
    with ExitStack() as running:
        children: list[Child] = []

        def run(name: str, *flags: str) -> None:
            child = start([programs / name, *flags], folder / f"{name}.log")
            running.callback(child.stop, _GRACE)
            children.append(child)

        certificate = serving_certificate("kubernetes.default.svc")
        ca_file = _private_file(folder / "ca.crt", certificate.ca)
        token = secrets.token_hex(16)
        etcd, server = (f"{scheme}://127.0.0.1:{free_port()}" for scheme in ("http", "https"))
        run("etcd", *_etcd_flags(folder, etcd))
        run("kube-apiserver", *_apiserver_flags(folder, etcd, server, certificate, token))
        wait_until(
            lambda: answers_200(f"{server}/readyz", token=token, ca_file=ca_file),
            _TIMEOUT,
            "the Kubernetes API is ready",
            *children,
        )
        run("kube-controller-manager", *_manager_flags(folder, programs, server, ca_file, token))
        with urllib3.PoolManager(ca_certs=str(ca_file)) as http:
            _await_controllers(_Api(http, server, token), children)
        pids = tuple(child.pid for child in children)
        return ControlPlane(server, certificate.ca, token, pids), running.pop_all()


def _etcd_flags(folder: Path, address: str) -> list[str]:
    data = folder / "etcd"
    shutil.rmtree(data, ignore_errors=True)  # of an attempt before
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={address}",
        f"--advertise-client-urls={address}",
        "--listen-peer-urls=http://127.0.0.1:0",  # it has no peers
        "--unsafe-no-fsync",
    ]


def _apiserver_flags(
    folder: Path, etcd: str, server: str, certificate: ServingCertificate, token: str
) -> list[str]:
    account_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    accounts = _private_file(folder / "service-accounts.key", private_key_pem(account_key))
    serving = _private_file(folder / "serving.crt", certificate.certificate)
    key = _private_file(folder / "serving.key", certificate.key)
    tokens = _private_file(folder / "tokens.csv", f'{token},admin,admin,"system:masters"\n')
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",  # otherwise it insists on a default route
        "--endpoint-reconciler-type=none",  # loopback cannot be an endpoint, and nobody needs it
        f"--secure-port={server.rpartition(':')[2]}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={serving}",
        f"--tls-private-key-file={key}",
        f"--token-auth-file={tokens}",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _manager_flags(
    folder: Path, programs: Path, server: str, ca_file: Path, token: str
) -> list[str]:
    kubeconfig = write_kubeconfig(
        folder / "controller-manager.kubeconfig",
        server=server,
        ca_pem=ca_file.read_text(encoding="ascii"),
        token=token,
    )
    flags = [
        f"--kubeconfig={kubeconfig}",
        "--controllers=serviceaccount,serviceaccount-token,namespace,root-ca-cert-publisher",
        f"--service-account-private-key-file={folder / 'service-accounts.key'}",
        f"--root-ca-file={ca_file}",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    # Before 1.24 it also listens on a fixed port of all addresses unless told not to; since then
    # it does not know this flag.
    manager = programs / "kube-controller-manager"
    usage = subprocess.run([manager, "--help"], capture_output=True, text=True, check=False)
    return [*flags, "--port=0"] if " --port int" in usage.stdout + usage.stderr else flags


@dataclass(frozen=True, slots=True)
class _Api:
    """As much of a Kubernetes client as the probe needs."""

    http: urllib3.PoolManager
    server: str
    token: str

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """The answer's object, None when the status is not a success."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.server}/api/v1/namespaces/default/{path}"
        answer = self.http.request(method, url, json=body, headers=headers)
        found: dict[str, Any] | None = answer.json() if answer.status < 300 else None
        return found


def _await_controllers(api: _Api, children: Sequence[Child]) -> None:
    """Return when ServiceAccounts appear and token Secrets get filled; leaves no probe behind."""
    account = "serviceaccounts/default"
    wait_until(
        lambda: api.call("GET", account) is not None, _TIMEOUT, f"{account} exists", *children
    )
    name = f"vaultprov-devenv-{secrets.token_hex(4)}"
    annotations = {"kubernetes.io/service-account.name": "default"}
    probe = {
        "metadata": {"name": name, "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }
    api.call("POST", "secrets", probe)

    def filled() -> bool:
        secret = api.call("GET", f"secrets/{name}")
        return secret is not None and "token" in secret.get("data", {})

    wait_until(filled, _TIMEOUT, "a ServiceAccount's token Secret is filled", *children)
    api.call("DELETE", f"secrets/{name}")


def _private_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    return path


def main() -> None:
    """Run a control plane in the foreground; see the module's docstring."""
    unwind_on_signals()
    with tempfile.TemporaryDirectory(prefix="vaultprov-control-plane-") as name:
        folder = Path(name)
        with control_plane(folder) as plane:
            kubeconfig = write_kubeconfig(
                folder / "kubeconfig",
                server=plane.server,
                ca_pem=plane.ca_pem,
                token=plane.admin_token,
            )
            print(f"export KUBECONFIG={kubeconfig}  # {plane.server}", flush=True)
            signal.pause()


if __name__ == "__main__":
    main()
