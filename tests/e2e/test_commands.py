"""The smaller commands, and the command line's manners."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Lab
from vaultprov.devenv.process import wait_until


def test_config_show_tells_every_value_and_its_source(lab: Lab) -> None:
    lab.site({"kv_mount": "kv", "environments": {"moc": {"token_ttl": "30m"}}})
    lab.site(
        {"environments": {"moc": {"token_ttl": "30m", "clusters": {"smaug": {"audience": "a"}}}}}
    )
    words = ["config", "show", "--env", "moc", "--cluster", "smaug", "--set", "scope=cluster"]
    shown = lab.run(*words, VAULTPROV_POLICY_SET="operate-first")
    assert shown.code == 0, shown.err
    lines = {line.split()[0]: line for line in shown.out.splitlines()}
    file = lab.folder / "vaultprov.yaml"
    where = {name: number for number, name in numbered(file)}
    assert f"kv  ({file}:{where['kv_mount']})" in lines["kv_mount"]
    assert f"30m  ({file}:{where['token_ttl']})" in lines["token_ttl"]
    assert f"a  ({file}:{where['audience']})" in lines["audience"]
    assert "operate-first  (VAULTPROV_POLICY_SET)" in lines["policy_set"]
    assert "cluster  (flag)" in lines["scope"]
    assert f"({lab.env['VAULT_ADDR']}" not in shown.out
    assert "(VAULT_ADDR)" in lines["vault.address"]
    assert "oidc  (default)" in lines["oidc.mount"]


def test_an_environment_that_the_site_file_has_not_is_told(lab: Lab) -> None:
    """A typo would make policies and groups of an environment that nobody meant."""
    for command in (["config", "show"], ["render", "--dir", "out"], ["policy", "show"]):
        done = lab.run(*command, "--env", "mco", "--cluster", "smaug")
        assert done.code == 0, done.err
        assert (
            f"mco is not an environment of {lab.folder}/vaultprov.yaml, which has moc" in done.err
        )
        told = lab.run(*command, "--env", "moc", "--cluster", "smaug").err
        assert "is not an environment" not in told


def numbered(file: Path) -> list[tuple[int, str]]:
    """The line numbers of a site file's keys."""
    lines = file.read_text().splitlines()
    return [(n, line.strip().partition(":")[0]) for n, line in enumerate(lines, 1)]


def test_the_site_file_is_found_upwards_and_in_the_users_folder(lab: Lab) -> None:
    below = lab.folder / "a" / "b"
    below.mkdir(parents=True)
    command = [sys.executable, "-m", "vaultprov", "config", "show"]
    told = subprocess.run(
        command, cwd=below, env=dict(lab.env), capture_output=True, text=True, check=True
    )
    assert str(lab.folder / "vaultprov.yaml") in told.stdout
    home = lab.folder / "config" / "vaultprov"
    home.mkdir(parents=True)
    (home / "vaultprov.yaml").write_text("kv_mount: of-the-user\n")
    env = {**lab.env, "XDG_CONFIG_HOME": str(lab.folder / "config")}
    told = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=True)
    assert "of-the-user" in told.stdout


def test_an_unknown_setting_on_the_command_line(lab: Lab) -> None:
    done = lab.run("config", "show", "--set", "no.such=1")
    assert done.code == 2
    assert "no setting 'no.such'" in done.err


def test_usage_errors_are_2_and_bugs_are_4_without_a_traceback(lab: Lab) -> None:
    assert lab.run("onboard", "--env", "moc").code == 2
    assert lab.run("no-such-command").code == 2
    bug = "import vaultprov.wiring, vaultprov.cli, sys; vaultprov.wiring.wired = None;"
    bug += "sys.exit(vaultprov.cli.main(['status', '--env', 'a', '--cluster', 'b']))"
    env = {k: v for k, v in lab.env.items() if k != "VAULTPROV_DEBUG"}
    command = [sys.executable, "-c", bug]
    told = subprocess.run(
        command, env=env, cwd=lab.folder, capture_output=True, text=True, check=False
    )
    assert told.returncode == 4
    assert "this is a bug of vaultprov" in told.stderr
    assert "Traceback" not in told.stderr


