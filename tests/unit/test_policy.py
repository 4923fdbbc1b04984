"""The shipped policies grant what they say; a broken template is reported with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worlds import MemoryVault
from vaultprov.errors import ConfigError
from vaultprov.model import Onboarding, Scope
from vaultprov.names import Names
from vaultprov.resource import Io, State, VaultRight
from vaultprov.vault.hcl import meaning
from vaultprov.vault.policy import Policy, owner, policy_folder, render

VALUES = {"env": "moc", "cluster": "smaug", "kv_mount": "k8s_secrets", "scope_path": "moc"}
SETS = ["default", "operate-first"]

# "Enable Cluster to use External Secrets with Vault", Operate First: sa_policy.hcl, user_policy.hcl
RUNBOOK = {
    "read": {"k8s_secrets/data/moc/*": "read, list"},
    "write": {
        "k8s_secrets/data/moc/*": "create, read, update, delete, list, sudo",
        "k8s_secrets/*": "list",
        "k8s_secrets/metadata/moc/*": "create, read, update, patch, delete, list, sudo",
    },
}
DEFAULT = {
    "read": {
        "k8s_secrets/data/moc/*": "read",
        "k8s_secrets/metadata/moc/*": "read, list",
    },
    "write": {
        "k8s_secrets/data/moc/*": "create, read, update, patch, delete",
        "k8s_secrets/metadata/moc/*": "create, read, update, patch, delete, list",
        "k8s_secrets/subkeys/moc/*": "read",
        "k8s_secrets/delete/moc/*": "create, update",
        "k8s_secrets/undelete/moc/*": "create, update",
        "k8s_secrets/destroy/moc/*": "create, update",
    },
}


def shipped(name: str, policy_set: str = "default", **values: str) -> dict[str, str]:
    template = policy_folder(policy_set, None) / f"{name}.hcl"
    return meaning(render(template, VALUES | values))


@pytest.mark.parametrize("name", ["read", "write"])
def test_operate_first_says_exactly_what_the_runbook_says(name: str) -> None:
    assert shipped(name, "operate-first") == RUNBOOK[name]


@pytest.mark.parametrize("name", ["read", "write"])
def test_the_default_set(name: str) -> None:
    assert shipped(name) == DEFAULT[name]


@pytest.mark.parametrize("name", ["read", "write"])
def test_the_default_set_grants_no_sudo(name: str) -> None:
    assert not any("sudo" in grant for grant in shipped(name).values())


@pytest.mark.parametrize("name", ["read", "write"])
def test_the_default_set_names_nothing_outside_the_environment(name: str) -> None:
    """Not even a listing of the mount: it would show the names of the other environments."""
    for path in shipped(name):
        mount, kind, environment, rest = path.split("/")
        assert (mount, environment, rest) == ("k8s_secrets", "moc", "*")
        assert kind not in ("*", "+")


@pytest.mark.parametrize("policy_set", SETS)
def test_workloads_may_not_write(policy_set: str) -> None:
    granted = ", ".join(shipped("read", policy_set).values()).split(", ")
    assert set(granted) <= {"read", "list"}


@pytest.mark.parametrize("policy_set", SETS)
def test_a_scope_narrows_what_workloads_read_and_not_what_people_write(policy_set: str) -> None:
    narrow = shipped("read", policy_set, scope_path="moc/smaug")
    assert narrow == {
        path.replace("/moc/", "/moc/smaug/"): grant
        for path, grant in shipped("read", policy_set).items()
    }
    wide = shipped("write", policy_set)
    assert shipped("write", policy_set, scope_path="moc/smaug") == wide


def test_another_kv_mount_is_named_in_every_path() -> None:
    for policy_set in SETS:
        for name in ("read", "write"):
            paths = shipped(name, policy_set, kv_mount="team/kv")
            assert all(path.startswith("team/kv/") for path in paths)


def test_the_policy_of_a_narrow_scope_has_its_own_name() -> None:
    """Two clusters of one environment must not overwrite each other's."""
    wide, narrow = (Names.of(Onboarding("moc", "smaug", scope=scope)) for scope in Scope)
    assert (wide.read_policy, narrow.read_policy) == ("moc-kv-r", "moc-smaug-kv-r")


BROKEN: dict[str, tuple[str, int, str]] = {
    "unknown placeholder": ('path "$kv_mount/a" {}\n\npath "$mount" {}\n', 3, "'mount'"),
    "unknown placeholder in braces": ('\npath "${mount}x" {}\n', 2, "'mount'"),
    "stray dollar sign": ('path "a" {}\n# costs 5$ each\n', 2, "stray '$'"),
    "syntax": ('path "$env" {\n  capabilities = ["read"\n}\n', 3, "expected ','"),
    "unknown capability": ('# rights\npath "$env" { capabilities = ["raed"] }\n', 2, "'raed'"),
}


