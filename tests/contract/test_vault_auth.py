"""What every VaultPort does: configs and roles of kubernetes and oidc mounts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import VaultSubject
from vaultprov.devenv.oidc import OidcProvider
from vaultprov.errors import Rejected
from vaultprov.jwt import public_keys
from vaultprov.redact import Secret

CONFIG = {
    "kubernetes_host": "https://api.smaug:6443/",
    "kubernetes_ca_cert": "CA",
    "disable_local_ca_jwt": True,
    "token_reviewer_jwt": Secret("a.b.c"),
    "issuer": "https://issuer",
}
ROLE = {
    "bound_service_account_names": ["b", "a"],
    "bound_service_account_namespaces": ["ns"],
    "token_policies": ["Zed", "a"],
    "token_ttl": "1h",
    "audience": "vault",
    "bound_service_account_namespace_selector": '{"matchLabels":{"a":"b"}}',
}
OIDC_ROLE = {
    "role_type": "oidc",
    "user_claim": "sub",
    "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"],
    "oidc_scopes": ["openid"],
    "bound_claims": {"group": "admins"},
    "token_ttl": 60,
}


@pytest.fixture
def mount(vault: VaultSubject, unique: str) -> str:
    """The path of a new kubernetes mount."""
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
    return f"auth/{unique}"


@pytest.fixture
def oidc(vault: VaultSubject, unique: str) -> str:
    """The path of a new oidc mount."""
    vault.port.write(f"sys/auth/{unique}", {"type": "oidc"})
    return f"auth/{unique}"


@pytest.fixture
def jwt(vault: VaultSubject, unique: str) -> str:
    """The path of a new jwt mount."""
    vault.port.write(f"sys/auth/{unique}", {"type": "jwt"})
    return f"auth/{unique}"


def found(vault: VaultSubject, path: str) -> dict[str, Any]:
    answer = vault.port.read(path)
    assert answer is not None
    return dict(answer)


def test_a_config_reads_back_without_its_jwt(vault: VaultSubject, mount: str) -> None:
    assert vault.port.write(f"{mount}/config", CONFIG) == {}
    assert found(vault, f"{mount}/config") == {
        "kubernetes_host": "https://api.smaug:6443/",  # verbatim
        "kubernetes_ca_cert": "CA",  # anything goes
        "disable_local_ca_jwt": True,
        "disable_iss_validation": True,
        "issuer": "https://issuer",
        "pem_keys": [],
        "token_reviewer_jwt_set": True,
    }


def test_a_config_write_replaces_everything(vault: VaultSubject, mount: str) -> None:
    vault.port.write(f"{mount}/config", CONFIG)
    vault.port.write(
        f"{mount}/config", {"kubernetes_host": "https://other", "kubernetes_ca_cert": "CA2"}
    )
    assert found(vault, f"{mount}/config") == {
        "kubernetes_host": "https://other",
        "kubernetes_ca_cert": "CA2",
        "disable_local_ca_jwt": False,
        "disable_iss_validation": True,
        "issuer": "",
        "pem_keys": [],
        "token_reviewer_jwt_set": False,
    }


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"kubernetes_ca_cert": "CA"}, "no host provided"),
        ({"kubernetes_host": "https://x"}, "ca.crt: no such file"),
        (
            {"kubernetes_host": "https://x", "disable_local_ca_jwt": True},
            "kubernetes_ca_cert must be given",
        ),
    ],
)
def test_half_a_config_is_rejected_and_the_old_one_stays(
    vault: VaultSubject, mount: str, payload: dict[str, Any], message: str
) -> None:
    vault.port.write(f"{mount}/config", CONFIG)
    before = found(vault, f"{mount}/config")
    with pytest.raises(Rejected, match=message):
        vault.port.write(f"{mount}/config", payload)
    assert found(vault, f"{mount}/config") == before


def test_a_role_reads_back_canonically(vault: VaultSubject, mount: str) -> None:
    """TTLs in seconds, policies and names verbatim; the name of the role lower-cased."""
    vault.port.write(f"{mount}/role/R", ROLE)
    assert vault.port.list(f"{mount}/role") == {"keys": ["r"]}
    role = found(vault, f"{mount}/role/r")
    expected = {**ROLE, "token_ttl": 3600, "alias_name_source": "serviceaccount_uid"}
    assert {name: role[name] for name in expected} == expected
    assert "policies" not in role
    assert "ttl" not in role


def test_a_role_write_merges_except_for_the_selector(vault: VaultSubject, mount: str) -> None:
    vault.port.write(f"{mount}/role/r", ROLE)
    before = found(vault, f"{mount}/role/r")
    vault.port.write(f"{mount}/role/r", {"token_ttl": "7200"})
    assert found(vault, f"{mount}/role/r") == {
        **before,
        "token_ttl": 7200,
        "bound_service_account_namespace_selector": "",
    }


def test_a_role_without_audience_has_no_such_field(vault: VaultSubject, mount: str) -> None:
    vault.port.write(f"{mount}/role/r", ROLE)
    vault.port.write(f"{mount}/role/r", {"audience": ""})
    assert "audience" not in found(vault, f"{mount}/role/r")


def test_legacy_fields_show_until_the_new_ones_are_written(vault: VaultSubject, mount: str) -> None:
    legacy = {k: v for k, v in ROLE.items() if not k.startswith("token_")}
    vault.port.write(f"{mount}/role/l", {**legacy, "policies": "Zed,a,a", "ttl": "2h"})
    role = found(vault, f"{mount}/role/l")
    assert role["policies"] == role["token_policies"] == ["a", "zed"]
    assert role["ttl"] == role["token_ttl"] == 7200
    vault.port.write(f"{mount}/role/l", {"token_policies": ["B"], "token_ttl": 60})
    role = found(vault, f"{mount}/role/l")
    assert (role["token_policies"], role["token_ttl"]) == (["B"], 60)
    assert "policies" not in role
    assert "ttl" not in role


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bound_service_account_names": ["*", "a"]}, "can not mix"),
        ({"bound_service_account_namespaces": ["*", "a"]}, "can not mix"),
        ({"bound_service_account_names": []}, "can not be empty"),
        ({"alias_name_source": "uid"}, "invalid alias_name_source"),
    ],
)
def test_an_impossible_role_is_rejected_and_the_old_one_stays(
    vault: VaultSubject, mount: str, change: dict[str, Any], message: str
) -> None:
    vault.port.write(f"{mount}/role/r", ROLE)
    before = found(vault, f"{mount}/role/r")
    with pytest.raises(Rejected, match=message):
        vault.port.write(f"{mount}/role/r", change)
    assert found(vault, f"{mount}/role/r") == before


def test_a_role_bound_to_nothing_is_rejected(vault: VaultSubject, mount: str) -> None:
    with pytest.raises(Rejected, match="can not be empty"):
        vault.port.write(f"{mount}/role/r", {"token_policies": ["a"]})
    with pytest.raises(Rejected, match="can not be empty"):
        vault.port.write(f"{mount}/role/r", {"bound_service_account_names": ["a"]})


def test_a_deleted_role_is_gone(vault: VaultSubject, mount: str) -> None:
    vault.port.write(f"{mount}/role/r", ROLE)
    vault.port.delete(f"{mount}/role/R")
    assert vault.port.read(f"{mount}/role/r") is None
    assert vault.port.list(f"{mount}/role") is None


def test_an_oidc_config_reads_back_without_its_secret_and_is_replaced(
    vault: VaultSubject, oidc: str, provider: OidcProvider
) -> None:
    config = {
        "oidc_discovery_url": provider.issuer,
        "oidc_client_id": "id",
        "oidc_client_secret": Secret("hidden"),
        "default_role": "d",
        "bound_issuer": provider.issuer,
    }
    vault.port.write(f"{oidc}/config", config)
    shown = {k: v for k, v in config.items() if k != "oidc_client_secret"}
    answer = found(vault, f"{oidc}/config")
    assert {name: answer[name] for name in shown} == shown
    assert "oidc_client_secret" not in answer
    del config["bound_issuer"]
    vault.port.write(f"{oidc}/config", config)
    assert found(vault, f"{oidc}/config")["bound_issuer"] == ""
    with pytest.raises(Rejected, match="must be set for OIDC"):
        vault.port.write(f"{oidc}/config", shown)


def test_an_oidc_role_write_merges(vault: VaultSubject, oidc: str) -> None:
    vault.port.write(f"{oidc}/role/d", OIDC_ROLE)
    before = found(vault, f"{oidc}/role/d")
    assert {name: before[name] for name in OIDC_ROLE} == OIDC_ROLE
    vault.port.write(f"{oidc}/role/d", {"user_claim": "email"})
    assert found(vault, f"{oidc}/role/d") == {**before, "user_claim": "email"}
    vault.port.delete(f"{oidc}/role/d")
    assert vault.port.read(f"{oidc}/role/d") is None


@pytest.mark.parametrize("name", ["allowed_redirect_uris", "user_claim"])
def test_an_incomplete_oidc_role_is_rejected(vault: VaultSubject, oidc: str, name: str) -> None:
    with pytest.raises(Rejected):
        vault.port.write(f"{oidc}/role/d", {k: v for k, v in OIDC_ROLE.items() if k != name})


JWT_ROLE = {
    "role_type": "jwt",
    "user_claim": "sub",
    "bound_audiences": ["vault"],
    "bound_claims": {"sub": ["a", "b"]},
    "bound_claims_type": "glob",
    "token_ttl": 60,
}
PEM = next(
    key.pem
    for key in public_keys(
        [
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            }
        ]
    )
)  # of RFC 7517, appendix A.1


def test_a_config_of_keys_reads_back_and_is_replaced(vault: VaultSubject, jwt: str) -> None:
    assert vault.port.read(f"{jwt}/config") is None
    config = {"jwt_validation_pubkeys": [PEM], "bound_issuer": "https://x", "default_role": "d"}
    vault.port.write(f"{jwt}/config", config)
    answer = found(vault, f"{jwt}/config")
    assert {name: answer[name] for name in config} == config
    vault.port.write(f"{jwt}/config", {"jwt_validation_pubkeys": [PEM]})
    answer = found(vault, f"{jwt}/config")
    assert (answer["bound_issuer"], answer["default_role"]) == ("", "")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"bound_issuer": "https://x"}, "exactly one of"),
        ({"jwt_validation_pubkeys": [PEM], "jwks_url": "https://x"}, "exactly one of"),
        ({"jwt_validation_pubkeys": ["x"]}, "error parsing public key"),
    ],
)
def test_a_config_has_one_source_of_real_keys(
    vault: VaultSubject, jwt: str, payload: dict[str, Any], message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        vault.port.write(f"{jwt}/config", payload)


def test_a_jwt_role_write_merges_except_for_the_types(vault: VaultSubject, jwt: str) -> None:
    vault.port.write(f"{jwt}/role/R", JWT_ROLE)
    before = found(vault, f"{jwt}/role/r")
    assert {name: before[name] for name in JWT_ROLE} == JWT_ROLE
    vault.port.write(f"{jwt}/role/r", {"role_type": "jwt", "token_ttl": "2h"})
    after = {**before, "token_ttl": 7200, "bound_claims_type": "string"}
    assert found(vault, f"{jwt}/role/r") == after
    with pytest.raises(Rejected, match="allowed_redirect_uris"):
        vault.port.write(f"{jwt}/role/r", {"token_ttl": "1h"})


def test_a_jwt_role_that_binds_nothing_is_rejected(vault: VaultSubject, jwt: str) -> None:
    with pytest.raises(Rejected, match="at least one bound constraint"):
        vault.port.write(f"{jwt}/role/r", {"role_type": "jwt", "user_claim": "sub"})
