"""Values that never print, and a scrubber for text that others wrote."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NoReturn

# JSON Web Tokens, and the token prefixes of Vault >= 1.10 / OpenBao (hvs., hvb., hvr., s., b., r.).
_TOKEN_SHAPES = re.compile(
    r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"
    r"|\bhv[sbr]\.[A-Za-z0-9_-]{20,}"
    r"|\b[sbr]\.[A-Za-z0-9]{24,}"
)


def scrub(text: str) -> str:
    """`text` with everything that is shaped like a token replaced."""
    return _TOKEN_SHAPES.sub("<redacted>", text)


class Secret:
    """A secret value, or one that is known by its fingerprint only.

    It never prints and never serialises; two are equal when their fingerprints are. The fingerprint
    is the first 128 bits of the SHA-256: the values (signed tokens, generated client secrets) have
    far more entropy than could be guessed from it.
    """

    __slots__ = ("_value", "fingerprint")

    def __init__(self, value: str | None, fingerprint: str = "") -> None:
        self._value = value
        self.fingerprint = fingerprint
        if value is not None:
            self.fingerprint = "sha256:" + hashlib.sha256(value.encode()).hexdigest()[:32]

    @classmethod
    def known_by(cls, fingerprint: str) -> Secret:
        """A secret whose value is out of our reach."""
        return cls(None, fingerprint)

    @property
    def at_hand(self) -> bool:
        """Whether `reveal` would answer."""
        return self._value is not None

    def base64(self) -> Secret:
        """The value as Kubernetes' API has it in a Secret, still secret."""
        return Secret(base64.b64encode(self.reveal().encode()).decode())

    def reveal(self) -> str:
        """The value itself. Only the clients, which put it on the wire, may call this.

        Raises LookupError if only the fingerprint is known.
        """
        if self._value is None:
            raise LookupError("only the fingerprint of this secret is known")
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.fingerprint.encode(), other.fingerprint.encode())

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<secret {self.fingerprint}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")
