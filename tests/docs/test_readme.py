"""The README is part of the product: it names everything, and what it shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from tests.conftest import Lab
from vaultprov import errors, site
from vaultprov.cli import cli
from vaultprov.report.human import shown
from vaultprov.settings import SETTINGS

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = (
    "<!-- settings: made from vaultprov/settings.py, kept in step by tests/docs -->\n",
    "<!-- end of settings -->",
)


def commands(
    group: click.Group = cli, prefix: str = "vaultprov"
) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README.read_text()


OPTIONS = sorted(
    {o for c in COMMANDS.values() for p in c.params for o in p.opts if o.startswith("--")}
)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_the_readme(option: str) -> None:
    assert re.search(rf"`{option}[` ]", README.read_text())


def test_the_readme_names_no_option_that_does_not_exist() -> None:
    others = {"--no-deps", "--help", "--minify", "--raw"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README.read_text()))
    assert named - set(OPTIONS) - others == set()


def test_every_exit_code_is_in_the_readme() -> None:
    table = README.read_text().split("### Exit codes")[1].split("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    classes = [
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.Error)
    ]
    assert {c.exit_code for c in classes} | {0, 4, 5, 130} == listed


def settings_table() -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = "" if setting.default is None else f"`{shown(setting.written(setting.default))}`"
        variables = f" ({', '.join(f'`{name}`' for name in setting.env)})" if setting.env else ""
        rows.append(f"| `{setting.key}` | {default} | {setting.help}{variables} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_settings_is_the_code() -> None:
    """VAULTPROV_UPDATE_GOLDEN=1 rewrites it."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    written, after = rest.split(END)
    if os.environ.get("VAULTPROV_UPDATE_GOLDEN"):
        README.write_text(before + BEGIN + settings_table() + END + after)
        return
    assert written == settings_table()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_site_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "vaultprov.yaml"
    file.write_text(next(block for block in blocks("yaml") if "environments:" in block))
    loaded = site.load(file)
    assert set(loaded.clusters) == {("moc", "smaug"), ("moc", "infra")}


def test_the_store_of_the_readme_fits_what_onboard_makes(onboarded: Lab) -> None:
    store = yaml.safe_load(next(block for block in blocks("yaml") if "SecretStore" in block))
    vault = store["spec"]["provider"]["vault"]
    login = vault["auth"]["kubernetes"]
    role = onboarded.vault.read(f"auth/{login['mountPath']}/role/{login['role']}")["data"]
    assert login["serviceAccountRef"]["name"] in role["bound_service_account_names"]
    assert login["serviceAccountRef"]["audiences"] == [role["audience"]]
    assert vault["path"] + "/" in onboarded.vault.sys.list_mounted_secrets_engines()["data"]


def masked(text: str) -> str:
    """Without what differs from run to run: ports, ids, fingerprints, times."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID", text)
    text = re.sub(r"sha256:[0-9a-f]{32}", "sha256:FINGERPRINT", text)
    text = re.sub(r"auth_oidc_[0-9a-f]{8}", "auth_oidc_ACCESSOR", text)
    text = re.sub(r"site     \S+/vaultprov.yaml", "site     FILE", text)
    return re.sub(r"Done in \d+\.\d s", "Done in N s", text)


def test_the_readme_shows_the_real_output_of_the_demo(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "vaultprov", "demo"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    for block in blocks("console"):
        assert masked(block.strip()) in masked(done.stdout)


# The commands whose examples need nothing but a site; `team` and `namespace` need namespaces.
RUN = ("bootstrap", "plan", "onboard", "status", "advise", "access", "policy", "import", "rotate",
       "offboard")  # fmt: skip


def examples() -> list[str]:
    """The commands of the README's indented blocks, continuation lines joined."""
    joined = README.read_text().replace("\\\n", " ")
    found = re.findall(
        rf"^    (vaultprov (?:{'|'.join(RUN)})[^#\n]*)",
        joined,
        re.MULTILINE,
    )
    return [" ".join(line.split()) for line in found]


def _place(line: str) -> int:
    """What the site needs comes first, and what takes it all away last."""
    return 0 if "bootstrap" in line else 2 if "offboard" in line else 1


def test_the_examples_of_the_readme_run(lab: Lab) -> None:
    (lab.folder / "api.crt").write_text(lab.kube.ca_pem)
    assert len(examples()) >= 5
    for line in sorted(examples(), key=_place):
        words = line.replace("https://api.smaug.example.com:6443", lab.kube.server).split()[1:]
        if "UID" in words:
            words[words.index("UID")] = "not-known-here"
            words = [*words[:-2], "--reviewer", "client", "--replace-cluster"]
            words[0] = "plan"
        done = lab.run(*words)
        assert done.code == 0, f"{line}: {done.err}"
