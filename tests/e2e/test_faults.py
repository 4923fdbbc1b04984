"""Killed at any moment, answers lost, two at once: the next run ends as an undisturbed one."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Lab
from tests.e2e.worlds import kubernetes, snapshot, vault_read, watched
from vaultprov.devenv.proxy import Exchange, Fault

WRITES = 14  # of a fresh run, which `test_a_fresh_run_writes_each_thing_once` keeps true
_QUESTIONS = ("capabilities-self", "/login", "revoke-self", "accessreviews", "/token")


class Nth:
    """A fault at the nth write that passes, to whichever server."""

    def __init__(self, number: int, fault: Fault | None) -> None:
        self._number, self._fault = number, fault
        self._seen, self._lock = 0, threading.Lock()
        self.kill: int | None = None
        self.struck = False

    def __call__(self, exchange: Exchange) -> Fault | None:
        if exchange.method in ("GET", "LIST") or any(w in exchange.path for w in _QUESTIONS):
            return None
        with self._lock:
            self._seen += 1
            if self._seen != self._number:
                return None
        self.struck = True
        if self.kill is not None:
            os.kill(self.kill, signal.SIGKILL)
        return self._fault


def test_a_fresh_run_writes_each_thing_once(site: Lab) -> None:
    with watched(site) as desk:
        assert desk.onboard().code == 0
        assert len(desk.writes()) == WRITES
        paths = [exchange.path.partition("?")[0] for exchange in desk.writes()]
        assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_lost_answer_is_made_up_for_in_the_same_run(site: Lab, number: int) -> None:
    strike = Nth(number, Fault.lose_response())
    with watched(site, strike, strike) as desk:
        done = desk.onboard("--output", "json")
        assert done.code == 0, done.err
        assert done.document["changed"] is True
        assert strike.struck
        failed = [s for s in done.document["steps"] if s["status"] not in ("written", "kept")]
        assert failed == []
        desk.reset()
        again = desk.onboard("--output", "json")
        assert again.document["changed"] is False
        assert desk.writes() == []


@pytest.mark.parametrize("code", [412, 429, 500, 502])
def test_a_passing_error_is_tried_again(site: Lab, code: int) -> None:
    strike = Nth(3, Fault.status(code, '{"errors":["for a moment"]}', {"Retry-After": "0"}))
    with watched(site, strike) as desk:
        assert desk.onboard().code == 0
        assert strike.struck


@pytest.mark.parametrize("fault", [Fault.drop(), None], ids=["before the write", "after the write"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_any_write_the_next_run_converges(
    site: Lab, number: int, fault: Fault | None
) -> None:
    strike = Nth(number, fault)
    with watched(site, strike, strike) as desk:
        child = desk.lab.start("onboard", "--env", "moc", "--cluster", "smaug", *desk.flags)
        strike.kill = child.pid
        assert child.wait(60) == -signal.SIGKILL
        assert strike.struck
        done = desk.onboard()
        assert done.code == 0, done.out + done.err
        killed = snapshot(site)
        again = desk.onboard("--output", "json")
        assert again.document["changed"] is False
    config, role = killed["config"], killed["role"]
    assert config["token_reviewer_jwt_set"] is True
    assert config["disable_local_ca_jwt"] is True
    assert role["token_policies"] == ["moc-kv-r"]
    assert killed["groups"] == ["vault-admins-moc"], "a stray group was left"
    assert killed["alias"] == ["vault-admins-moc", "auth/oidc/", True]
    assert killed["marker"] == sorted(
        ["cluster", "cluster-uid", "environment", "reviewer", "reviewer-since"]
    )


def test_two_at_once_end_in_one_consistent_state(site: Lab) -> None:
    """The slower one may fail, or refuse what it saw half made; running again always works."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(site.onboard) for _ in range(2)]
        codes = {run.result().code for run in runs}
    assert codes <= {0, 1, 6}, [run.result().err for run in runs]
    assert site.onboard().code == 0
    assert site.plan().actions() == {}
    assert snapshot(site)["groups"] == ["vault-admins-moc"]


def test_two_clusters_of_one_environment_share_policies_and_group(site: Lab) -> None:
    done = site.onboard()
    assert done.code == 0, done.err
    infra = ["onboard", "--env", "moc", "--cluster", "infra"]
    refused = site.run(*infra)
    assert refused.code == 6
    assert "onboarded already, as smaug of environment moc" in refused.err
    assert "infra-k8s/" not in vault_read(site, "sys/auth")
    done = site.run(*infra, "--replace-cluster")  # one API server plays both
    assert done.code == 0, done.err
    assert site.plan().actions() == {}
    mounts = vault_read(site, "sys/auth")
    assert {"smaug-k8s/", "infra-k8s/"} <= mounts.keys()


def test_a_token_secret_that_is_never_filled_in_is_a_clear_failure(site: Lab) -> None:
    """No controller: the wait ends, says so, and takes only its dependants with it."""
    path = f"/secrets/{'eso-vault-auth-token'}"

    def swallow(exchange: Exchange) -> Fault | None:
        if exchange.method == "PATCH" and path in exchange.path:
            return Fault.status(200, '{"kind":"Secret","metadata":{}}')
        return None

    with watched(site, kube_fault=swallow) as desk:
        done = desk.onboard("--output", "json", "--set", "reviewer.wait=1s", "--timeout", "4s")
    assert done.code == 1
    status = {s["key"]: s["status"] for s in done.document["steps"]}
    assert status["vault/auth-config/smaug-k8s"] == "skipped"
    assert status["vault/role/smaug-k8s/moc-ops"] == "written"
    assert "was not filled in within 1 s" in done.err
    assert kubernetes(site, "GET", f"/api/v1/namespaces/{site.reviewer_namespace}{path}") is None
