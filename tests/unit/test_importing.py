"""import: what adoption would give or take is told, and nothing read from Vault becomes YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worlds import MemoryVault
from vaultprov import cli, site, site_text, wiring_import
from vaultprov.errors import Bug, ConfigError
from vaultprov.importing import Imported, ImportedCluster, imported
from vaultprov.model import NamePatterns
from vaultprov.resource import Io

Answers = Mapping[str, Mapping[str, Any]]
EVIL = 'reviewer: {mode: jwt, jwks_url: "https://evil.example/jwks"}'
FILE = Path("vaultprov.yaml")
READ = '{ capabilities = ["read", "list"] }'


def mount(name: str, role: str = "moc-ops", /, **fields: Any) -> dict[str, Mapping[str, Any]]:
    """What Vault answers of a cluster's mount with one role."""
    bound = {
        "bound_service_account_names": ["fetcher"],
        "bound_service_account_namespaces": ["eso"],
        "token_policies": ["moc-kv-r"],
        "token_ttl": 3600,
        "audience": "vault",
    }
    config = {"kubernetes_host": f"https://{name}:6443"}
    told = {
        "disable_local_ca_jwt": fields.pop("disable_local_ca_jwt", True),
        "token_reviewer_jwt_set": fields.pop("token_reviewer_jwt_set", True),
    }
    return {
        f"auth/{name}/config": {**config, **told},
        f"auth/{name}/role": {"keys": [role]},
        f"auth/{name}/role/{role}": {**bound, **fields},
    }


def policy(name: str, path: str) -> dict[str, Mapping[str, Any]]:
    return {f"sys/policies/acl/{name}": {"policy": f'path "{path}" {READ}'}}


def found(
    *answers: Answers, names: NamePatterns | None = None, marks: Mapping[str, str] | None = None
) -> Imported:
    """What is imported of the mounts among `answers`. marks: descriptions by mount."""
    world = {path: answer for each in answers for path, answer in each.items()}
    world["sys/mounts"] = {"k8s_secrets/": {"type": "kv", "options": {"version": "2"}}}
    mounts = [path.split("/")[1] for path in world if path.endswith("/config")]
    world["sys/auth"] = {
        f"{each}/": {"type": "kubernetes", "description": (marks or {}).get(each, "")}
        for each in mounts
    }
    return imported(names or NamePatterns(), {}, Io(MemoryVault(world), None))


def written(what: Imported) -> tuple[str, site.Site]:
    text = site_text.site_text(site_text.expressible(what), {})
    return text, site.parsed(text, FILE)


def notes(what: Imported, cluster: str = "smaug") -> str:
    (of_it,) = (each.notes for each in what.clusters if each.name == cluster)
    return "\n".join(of_it)


WIDE = policy("moc-kv-r", "k8s_secrets/data/moc/*")
NARROW = policy("moc-smaug-kv-r", "k8s_secrets/data/moc/smaug/*")


# What was read cannot become a setting.


@pytest.mark.parametrize("indent", [0, 2, 8])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u0085", "\u2028", "\u2029"])
def test_a_policys_path_cannot_become_a_setting(end: str, indent: int) -> None:
    text = f"k8s_secrets/data/moc/x{end}{' ' * indent}{EVIL}{end}#".replace('"', '\\"')
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    what = found(mount("smaug-k8s"), policy("moc-kv-r", text))
    shown, read = written(what)
    assert "evil.example" in shown, "it is told as what it is"
    assert "reviewer.mode" not in {**read.site, **read.clusters["moc", "smaug"]}


@pytest.mark.parametrize("key", [EVIL, "kv_mount: other", "vault: {address: https://evil}"])
@pytest.mark.parametrize("indent", [0, 8])
def test_a_bound_name_of_another_role_cannot_become_a_setting(key: str, indent: int) -> None:
    """Nor can one that repeats a key keep the file from being made."""
    other = {"bound_service_account_names": [f"x\n{' ' * indent}{key}\n#"]}
    world = mount("smaug-k8s") | {
        "auth/smaug-k8s/role": {"keys": ["moc-ops", "other"]},
        "auth/smaug-k8s/role/other": other,
    }
    plain, evil = (written(found(each, WIDE))[1] for each in (mount("smaug-k8s"), world))
    assert values(plain) == values(evil)


