"""Every implementation of a port, as the contract's tests see it: one fixture per port."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hvac
import pytest

from tests.conftest import Kube
from tests.fakes.hands import Hands, RawKube
from tests.fakes.kube import Cluster, FakeHands, FakeKube
from tests.fakes.patient import Patient
from tests.fakes.vault import FakeVault, Server
from vaultprov.clients.kubeconfig import connect
from vaultprov.clients.vault import Connection, VaultClient
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.openbao import OpenBao, openbao, uninitialised_openbao
from vaultprov.kube import objects
from vaultprov.model import ServiceAccount
from vaultprov.redact import Secret
from vaultprov.resource import KubePort, KubeRight, VaultPort

_ids = itertools.count(1)


@pytest.fixture
def unique() -> str:
    """A DNS label that no other test has: servers are shared."""
    return f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}-{os.getpid()}-{next(_ids)}"


@dataclass(frozen=True)
class VaultSubject:
    """An implementation of VaultPort: root's port, and others to the same server."""

    port: VaultPort
    limited: Callable[[str], VaultPort]  # policy -> a port for a token that holds it
    wrong_token: Callable[[], VaultPort]
    unreachable: Callable[[], VaultPort]


@pytest.fixture(scope="session")
def shared_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("contract-bao")) as running:
        yield running


@pytest.fixture(params=["memory", "openbao"])
def vault(request: pytest.FixtureRequest) -> VaultSubject:
    if request.param == "openbao":
        return _real_vault(request.getfixturevalue("shared_bao"))
    fake = FakeVault()
    return VaultSubject(
        fake,
        fake.limited,
        lambda: FakeVault(fake.server, valid=False),
        lambda: FakeVault(Server(unreachable=True)),
    )


def _real_vault(bao: OpenBao) -> VaultSubject:
    def client(token: str, address: str = bao.address) -> VaultPort:
        return cast("VaultPort", Patient(VaultClient(Connection(address), Secret(token))))

    def limited(policy: str) -> VaultPort:
        root: Any = hvac.Client(bao.address, bao.root_token)
        answer = root.auth.token.create(policies=[policy])
        root.adapter.close()
        return client(answer["auth"]["client_token"])

    return VaultSubject(
        client(bao.root_token),
        limited,
        lambda: client("wrong"),
        lambda: client(bao.root_token, f"http://127.0.0.1:{closed_port()}"),
    )


@pytest.fixture(params=["memory", "uninitialised", "sealed"])
def out_of_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VaultPort]:
    """A server that answers and cannot work."""
    if request.param == "memory":
        yield FakeVault(Server(sealed=True))
        return
    with uninitialised_openbao(tmp_path / "sealed") as bao:
        if request.param == "sealed":
            raw: Any = hvac.Client(bao.address)
            raw.sys.initialize(secret_shares=1, secret_threshold=1)
            raw.adapter.close()
        yield VaultClient(Connection(bao.address), Secret("any"))


@dataclass(frozen=True)
class KubeSubject:
    """An implementation of KubePort: an administrator's port, others, and the raw API."""

    port: KubePort
    hands: Hands
    limited: Callable[[KubeRight], KubePort]  # a ServiceAccount with this one right
    wrong_token: Callable[[], KubePort]
    unreachable: Callable[[], KubePort]


@pytest.fixture(params=["memory", "server"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[KubeSubject]:
    if request.param == "server":
        yield from _real_kube(request.getfixturevalue("kube"), tmp_path, unique)
    else:
        yield _fake_kube()


def _fake_kube() -> KubeSubject:
    fake = FakeKube()
    return KubeSubject(
        fake,
        FakeHands(fake.cluster),
        fake.limited,
        lambda: FakeKube(fake.cluster, valid=False),
        lambda: FakeKube(Cluster(unreachable=True)),
    )


def _real_kube(kube: Kube, folder: Path, unique: str) -> Iterator[KubeSubject]:
    def client(token: str, server: str = kube.server) -> KubePort:
        file = folder / f"kubeconfig-{next(_ids)}"
        write_kubeconfig(file, server=server, ca_pem=kube.ca_pem, token=token)
        return connect("smaug", str(file)).client

    port, raw = client(kube.token), RawKube(kube.server, kube.ca_pem, kube.token)

    def limited(right: KubeRight) -> KubePort:
        account = ServiceAccount(f"limited-{unique}", "somebody")
        raw.create(objects.namespace(account.namespace))
        raw.create(objects.service_account(account))
        for manifest in _role_with(right, account):
            raw.create(manifest)
        token = port.request_token(account.namespace, account.name, (), 600).token
        return client(token.reveal())

    yield KubeSubject(
        port,
        raw,
        limited,
        lambda: client("wrong"),
        lambda: client(kube.token, f"https://127.0.0.1:{closed_port()}"),
    )
    raw.close()
    port.close()


def _role_with(right: KubeRight, account: ServiceAccount) -> Iterator[dict[str, Any]]:
    rule = {"verbs": [right.verb], "apiGroups": [right.group], "resources": [right.resource]}
    metadata = {"name": account.namespace, "namespace": right.namespace}
    group = "rbac.authorization.k8s.io"
    base = {"apiVersion": f"{group}/v1", "metadata": metadata}
    names = {"resourceNames": [right.name]} if right.name else {}
    yield {**base, "kind": "Role", "rules": [{**rule, **names}]}
    yield {
        **base,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": group, "kind": "Role", "name": account.namespace},
        "subjects": [
            {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
        ],
    }


def closed_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
