"""A kustomization of others is added to, and nothing else in it changes."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vaultprov.errors import ConfigError, Refused
from vaultprov.render.kustomization import edited
from vaultprov.render.tree import Edit

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
ADD = Edit({"resources": ("new.yaml",)}, header="# made\n")


def add(text: str | None, *entries: str) -> str:
    return edited(text, Edit({"resources": entries or ("new.yaml",)}), "kustomization.yaml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("resources:\n  - a\n", "resources:\n  - a\n  - new.yaml\n"),
        ("resources:\n- a\n", "resources:\n- a\n- new.yaml\n"),
        ("resources:\n    -   a\n", "resources:\n    -   a\n    -   new.yaml\n"),
        ("resources:\n  - 'a' # why\n# end\n", "resources:\n  - 'a' # why\n  - new.yaml\n# end\n"),
        (
            "resources:\n  - a\n\nnamePrefix: x\n",
            "resources:\n  - a\n  - new.yaml\n\nnamePrefix: x\n",
        ),
        ("resources:\n  - a", "resources:\n  - a\n  - new.yaml\n"),
        ("resources:\nlabels: []\n", "resources:\n  - new.yaml\nlabels: []\n"),
        ("resources:  # none yet\n", "resources:  # none yet\n  - new.yaml\n"),
        ("resources: []\n", "resources: [new.yaml]\n"),
        ("resources: [a,\n  b] # c\n", "resources: [a,\n  b, new.yaml] # c\n"),
        ("namePrefix: x\n# end\n", "namePrefix: x\n# end\nresources:\n  - new.yaml\n"),
        (
            "components:\n- c\nnamePrefix: x",
            "components:\n- c\nnamePrefix: x\nresources:\n- new.yaml\n",
        ),
    ],
    ids=[
        "indented",
        "not indented",
        "wide",
        "comments",
        "another key behind",
        "no line end",
        "no value",
        "no value but a comment",
        "empty flow list",
        "flow list",
        "no such key",
        "no such key: as the other lists are",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_an_entry_is_added_and_every_other_byte_stays(before: str, after: str, end: str) -> None:
    """Comments, order, indentation, quotes and line ends are the author's."""
    given, wanted = (HEAD + before).replace("\n", end), (HEAD + after).replace("\n", end)
    assert add(given) == wanted
    assert add(wanted) == wanted


@pytest.mark.parametrize("there", ["./new.yaml", "new.yaml", "'new.yaml'", "x/../new.yaml"])
def test_an_entry_under_another_spelling_is_not_added(there: str) -> None:
    """kustomize refuses the same object twice."""
    text = HEAD + f"resources:   \n  - {there}   # kept\n"
    assert add(text) == text


@pytest.mark.parametrize("there", ["../base/", "../base", "./../base"])
@pytest.mark.parametrize("field", ["resources", "bases"])
def test_a_folder_is_the_same_with_and_without_its_slash(there: str, field: str) -> None:
    """Also where it is listed under the old name of the field, `bases`."""
    text = HEAD + f"{field}: [{there}]\n"
    assert add(text, "../base") == text


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "# no line end"])
def test_a_file_without_content_becomes_a_whole_one(text: str) -> None:
    """What is there (a comment) stays in front."""
    made = add(text)
    assert made.startswith(text)
    assert yaml.safe_load(made) == {**yaml.safe_load(HEAD), "resources": ["new.yaml"]}


def test_a_file_that_is_not_there_begins_with_our_line() -> None:
    """So that people know who began it."""
    assert edited(None, ADD, "k").startswith("# made\napiVersion:")


def test_several_lists_are_added_to() -> None:
    """Components are added as resources are."""
    edit = Edit({"resources": ("r",), "components": ("c",)})
    made = edited(HEAD + "resources:\n- a\n", edit, "k")
    assert made == HEAD + "resources:\n- a\n- r\ncomponents:\n- c\n"


@pytest.mark.parametrize(
    "text",
    [
        "resources: a\n",
        "- a\n",
        "a: [\n",
        "a: 1\n---\nb: 1\n",
        "x: &x [a]\nresources: *x\n",
        "{resources: [a], x: y}\ncomment\n",
        "{namePrefix: x}\n",
        "resources: ~\n",
    ],
)
def test_what_cannot_be_added_to_is_left_to_a_person(text: str) -> None:
    """Rather no edit than a wrong one: the result is read again and compared."""
    with pytest.raises(ConfigError, match=r"^dir/kustomization\.yaml "):
        edited(text, ADD, "dir/kustomization.yaml")


@given(st.text(alphabet="ab:-[]{}#'\"&*|>! \n\r\t,.", max_size=30))
def test_no_text_makes_a_wrong_edit(rest: str) -> None:
    """Either the meaning is the old one and the new entry, or it is an error of ours."""
    text = f"resources:\n- a\n{rest}"
    try:
        made = add(text)
    except (ConfigError, Refused):
        return
    before, after = yaml.safe_load(text), yaml.safe_load(made)
    assert after == {**before, "resources": [*(before["resources"] or []), "new.yaml"]}


@pytest.mark.parametrize(
    ("has", "fitting", "ok"),
    [
        ("", {""}, True),
        ("namespace: a\n", {""}, False),
        ("namespace: a\n", {"a"}, True),
        ("namespace: b\n", {"a"}, False),
        ("namespace: b\n", None, True),
        ("", {"a"}, False),
    ],
)
def test_a_namespace_field_that_would_move_objects_is_refused(
    has: str, fitting: set[str] | None, ok: bool
) -> None:
    """kustomize overwrites the namespace of everything it lists, silently."""
    edit = Edit(ADD.add, namespaces=frozenset(fitting) if fitting is not None else None)
    text = HEAD + has
    if ok:
        assert "- new.yaml" in edited(text, edit, "k")
    else:
        with pytest.raises(Refused, match="would move"):
            edited(text, edit, "k")