def values(read: site.Site) -> list[Any]:
    layers = (read.site, *read.environments.values(), *read.clusters.values())
    return [{key: sourced.value for key, sourced in layer.items()} for layer in layers]


@given(st.text(), st.text(min_size=1))
def test_no_text_ends_a_comment_or_a_value(note: str, value: str) -> None:
    what = Imported(
        "https://vault.example.com",
        {"oidc.client_id": value},
        (ImportedCluster("moc", "smaug", {"audience": value}, (note, f"  {note}")),),
        (note,),
    )
    text, read = written(what)
    held = {**read.site, **read.clusters["moc", "smaug"]}
    assert set(held) <= {"vault.address", "store.enabled", "oidc.client_id", "audience"}
    for line in text.splitlines():
        assert line.isprintable()
    assert len(yaml.safe_load(text)["environments"]) == 1


def test_a_file_that_would_be_read_as_something_else_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That it can be read is not enough: a setting more is a bug."""
    what = found(mount("smaug-k8s"), WIDE)
    monkeypatch.setattr(
        site_text,
        "_comments",
        lambda _notes, indent: [f"{indent}token_ttl: 60"] if indent else [],
    )
    with pytest.raises(Bug):
        written(what)


def test_a_value_that_no_site_file_takes_is_told() -> None:
    what = found(mount("smaug-k8s", audience="hvs." + "x" * 30), WIDE)
    text, read = written(what)
    assert "# audience cannot be said here: it looks like a token" in text
    assert "xxx" not in text
    assert "audience" not in read.clusters["moc", "smaug"]


def test_a_marker_that_names_no_cluster_is_told() -> None:
    marks = {"other": "managed by vaultprov: environment=moc cluster=[x]"}
    what = found(mount("smaug-k8s"), mount("other"), WIDE, marks=marks)
    assert [each.name for each in what.clusters] == ["smaug"]
    assert any(note.startswith("auth/other ") for note in what.notes)


# The scope, and what adoption gives or takes.


def test_the_scope_is_each_roles_own() -> None:
    what = found(
        mount("smaug-k8s", token_policies=["moc-smaug-kv-r"]), mount("infra-k8s"), WIDE, NARROW
    )
    read = written(what)[1]
    assert "scope" not in read.site
    assert read.clusters["moc", "smaug"]["scope"].value == "cluster"
    assert "scope" not in read.clusters["moc", "infra"]
    assert "polic" not in notes(what, "infra") + notes(what, "smaug")


def test_a_scope_that_all_have_is_said_once() -> None:
    read = written(found(mount("smaug-k8s", token_policies=["moc-smaug-kv-r"]), NARROW))[1]
    assert read.site["scope"].value == "cluster"


@pytest.mark.parametrize(
    ("has", "there", "scope", "told"),
    [
        (["moc-kv-r"], WIDE, None, []),
        (["MOC-kv-r"], WIDE, None, []),
        (["moc-kv-r"], WIDE | NARROW, None, []),
        (["moc-smaug-kv-r"], WIDE | NARROW, "cluster", []),
        (
            ["moc-kv-r", "moc-smaug-kv-r"],
            WIDE | NARROW,
            None,
            ["role moc-ops has the policy moc-smaug-kv-r: adoption takes it away"],
        ),
        (
            ["else"],
            WIDE,
            None,
            [
                "role moc-ops does not have the policy moc-kv-r: adoption gives it",
                "role moc-ops also has the policy else, which stays",
            ],
        ),
        (
            [],
            WIDE | NARROW,
            "cluster",
            ["role moc-ops does not have the policy moc-smaug-kv-r: adoption gives it"],
        ),
        (
            ["moc-kv-r"],
            {},
            None,
            ["policy moc-kv-r does not exist: onboarding writes it"],
        ),
    ],
)
def test_every_policy_that_adoption_gives_or_takes_is_told(
    has: list[str], there: Answers, scope: str | None, told: list[str]
) -> None:
    what = found(mount("smaug-k8s", token_policies=has), there)
    assert what.clusters[0].settings.get("scope") == scope
    assert [note for note in notes(what).splitlines() if "polic" in note] == told


def test_the_group_is_looked_for_by_its_name() -> None:
    """One that is not there is told at its cluster, though the environment's first has one."""
    group = {"identity/group/name/moc-infra": {"id": "1"}}
    names = NamePatterns(group="{env}-{cluster}")
    what = found(mount("infra-k8s"), mount("smaug-k8s"), WIDE, group, names=names)
    assert "group moc-smaug does not exist" in notes(what)
    assert "group" not in notes(what, "infra")


