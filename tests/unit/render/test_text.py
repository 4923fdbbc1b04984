"""YAML that every parser reads back alike, the same bytes each time."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vaultprov.render.text import document, dumped, scalar

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_what_is_written_is_read_back(value: object) -> None:
    """No text is lost or turned into something else, however odd it is."""
    assert yaml.safe_load(dumped(value)) == value


def test_identity_comes_first_then_the_builders_order() -> None:
    """apiVersion, kind and metadata lead; nothing else is sorted."""
    body = {"spec": {"z": 1, "a": 2}, "metadata": {"name": "it"}, "kind": "K", "apiVersion": "v1"}
    assert document(body) == (
        "apiVersion: v1\nkind: K\nmetadata:\n  name: it\nspec:\n  z: 1\n  a: 2\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "0o17",
        "0x1F",
        "8200",
        "1_000",
        ".5",
        "1.5e3",
        "-7",
        "y",
        "N",
        "on",
        "null",
        "~",
        "20",
    ],
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    """go-yaml takes 1e3 for a number where PyYAML does not: annotations must stay strings."""
    assert scalar(text) in (f"'{text}'", f'"{text}"')


def test_text_of_several_lines_is_a_literal_block() -> None:
    """A person reads it, and a review shows the line that changed."""
    assert dumped({"ca": "one\ntwo\n"}) == "ca: |\n  one\n  two\n"


def test_long_lines_are_not_folded() -> None:
    """A folded line makes two differences of one."""
    assert dumped({"a": "word " * 60 + "end"}).count("\n") == 1


def test_the_same_value_twice_is_no_anchor() -> None:
    """Builders share dicts (labels); a reader should not have to follow aliases."""
    shared = {"x": "y"}
    assert "&" not in dumped({"a": shared, "b": shared})
