"""Three real nodes: what a standby does to the way to Vault."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.conftest import Clinic, dumped
from tests.doctor.fault import Fault, note, prove
from tests.doctor.faults import default_deny
from vaultprov.devenv.openbao import OpenBao
from vaultprov.devenv.raft import Raft, raft


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Raft]:
    with raft(tmp_path / "raft") as running:
        yield running


@pytest.fixture
def bao(nodes: Raft) -> OpenBao:
    first = nodes.children[0]
    return OpenBao(nodes.nodes[0], nodes.root_token, first.pid, first.log)


def _one_address(c: Clinic) -> None:
    """As isolated as Red Hat's operator leaves it, and one address of Vault opened by hand."""
    default_deny(c)
    block = {"ipBlock": {"cidr": "127.0.0.1/32"}}
    c.policy("allow-vault", [{"to": [block]}])


def test_healthy(clinic: Clinic) -> None:
    document = clinic.diagnosed()
    assert {c["status"] for c in document["checks"]} <= {"ok", "skipped"}, dumped(document)


def test_an_address_of_one_node_is_not_enough(clinic: Clinic) -> None:
    """NET-4: a standby answers with a redirect to the active node."""
    fault = Fault("NET-4 one node of three", "VP-NET-004", _one_address)
    note(fault.name, fault.code, prove(clinic, fault), "as printed")


def test_a_standby_without_an_active_node(clinic: Clinic, nodes: Raft) -> None:
    """Two of three nodes stand still: the third has nobody to send clients to."""

    def cut(c: Clinic) -> None:
        c.store(server=nodes.nodes[2])
        c.extra["VAULT_ADDR"] = nodes.nodes[2]
        for child in nodes.children[:2]:
            child.process.send_signal(signal.SIGSTOP)

    def restore(c: Clinic) -> None:
        for child in nodes.children[:2]:
            child.process.send_signal(signal.SIGCONT)
        c.until("somebody leads", lambda: nodes.serves(nodes.nodes[2]))

    try:
        fault = Fault("a standby without an active node", "VP-VLT-002", cut, fix=restore)
        note(fault.name, fault.code, prove(clinic, fault), "by hand")
    finally:
        for child in nodes.children[:2]:
            child.process.send_signal(signal.SIGCONT)
