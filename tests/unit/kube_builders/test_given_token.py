"""A token given by hand is trimmed, and refused where Vault's client would refuse it."""

from __future__ import annotations

import base64

import pytest

from vaultprov.errors import ConfigError
from vaultprov.kube.given_token import given_token, given_token_secret
from vaultprov.kube.store import TokenLogin

TOKEN = "hvs.CAESIJ-example"


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n", f"\n\t{TOKEN}\u2028"])
def test_white_space_around_it_is_trimmed(text: str) -> None:
    assert given_token(text).reveal() == TOKEN


@pytest.mark.parametrize(
    ("text", "character", "position"),
    [
        ("hvs.a\nb", "U+000A", 6),
        ("  hvs.a\tb", "U+0009", 8),
        ("\ufeffhvs.ab", "U+FEFF", 1),
        ("hvs.\x00ab", "U+0000", 5),
        ("hvs.a\u200bb", "U+200B", 6),
        ("hvs.a b", "U+0020", 6),
    ],
)
def test_what_cannot_be_part_of_it(text: str, character: str, position: int) -> None:
    """The message tells where, in what was given, and never shows the token."""
    with pytest.raises(ConfigError) as told:
        given_token(text)
    assert character in told.value.message
    assert f"position {position}," in told.value.message
    assert "hvs" not in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing_is_no_token(text: str) -> None:
    with pytest.raises(ConfigError, match="empty"):
        given_token(text)


def test_its_secret_does_not_print() -> None:
    body = given_token_secret(TokenLogin("vault-token"), "external-secrets", given_token(TOKEN))
    assert base64.b64decode(body["data"]["token"].reveal()).decode() == TOKEN
    for shown in (TOKEN, base64.b64encode(TOKEN.encode()).decode()):
        assert shown not in repr(body)
    assert body["metadata"]["namespace"] == "external-secrets"
