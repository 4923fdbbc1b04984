"""A healthy cluster for doctor: onboarded, External Secrets in it, a store that is Ready.

Every test has an OpenBao and a Kubernetes API of its own, so that no fault outlives its test.
VAULTPROV_TEST_ESO names the assets of the real controller (scripts/external-secrets assets);
without it the stand-in reconciles, which tests/devenv/test_operand.py holds to the same behaviour.
"""

from __future__ import annotations

import base64
import io
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hvac
import pytest

from tests.conftest import CANARY, Kube, Lab, Result
from vaultprov.cli import main
from vaultprov.devenv.cluster import Cluster, collection_of
from vaultprov.devenv.control_plane import control_plane
from vaultprov.devenv.eso_install import Installation, install
from vaultprov.devenv.external_secrets import external_secrets, install_crds
from vaultprov.devenv.kube_api import serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.openbao import OpenBao, binary
from vaultprov.devenv.operand import operand

STORE = ("external-secrets.io/v1", "ClusterSecretStore", None, "vault")
SECRET = ("external-secrets.io/v1", "ExternalSecret", "external-secrets", "db")
WORKLOAD = "external-secrets/vault-secret-fetcher"
What = tuple[str, str, str | None, str]  # API version, kind, namespace, name
REAL = bool(os.environ.get("VAULTPROV_TEST_ESO"))
# Seconds until what is reconciled has to show. The real controller waits a minute for a Vault that
# does not answer, tries again, and has one worker for all.
PATIENCE = 240.0 if REAL else 30.0


