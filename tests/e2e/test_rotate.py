"""rotate: a new reviewer token and a new CA, while every login works."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import hvac.exceptions
import pytest

from tests.conftest import Lab, Result
from tests.doctor.fronts import tls_front
from tests.e2e.test_faults import Nth
from tests.e2e.worlds import kubernetes, login, reviewer_token, vault_read, watched, workload_token
from vaultprov.certificates import fingerprints
from vaultprov.devenv.certificates import serving_certificate
from vaultprov.devenv.proxy import Exchange, Fault

COMMAND = ("rotate", "--env", "moc", "--cluster", "smaug")
WRITES = 14  # of an undisturbed rotation in mode secret, which the first test keeps true


def rotate(lab: Lab, *words: str, **env: str) -> Result:
    return lab.run(*COMMAND, *words, **env)


def secrets(lab: Lab) -> set[str]:
    """The Secrets with tokens of the reviewer, and of who stands in for it."""
    path = f"/api/v1/namespaces/{lab.reviewer_namespace}/secrets"
    names = {each["metadata"]["name"] for each in kubernetes(lab, "GET", path)["items"]}
    wanted = ("eso-vault-auth-token", "eso-vault-auth-next-token")
    return names & set(wanted)


def fingerprint(lab: Lab) -> str:
    """Of the reviewer token that Vault was given."""
    description: str = vault_read(lab, "sys/auth")["smaug-k8s/"]["description"]
    return next(w for w in description.split() if w.startswith("reviewer="))


def logs_in(lab: Lab) -> bool:
    return bool(login(lab, workload_token(lab))["client_token"])


def test_the_token_is_another_one_and_the_old_one_is_dead(onboarded: Lab) -> None:
    old, before = reviewer_token(onboarded), fingerprint(onboarded)
    with watched(onboarded) as desk:
        done = desk.lab.run(*COMMAND, *desk.flags)
        assert done.code == 0, done.out + done.err
        questions = ("capabilities-self", "/login", "revoke-self", "reviews", "/token")
        writes = [w for w in desk.writes() if not any(q in w.path for q in questions)]
        assert len(writes) == WRITES, writes
    assert secrets(onboarded) == {"eso-vault-auth-token"}
    assert reviewer_token(onboarded) != old
    assert fingerprint(onboarded) != before
    assert logs_in(onboarded)
    assert ends(onboarded, old), "a Secret of the same name holds the same token"
    assert onboarded.plan().actions() == {}


def reviews(lab: Lab, token: str) -> bool:
    """Whether the API server still takes a token."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    status = kubernetes(lab, "POST", path, body)["status"]
    return bool(status.get("authenticated"))


def ends(lab: Lab, token: str) -> bool:
    """Whether a token is refused within 20 s: an API server remembers those it took for 10 s."""
    deadline = time.monotonic() + 20
    while reviews(lab, token):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_in_mode_token_another_one_is_asked_for(site: Lab) -> None:
    assert site.onboard("--reviewer", "token").code == 0
    before = fingerprint(site)
    done = rotate(site, "--reviewer", "token")
    assert done.code == 0, done.out + done.err
    assert fingerprint(site) != before
    assert logs_in(site)
    assert site.plan("--reviewer", "token").actions() == {}


def test_what_is_not_due_is_left_alone(site: Lab) -> None:
    assert site.onboard("--reviewer", "token").code == 0
    before = fingerprint(site)
    done = rotate(site, "--reviewer", "token", "--if-expires-within", "1h")
    assert done.code == 0
    assert "nothing was rotated" in done.out
    assert fingerprint(site) == before
    assert rotate(site, "--reviewer", "token", "--if-expires-within", "10000d").code == 0
    assert fingerprint(site) != before