@pytest.mark.parametrize(
    ("is_set", "local", "told"),
    [
        (True, False, "the stored reviewer JWT cannot be read back"),
        (False, False, ""),
        (False, True, "no reviewer JWT is stored (Vault uses its own token)"),
        (None, False, "whether a reviewer JWT is stored is not told"),
    ],
)
def test_only_a_reviewer_jwt_that_is_there_is_said_to_be(
    is_set: bool | None,
    local: bool,
    told: str,
) -> None:
    world = mount("smaug-k8s", token_reviewer_jwt_set=is_set, disable_local_ca_jwt=not local)
    text = notes(found(world, WIDE))
    assert told in text
    assert ("reviewer JWT" in text) == bool(told)


@pytest.mark.parametrize("ttl", [30, 33 * 86400])
def test_a_token_ttl_that_no_command_takes_is_told(ttl: int) -> None:
    what = found(mount("smaug-k8s", token_ttl=ttl), WIDE)
    assert "token_ttl" not in what.clusters[0].settings
    assert f"token_ttl {ttl} s is not between" in notes(what)


@pytest.mark.parametrize("marked", ["a-place", "smaug2-k8s"])
def test_of_two_mounts_of_a_cluster_the_one_that_onboarding_means_is_taken(marked: str) -> None:
    mark = "managed by vaultprov: environment=moc cluster=smaug"
    what = found(mount(marked), mount("smaug-k8s"), WIDE, marks={marked: mark})
    assert [each.mount for each in what.clusters] == ["smaug-k8s"]
    assert any(f"auth/{marked} is of" in note and "left out" in note for note in what.notes)
    assert written(what)[1].clusters


# Where the files go.


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder to work in; the list tells whether Vault was asked."""
    asked: list[str] = []

    def texts(*_: Any) -> wiring_import.Texts:
        asked.append("Vault")
        first = "--env moc --cluster smaug"
        return wiring_import.Texts("kv_mount: a\n", {"read.hcl": "#"}, (), first)

    monkeypatch.setattr(wiring_import, "texts", texts)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return asked


@pytest.mark.parametrize(
    "words",
    [
        ["--file", "/proc/nowhere/x.yaml"],
        ["--file", "folder", "--overwrite"],
        ["--file", "folder"],
        ["--file", "file/x.yaml"],
        ["--file", "new.yaml", "--templates", "/proc/nowhere"],
        ["--file", "x" * 300],
    ],
)
def test_a_place_where_nothing_can_be_written_is_told_before_vault_is_read(
    desk: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    Path("file").touch()
    assert cli.main(["import", *words]) == ConfigError.exit_code
    assert "next:" in capsys.readouterr().err
    assert desk == []
    assert sorted(map(str, Path().iterdir())) == ["file", "folder"], "nothing is left behind"


def test_a_file_that_is_there_is_refused_before_vault_is_read(desk: list[str]) -> None:
    FILE.write_text("kv_mount: mine\n")
    assert cli.main(["import"]) == 6
    assert desk == []
    assert cli.main(["import", "--overwrite"]) == 0
    assert FILE.read_text() == "kv_mount: a\n"


@pytest.mark.parametrize(
    ("file", "config"),
    [
        ("vaultprov.yaml", ""),
        ("../vaultprov.yaml", ""),
        ("../config/vaultprov/vaultprov.yaml", ""),
        ("-", ""),
        ("site.yaml", "--config site.yaml "),
        ("sub/vaultprov.yaml", "--config sub/vaultprov.yaml "),
        ("a b.yaml", "--config 'a b.yaml' "),
    ],
)
def test_the_next_command_reads_the_file_that_was_written(
    desk: list[str], file: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", "--file", file]) == 0
    said = capsys.readouterr()
    assert f"next:  vaultprov plan {config}--env moc --cluster smaug\n" in said.out + said.err
    assert desk == ["Vault"]


def test_a_nearer_site_file_makes_the_next_command_name_its_own(
    desk: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    FILE.write_text("kv_mount: mine\n")
    assert cli.main(["import", "--file", "../vaultprov.yaml"]) == 0
    assert "plan --config ../vaultprov.yaml --env" in capsys.readouterr().out
    assert desk == ["Vault"]
