"""Faults of JWT mounts: Vault checks tokens against keys that it was given."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.doctor.conftest import WORKLOAD, Clinic
from tests.doctor.fault import Fault
from vaultprov.devenv.oidc import oidc_provider
from vaultprov.jwt import public_keys

SUBJECT = "system:serviceaccount:" + WORKLOAD.replace("/", ":")


def jwt_login(c: Clinic, **role: Any) -> None:
    """The store logs in at a JWT mount that has the cluster's keys; fields of its role change."""
    keys = c.cluster.call("GET", "/openid/v1/jwks")["keys"]
    c.vault.sys.enable_auth_method("jwt", path="smaug-jwt")
    c.write("auth/smaug-jwt/config", jwt_validation_pubkeys=[key.pem for key in public_keys(keys)])
    jwt_role(c, **role)
    namespace, _, name = WORKLOAD.partition("/")
    account = {"serviceAccountRef": {"name": name, "namespace": namespace}}
    login = {"path": "smaug-jwt", "role": "moc-ops", "kubernetesServiceAccountToken": account}
    c.store(auth={"kubernetes": None, "jwt": login})


def jwt_role(c: Clinic, **role: Any) -> None:
    """The role that lets the workload in; fields of it change."""
    wanted = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "bound_subject": SUBJECT,
        "token_policies": ["moc-kv-r"],
    }
    c.write("auth/smaug-jwt/role/moc-ops", **{**wanted, **role})


def _other_keys(c: Clinic) -> None:
    jwt_login(c)
    public = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, form).decode()
    c.write("auth/smaug-jwt/config", jwt_validation_pubkeys=[pem])


def _no_source(c: Clinic) -> None:
    """The address of the keys answers no more."""
    jwt_login(c)
    with oidc_provider() as gone:
        jwks = f"{gone.issuer}/jwks"
        c.write("auth/smaug-jwt/config", jwks_url=jwks, jwt_validation_pubkeys=[])


def _keys_again(c: Clinic) -> None:
    keys = c.cluster.call("GET", "/openid/v1/jwks")["keys"]
    c.write(
        "auth/smaug-jwt/config",
        jwks_url="",
        jwt_validation_pubkeys=[key.pem for key in public_keys(keys)],
    )


def _other_issuer(c: Clinic) -> None:
    jwt_login(c)
    keys = c.read("auth/smaug-jwt/config")["jwt_validation_pubkeys"]
    c.write("auth/smaug-jwt/config", jwt_validation_pubkeys=keys, bound_issuer="https://elsewhere")


def _no_role(c: Clinic) -> None:
    jwt_login(c)
    c.vault.delete("auth/smaug-jwt/role/moc-ops")


JWT_FAULTS: tuple[Fault, ...] = (
    Fault("JW role absent", "VP-AUTH-002", _no_role, fix=jwt_role),
    Fault("JW another audience", "VP-JWT-001", lambda c: jwt_login(c, bound_audiences=["other"])),
    Fault("JW another subject", "VP-JWT-002",
          lambda c: jwt_login(c, bound_subject="system:serviceaccount:a:b")),
    Fault("JW another issuer", "VP-JWT-002", _other_issuer),
    Fault("JW keys replaced", "VP-JWT-003", _other_keys),
    Fault("JW source of keys away", "VP-JWT-004", _no_source, fix=_keys_again),
)  # fmt: skip
