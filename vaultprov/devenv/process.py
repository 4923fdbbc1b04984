"""What a development server needs: a process that is never left behind, a port, a certificate."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any, TypeVar

import urllib3

T = TypeVar("T")

_POLL = 0.02  # seconds between two looks at a starting server
_LOG_LINES = 15  # of a dead server's log, shown in the error

# Runs before the server, in the process that becomes it: asks Linux to kill this process when its
# parent dies, however it dies. (1 is PR_SET_PDEATHSIG, which survives execv.) A parent that died
# before the request is noticed by its changed process id. `preexec_fn` would do the same but may
# deadlock in a parent with threads. Where there is no prctl, only an orderly exit stops servers.
_GUARD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class DevenvError(RuntimeError):
    """A development server could not do its job; the message ends with one next thing to do."""


class PortTakenError(DevenvError):
    """Somebody took the port between our choosing it and the server's binding it."""


@dataclass(frozen=True, slots=True)
class Child:
    """A server process that this process started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def require_alive(self) -> None:
        """Raise `DevenvError` (`PortTakenError` when that is why) if the process has ended."""
        code = self.process.poll()
        if code is None:
            return
        log = self.log.read_text(encoding="utf-8", errors="replace")
        kind = PortTakenError if "address already in use" in log else DevenvError
        tail = "\n".join(log.splitlines()[-_LOG_LINES:])
        raise kind(f"{self.name} ended with code {code}; read {self.log}, which ends with:\n{tail}")

    def stop(self, grace: float = 5.0) -> None:
        """End the process: politely, and after `grace` seconds by force. Harmless when ended."""
        self.process.terminate()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    detach: bool = False,
) -> Child:
    """Start a server in the background, its output going to `log` (readable by its owner only).

    argv: the program, as a path, and its arguments; secrets belong into `env`.
    env: the whole environment of the server; None passes on ours.
    detach: it outlives this process. Otherwise it ends when this process does, even by SIGKILL.
    Raises DevenvError when the program cannot be run.
    """
    program, *arguments = map(str, argv)
    if not os.access(program, os.X_OK):
        raise DevenvError(f"{program} is not an executable file; check the installation")
    guard = [] if detach else [sys.executable, "-ISc", _GUARD, str(os.getpid())]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # Its own session: Ctrl-C at the terminal reaches only us, who stop the servers in order.
        process = _spawned(
            lambda: subprocess.Popen(
                [*guard, program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        )
    finally:
        os.close(descriptor)
    return Child(Path(program).name, process, log)


def _spawned(opened: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """What `opened` returns, called in a thread that lives as long as this process.

    To Linux the death of a parent is that of the *thread* that started the child, and the caller's
    may be a short-lived worker. A daemon thread, as our exit after Ctrl-C must not wait for it.
    """
    answer: Future[subprocess.Popen[bytes]] = Future()
    _spawner().put((opened, answer))
    return answer.result()


@cache
def _spawner() -> SimpleQueue[tuple[Callable[[], Any], Future[Any]]]:
    """The requests of a thread that is started with it."""
    requests: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def work() -> None:
        while True:
            opened, answer = requests.get()
            try:
                answer.set_result(opened())
            except OSError as error:
                answer.set_exception(error)

    threading.Thread(target=work, name="devenv-spawner", daemon=True).start()
    return requests


def wait_until(condition: Callable[[], bool], timeout: float, what: str, *children: Child) -> None:
    """Return as soon as `condition` holds.

    timeout: seconds. what: names the awaited thing in errors ("OpenBao is ready").
    Raises DevenvError at once when one of `children` ends, and after the timeout.
    """
    deadline = time.monotonic() + timeout
    while True:
        for child in children:
            child.require_alive()
        if condition():
            return
        if time.monotonic() > deadline:
            logs = " and ".join(str(child.log) for child in children) or "its log"
            raise DevenvError(f"waited {timeout:g} s in vain until {what}; read {logs}")
        time.sleep(_POLL)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now; see `retry_port_taken`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def retry_port_taken(boot: Callable[[], T], attempts: int = 5) -> T:
    """What `boot`, which picks its own `free_port`, returns; again while others take its port."""
    for _ in range(attempts - 1):
        try:
            return boot()
        except PortTakenError:
            continue
    return boot()


def answers_200(url: str, *, token: str = "", ca_file: Path | None = None) -> bool:
    """Whether a GET is answered with 200; False also when nobody answers or TLS fails.

    token: sent as a bearer token, which Vault and Kubernetes both understand.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        context = ssl.create_default_context(cafile=ca_file) if ca_file else None
        with urllib3.PoolManager(ssl_context=context, retries=False, timeout=5.0) as pool:
            return bool(pool.request("GET", url, headers=headers).status == 200)
    except (urllib3.exceptions.HTTPError, OSError):
        return False


def unwind_on_signals(code: int = 0) -> None:
    """Make SIGTERM and Ctrl-C leave through the context managers, once, with this exit code."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clean-up
        raise SystemExit(code)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
