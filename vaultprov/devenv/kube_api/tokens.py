"""ServiceAccount tokens: JSON Web Tokens, signed with RS256, that live and die with their account.

Bound tokens come from TokenRequest and expire; legacy tokens lie in Secrets of type
kubernetes.io/service-account-token and hold until the Secret or the ServiceAccount goes.
"""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from vaultprov.devenv.kube_api.status import Object

ISSUER = "https://kubernetes.default.svc"
LEGACY_ISSUER = "kubernetes/serviceaccount"
LEGACY_CLAIM = "kubernetes.io/serviceaccount"
# kube-apiserver checks exp and nbf with the leeway that go-jose has by default.
LEEWAY_SECONDS = 60


class TokenError(Exception):
    """Why a token is not valid; part of TokenReview's answer."""


class Tokens:
    """Signs tokens and verifies what a signature and a clock can tell."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._clock = clock
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._kid = _base64url(hashlib.sha256(public).digest())

    def bound(
        self, namespace: str, name: str, uid: str, audiences: Sequence[str], seconds: int
    ) -> tuple[str, int]:
        """A bound token, and when it expires."""
        now = int(self._clock())
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": uid},
            },
            "nbf": now,
            "sub": username(namespace, name),
        }
        return self._sign(claims), now + seconds

    def legacy(self, namespace: str, secret: str, name: str, uid: str) -> str:
        """The token for a Secret: no expiry, no audience."""
        return self._sign(
            {
                "iss": LEGACY_ISSUER,
                f"{LEGACY_CLAIM}/namespace": namespace,
                f"{LEGACY_CLAIM}/secret.name": secret,
                f"{LEGACY_CLAIM}/service-account.name": name,
                f"{LEGACY_CLAIM}/service-account.uid": uid,
                "sub": username(namespace, name),
            }
        )

    def verify(self, token: str) -> Object | None:
        """The claims of a token of ours; None for anything that does not claim to be one."""
        try:
            head, payload, signature = token.split(".")
            header = json.loads(_unbase64url(head))
            claims: Object = json.loads(_unbase64url(payload))
            issuer = claims["iss"]
            signed = _unbase64url(signature)
        except (ValueError, KeyError, TypeError):
            return None
        if issuer not in (ISSUER, LEGACY_ISSUER) or header.get("alg") != "RS256":
            return None
        try:
            self._key.public_key().verify(
                signed, f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise TokenError("go-jose/go-jose: error in cryptographic primitive") from None
        self._check_times(claims)
        return claims

    def jwks(self) -> Object:
        """The public key as the issuer discovery publishes it."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "use": "sig",
            "kty": "RSA",
            "kid": self._kid,
            "alg": "RS256",
            "n": _base64url_int(numbers.n),
            "e": _base64url_int(numbers.e),
        }
        return {"keys": [key]}

    def _check_times(self, claims: Object) -> None:
        now = self._clock()
        if now - LEEWAY_SECONDS > claims.get("exp", now):
            raise TokenError("service account token has expired")
        if now + LEEWAY_SECONDS < claims.get("nbf", now):
            raise TokenError("service account token is not valid yet")

    def _sign(self, claims: Object) -> str:
        head = _base64url(_json({"alg": "RS256", "kid": self._kid}))
        signed = f"{head}.{_base64url(_json(claims))}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


def username(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def _json(value: Object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64url_int(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