def test_a_deleted_reviewer_is_made_again(onboarded: Lab) -> None:
    path = f"/api/v1/namespaces/{onboarded.reviewer_namespace}"
    kubernetes(onboarded, "DELETE", f"{path}/serviceaccounts/eso-vault-auth")
    kubernetes(onboarded, "DELETE", f"{path}/secrets/eso-vault-auth-token")
    done = rotate(onboarded)
    assert done.code == 0, done.out + done.err
    assert logs_in(onboarded)
    assert secrets(onboarded) == {"eso-vault-auth-token"}


def test_a_token_with_which_no_login_works_is_not_kept(onboarded: Lab) -> None:
    """Nobody may log in at the role any more: the old token goes back, and lives."""
    before = fingerprint(onboarded)
    onboarded.vault.write_data(
        "auth/smaug-k8s/role/moc-ops", data={"bound_service_account_names": ["nobody"]}
    )
    done = rotate(onboarded, "--timeout", "20s")
    assert done.code == 1
    assert "the old one was put back" in done.err
    assert fingerprint(onboarded) == before
    assert reviews(onboarded, reviewer_token(onboarded))


def test_nothing_of_ours_is_nothing_to_rotate(site: Lab) -> None:
    done = rotate(site)
    assert done.code == 6
    assert "vaultprov onboard --env moc --cluster smaug" in done.err


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_any_write_logins_work_and_the_next_run_finishes(
    onboarded: Lab, number: int
) -> None:
    strike = Nth(number, None)
    with watched(onboarded, strike, strike) as desk:
        child = desk.lab.start(*COMMAND, *desk.flags)
        strike.kill = child.pid
        assert child.wait(60) == -signal.SIGKILL
        assert strike.struck
    assert logs_in(onboarded)
    done = rotate(onboarded)
    assert done.code == 0, done.out + done.err
    assert logs_in(onboarded)
    assert secrets(onboarded) == {"eso-vault-auth-token"}
    assert onboarded.plan().actions() == {}


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_lost_answer_leaves_what_works(onboarded: Lab, number: int) -> None:
    """Tried again it is made up for; whatever the exit code, logins work."""
    strike = Nth(number, Fault.lose_response())
    with watched(onboarded, strike, strike) as desk:
        done = desk.lab.run(*COMMAND, *desk.flags)
        assert strike.struck
        assert logs_in(onboarded)
        if done.code:
            assert desk.lab.run(*COMMAND, *desk.flags).code == 0
    assert logs_in(onboarded)
    assert secrets(onboarded) == {"eso-vault-auth-token"}


class NthRequest:
    """A fault at the nth request of all, questions and reads as well, to whichever server."""

    def __init__(self, number: int, fault: Fault | None) -> None:
        self._number, self._fault = number, fault
        self._lock = threading.Lock()
        self.seen = 0

    def __call__(self, exchange: Exchange) -> Fault | None:
        with self._lock:
            self.seen += 1
            return self._fault if self.seen == self._number else None

    @property
    def struck(self) -> bool:
        return self.seen >= self._number


SHARES = 8


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_request_is_refused_logins_work_and_the_next_run_finishes(
    onboarded: Lab, share: int
) -> None:
    """403 is not tried again: the rotation ends there. Every request of it has its turn."""
    for number in itertools.count(share + 1, SHARES):
        strike = NthRequest(number, Fault.status(403, '{"errors": ["permission denied"]}'))
        with watched(onboarded, strike, strike) as desk:
            desk.lab.run(*COMMAND, *desk.flags)
        if not strike.struck:
            break
        assert logs_in(onboarded), number
    done = rotate(onboarded)
    assert done.code == 0, done.out + done.err
    assert logs_in(onboarded)
    assert secrets(onboarded) == {"eso-vault-auth-token"}
    assert onboarded.plan().actions() == {}


@dataclass
class Load:
    """What came of logins that are tried all the while."""

    made: int = 0
    refused: list[str] = field(default_factory=list)


