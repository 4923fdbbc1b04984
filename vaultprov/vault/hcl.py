"""What an ACL policy means: path -> capabilities and parameters.

Vault reads policies as HCL 1, of which they use a small part (openbao/openbao
`vault/policy.go`): `path "..." { key = value }` blocks, or the same as
JSON. The parsers on PyPI read HCL 2, which is another language, and take 0.2 s for it; this one
also knows lines, so that a broken template is reported where it is broken.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError

CAPABILITIES = (
    "create",
    "read",
    "update",
    "patch",
    "delete",
    "list",
    "scan",
    "sudo",
    "deny",
    "subscribe",
    "recover",
)
# vault/policy.go: the old one-word form and what it stands for.
_OLD_POLICY = {
    "deny": ("deny",),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
      |(?P<newline>\n)
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<number>-?\d+(?:\.\d+)?)
      |(?P<word>[A-Za-z_][A-Za-z0-9_-]*)
      |(?P<punct>[{}\[\]=,])""",
    re.VERBOSE | re.DOTALL,
)


class HclError(ConfigError):
    """A policy text that Vault would not take; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


# vault/policy.go of OpenBao and Vault; anything else in a block is a mistake.
_KEYS = {
    "capabilities",
    "policy",
    "comment",
    "expiration",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "control_group",
    "pagination_limit",
    "subscribe_event_types",
    "response_keys_filter_path",
    "list_scan_response_keys_filter_path",
}


def meaning(text: str, *, strict: bool = False) -> dict[str, str]:
    """Path -> what it grants, canonically spelled; white space, order and comments are gone.

    strict: unknown keys are errors too, as they are to Vault; a newer server may have more.
    Raises HclError for what Vault would reject: syntax, unknown capabilities.
    """
    is_json = text.lstrip().startswith("{")
    blocks = _json_blocks(text) if is_json else list(_Parser(text).blocks())
    grants: dict[str, _Grant] = {}
    for line, path, body in blocks:
        for key in body:
            if strict and key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, 1)
                told = f"; did you mean {near[0]!r}?" if near else ""
                raise HclError(line, f"unknown key {key!r} for path {path!r}{told}")
        grants.setdefault(path.lstrip("/"), _Grant()).add(line, body)
    return {path: str(grant) for path, grant in sorted(grants.items())}


class _Grant:
    """Rules of one path; Vault merges rules that repeat a path, and `deny` beats everything."""

    def __init__(self) -> None:
        self._capabilities: set[str] = set()
        self._parameters: dict[str, Any] = {}

    def add(self, line: int, body: Mapping[str, Any]) -> None:
        names = body.get("capabilities") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise HclError(line, "`capabilities` must be a list of strings")
        old = body.get("policy")
        if old is not None:
            if not isinstance(old, str) or old not in _OLD_POLICY:
                raise HclError(line, f"unknown policy {old!r}")
            names = [*names, *_OLD_POLICY[old]]
        for name in names:
            if name not in CAPABILITIES:
                raise HclError(
                    line, f"unknown capability {name!r}; known: {', '.join(CAPABILITIES)}"
                )
        self._capabilities.update(names)
        self._parameters.update(
            (key, value) for key, value in body.items() if key not in ("capabilities", "policy")
        )

    def __str__(self) -> str:
        names = {"deny"} if "deny" in self._capabilities else self._capabilities
        parts = [", ".join(name for name in CAPABILITIES if name in names) or "nothing"]
        parts += [
            f"{k}={json.dumps(v, sort_keys=True)}" for k, v in sorted(self._parameters.items())
        ]
        return "; ".join(parts)


def _json_blocks(text: str) -> list[tuple[int, str, Mapping[str, Any]]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise HclError(error.lineno, error.msg) from error
    paths = document.get("path", {})
    if not isinstance(paths, dict) or not all(isinstance(body, dict) for body in paths.values()):
        raise HclError(1, "`path` must be an object of objects")
    return [(1, path, body) for path, body in paths.items()]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise HclError(line, f"unexpected character {text[position]!r}")
        kind = match.lastgroup or ""
        if kind not in ("skip", "newline"):
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
        position = match.end()
    yield _Token("end", "end of file", line)


def _unquoted(token: _Token) -> str:
    try:
        return str(json.loads(token.text, strict=False))
    except ValueError as error:
        raise HclError(token.line, f"bad string {token.text}") from error


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def blocks(self) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        while self._peek().kind != "end":
            word = self._take("word", "`path`")
            if word.text == "name" and self._peek().text == "=":
                self._take("punct", "=")
                self._value()
                continue
            if word.text != "path":
                raise HclError(word.line, f"expected `path`, found {word.text!r}")
            path = _unquoted(self._take("string", "a quoted path"))
            self._skip("=")
            yield word.line, path, self._object()

    def _object(self) -> dict[str, Any]:
        opening = self._punct("{")
        body: dict[str, Any] = {}
        while self._peek().text != "}":
            key = self._next()
            if key.kind not in ("word", "string"):
                problem = f"expected a key or '}}' to end the block of line {opening.line}"
                raise HclError(key.line, f"{problem}, found {key.text!r}")
            name = _unquoted(key) if key.kind == "string" else key.text
            if name in body:
                raise HclError(key.line, f"the key {name!r} is given twice in one block")
            if self._peek().text == "{":
                body[name] = self._object()
            else:
                self._punct("=")
                body[name] = self._value()
            self._skip(",")
        self._punct("}")
        return body

    def _value(self) -> Any:
        token = self._peek()
        if token.text == "{":
            return self._object()
        if token.text == "[":
            return self._list()
        self._next()
        if token.kind == "string":
            return _unquoted(token)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.text in ("true", "false"):
            return token.text == "true"
        raise HclError(token.line, f"expected a value, found {token.text!r}")

    def _list(self) -> list[Any]:
        self._punct("[")
        items = []
        while self._peek().text != "]":
            items.append(self._value())
            if self._peek().text != "]":
                self._punct(",")
        self._punct("]")
        return items

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _take(self, kind: str, what: str) -> _Token:
        token = self._next()
        if token.kind != kind:
            raise HclError(token.line, f"expected {what}, found {token.text!r}")
        return token

    def _punct(self, text: str) -> _Token:
        token = self._next()
        if token.text != text:
            raise HclError(token.line, f"expected {text!r}, found {token.text!r}")
        return token

    def _skip(self, text: str) -> None:
        if self._peek().text == text:
            self._next()
