"""Claims are read and not verified; what is no JWT is refused without being shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultprov.errors import ConfigError
from vaultprov.jwt import claims
from vaultprov.redact import Secret


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
