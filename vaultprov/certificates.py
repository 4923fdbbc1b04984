"""Certificates compared as certificates: order and spelling of a bundle do not matter."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from vaultprov.errors import ConfigError, reason

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprints(pem: str) -> frozenset[str]:
    """SHA-256 of each certificate in a PEM bundle.

    Raises ConfigError if there is none or one of them is not a certificate: OpenBao stores anything
    as `kubernetes_ca_cert`, and then no connection can succeed.
    """
    blocks = _BLOCK.findall(pem)
    if not blocks:
        raise ConfigError(
            "the CA is not a PEM certificate", hint="give a file with BEGIN CERTIFICATE"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="\n".join(blocks))
        ders = [ssl.PEM_cert_to_DER_cert(block) for block in blocks]
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the CA cannot be parsed as a certificate ({error})",
            hint="give the PEM file that `kubectl config view --raw` names",
        ) from error
    return frozenset("sha256:" + hashlib.sha256(der).hexdigest()[:32] for der in ders)


def known_certificates(pem: str) -> frozenset[str]:
    """The fingerprints of what a server has stored: a text that is none has a word of its own."""
    try:
        return fingerprints(pem)
    except ConfigError:
        return frozenset({"(not a certificate)"} if pem else ())


def united(*bundles: str) -> str:
    """One bundle of every certificate in PEM bundles, each once, in their order."""
    blocks = [block for bundle in bundles for block in _BLOCK.findall(bundle)]
    return "".join(f"{block}\n" for block in dict.fromkeys(blocks))


def given_ca(file: Path | None) -> str:
    """The text of a PEM file; "" for none. Raises ConfigError if it is no certificate."""
    if file is None:
        return ""
    try:
        pem = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the CA file {file} cannot be read: {reason(error)}") from error
    fingerprints(pem)
    return pem
