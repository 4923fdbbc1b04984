"""A certificate authority of our own, and the one server certificate that it signs.

Elliptic-curve keys, because making them takes no time; subject alternative names, because Go's TLS
looks at nothing else.
"""

import datetime as dt
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_NAME = "vaultprov devenv CA"
_KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """A server's certificate and private key, and the CA that clients must trust; all PEM."""

    ca: str
    certificate: str
    key: str

    def server_context(self) -> ssl.SSLContext:
        """For the server that has this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The ssl module loads keys from files only; this one is gone before anybody connects.
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.certificate + self.key)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def serving_certificate(*names: str, address: str = "127.0.0.1") -> ServingCertificate:
    """A certificate for an address, localhost and these host names, from a new CA, for a month.

    Nobody keeps the CA's key: it signs this one certificate only.
    """
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signs = x509.KeyUsage(**{usage: usage == "key_cert_sign" for usage in _KEY_USAGES})
    serves = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    hosts = [x509.DNSName(name) for name in ("localhost", *names)]
    san = x509.SubjectAlternativeName([*hosts, x509.IPAddress(IPv4Address(address))])
    ca = _sign(ca_key, ca_key, _CA_NAME, [signs])
    leaf = _sign(ca_key, key, "localhost", [serves, san])
    return ServingCertificate(ca, leaf, private_key_pem(key))


def private_key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """The key, unencrypted, in the form that Go and Python servers read (PKCS #8)."""
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _sign(
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    name: str,
    extensions: Sequence[x509.ExtensionType],
) -> str:
    """The certificate of `key`, the CA's own where both keys are the same; PEM."""
    issuer, subject = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (_CA_NAME, name)
    )
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=key is ca_key, path_length=None), critical=True)
    )
    identifiers = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    )
    for extension in (*identifiers, *extensions):
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(ca_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
