"""Claims are read and not verified; what is no JWT is refused without being shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultprov.cli import main
from vaultprov.errors import ConfigError
from vaultprov.jwt import PublicKey, claims, public_keys
from vaultprov.redact import Secret

RSA = {"kty": "RSA", "n": "u8Qf", "e": "AQAB"}


def token(payload: Any) -> Secret:
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return Secret(f"eyJhbGciOiJub25lIn0.{encoded}.c2ln")


def test_the_claims_of_a_token() -> None:
    assert claims(token({"sub": "a", "exp": 17, "aud": ["vault"]})) == {
        "sub": "a",
        "exp": 17,
        "aud": ["vault"],
    }


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_any_length_and_alphabet_decodes(payload: dict[str, Any]) -> None:
    assert claims(token(payload)) == payload


def test_a_payload_that_is_no_object_claims_nothing() -> None:
    assert claims(token(["a"])) == {}


@pytest.mark.parametrize("text", ["", "canary", "a.canary", "a.!!!.c", "a.\u00e9.c", "a.gIGC.c"])
def test_what_is_no_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        claims(Secret(text))
    assert caught.value.message == "the reviewer JWT is not a JSON Web Token"
    assert "canary" not in caught.value.hint


@pytest.mark.parametrize(
    "keys",
    [
        ["a"],
        [None],
        {"a": 1},
        None,
        [{"kty": "RSA"}],
        [{"kty": "RSA", "n": "\u00e4", "e": "AQAB"}],
        [{"kty": "RSA", "n": "A", "e": "AQAB"}],
        [{"kty": "RSA", "n": ["AQAB"], "e": "AQAB"}],
        [RSA, {"kty": "EC", "crv": "P-256", "x": "AQAB"}],
        [{"kty": "EC", "crv": ["P-256"]}],
        [],
    ],
)
def test_what_is_no_key_set_is_refused_in_words(keys: Any) -> None:
    with pytest.raises(ConfigError):
        public_keys(keys)


def test_a_key_with_an_unknown_kind_beside_it_is_taken() -> None:
    assert len(public_keys([RSA, {"kty": "oct"}])) == 1


@pytest.mark.parametrize(
    "pattern", ["{}", "# Schl\u00fcssel von smaug\n{}\n", "kid 7: abcd\n{}\nabcd", "\n  {}\r\n"]
)
def test_text_around_a_stored_key_is_no_part_of_it(pattern: str) -> None:
    (key,) = public_keys([RSA])
    assert PublicKey.of_pem(pattern.format(key.pem)) == key


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "\u00e4",
        "-----BEGIN PUBLIC KEY-----\n\u00e4\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA",
    ],
)
def test_what_is_no_key_has_no_bytes(pem: str) -> None:
    assert PublicKey.of_pem(pem) == PublicKey("", b"")


@pytest.mark.parametrize("text", ['{"keys": ["a"]}', '{"keys": {"a": 1}}', "[]", "no JSON"])
def test_a_file_without_a_key_set_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is looked at before any server is asked."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "jwks.json"
    file.write_text(text)
    known = ["plan", "--env", "moc", "--cluster", "smaug", "--only", "vault", "--reviewer", "jwt"]
    assert main([*known, "--jwks-file", str(file)]) == ConfigError.exit_code
    assert str(file) in capsys.readouterr().err
