"""From effective settings and the environment to a logged-in VaultClient."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vaultprov.clients.vault import Connection, VaultClient
from vaultprov.errors import ConfigError, LoginFailed, reason
from vaultprov.redact import Secret
from vaultprov.settings import SECRET_VARIABLE

_POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def connection(settings: Mapping[str, Any], warn: Callable[[str], None]) -> Connection:
    """The connection that `vault.*` settings describe. Raises ConfigError."""
    address = settings["vault.address"]
    context = _tls(settings, warn) if address.startswith("https://") else None
    return Connection(
        address, settings["vault.namespace"], context, settings["vault.tls_server_name"]
    )


def _tls(settings: Mapping[str, Any], warn: Callable[[str], None]) -> ssl.SSLContext:
    cafile, capath = settings["vault.ca_cert"], settings["vault.ca_path"]
    try:
        context = ssl.create_default_context(cafile=str(cafile) if cafile else None)
        if capath:
            # As Vault's own client does: every file in the folder, hashed names or not.
            for file in sorted(Path(capath).iterdir()):
                context.load_verify_locations(str(file))
        if settings["vault.client_cert"]:
            key = settings["vault.client_key"]
            context.load_cert_chain(str(settings["vault.client_cert"]), str(key) if key else None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(f) for f in (cafile, capath, settings["vault.client_cert"]) if f)
        raise ConfigError(
            f"a certificate for Vault cannot be loaded ({files}): {error}",
            hint="check VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
        ) from error
    if settings["vault.skip_verify"]:
        warn("Vault's certificate is not verified (VAULT_SKIP_VERIFY): anybody in between can read")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def log_in(
    connection: Connection, settings: Mapping[str, Any], environ: Mapping[str, str], home: Path
) -> tuple[VaultClient, bool]:
    """A client, and whether its token was made for this run (and is to be revoked at its end)."""
    method = settings["vault.auth"]
    if method == "token":
        return VaultClient(connection, _token(environ, home)), False
    mount = (settings["vault.auth_mount"] or method).strip("/")
    role = settings["vault.auth_role"]
    if settings["vault.auth_role_file"]:
        role = read_secret(settings["vault.auth_role_file"]).reveal()
    if not role:
        raise ConfigError(
            f"--auth {method} needs a role",
            hint="set VAULTPROV_VAULT_AUTH_ROLE, vault.auth_role or vault.auth_role_file",
        )
    secret = _auth_secret(method, settings, environ)
    names = {"approle": ("role_id", "secret_id")}.get(method, ("role", "jwt"))
    client = VaultClient(connection, None)
    try:
        return client.login(mount, dict(zip(names, (role, secret), strict=True))), True
    except LoginFailed as error:
        error.hint = f"check role and secret of --auth {method} at auth/{mount}"
        raise


def read_secret(path: Path) -> Secret:
    """A secret from a file, or from standard input for `-`; surrounding white space is dropped."""
    try:
        if str(path) == "-":
            text = sys.stdin.read() if sys.stdin else ""
        else:
            text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret file {path} cannot be read: {reason(error)}") from error
    if not text.strip():
        where = "standard input" if str(path) == "-" else str(path)
        raise ConfigError(f"there is no secret in {where}")
    return _sendable(text, "standard input" if str(path) == "-" else str(path))


def _sendable(text: str, source: str) -> Secret:
    """A secret without surrounding white space. Raises ConfigError if other such is in it."""
    bare = text.strip()
    if not bare.isascii() or not bare.isprintable():
        raise ConfigError(f"the secret from {source} holds line breaks or control characters")
    return Secret(bare)


def _auth_secret(method: str, settings: Mapping[str, Any], environ: Mapping[str, str]) -> Secret:
    if settings["vault.auth_secret_file"]:
        return read_secret(settings["vault.auth_secret_file"])
    if environ.get(SECRET_VARIABLE):
        return _sendable(environ[SECRET_VARIABLE], SECRET_VARIABLE)
    if method == "kubernetes" and _POD_TOKEN.is_file():
        return read_secret(_POD_TOKEN)
    raise ConfigError(
        f"--auth {method} needs a secret",
        hint=f"set {SECRET_VARIABLE}, or --auth-secret-file PATH (- for standard input)",
    )


def _token(environ: Mapping[str, str], home: Path) -> Secret:
    for variable in ("BAO_TOKEN", "VAULT_TOKEN"):
        if environ.get(variable):
            return _sendable(environ[variable], variable)
    file = home / ".vault-token"
    if file.is_file():
        return read_secret(file)
    raise ConfigError("there is no Vault token", hint="vault login, or export VAULT_TOKEN")
