"""What JSON Web Tokens and Keys say of themselves. Nothing is verified: the servers do that."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.model import ServiceAccount
from vaultprov.redact import Secret


def claims(token: Secret) -> dict[str, Any]:
    """The claims of a JWT. Raises ConfigError (without the token) if it is none."""
    return _part(token, 1)


def header(token: Secret) -> dict[str, Any]:
    """The header of a JWT (`alg`, `kid`). Raises ConfigError (without the token) if it is none."""
    return _part(token, 0)


def _part(token: Secret, index: int) -> dict[str, Any]:
    try:
        decoded = json.loads(_decoded(token.reveal().split(".")[index]))
    except (IndexError, ValueError) as error:
        raise ConfigError(
            "the reviewer JWT is not a JSON Web Token",
            hint="give the output of `kubectl create token`, or the token of a Secret, decoded",
        ) from error
    return decoded if isinstance(decoded, dict) else {}


def unsigned(account: ServiceAccount, audiences: Sequence[str], now: float) -> Secret:
    """A JWT with the claims of a ServiceAccount's token and no valid signature: no credential.

    now: seconds since the epoch. Vault's kubernetes plugin judges the claims before it asks the API
    server (`path_login.go`), so that it answers what a role binds to anybody.
    """
    claimed = {
        "iss": "https://kubernetes.default.svc",
        "sub": f"system:serviceaccount:{account.namespace}:{account.name}",
        "aud": list(audiences),
        "iat": int(now) - 5,
        "nbf": int(now) - 5,
        "exp": int(now) + 600,
        "kubernetes.io": {
            "namespace": account.namespace,
            "serviceaccount": {"name": account.name, "uid": "00000000-0000-0000-0000-000000000000"},
        },
    }
    parts = [{"alg": "RS256", "typ": "JWT"}, claimed, {"no": "signature"}]
    return Secret(".".join(map(_encoded, parts)))


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def public_key_pem(key: Mapping[str, Any]) -> str | None:
    """The PEM form of a JSON Web Key (RFC 7517), as Vault takes it; None for an unknown kind.

    SubjectPublicKeyInfo in DER: RFC 3279 section 2.3 for RSA, RFC 5480 for P-256.
    """
    if key.get("kty") == "RSA":
        numbers = _integer(_decoded(key["n"])) + _integer(_decoded(key["e"]))
        info = _tlv(0x30, _RSA + _tlv(0x03, b"\0" + _tlv(0x30, numbers)))
    elif (key.get("kty"), key.get("crv")) == ("EC", "P-256"):
        point = b"\x04" + _decoded(key["x"]) + _decoded(key["y"])
        info = _tlv(0x30, _P256 + _tlv(0x03, b"\0" + point))
    else:
        return None
    text = "\n".join(textwrap.wrap(base64.b64encode(info).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"


# AlgorithmIdentifiers: rsaEncryption with NULL, and id-ecPublicKey with prime256v1.
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
_P256 = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")


def _integer(number: bytes) -> bytes:
    """A DER integer; a leading zero keeps it positive."""
    bare = number.lstrip(b"\0") or b"\0"
    return _tlv(0x02, (b"\0" if bare[0] & 0x80 else b"") + bare)


def _tlv(tag: int, content: bytes) -> bytes:
    """A DER element: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