@pytest.mark.parametrize(("text", "line", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_template_is_reported_with_file_and_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    template = tmp_path / "read.hcl"
    template.write_text(text)
    with pytest.raises(ConfigError) as caught:
        render(template, VALUES)
    assert caught.value.message.startswith(f"{template}:{line}: ")
    assert said in caught.value.message


def test_the_line_is_that_of_the_whole_placeholder(tmp_path: Path) -> None:
    template = tmp_path / "read.hcl"
    template.write_text('path "$env/*" {}\npath "$en/*" {}\n')
    with pytest.raises(ConfigError, match=r"read\.hcl:2: "):
        render(template, VALUES)


def test_two_dollar_signs_are_one(tmp_path: Path) -> None:
    template = tmp_path / "read.hcl"
    template.write_text('path "$kv_mount/$$x" {}')
    assert render(template, VALUES) == 'path "k8s_secrets/$x" {}'


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["absent", "not UTF-8"])
def test_an_unreadable_template_is_named(tmp_path: Path, content: bytes | None) -> None:
    template = tmp_path / "read.hcl"
    if content is not None:
        template.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        render(template, VALUES)


class TestFolder:
    def test_of_ones_own_comes_before_the_set(self, tmp_path: Path) -> None:
        assert policy_folder("no-such-set", tmp_path) == tmp_path

    def test_of_ones_own_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            policy_folder("default", tmp_path / "nothing")

    def test_an_unknown_set_names_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match="'strict'") as caught:
            policy_folder("strict", None)
        assert caught.value.hint == "one of: default, operate-first"


class TestPolicy:
    """The resource: compared by meaning, marked by its first line."""

    TEXT = 'path "a" { capabilities = ["read"] }'
    PATH = "sys/policies/acl/moc-kv-r"

    def test_text_with_our_marker_is_ours(self) -> None:
        policy = Policy("moc-kv-r", self.TEXT, owner("moc"))
        found = self.of(policy, policy.marked)
        assert found.foreign is None
        assert found.fields == policy.wanted().fields

    def of(self, policy: Policy, text: str) -> State:
        found = policy.read(Io(MemoryVault({self.PATH: {"policy": text}}), None))
        assert found is not None
        return found

    def test_a_marker_that_names_nobody_is_ours(self) -> None:
        text = f"# managed by vaultprov; edited\n{self.TEXT}"
        assert self.of(Policy("moc-kv-r", self.TEXT, owner("moc")), text).foreign is None

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (owner("moc", "a-b"), owner("moc-a", "b")),
            (owner("moc", "a", "b-c"), owner("moc", "a-b", "c")),
            (owner("moc-a"), owner("moc", "a")),
        ],
    )
    def test_who_has_the_same_name_by_its_hyphens_is_never_overwritten(
        self, one: str, other: str
    ) -> None:
        theirs = Policy("moc-kv-r", self.TEXT, one).marked
        foreign = self.of(Policy("moc-kv-r", "", other), theirs).foreign
        assert foreign is not None
        assert (foreign.reason, foreign.flag) == (f"belongs to {one}", "")

    def test_text_of_another_author_is_foreign(self) -> None:
        found = Policy("moc-kv-r", "").read(
            Io(MemoryVault({self.PATH: {"policy": "# mine"}}), None)
        )
        assert found is not None
        assert found.foreign is not None
        assert found.foreign.flag == "--adopt"

    def test_text_that_cannot_be_read_differs_from_everything(self) -> None:
        found = Policy("moc-kv-r", "").read(Io(MemoryVault({self.PATH: {"policy": "{"}}), None))
        assert found is not None
        assert found.fields["path"] not in ({}, meaning(self.TEXT))

    def test_what_is_written_reads_back_as_ours_and_equal(self) -> None:
        vault = MemoryVault()
        policy = Policy("moc-kv-r", self.TEXT)
        policy.write(Io(vault, None), {}, None)
        [(path, payload)] = vault.written
        vault.answers[path] = payload
        again = policy.read(Io(vault, None))
        assert again is not None
        assert (again.fields, again.foreign) == (policy.wanted().fields, None)

    @pytest.mark.parametrize(
        ("action", "needs"),
        [("read", "read"), ("create", "write"), ("update", "write"), ("delete", "delete")],
    )
    def test_rights(self, action: str, needs: str) -> None:
        assert Policy("moc-kv-r", "").rights(action) == (VaultRight(self.PATH, (needs,)),)
