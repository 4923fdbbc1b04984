"""A tree and a folder: whose file is overwritten, and what is never touched."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.unit.render.world import changed, read
from vaultprov.errors import ConfigError, Refused
from vaultprov.render import Edit, Text, Whose, compared, header, leftovers, write

OURS = header("vaultprov render --env moc --cluster smaug")
BODY = "kind: A\nmetadata:\n  name: x\n  labels:\n    by: us\nspec:\n  a: 1\n"
TREE = {"one/a.yaml": Text(OURS + BODY)}
SHARED = {"one/a.yaml": Text(OURS + BODY, Whose.SHARED)}
PEOPLE = {"one/a.yaml": Text(OURS + BODY, Whose.PEOPLE)}


def put(folder: Path, text: str, name: str = "one/a.yaml") -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    """The second run has nothing to report and writes no byte."""
    assert changed(write(TREE, tmp_path)) == ["one/a.yaml"]
    before = (tmp_path / "one/a.yaml").stat().st_mtime_ns
    assert changed(write(TREE, tmp_path)) == []
    assert changed(compared(TREE, tmp_path)) == []
    assert (tmp_path / "one/a.yaml").stat().st_mtime_ns == before


def test_a_difference_is_a_unified_diff_and_writes_nothing(tmp_path: Path) -> None:
    """What a person changed in a file of ours is simply a difference."""
    put(tmp_path, OURS + BODY.replace("1", "2"))
    before = read(tmp_path)
    [file] = compared(TREE, tmp_path)
    assert file.path == "one/a.yaml"
    assert file.diff.startswith("--- a/one/a.yaml\n+++ b/one/a.yaml\n@@")
    assert "-  a: 2\n+  a: 1\n" in file.diff
    assert read(tmp_path) == before


def test_a_missing_folder_is_all_difference(tmp_path: Path) -> None:
    """`render --check` in an empty checkout says what is missing."""
    assert changed(compared(TREE, tmp_path / "new")) == ["one/a.yaml"]
    assert not (tmp_path / "new").exists()


def test_our_own_file_is_written_anew(tmp_path: Path) -> None:
    """Its first line says that edits are overwritten."""
    put(tmp_path, OURS + "edited: true\n")
    assert changed(write(TREE, tmp_path)) == ["one/a.yaml"]


def test_line_ends_that_git_changed_are_no_difference(tmp_path: Path) -> None:
    """A checkout on Windows has CRLF."""
    put(tmp_path, (OURS + BODY).replace("\n", "\r\n"))
    assert changed(compared(TREE, tmp_path)) == []


def test_a_file_of_others_is_refused_until_adopted(tmp_path: Path) -> None:
    """Nothing else is written either: a refusal leaves nothing half done."""
    put(tmp_path, "theirs: true\n")
    before = read(tmp_path)
    both = {"another.yaml": Text(OURS), **TREE}
    with pytest.raises(Refused, match=r"one/a\.yaml exists") as caught:
        write(both, tmp_path)
    assert "--adopt" in caught.value.hint
    assert read(tmp_path) == before
    assert changed(compared(both, tmp_path, adopt=True)) == ["another.yaml", "one/a.yaml"]
    assert changed(write(both, tmp_path, adopt=True)) == ["another.yaml", "one/a.yaml"]


@pytest.mark.parametrize(
    ("theirs", "kept"),
    [
        ("# note\n" + BODY, True),
        ("---\nkind: A\nspec: {a: 1, more: 2}\nmetadata: {name: x}\n", True),
        (BODY.replace("a: 1", "a: 2"), False),
        (BODY + "---\n" + BODY, False),
        ("a: [\n", False),
        ("", False),
    ],
    ids=["a comment", "other order, more fields, no labels", "a value", "two", "broken", "empty"],
)
def test_a_file_of_others_that_says_the_same_is_kept(
    tmp_path: Path, theirs: str, kept: bool
) -> None:
    """As with objects in the cluster: what has all that we need is left as it is."""
    put(tmp_path, theirs)
    if kept:
        assert changed(write(TREE, tmp_path)) == []
        assert changed(compared(TREE, tmp_path)) == []
    else:
        with pytest.raises(Refused):
            write(TREE, tmp_path)


def test_a_file_that_clusters_share_is_not_changed_by_one_of_them(tmp_path: Path) -> None:
    """The other clusters would get it, too."""
    put(tmp_path, OURS + BODY.replace("1", "2"))
    with pytest.raises(Refused, match="shared by all clusters"):
        write(SHARED, tmp_path)
    assert changed(write(SHARED, tmp_path, adopt=True)) == ["one/a.yaml"]


def test_a_shared_file_may_change_its_looks(tmp_path: Path) -> None:
    """A new version of vaultprov may write the same object another way."""
    put(tmp_path, OURS + "# once more\n" + BODY)
    assert changed(write(SHARED, tmp_path)) == ["one/a.yaml"]


def test_what_people_went_on_with_stays_theirs(tmp_path: Path) -> None:
    """The members of a group are not ours to reset."""
    put(tmp_path, BODY.replace("a: 1", "members: [me]"))
    assert changed(write(PEOPLE, tmp_path)) == []
    put(tmp_path, BODY.replace("name: x", "name: y"))
    with pytest.raises(Refused):
        write(PEOPLE, tmp_path)


@pytest.mark.parametrize("path", ["../a", "one/../../a", "/etc/a", "", "."])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    """Whatever a tree says."""
    (tmp_path / "in").mkdir()
    with pytest.raises(Refused, match="leads out"):
        write({path: Text("x")}, tmp_path / "in")
    assert read(tmp_path) == {}


@pytest.mark.parametrize("link", ["one", "one/a.yaml"])
@pytest.mark.parametrize("there", [True, False])
def test_no_symbolic_link_is_followed_out_of_the_folder(
    tmp_path: Path, link: str, there: bool
) -> None:
    """A link in a repository can point anywhere; also where there is nothing yet."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / link).parent.mkdir(parents=True)
    if there:
        put(outside, OURS, "a.yaml")
    (inside / link).symlink_to(outside if link == "one" else outside / "a.yaml")
    before = read(tmp_path)
    for act in (write, compared):
        with pytest.raises(Refused, match="leads out"):
            act(TREE, inside)
    assert read(tmp_path) == before


