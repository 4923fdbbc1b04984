"""A Vault token given by hand: checked, and put into a Secret for a store's `tokenSecretRef`."""

from __future__ import annotations

import base64
import unicodedata

from vaultprov.errors import ConfigError
from vaultprov.kube.objects import LABELS, Object
from vaultprov.kube.store import TokenLogin
from vaultprov.redact import Secret


def given_token(text: str) -> Secret:
    """The token in what a file or standard input holds, without white space around it.

    Raises ConfigError if it is empty, or with a character that Vault's client refuses: `configured
    Vault token contains non-printable characters and cannot be used` (api/client.go). The message
    tells the position and the character, never the token.
    """
    token = text.strip()
    if not token:
        raise ConfigError("the token is empty", hint="give the token itself, on one line")
    start = text.index(token)
    for position, character in enumerate(token, start + 1):
        if not character.isprintable() or character.isspace():
            name = unicodedata.name(character, "a control character")
            raise ConfigError(
                f"the token holds U+{ord(character):04X} ({name}) at position {position}, "
                "which cannot be part of a token",
                hint="give the token alone, on one line, as plain text",
            )
    return Secret(token)


def given_token_secret(login: TokenLogin, namespace: str, token: Secret) -> Object:
    """The Secret that `login` refers to. Its value is a Secret of ours: only clients reveal it."""
    value = base64.b64encode(token.reveal().encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": login.secret, "namespace": namespace, "labels": LABELS},
        "type": "Opaque",
        "data": {login.key: Secret(value)},
    }
