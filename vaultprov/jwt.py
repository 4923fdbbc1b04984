"""What a JSON Web Token says of itself. Nothing is verified: the servers do that."""

from __future__ import annotations

import base64
import json
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.redact import Secret


def claims(token: Secret) -> dict[str, Any]:
    """The claims of a JWT. Raises ConfigError (without the token) if it is none."""
    try:
        payload = token.reveal().split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError) as error:
        raise ConfigError(
            "the reviewer JWT is not a JSON Web Token",
            hint="give the output of `kubectl create token`, or the token of a Secret, decoded",
        ) from error
    return decoded if isinstance(decoded, dict) else {}
