"""rotate: a new reviewer token and a new CA, while every login works."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import hvac.exceptions
import pytest

from tests.conftest import Lab, Result
from tests.doctor.fronts import tls_front
from tests.e2e.test_faults import Nth
from tests.e2e.worlds import kubernetes, login, reviewer_token, vault_read, watched, workload_token
from vaultprov.certificates import fingerprints
from vaultprov.devenv.certificates import serving_certificate
from vaultprov.devenv.proxy import Fault

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


@contextmanager
def load(lab: Lab, *, rate: float = 20.0) -> Iterator[list[str]]:
    """Logins all the while, so many per second; the refusals are in the list."""
    token, refused, stop = workload_token(lab), [], threading.Event()

    def work() -> None:
        while not stop.wait(1 / rate):
            try:
                login(lab, token)
            except hvac.exceptions.VaultError as error:
                refused.append(f"{time.monotonic():.1f} {error}")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield refused
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_login_fails_meanwhile(onboarded: Lab) -> None:
    """Through a rotation, a change to mode token, a rotation there, and back."""
    with load(onboarded) as refused:
        for words in (
            COMMAND,
            ("onboard", "--env", "moc", "--cluster", "smaug", "--reviewer", "token"),
            (*COMMAND, "--reviewer", "token"),
            ("onboard", "--env", "moc", "--cluster", "smaug", "--reviewer", "secret"),
            COMMAND,
        ):
            done = onboarded.run(*words)
            assert done.code == 0, done.out + done.err
    assert refused == []


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
        with load(site) as refused:
            assert "the old CA stays beside the new one" in run("rotate", new.ca).out
            assert stored() == fingerprints(old.ca) | fingerprints(new.ca)
            serving[0] = new.server_context()
            assert "the old CA is dropped" in run("rotate", new.ca).out
            assert stored() == fingerprints(new.ca)
        assert refused == []


def test_the_provisioners_policy_is_enough(onboarded: Lab) -> None:
    made = onboarded.vault.auth.token.create(policies=["vaultprov-provisioner"])
    done = rotate(onboarded, VAULT_TOKEN=made["auth"]["client_token"])
    assert done.code == 0, done.out + done.err
