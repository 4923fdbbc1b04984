"""A highly available OpenBao: nodes on loopback addresses of their own, one port, Raft storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from vaultprov.devenv.openbao import binary, environment
from vaultprov.devenv.process import Child, DevenvError, answers_200, free_port, start, wait_until

_TIMEOUT = 60.0  # seconds; joining and electing take about five


@dataclass(frozen=True, slots=True)
class Raft:
    """A running cluster. The first node began as the active one."""

    nodes: tuple[str, ...]
    root_token: str
    children: tuple[Child, ...]

    def leader_of(self, node: str) -> str:
        """The active node's address as a node knows it; "" when it knows none."""
        told = _call("GET", f"{node}/v1/sys/leader") or {}
        return str(told.get("leader_address") or "")

    def serves(self, node: str) -> bool:
        """Whether a node answers what only an active one can, itself or through it."""
        url = f"{node}/v1/auth/token/lookup-self"
        return answers_200(url, token=self.root_token)


@contextmanager
def raft(folder: Path, *, count: int = 3) -> Iterator[Raft]:
    """`count` nodes at 127.0.0.1, 127.0.0.2, ... (Linux answers for all of 127.0.0.0/8).

    folder: receives logs and data. Raises DevenvError when there is no binary, or on no start.
    """
    port, peers = free_port(), free_port()
    hosts = [f"127.0.0.{number + 1}" for number in range(count)]
    nodes = tuple(f"http://{host}:{port}" for host in hosts)
    with ExitStack() as stack:
        children = []
        for host, node in zip(hosts, nodes, strict=True):
            child = _boot(folder / host, host, node, f"{host}:{peers}", nodes[0])
            stack.callback(child.stop)
            children.append(child)
        wait_until(lambda: _answers(nodes), _TIMEOUT, "every node answers", *children)
        made = _call("PUT", f"{nodes[0]}/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1})
        if made is None:
            raise DevenvError(f"the first node could not be initialised; read {children[0].log}")
        key, token = str(made["keys"][0]), str(made["root_token"])
        wait_until(lambda: _unsealed(nodes, key), _TIMEOUT, "every node has joined", *children)
        cluster = Raft(nodes, token, tuple(children))
        wait_until(
            lambda: all(map(cluster.leader_of, nodes)) and all(map(cluster.serves, nodes)),
            _TIMEOUT,
            "every node knows the leader, and it serves",
            *children,
        )
        yield cluster


def _boot(folder: Path, host: str, api: str, peer: str, first: str) -> Child:
    data = folder / "data"
    data.mkdir(parents=True)
    storage: dict[str, Any] = {"path": str(data), "node_id": host}
    if api != first:
        storage["retry_join"] = [{"leader_api_addr": first}]
    listener = {"address": api.partition("://")[2], "cluster_address": peer, "tls_disable": True}
    settings = {
        "storage": {"raft": storage},
        "listener": {"tcp": listener},
        "api_addr": api,
        "cluster_addr": f"https://{peer}",
        "disable_mlock": True,
    }
    config = folder / "openbao.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    program = binary()
    return start([program, "server", f"-config={config}"], folder / "log", env=environment(folder))


def _call(method: str, url: str, body: object = None) -> dict[str, Any] | None:
    """The JSON that a node answers; None when it does not."""
    with urllib3.PoolManager(retries=False, timeout=20.0) as pool:
        try:
            answer = pool.request(method, url, json=body)
            decoded: dict[str, Any] = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError):
            return None
        return decoded if answer.status < 300 or "sealed" in decoded else None


def _answers(nodes: tuple[str, ...]) -> bool:
    return all(_call("GET", f"{node}/v1/sys/seal-status") is not None for node in nodes)


def _unsealed(nodes: tuple[str, ...], key: str) -> bool:
    """The key is given until a node takes it: one that joins has to be told of the seal first."""
    told = [_call("GET", f"{node}/v1/sys/seal-status") or {} for node in nodes]
    for node, state in zip(nodes, told, strict=True):
        if state.get("sealed", True):
            _call("PUT", f"{node}/v1/sys/unseal", {"key": key})
    return all(state.get("sealed") is False for state in told)
