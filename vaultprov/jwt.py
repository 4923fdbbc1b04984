"""What JSON Web Tokens and Keys say of themselves. Nothing is verified: the servers do that."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, order=True, slots=True)
class PublicKey:
    """A public key, compared by its bytes and shown by a fingerprint.

    algorithm: of the signatures that it checks (RFC 7518), such as `RS256`; "" if unknown.
    der: its SubjectPublicKeyInfo.
    """

    algorithm: str
    der: bytes

    @classmethod
    def of_jwk(cls, key: Mapping[str, Any]) -> PublicKey | None:
        """That of a JSON Web Key (RFC 7517); None for a kind that Kubernetes does not sign with.

        SubjectPublicKeyInfo in DER: RFC 3279 section 2.3 for RSA, RFC 5480 for elliptic curves.
        Raises ConfigError for one of a known kind without the numbers that make it.
        """
        if key.get("kty") == "RSA":
            numbers = _integer(_number(key, "n")) + _integer(_number(key, "e"))
            return cls._of(_RSA, _tlv(0x30, numbers))
        curve = _CURVES.get(str(key.get("crv"))) if key.get("kty") == "EC" else None
        if curve is None:
            return None
        return cls._of(curve, b"\x04" + _number(key, "x") + _number(key, "y"))

    @classmethod
    def of_pem(cls, pem: str) -> PublicKey:
        """That of a PEM text, whatever its line breaks; without bytes if it is none.

        Text may stand around the block (RFC 7468 section 2), which Vault stores as it was given.
        """
        block = _PEM.search(pem)
        try:
            der = base64.b64decode("".join(block[1].split()), validate=True) if block else b""
        except ValueError:
            return cls("", b"")
        known = (name for kind, name in _ALGORITHMS.items() if kind in der[:40])
        return cls(next(known, ""), der)

    @classmethod
    def _of(cls, kind: bytes, bits: bytes) -> PublicKey:
        return cls(_ALGORITHMS[kind], _tlv(0x30, kind + _tlv(0x03, b"\0" + bits)))

    @property
    def pem(self) -> str:
        """As Vault takes it."""
        text = "\n".join(textwrap.wrap(base64.b64encode(self.der).decode(), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"

    def __str__(self) -> str:
        return f"{self.algorithm or 'unknown'} sha256:{hashlib.sha256(self.der).hexdigest()[:32]}"


def public_keys(published: object) -> frozenset[PublicKey]:
    """The keys of a JSON Web Key Set: what stands below its `keys`.

    Raises ConfigError if that is no list of keys, or none is of a kind that we know.
    """
    if not isinstance(published, list | tuple) or not all(
        isinstance(k, Mapping) for k in published
    ):
        raise ConfigError(
            "what is said to be a JSON Web Key Set holds no list of keys", hint=_HOW_TO_GET
        )
    keys = frozenset(key for each in published if (key := PublicKey.of_jwk(each)) is not None)
    if not keys:
        kinds = ", ".join(sorted({str(each.get("kty")) for each in published})) or "none at all"
        raise ConfigError(f"no public key of a known kind (RSA, P-256, P-384, P-521) among {kinds}")
    return keys


_HOW_TO_GET = "look at the output of `kubectl get --raw /openid/v1/jwks`"
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----(.*?)-----END [A-Z ]+-----", re.DOTALL)
# AlgorithmIdentifiers: rsaEncryption with NULL, and id-ecPublicKey with a named curve.
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
_CURVES = {
    "P-256": bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107"),
    "P-384": bytes.fromhex("301006072a8648ce3d020106052b81040022"),
    "P-521": bytes.fromhex("301006072a8648ce3d020106052b81040023"),
}
_ALGORITHMS = {
    _RSA: "RS256",
    _CURVES["P-256"]: "ES256",
    _CURVES["P-384"]: "ES384",
    _CURVES["P-521"]: "ES512",
}


def _number(key: Mapping[str, Any], name: str) -> bytes:
    """A number of a JSON Web Key (RFC 7518 section 6). Raises ConfigError."""
    text = str(key.get(name) or "")
    try:
        # The decoder drops what is not of the alphabet, and a key of the rest is another key.
        number = _decoded(text) if re.fullmatch(r"[A-Za-z0-9_-]+", text) else b""
    except ValueError:
        number = b""
    if not number:
        raise ConfigError(f"the {key['kty']} key has no valid {name!r}", hint=_HOW_TO_GET)
    return number


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