@contextmanager
def load(lab: Lab, mount: str = "smaug-k8s") -> Iterator[Load]:
    """A login every 50 ms: 20 a second, whatever the one before takes."""
    token, seen, stop = workload_token(lab), Load(), threading.Event()

    def attempt() -> None:
        try:
            login(lab, token, mount)
            seen.made += 1
        except hvac.exceptions.VaultError as error:
            seen.refused.append(f"{time.monotonic():.1f} {error}")

    with ThreadPoolExecutor(8) as pool:

        def work() -> None:
            while not stop.wait(0.05):
                pool.submit(attempt)

        clock = threading.Thread(target=work)
        clock.start()
        try:
            yield seen
        finally:
            stop.set()
            clock.join()


LOGINS = 2400  # 20 a second for two minutes


def test_no_login_fails_meanwhile(site: Lab) -> None:
    """Through rotations, changes of the API server's CA, and changes to mode token and back."""
    old, new = serving_certificate(), serving_certificate()
    serving = [old.server_context()]
    file = site.folder / "api-server.crt"
    with tls_front(site.kube.server, lambda: serving[0], site.kube.ca_pem) as front:

        def run(command: str, ca: str, *words: str) -> None:
            file.write_text(ca)
            who = (command, "--env", "moc", "--cluster", "smaug", *words)
            done = site.run(*who, "--kubernetes-host", front, "--kubernetes-ca-file", str(file))
            assert done.code == 0, done.out + done.err

        run("onboard", old.ca)
        with load(site) as seen:
            while seen.made < LOGINS:
                run("rotate", old.ca)
                run("rotate", new.ca)  # ahead of the API server: both CAs
                serving[0] = new.server_context()
                run("rotate", new.ca)  # and the old one goes
                run("onboard", new.ca, "--reviewer", "token")
                run("rotate", new.ca, "--reviewer", "token")
                run("onboard", new.ca, "--reviewer", "secret")
                old, new = new, serving_certificate()
                assert seen.refused == []
    assert seen.refused == []


def test_a_reviewer_of_two_mounts_is_not_rotated_under_the_other(onboarded: Lab) -> None:
    infra = ("--env", "moc", "--cluster", "infra")
    assert onboarded.run("onboard", *infra, "--replace-cluster").code == 0
    done = rotate(onboarded)
    assert done.code == 6
    assert "auth/infra-k8s uses ServiceAccount" in done.err
    assert logs_in(onboarded)


def test_the_ca_is_followed_without_a_failed_login(site: Lab) -> None:
    """Given early the new CA stands beside the old one; in use, it stands alone."""
    old, new = serving_certificate(), serving_certificate()
    serving = [old.server_context()]
    file = site.folder / "api-server.crt"
    with tls_front(site.kube.server, lambda: serving[0], site.kube.ca_pem) as front:

        def run(command: str, ca: str) -> Result:
            file.write_text(ca)
            who = (command, "--env", "moc", "--cluster", "smaug")
            done = site.run(*who, "--kubernetes-host", front, "--kubernetes-ca-file", str(file))
            assert done.code == 0, done.out + done.err
            return done

        def stored() -> frozenset[str]:
            return fingerprints(vault_read(site, "auth/smaug-k8s/config")["kubernetes_ca_cert"])

        run("onboard", old.ca)
        with load(site) as seen:
            assert "the old CA stays beside the new one" in run("rotate", new.ca).out
            assert stored() == fingerprints(old.ca) | fingerprints(new.ca)
            serving[0] = new.server_context()
            assert "the old CA is dropped" in run("rotate", new.ca).out
            assert stored() == fingerprints(new.ca)
        assert seen.refused == []


def test_the_provisioners_policy_is_enough(onboarded: Lab) -> None:
    made = onboarded.vault.auth.token.create(policies=["vaultprov-provisioner"])
    done = rotate(onboarded, VAULT_TOKEN=made["auth"]["client_token"])
    assert done.code == 0, done.out + done.err