def test_a_link_within_the_folder_is_kept(tmp_path: Path) -> None:
    """What it points to is written; it stays a link."""
    put(tmp_path, OURS, "real.yaml")
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.yaml").symlink_to("../real.yaml")
    write(TREE, tmp_path)
    assert (tmp_path / "one/a.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_text() == OURS + BODY


def test_a_loop_of_links_is_an_error_of_ours(tmp_path: Path) -> None:
    """No traceback reaches a user."""
    (tmp_path / "one").symlink_to("one")
    with pytest.raises((ConfigError, Refused)):
        write(TREE, tmp_path)


def test_the_files_rights_stay_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """A file is replaced whole, by a new one with the old one's mode."""
    put(tmp_path, OURS)
    (tmp_path / "one/a.yaml").chmod(0o640)
    write(TREE, tmp_path)
    assert stat.S_IMODE((tmp_path / "one/a.yaml").stat().st_mode) == 0o640
    assert list(read(tmp_path)) == ["one/a.yaml"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads meanwhile sees the old file or the new one, never half of it."""
    put(tmp_path, OURS)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        write(TREE, tmp_path)
    assert read(tmp_path) == {"one/a.yaml": OURS.encode()}


def test_what_is_no_text_is_an_error_of_ours(tmp_path: Path) -> None:
    """A binary file or a folder in the place of a file is named, without a traceback."""
    put(tmp_path, "")
    (tmp_path / "one/a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"one/a\.yaml cannot be read"):
        write(TREE, tmp_path)


@pytest.mark.parametrize("name", ["kustomization.yml", "Kustomization"])
def test_a_kustomization_under_its_other_names_is_the_one(tmp_path: Path, name: str) -> None:
    """Two of them in one folder make kustomize fail."""
    put(tmp_path, "resources:\n- a\n", name)
    tree = {"kustomization.yaml": Edit({"resources": ("b",)})}
    assert changed(write(tree, tmp_path)) == [name]
    assert read(tmp_path) == {name: b"resources:\n- a\n- b\n"}


def test_leftovers_are_this_clusters_alone(tmp_path: Path) -> None:
    """A file that is no longer rendered is told, not deleted."""
    write(TREE, tmp_path)
    put(tmp_path, OURS + "old: 1\n", "one/old.yaml")
    put(tmp_path, header("another cluster") + "old: 1\n", "two/old.yaml")
    put(tmp_path, "theirs: 1\n", "two/theirs.yaml")
    assert leftovers(TREE.keys(), tmp_path, OURS) == ["one/old.yaml"]


def test_a_kustomization_under_another_name_is_no_leftover(tmp_path: Path) -> None:
    """It is asked for by the name that it has."""
    put(tmp_path, OURS + "resources:\n- b\n", "kustomization.yml")
    files = write({"kustomization.yaml": Edit({"resources": ("b",)})}, tmp_path)
    assert leftovers({file.path for file in files}, tmp_path, OURS) == []


def test_writers_side_by_side_lose_no_line_of_each_other(tmp_path: Path) -> None:
    """Clusters are rendered in parallel; each adds its line to what they share."""
    names = [f"cluster-{number}" for number in range(16)]

    def added(name: str) -> None:
        write({"kustomization.yaml": Edit({"resources": (name,)})}, tmp_path)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(added, names))
    found = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())
    assert sorted(found["resources"]) == sorted(names)
    assert [file.name for file in tmp_path.iterdir()] == ["kustomization.yaml"]
