"""CAs are compared as certificates; a text that is none is refused before Vault stores it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from vaultprov.certificates import fingerprints
from vaultprov.errors import ConfigError


def certificate(name: str, *, expired: bool = False) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=9))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )


def pem(cert: x509.Certificate) -> str:
    return cert.public_bytes(Encoding.PEM).decode()


@pytest.fixture(scope="module")
def one() -> x509.Certificate:
    return certificate("one")


@pytest.fixture(scope="module")
def two() -> x509.Certificate:
    return certificate("two", expired=True)


def test_a_fingerprint_is_of_the_certificate_and_not_of_its_text(one: x509.Certificate) -> None:
    digest = hashlib.sha256(one.public_bytes(Encoding.DER)).hexdigest()
    assert fingerprints(pem(one)) == {f"sha256:{digest[:32]}"}


def test_order_and_duplicates_do_not_matter(one: x509.Certificate, two: x509.Certificate) -> None:
    bundle = fingerprints(pem(one) + pem(two))
    assert len(bundle) == 2
    assert fingerprints(pem(two) + pem(one) + pem(two)) == bundle


def test_spelling_does_not_matter(one: x509.Certificate) -> None:
    plain = fingerprints(pem(one))
    assert fingerprints(pem(one).replace("\n", "\r\n")) == plain
    assert fingerprints("# CN=one, e\u00e9\n\n" + pem(one).rstrip()) == plain


def test_another_certificate_differs(one: x509.Certificate, two: x509.Certificate) -> None:
    assert fingerprints(pem(one)) != fingerprints(pem(two))


BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\neA==\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text",
    ["", "x", BEGIN, BEGIN + END, BEGIN + "eA==" + END, BEGIN + "!" + END, KEY],
    ids=["nothing", "text", "cut off", "empty", "not DER", "not base64", "a key"],
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the CA "):
        fingerprints(text)


def test_one_bad_certificate_spoils_the_bundle(one: x509.Certificate) -> None:
    """It would be found at the first login only."""
    with pytest.raises(ConfigError):
        fingerprints(pem(one) + BEGIN + "eA==" + END)


def test_garbage_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(ConfigError):
        fingerprints(BEGIN + "\u00e9" + END)