def test_bootstrap_is_idempotent_and_follows_a_changed_client_secret(site: Lab) -> None:
    again = site.run("bootstrap", "--output", "json")
    assert (again.code, again.document["changed"]) == (0, False)
    changed = site.run("bootstrap", "--output", "json", OIDC_CLIENT_SECRET="another-secret")
    assert changed.code == 0
    assert changed.actions() == {"vault/oidc-config/oidc": "update"}
    assert "another-secret" not in changed.out


def test_bootstrap_without_the_client_secret_says_where_it_is_looked_for(lab: Lab) -> None:
    done = lab.run("bootstrap", OIDC_CLIENT_SECRET="")
    assert done.code == 2
    assert "OIDC_CLIENT_SECRET" in done.err


def test_bootstrap_has_nothing_to_do_with_the_reviewer_mode(lab: Lab) -> None:
    lab.site({"reviewer": {"namespace": lab.reviewer_namespace, "mode": "client"}})
    assert lab.run("bootstrap").code == 0


def test_a_site_without_oidc(lab: Lab) -> None:
    assert lab.run("bootstrap", "--no-oidc").code == 0
    done = lab.onboard("--no-oidc", "--output", "json")
    assert done.code == 0
    keys = done.actions(keep=True)
    assert not [key for key in keys if "group" in key or "oidc" in key or "kv-rw" in key]


def demo_environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in os.environ if name.startswith("COV")}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **kept}


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work with this temporary folder."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={folder}\0" in environ.read_text():
                found.append((environ.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_the_demo_shows_the_main_job_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaultprov", "demo"]
    env = demo_environment(tmp_path)
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "hello from Vault" in done.stdout
    assert "Nothing to do: everything is in place" in done.stdout
    assert list(tmp_path.glob("vaultprov-demo-*")) == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("wait_for", ["Starting", "Once for the site", "from nothing", "Again"])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, wait_for: str) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "vaultprov", "demo"], env=demo_environment(tmp_path), stdout=out
        )
    wait_until(lambda: wait_for in log.read_text(), 30, f"the demo says {wait_for!r}")
    child.send_signal(signal.SIGINT)
    child.wait(30)
    wait_until(lambda: processes_of(tmp_path) == [], 10, "all processes have ended")
    assert list(tmp_path.glob("vaultprov-demo-*")) == []


def test_a_kept_demo_can_be_used_and_ended_as_it_prints(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaultprov", "demo", "--keep"]
    env = demo_environment(tmp_path)
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    exports = dict(re.findall(r"^  export (\w+)=(.*)$", done.stdout, re.MULTILINE))
    folder = re.search(r"^  cd (.*)$", done.stdout, re.MULTILINE)
    ending = re.search(r"^  kill (.*); rm -r (.*)$", done.stdout, re.MULTILINE)
    assert folder
    assert ending
    try:
        use = {**env, **{name: shlex.split(value)[0] for name, value in exports.items()}}
        words = [sys.executable, "-m", "vaultprov", "status", "--env", "moc", "--cluster", "smaug"]
        told = subprocess.run(
            words, env=use, cwd=folder[1], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        assert "moc, cluster smaug: in place" in told.stdout
    finally:
        for pid in ending[1].split():
            os.kill(int(pid), signal.SIGTERM)
    wait_until(lambda: processes_of(tmp_path) == [], 10, "all processes have ended")


def test_a_site_file_may_list_clusters_without_settings(lab: Lab) -> None:
    content = yaml.safe_load((lab.folder / "vaultprov.yaml").read_text())
    assert content["environments"] == {"moc": {"clusters": {"smaug": None}}}
    assert lab.run("config", "show", "--env", "moc", "--cluster", "smaug").code == 0
