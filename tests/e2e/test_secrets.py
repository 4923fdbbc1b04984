"""Secrets never leave their place: no output, log, document, process list or file has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CANARY, Lab
from tests.e2e.worlds import accessors, prepared, watched


def command_lines() -> Iterator[str]:
    """The command lines of all processes, as anybody on the machine sees them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_text()
        except OSError:
            continue


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads Linux's process list")
def test_no_secret_is_seen_in_the_process_list(site: Lab) -> None:
    with watched(site, delay=0.02) as desk:
        child = desk.lab.start("onboard", "--env", "moc", "--cluster", "smaug", *desk.flags)
        ours: set[str] = set()
        while child.poll() is None:
            lines = list(command_lines())
            for secret in (site.env["VAULT_TOKEN"], site.kube.token, CANARY, "eyJ"):
                assert not [line for line in lines if secret in line]
            # A process that is ending has no command line any more: one sight of it is enough.
            ours.update(line for line in lines if "onboard\0--env\0moc" in line)
        assert child.returncode == 0
        assert ours


def test_no_file_is_left_behind(site: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither in the working folder nor in the temporary folder."""
    temporary = tmp_path_factory.mktemp("tmp")
    before = {file.name for file in site.folder.iterdir()}
    for words in (["--output", "json"], ["--reviewer", "token"], ["--reviewer", "client"]):
        assert site.onboard(*words, TMPDIR=str(temporary)).code == 0
    assert {file.name for file in site.folder.iterdir()} == before
    assert list(temporary.rglob("*")) == []


def test_the_kv_values_are_never_read(site: Lab) -> None:
    kv = site.vault.secrets.kv.v2
    kv.create_or_update_secret("moc/smaug/db", {"password": CANARY}, mount_point="k8s_secrets")
    with watched(site) as desk:
        assert desk.onboard().code == 0
        reads = [e.path for e in desk.vault.exchanges if "/k8s_secrets/data" in e.path]
    assert len(reads) == 2
    assert all(path.endswith("/vaultprov-proof") for path in reads)


def test_errors_cut_what_may_be_secret(site: Lab) -> None:
    """A server that echoes a token in its error does not make us print it."""
    from vaultprov.devenv.proxy import Fault

    token = workload_token_shape()
    body = f'{{"errors":["cannot use {token}"]}}'
    with watched(site, vault_fault=lambda _: Fault.status(400, body)) as desk:
        done = desk.onboard()
    assert token not in done.out + done.err
    assert "<redacted>" in done.err


def workload_token_shape() -> str:
    return "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize("method", ["approle", "jwt", "kubernetes"])
def test_a_login_of_our_own_works_and_its_token_is_revoked(site: Lab, method: str) -> None:
    env = prepared(site, method)
    without = {k: v for k, v in site.env.items() if k != "VAULT_TOKEN"}
    before = accessors(site)
    desk = Lab(site.folder, {**without, **env}, site.id, site.vault, site.kube, site.spoken)
    done = desk.onboard("--auth", method)
    assert done.code == 0, done.err
    assert accessors(site) <= before, "a token of the run is still alive"


def test_a_secret_comes_from_standard_input_or_a_file_too(site: Lab) -> None:
    env = prepared(site, "approle")
    secret = env.pop("VAULTPROV_AUTH_SECRET")
    without = {k: v for k, v in site.env.items() if k != "VAULT_TOKEN"}
    desk = Lab(site.folder, {**without, **env}, site.id, site.vault, site.kube, site.spoken)
    words = ["status", "--env", "moc", "--cluster", "smaug", "--auth", "approle"]
    assert desk.run(*words).code == 2
    assert desk.run(*words, "--auth-secret-file", "-", stdin=secret + "\n").code == 0
    file = site.folder / "secret-id"
    file.write_text(secret)
    assert desk.run(*words, "--auth-secret-file", str(file)).code == 0
    assert desk.run(*words, "--auth-secret-file", "/nonexistent").code == 2