@dataclass
class Clinic:
    """The servers, the user's desk, and hands that break things.

    watched: what has to be well when a fault is mended. stack: what ends with the test.
    """

    lab: Lab
    cluster: Cluster
    bao: OpenBao
    installed: Installation
    shims: Path
    stack: ExitStack
    extra: dict[str, str] = field(default_factory=dict)
    watched: list[What] = field(default_factory=lambda: [STORE, SECRET])

    def run(self, command: str, *words: str, **env: str) -> Result:
        """`vaultprov COMMAND --env moc --cluster smaug WORDS`, in this process.

        It is the same command line without its start-up, which a hundred runs would pay.
        """
        told, out, err = dict(os.environ), io.StringIO(), io.StringIO()
        here = Path.cwd()
        os.environ.clear()
        os.environ.update({**self.lab.env, **self.extra, **env})
        os.chdir(self.lab.folder)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main([*command.split(), "--env", "moc", "--cluster", "smaug", *words])
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(told)
        self.lab.spoken.append(out.getvalue() + err.getvalue())
        return Result(code, out.getvalue(), err.getvalue())

    def doctor(self, *words: str, **env: str) -> Result:
        return self.run("doctor", *words, **env)

    def diagnosed(self, *words: str, **env: str) -> dict[str, Any]:
        """The JSON document of doctor."""
        done = self.doctor("--output", "json", *words, **env)
        assert done.out, done.err
        return done.document

    @property
    def vault(self) -> hvac.Client:
        return self.lab.vault

    def write(self, path: str, **payload: Any) -> None:
        self.vault.write_data(path, data=payload)

    def read(self, path: str) -> dict[str, Any]:
        data: dict[str, Any] = self.vault.read(path)["data"]
        return data

    def find(self, path: str) -> dict[str, Any] | None:
        """What Vault has there; None when absent."""
        answer = self.vault.read(path)
        return None if answer is None else dict(answer["data"])

    def config(self, **changes: Any) -> None:
        """Writes the auth config by hand, reviewer JWT and all, with these fields changed."""
        found = self.read("auth/smaug-k8s/config")
        fields = ("kubernetes_host", "kubernetes_ca_cert", "disable_local_ca_jwt")
        jwt = self.secret("external-secrets-operator", "eso-vault-auth-token", "token")
        payload = {name: found[name] for name in fields} | {"token_reviewer_jwt": jwt}
        self.write("auth/smaug-k8s/config", **{**payload, **changes})

    def secret(self, namespace: str, name: str, key: str) -> str:
        found = self.get(("v1", "Secret", namespace, name))
        return base64.b64decode(found["data"][key]).decode()

    def role(self, **changes: Any) -> None:
        self.write("auth/smaug-k8s/role/moc-ops", **changes)

    def store(self, **vault: Any) -> None:
        """Changes the store's `spec.provider.vault`."""
        self.merge(STORE, {"spec": {"provider": {"vault": vault}}})

    def login(self, **kubernetes: Any) -> None:
        """Changes how the store logs in."""
        self.store(auth={"kubernetes": kubernetes})

    def merge(self, what: What, change: dict[str, Any]) -> None:
        self.cluster.merge(_path(what), change)

    def get(self, what: What) -> dict[str, Any]:
        found = self.cluster.get(_path(what))
        assert found is not None, f"{what} is absent"
        return found

    def absent(self, what: What) -> bool:
        return self.cluster.get(_path(what)) is None

    def touch(self, what: What) -> None:
        """Has it looked at again, as any change of its metadata does."""
        self.merge(what, {"metadata": {"annotations": {"touched": str(time.time())}}})

    def looked_at(self, what: What) -> None:
        """Waits until the operand has looked at it as things are now.

        Twice, because a look that was under way before the first touch may end after it.
        """
        self._looked_at_once(what)
        self._looked_at_once(what)

    def _looked_at_once(self, what: What) -> None:
        before = self._traces(what)
        self.touch(what)
        try:
            self.until(f"{what[3]} is looked at", lambda: self._traces(what) != before)
        except AssertionError:
            if not REAL:
                raise
            # Of a failure that stays the same it tells by Events alone, and after 25 of them by
            # one in five minutes (client-go `tools/record/events_cache.go`): it has looked by now.

    def settle(self) -> None:
        """Waits until all that is watched shows what is true now."""
        for what in self.watched:
            self.looked_at(what)

    def recover(self) -> None:
        """Waits until all that is watched is well, having them looked at until they are."""
        for what in self.watched:
            self.until(f"{what[3]} is Ready", partial(self._is_well, what))

    def _is_well(self, what: What) -> bool:
        """A status of True is looked at anew; any other is touched until it is that."""
        if self.condition(what).get("status") == "True":
            self.looked_at(what)
        else:
            self.touch(what)
            time.sleep(0.3)
        return self.condition(what).get("status") == "True"

    def _traces(self, what: What) -> tuple[object, ...]:
        """What a look leaves: the status, and Events, which are counted."""
        path = collection_of("v1", "Event", what[2] or "default")
        events = self.cluster.call("GET", path)["items"]
        about = sorted(
            (event["metadata"]["name"], str(event.get("count")), str(event.get("lastTimestamp")))
            for event in events
            if event["involvedObject"].get("name") == what[3]
            and event["involvedObject"].get("kind") == what[1]
        )
        return str(self.get(what).get("status")), about

    def unseal(self) -> None:
        key = (self.bao.log.read_text().partition("Unseal Key: ")[2]).split()[0]
        self.write("sys/unseal", key=key)

    def delete(self, what: What) -> None:
        self.cluster.call("DELETE", _path(what))

    def policy(self, name: str, egress: list[dict[str, Any]], **spec: Any) -> None:
        """A NetworkPolicy beside the operand."""
        self.cluster.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": "external-secrets"},
                "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress, **spec},
            }
        )

    def condition(self, what: What) -> dict[str, Any]:
        found = self.cluster.get(_path(what)) or {}
        conditions = (found.get("status") or {}).get("conditions") or [{}]
        ready: dict[str, Any] = conditions[0]
        return ready

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Waits for what the operand does."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
            time.sleep(0.05)

    def ready(self, *, status: str = "True") -> None:
        self.until(f"store Ready={status}", lambda: self.condition(STORE).get("status") == status)

    def synced(self, *, status: str = "True") -> None:
        self.until(f"synced {status}", lambda: self.condition(SECRET).get("status") == status)

    def apply(self, fix: dict[str, Any]) -> None:
        """Does what the fix says, as a user would paste it."""
        command = str(fix["command"])
        env = {
            **self.lab.env,
            **self.extra,
            "PATH": f"{self.shims}:{self.lab.env['PATH']}",
            "BAO_ADDR": self.lab.env["VAULT_ADDR"],
        }
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.lab.folder,
            env=env,
            input=fix["manifest"] or "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _path(what: What) -> str:
    version, kind, namespace, name = what
    return f"{collection_of(version, kind, namespace)}/{name}"


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    """A Kubernetes API of its own."""
    if os.environ.get("VAULTPROV_TEST_KUBE", "embedded") == "control-plane":
        with control_plane(tmp_path / "control-plane") as real:
            yield Kube(real.server, real.ca_pem, real.admin_token)
    else:
        with serve() as api:
            yield Kube(api.server, api.ca_pem, api.admin_token)


