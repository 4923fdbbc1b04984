"""Policies are compared by meaning: path -> capabilities; spelling, order and comments are gone."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultprov.errors import ConfigError
from vaultprov.vault.hcl import CAPABILITIES, HclError, meaning

READ = {"kv/data/moc/*": "read, list"}
PLAIN = 'path "kv/data/moc/*" {\n  capabilities = ["read", "list"]\n}\n'

SAME: dict[str, str] = {
    "plain": PLAIN,
    "one line": 'path "kv/data/moc/*" { capabilities = ["read", "list"] }',
    "no space": 'path"kv/data/moc/*"{capabilities=["read","list"]}',
    "tabs and Windows' line ends": PLAIN.replace("  ", "\t").replace("\n", "\r\n"),
    "other order": PLAIN.replace('"read", "list"', '"list", "read"'),
    "repeated capability": PLAIN.replace('"list"', '"list", "read"'),
    "comma at the end": PLAIN.replace('"list"', '"list",'),
    "comma after a key": PLAIN.replace("]", "],"),
    "quoted key": PLAIN.replace("capabilities", '"capabilities"'),
    "equals sign before the block": PLAIN.replace("{", "= {"),
    "slash before the path": PLAIN.replace('"kv', '"/kv'),
    "comment with #": "# whose it is\n" + PLAIN,
    "comment with //": PLAIN.replace("{\n", "{ // why\n"),
    "comment with /* */": "/* path { \n */" + PLAIN.replace("=", "= /* [ */"),
    "comment at the end without a line end": PLAIN + "# done",
    "old one-word form": 'path "kv/data/moc/*" { policy = "read" }',
    "both forms": 'path "kv/data/moc/*" { policy = "read" capabilities = ["read"] }',
    "with a name": 'name = "moc-kv-r"\n' + PLAIN,
    "JSON": '{"path": {"kv/data/moc/*": {"capabilities": ["list", "read"]}}}',
    "JSON, old form": ' {"path": {"/kv/data/moc/*": {"policy": "read"}}}',
    "two blocks of one path": 'path "kv/data/moc/*" { capabilities = ["list"] }\n'
    'path "/kv/data/moc/*" { capabilities = ["read"] }',
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_same_meaning_in_another_spelling(text: str) -> None:
    assert meaning(text) == READ


MEANS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing at all": ("", {}),
    "comments only": ("# nothing\n", {}),
    "a path without capabilities": ('path "a" {}', {"a": "nothing"}),
    "paths in order": ('path "b" {policy="deny"} path "a" {}', {"a": "nothing", "b": "deny"}),
    "deny beats everything": ('path "a" { capabilities = ["read", "deny"] }', {"a": "deny"}),
    "deny in another block beats everything": (
        'path "a" { policy = "deny" } path "a" { policy = "write" }',
        {"a": "deny"},
    ),
    "old form write": (
        'path "a" { policy = "write" }',
        {"a": "create, read, update, delete, list"},
    ),
    "old form sudo": (
        'path "a" { policy = "sudo" }',
        {"a": "create, read, update, delete, list, sudo"},
    ),
    "parameters are kept": (
        'path "a" { policy = "deny" max = "1s" only = { "b" = [], "a" = ["x", 1, -1.5, true] } }',
        {"a": 'deny; max="1s"; only={"a": ["x", 1, -1.5, true], "b": []}'},
    ),
    "parameters in a block": (
        'path "a" { denied_parameters { "x" = [] } }',
        {"a": 'nothing; denied_parameters={"x": []}'},
    ),
    "a comment sign in a text is text": (
        'path "a#b//c/*d*/" { policy = "deny" }',
        {"a#b//c/*d*/": "deny"},
    ),
    "escapes in a text": (r'path "a\"b\\c" { policy = "deny" }', {'a"b\\c': "deny"}),
    "Vault's own templates are text": (
        'path "kv/{{identity.entity.id}}/*" { policy = "deny" }',
        {"kv/{{identity.entity.id}}/*": "deny"},
    ),
    "no path in JSON": ("{}", {}),
}


@pytest.mark.parametrize(("text", "means"), MEANS.values(), ids=MEANS)
def test_meaning(text: str, means: dict[str, str]) -> None:
    assert meaning(text) == means


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_capability_is_known(capability: str) -> None:
    assert meaning(f'path "a" {{ capabilities = ["{capability}"] }}') == {"a": capability}


BROKEN: dict[str, tuple[str, int, str]] = {
    # what is wrong: (text, line, what is said)
    "unknown capability": ('\npath "a" {\n capabilities = ["raed"]\n}', 2, "capability 'raed'"),
    "unknown old policy": ('\npath "a" { policy = "admin" }', 2, "unknown policy 'admin'"),
    "block not closed": ('path "a" {\n policy = "read"\n', 3, "end the block of line 1"),
    "block not opened": ('path "a"\n policy = "read" }', 2, "expected '{', found 'policy'"),
    "list not closed": ('path "a" {\n capabilities = ["read"\n}', 3, "expected ',', found '}'"),
    "list never closed": ('path "a" {\n capabilities = [', 2, "found 'end of file'"),
    "list without a comma": ('path "a" { capabilities = ["read" "list"] }', 1, "expected ','"),
    "bracket too many": ('path "a" {}\n}', 2, "expected `path`, found '}'"),
    "unexpected character": ('path "a" {\n\n ; }', 3, "unexpected character ';'"),
    "text not closed": ('path "a" {}\npath "b\n', 2, "unexpected character '\"'"),
    "comment not closed": ('path "a" {}\n/* for ever', 2, "unexpected character '/'"),
    "lines of a long comment count": ('/*\n\n*/\npath "a" { ; }', 4, "unexpected character ';'"),
    "key given twice": ('path "a" {\n policy = "read"\n policy = "deny"\n}', 3, "given twice"),
    "no equals sign": ('path "a" {\n policy "read"\n}', 2, "expected '=', found '\"read\"'"),
    "no value": ('path "a" {\n policy =\n}', 3, "expected a value, found '}'"),
    "a bare word as value": ('path "a" { policy = read }', 1, "expected a value, found 'read'"),
    "no quotes": ("\npath a {}", 2, "expected a quoted path, found 'a'"),
    "another word": ('\n\nrule "a" {}', 3, "expected `path`, found 'rule'"),
    "JSON that is none": ('{"path": {\n"a": }}', 2, "Expecting value"),
    "JSON with a list of paths": ('{"path": ["a"]}', 1, "must be an object of objects"),
    "JSON with text for a body": ('{"path": {"a": "read"}}', 1, "must be an object of objects"),
}


@pytest.mark.parametrize(("text", "line", "said"), BROKEN.values(), ids=BROKEN)
def test_what_vault_would_not_take_is_reported_with_its_line(
    text: str, line: int, said: str
) -> None:
    with pytest.raises(HclError) as caught:
        meaning(text)
    assert caught.value.line == line
    assert said in caught.value.problem
    assert caught.value.message == f"line {line}: {caught.value.problem}"
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    "text",
    [
        r'path "a\d" { policy = "read" }',
        'path "a\tb" { policy = "read" }',
        'path "a" { capabilities = 5 }',
        'path "a" { policy = ["read"] }',
        '{"path": {"a": {"capabilities": true}}}',
    ],
    ids=["escape", "tab", "number", "list", "JSON"],
)
def test_no_text_makes_the_parser_crash(text: str) -> None:
    """What another author wrote is read too, and must not end in a bug report (exit code 4)."""
    with contextlib.suppress(HclError):
        meaning(text)


paths = st.text("abcz019_-+*/.{} #", min_size=1).filter(lambda text: text[0] != "/")
rules = st.dictionaries(paths, st.frozensets(st.sampled_from(CAPABILITIES), min_size=1))
GAPS = ["", " ", "\t", "\n", "\r\n", " # x {\n", " // ]\n", "/* = \n */"]


@st.composite
def spelled(draw: st.DrawFn, wanted: dict[str, frozenset[str]]) -> str:
    """The rules in some order, with anything between the tokens that HCL allows."""
    words: list[str] = []
    for path in draw(st.permutations(sorted(wanted))):
        names = draw(st.permutations(sorted(wanted[path])))
        # Half of the rules come in two blocks.
        cut = draw(st.sampled_from([0, len(names) // 2]))
        for part in [names[:cut], names[cut:]] if cut else [names]:
            words += ["path", json.dumps(path), "{", "capabilities", "=", "["]
            words += ",".join(json.dumps(name) for name in part).replace(",", " , ").split()
            words += ["]", "}"]
    return "".join(draw(st.sampled_from(GAPS)) + word for word in words)


@given(st.data(), rules)
def test_no_spelling_changes_the_meaning(
    data: st.DataObject, wanted: dict[str, frozenset[str]]
) -> None:
    expected = {
        path: "deny" if "deny" in names else ", ".join(c for c in CAPABILITIES if c in names)
        for path, names in wanted.items()
    }
    assert meaning(data.draw(spelled(wanted))) == expected
    as_json: dict[str, Any] = {"path": {p: {"capabilities": [*c]} for p, c in wanted.items()}}
    assert meaning(json.dumps(as_json)) == expected


@given(st.text('path"{}[]=,#/*\n ar1', max_size=40))
def test_any_text_has_a_meaning_or_is_an_hcl_error(text: str) -> None:
    with contextlib.suppress(HclError):
        meaning(text)
