"""A secret never leaves by accident: not in text, not serialised, not in a traceback."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from vaultprov.redact import Secret, scrub
from vaultprov.resource import GrantedToken, State

VALUE = "canary-3f9a1c-never-to-be-seen"
SECRET = Secret(VALUE)
PRINTS: dict[str, Callable[[], str]] = {
    "repr": lambda: repr(SECRET),
    "str": lambda: str(SECRET),
    "format": lambda: f"{SECRET} {SECRET!r} {SECRET!s} {SECRET!a}",
    "percent": lambda: "%s %r" % (SECRET, SECRET),  # noqa: UP031 - one of the ways to print
    "in a list": lambda: str([SECRET, {"a": SECRET}]),
    "in a dataclass": lambda: repr(GrantedToken(SECRET, 1.0)) + repr(State({"jwt": SECRET})),
    "in a log": lambda: logging.LogRecord("a", 1, "b", 1, "%s", (SECRET,), None).getMessage(),
    "as an error's argument": lambda: repr(ValueError(SECRET)),
    "its attributes": lambda: str([getattr(SECRET, name) for name in ("fingerprint", "at_hand")]),
}


@pytest.mark.parametrize("prints", PRINTS.values(), ids=PRINTS)
def test_a_secret_never_prints(prints: Callable[[], str]) -> None:
    assert VALUE not in prints()


SERIALISERS: dict[str, Callable[[Any], object]] = {
    "json": json.dumps,
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "vars": vars,
    "dataclasses.asdict": lambda secret: dataclasses.asdict(GrantedToken(secret, 1.0)),
    "format with a width": lambda secret: f"{secret:>80}",
}


@pytest.mark.parametrize("serialise", SERIALISERS.values(), ids=SERIALISERS)
def test_a_secret_is_not_serialised(serialise: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as caught:
        serialise(SECRET)
    assert VALUE not in str(caught.value)


def test_a_secret_is_not_in_a_traceback_even_with_local_variables() -> None:
    def fails(secret: Secret, granted: GrantedToken) -> None:
        raise ValueError(f"{secret} {granted}")

    try:
        fails(SECRET, GrantedToken(SECRET, 1.0))
    except ValueError as error:
        told = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    assert "granted = " in told
    assert VALUE not in told


def test_a_secret_reveals_itself_when_asked() -> None:
    assert SECRET.at_hand
    assert SECRET.reveal() == VALUE


def test_a_secret_known_by_its_fingerprint_has_no_value() -> None:
    known = Secret.known_by(SECRET.fingerprint)
    assert not known.at_hand
    with pytest.raises(LookupError):
        known.reveal()


def test_secrets_are_equal_when_their_fingerprints_are() -> None:
    same = Secret.known_by(SECRET.fingerprint)
    assert same == SECRET
    assert hash(SECRET) == hash(same)
    assert SECRET not in (Secret("other"), Secret.known_by("unknown"), VALUE, None)


def test_a_fingerprint_is_half_a_sha256() -> None:
    assert Secret("abc").fingerprint == "sha256:ba7816bf8f01cfea414140de5dae2223"


def test_any_text_may_stand_where_a_fingerprint_should() -> None:
    """It comes from a mount's description, which people edit."""
    assert Secret.known_by("sha256:\N{EM DASH}") != SECRET


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2ln-bmF0_dXJl"
TOKENS = {
    "JWT": JWT,
    "JWT without its signature": JWT.rpartition(".")[0] + ".",
    "service token": "hvs.CAESIJ1234567890abcdefghij_-",
    "batch token": "hvb.AAAAAQJ1234567890abcdefghij",
    "recovery token": "hvr.CAESIJ1234567890abcdefghij",
    "old service token": "s.4B3g7JkQm2vX9tR1wZ8yN6pL",
    "old batch token": "b.AAAAAQIUprtSrT8M1BULn0LOJvVPk",
    "OpenBao recovery token": "r.4B3g7JkQm2vX9tR1wZ8yN6pL",
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("around", ["{}", 'token="{}",', "Bearer {}\n", "https://a/?t={}&x=1"])
def test_scrub_takes_out_whatever_is_shaped_like_a_token(token: str, around: str) -> None:
    assert scrub(around.format(token)) == around.format("<redacted>")


def test_scrub_takes_out_every_one() -> None:
    assert scrub(f"{JWT} and {JWT}") == "<redacted> and <redacted>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "permission denied",
        "service account name not authorized",
        "https://api.smaug.example.com:6443",
        "auth/smaug-k8s/role/moc-ops",
        "sha256:ba7816bf8f01cfea414140de5dae2223",
        "hvs.short",
        "s.io/v1",
        "e.g. this",
        "system:serviceaccount:external-secrets:vault-secret-fetcher",
    ],
)
def test_scrub_leaves_plain_text_alone(text: str) -> None:
    assert scrub(text) == text