@pytest.fixture
def clinic(lab: Lab, bao: OpenBao, kube: Kube, tmp_path: Path) -> Iterator[Clinic]:
    cluster = Cluster(kube.server, kube.ca_pem, kube.token)
    lab.site(
        {"reviewer": {"namespace": "external-secrets-operator"}, "service_accounts": [WORKLOAD]}
    )
    assert lab.run("bootstrap").code == 0
    done = lab.onboard("--no-verify")
    assert done.code == 0, done.out + done.err
    installed = install(cluster)
    with ExitStack() as stack:
        assets = os.environ.get("VAULTPROV_TEST_ESO")
        if assets:
            install_crds(cluster, Path(assets))
            kubeconfig = write_kubeconfig(
                tmp_path / "operand.kubeconfig",
                server=kube.server,
                ca_pem=kube.ca_pem,
                token=installed.operand.token,
            )
            stack.enter_context(
                external_secrets(tmp_path / "operand", kubeconfig, assets=Path(assets))
            )
        else:
            stack.enter_context(operand(cluster, identity=installed.operand, timeout=3.0))
        lab.vault.secrets.kv.v2.create_or_update_secret(
            "moc/smaug/db", {"password": CANARY}, mount_point="k8s_secrets"
        )
        _objects(cluster, bao)
        made = Clinic(lab, cluster, bao, installed, _shims(tmp_path), stack)
        made.ready()
        made.synced()
        yield made


def _objects(cluster: Cluster, bao: OpenBao) -> None:
    account = {
        "name": "vault-secret-fetcher",
        "namespace": "external-secrets",
        "audiences": ["vault"],
    }
    login = {"mountPath": "smaug-k8s", "role": "moc-ops", "serviceAccountRef": account}
    vault = {
        "server": bao.address,
        "path": "k8s_secrets",
        "version": "v2",
        "auth": {"kubernetes": login},
    }
    cluster.apply(
        {
            "apiVersion": STORE[0],
            "kind": STORE[1],
            "metadata": {"name": STORE[3]},
            "spec": {"provider": {"vault": vault}},
        }
    )
    reference = {"key": "moc/smaug/db", "property": "password"}
    cluster.apply(
        {
            "apiVersion": SECRET[0],
            "kind": SECRET[1],
            "metadata": {"name": SECRET[3], "namespace": SECRET[2]},
            "spec": {
                "refreshInterval": "1s",
                "secretStoreRef": {"kind": STORE[1], "name": STORE[3]},
                "target": {"name": "db"},
                "data": [{"secretKey": "password", "remoteRef": reference}],
            },
        }
    )


def _shims(folder: Path) -> Path:
    """`vault` and `vaultprov` on a user's PATH; kubectl where the machine has one."""
    shims = folder / "bin"
    shims.mkdir()
    for name, words in (
        ("vault", [str(binary())]),
        ("vaultprov", [sys.executable, "-m", "vaultprov"]),
        ("kubectl", [sys.executable, "-m", "tests.doctor.kubectl"]),
    ):
        root = shlex.quote(str(Path(__file__).parents[2]))
        script = f'#!/bin/sh\nPYTHONPATH={root} exec {shlex.join(words)} "$@"\n'
        (shims / name).write_text(script)
        (shims / name).chmod(0o755)
    return shims


def dumped(document: dict[str, Any]) -> str:
    """For a failing test's message: what was not well."""
    return "\n".join(
        f"{c['status']} {c['id']} {c['subject']}: {c['observed']}; {c['cause']}"
        for c in document["checks"]
        if c["status"] != "ok"
    )
