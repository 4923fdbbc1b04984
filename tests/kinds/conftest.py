"""The world in memory and the real one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import hvac
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import Kube
from tests.fakes.counting import CountingKube, CountingVault
from tests.fakes.hands import RawKube
from tests.fakes.kube import FakeHands, FakeKube
from tests.fakes.patient import Patient
from tests.fakes.vault import FakeVault
from tests.kinds.world import Facts, World
from vaultprov.clients.kubeconfig import connect
from vaultprov.clients.vault import Connection, VaultClient
from vaultprov.devenv.certificates import serving_certificate
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import OidcProvider, oidc_provider
from vaultprov.devenv.openbao import OpenBao, openbao
from vaultprov.redact import Secret
from vaultprov.resource import KubePort, VaultPort

_ids = itertools.count(1)
Ports = tuple[VaultPort, KubePort, RawKube]


@pytest.fixture(scope="session")
def facts(provider: OidcProvider) -> Iterator[Facts]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with oidc_provider() as other:
        certificates = (serving_certificate().ca, serving_certificate().ca)
        yield Facts(*certificates, pem.strip(), provider.issuer, other.issuer)


@pytest.fixture(scope="session")
def shared_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("kinds-bao")) as running:
        yield running


@pytest.fixture(scope="session")
def ports(
    shared_bao: OpenBao, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ports]:
    file = tmp_path_factory.mktemp("kinds-kube") / "kubeconfig"
    write_kubeconfig(file, server=kube.server, ca_pem=kube.ca_pem, token=kube.token)
    real = VaultClient(Connection(shared_bao.address), Secret(shared_bao.root_token))
    vault = cast("VaultClient", Patient(real))
    cluster = connect("smaug", str(file)).client
    hands = RawKube(kube.server, kube.ca_pem, kube.token)
    yield vault, cluster, hands
    for each in (vault, cluster, hands):
        each.close()


def _limited_at(bao: OpenBao) -> Callable[[str], VaultPort]:
    def limited(policy: str) -> VaultPort:
        root: Any = hvac.Client(bao.address, bao.root_token)
        token = root.auth.token.create(policies=[policy])["auth"]["client_token"]
        root.adapter.close()
        return VaultClient(Connection(bao.address), Secret(token))

    return limited


@pytest.fixture(params=["memory", "servers"])
def world(request: pytest.FixtureRequest, facts: Facts) -> World:
    unique = f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}-{os.getpid()}-{next(_ids)}"
    if request.param == "memory":
        vault, kube = FakeVault(), FakeKube()
        hands = FakeHands(kube.cluster)
        return World(unique, CountingVault(vault), CountingKube(kube), hands, vault.limited, facts)
    real, cluster, raw = request.getfixturevalue("ports")
    limited = _limited_at(request.getfixturevalue("shared_bao"))
    return World(unique, CountingVault(real), CountingKube(cluster), raw, limited, facts)
