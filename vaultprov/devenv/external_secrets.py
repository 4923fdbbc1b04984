"""The real controller of External Secrets, as a process; `scripts/external-secrets` builds it.

It needs the CustomResourceDefinitions to be served before it starts:

    install_crds(cluster)
    kubeconfig = write_kubeconfig(folder / "kubeconfig", server=..., ca_pem=..., token=...)
    with external_secrets(folder, kubeconfig): ...
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vaultprov.devenv import crds
from vaultprov.devenv.cluster import Cluster
from vaultprov.devenv.process import (
    Child,
    DevenvError,
    answers_200,
    free_port,
    retry_port_taken,
    start,
    wait_until,
)

_PROGRAM = "external-secrets"
_SCRIPT = Path(__file__).parents[2] / "scripts" / "external-secrets"
_TIMEOUT = 30.0  # seconds until it is healthy; 0.1 is usual


@dataclass(frozen=True, slots=True)
class ExternalSecrets:
    """A running controller."""

    version: str
    pid: int
    log: Path


@contextmanager
def external_secrets(
    folder: Path,
    kubeconfig: Path,
    *,
    assets: Path | None = None,
    args: Sequence[str] = ("--concurrent=4",),
    env: Mapping[str, str] | None = None,
) -> Iterator[ExternalSecrets]:
    """Run the controller until the end of the block.

    folder: created where missing; receives the log.
    kubeconfig: whom it acts as, such as the ServiceAccount of `eso_install.install`.
    assets: see `find_assets`.
    env: what its environment has beside HOME and PATH, such as HTTPS_PROXY.
    Raises DevenvError when it is missing or does not start.
    """
    found = find_assets(assets)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath)}
    environment = {**own, "KUBECONFIG": str(kubeconfig), **(env or {})}
    child = retry_port_taken(lambda: _boot(found, folder, args, environment))
    with ExitStack() as stack:
        stack.callback(child.stop)
        version = (found / "version").read_text(encoding="ascii").strip()
        yield ExternalSecrets(version, child.pid, child.log)


def _boot(assets: Path, folder: Path, args: Sequence[str], environment: Mapping[str, str]) -> Child:
    health = f"127.0.0.1:{free_port()}"
    argv: list[str | Path] = [
        assets / _PROGRAM,
        f"--live-addr={health}",
        "--metrics-addr=0",
        # Their kinds are not installed.
        "--enable-cluster-external-secret-reconciler=false",
        "--enable-push-secret-reconciler=false",
        "--enable-cluster-push-secret-reconciler=false",
        *args,
    ]
    child = start(argv, folder / "external-secrets.log", env=environment)
    try:
        wait_until(
            lambda: answers_200(f"http://{health}/healthz"), _TIMEOUT, "it is healthy", child
        )
    except BaseException:
        child.stop()
        raise
    return child


def install_crds(cluster: Cluster, assets: Path | None = None) -> None:
    """The controller's own CustomResourceDefinitions, where they are absent.

    cluster: as an administrator. assets: see `find_assets`.
    """
    # PyYAML's C loader takes a tenth of the time, where there is one.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = sorted((find_assets(assets) / "crds").glob("*.yaml"))
    definitions = [yaml.load(file.read_text("utf-8"), loader) for file in files]  # a safe loader
    for definition in definitions:
        definition["spec"].pop("conversion", None)  # by a webhook that is not there
    crds.install_crds(cluster, [_without_empty_defaults(each) for each in definitions])


def _without_empty_defaults(part: Any) -> Any:
    """Kubernetes 1.20 takes an empty default for null, and refuses that."""
    if isinstance(part, list):
        return [_without_empty_defaults(each) for each in part]
    if isinstance(part, dict):
        kept = {name: each for name, each in part.items() if (name, each) != ("default", "")}
        return {name: _without_empty_defaults(each) for name, each in kept.items()}
    return part


def find_assets(assets: Path | None = None) -> Path:
    """The folder with the program and its CRDs.

    None takes VAULTPROV_ESO_ASSETS, or what the source tree's script has or builds.
    Raises DevenvError when there is none.
    """
    given = os.environ.get("VAULTPROV_ESO_ASSETS")
    folder = assets or (Path(given) if given else None)
    if folder is None and _SCRIPT.exists():
        command = [str(_SCRIPT), "assets"]
        script = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if script.returncode:
            raise DevenvError(f"{_SCRIPT} assets failed; see its messages above")
        folder = Path(script.stdout.strip())
    if folder is None or not os.access(folder / _PROGRAM, os.X_OK):
        raise DevenvError(
            f"no External Secrets in {folder}; set VAULTPROV_ESO_ASSETS to what"
            " scripts/external-secrets assets prints"
        )
    return folder
