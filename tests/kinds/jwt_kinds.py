"""How one cluster's workloads log in where Vault checks signatures itself: a JWT mount."""

from __future__ import annotations

from typing import Any

from tests.kinds.kind import ByHand, Edit, Kind, Other, Removal
from tests.kinds.login_kinds import NO_MARKER, ROLE_STRANGER, role_path
from tests.kinds.world import Resources, World
from vaultprov.jwt import PublicKey, public_keys
from vaultprov.model import ServiceAccount
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.jwt_auth import JwtConfig, JwtRole

# Of RFC 7517, appendix A.1.
_P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
_OTHER = public_keys([_P256])
_ISSUER = "https://kubernetes.default.svc"


def _mount(w: World) -> AuthMount:
    return AuthMount(w.mount, "moc", "smaug", "uid-1", "jwt")


def _copied(w: World) -> Resources:
    mount = _mount(w)
    keys = frozenset({PublicKey.of_pem(w.facts.public_key)}) | _OTHER
    algorithms = frozenset({"RS256", "ES256"})
    return [mount, JwtConfig(w.mount, keys, algorithms, _ISSUER, after=(mount.key,))]


def _fetched(w: World) -> Resources:
    mount = _mount(w)
    url, ca = f"{w.facts.issuer}/jwks", w.facts.ca_pem
    fixed = (w.mount, frozenset({PublicKey.of_pem(w.facts.public_key)}), frozenset({"RS256"}))
    return [mount, JwtConfig(*fixed, _ISSUER, url, ca, after=(mount.key,))]


def _config_by_hand(w: World, **change: Any) -> None:
    """Somebody writes the whole config."""
    found = w.find(f"auth/{w.mount}/config")
    names = ("jwt_validation_pubkeys", "jwks_url", "jwks_ca_pem", "bound_issuer", "default_role",
             "jwt_supported_algs", "override_allowed_server_names")  # fmt: skip
    kept = {name: found[name] for name in names if found.get(name)}
    w.send(f"auth/{w.mount}/config", {**kept, **change})


def _configured(**change: Any) -> ByHand:
    return lambda w: _config_by_hand(w, **change)


def _to_url(w: World) -> None:
    _config_by_hand(w, jwt_validation_pubkeys=[], jwks_url=f"{w.facts.issuer}/jwks")


def _to_discovery(w: World) -> None:
    _config_by_hand(w, jwt_validation_pubkeys=[], oidc_discovery_url=w.facts.issuer)


_CONFIG_EDITS = (
    Edit("bound_issuer", _configured(bound_issuer="https://theirs")),
    Edit("bound_issuer", _configured(bound_issuer=""), how="erased"),
    Edit("jwt_supported_algs", _configured(jwt_supported_algs=["RS512"])),
)
_VAULTS = {"jwks_pairs": "OpenBao has no such field"}
_CONFIG_OTHERS = (
    Other(
        "names that a certificate may have",
        _configured(override_allowed_server_names=["a.example"]),
        lambda w: (
            w.find(f"auth/{w.mount}/config")["override_allowed_server_names"] == ["a.example"]
        ),
    ),
    Other(
        "a default role",
        _configured(default_role="theirs"),
        lambda w: w.find(f"auth/{w.mount}/config")["default_role"] == "theirs",
    ),
)
JWT_CONFIG = Kind(
    "jwt-config",
    JwtConfig,
    _copied,
    stranger=NO_MARKER,
    twin=NO_MARKER,
    edits=(
        *_CONFIG_EDITS,
        Edit("jwt_validation_pubkeys", lambda w: _one_key(w, w.facts.public_key), how="lost"),
        Edit("jwks_url", _to_url, also=("jwt_validation_pubkeys",)),
        Edit("oidc_discovery_url", _to_discovery, also=("jwt_validation_pubkeys",)),
    ),
    fixed={"jwks_ca_pem": "Vault takes one with a URL only: see the next kind", **_VAULTS},
    others=(
        *_CONFIG_OTHERS,
        Other("line breaks of a key", lambda w: _one_key(w, *_with_spaces(w))),
    ),
    removal=Removal.NOTHING_TO_DO,
)
JWT_CONFIG_BY_URL = Kind(
    "jwt-config-url",
    JwtConfig,
    _fetched,
    stranger=NO_MARKER,
    twin=NO_MARKER,
    edits=(
        *_CONFIG_EDITS,
        Edit("jwks_url", lambda w: _config_by_hand(w, jwks_url=f"{w.facts.other_issuer}/jwks")),
        Edit("jwks_ca_pem", lambda w: _config_by_hand(w, jwks_ca_pem=w.facts.other_ca_pem)),
        Edit(
            "jwt_validation_pubkeys",
            lambda w: _config_by_hand(
                w, jwks_url="", jwks_ca_pem="", jwt_validation_pubkeys=[w.facts.public_key]
            ),
            also=("jwks_url", "jwks_ca_pem"),
        ),
        Edit(
            "oidc_discovery_url",
            lambda w: _config_by_hand(
                w, jwks_url="", jwks_ca_pem="", oidc_discovery_url=w.facts.issuer
            ),
            also=("jwks_url", "jwks_ca_pem"),
        ),
    ),
    fixed=_VAULTS,
    others=_CONFIG_OTHERS,
    removal=Removal.NOTHING_TO_DO,
)


def _one_key(w: World, *pems: str) -> None:
    _config_by_hand(w, jwt_validation_pubkeys=list(pems))


def _with_spaces(w: World) -> tuple[str, ...]:
    return f"\n{w.facts.public_key}\n", *(f"{key.pem}\n" for key in _OTHER)


def _role(w: World, *, exclusive: bool) -> Resources:
    accounts = (ServiceAccount("external-secrets", "fetcher"), ServiceAccount("web", "reader"))
    mount = _mount(w)
    fixed = (w.mount, "moc-ops", accounts, ("moc-kv-r",), 3600, "vault", exclusive)
    return [mount, JwtRole(*fixed, after=(mount.key,))]


_FETCHER = "system:serviceaccount:external-secrets:fetcher"
_READER = "system:serviceaccount:web:reader"
_THEIRS = "system:serviceaccount:theirs:x"
_SUBJECTS = "bound_claims.sub"


def _by_hand(w: World, **change: Any) -> None:
    """Somebody writes some fields of the role, and the two that a write forgets."""
    found = w.find(role_path(w))
    kept = {name: found[name] for name in ("role_type", "bound_claims_type")}
    w.send(role_path(w), {**kept, **change})


def _bound(**change: Any) -> ByHand:
    return lambda w: _by_hand(w, **change)


def _claims(*subjects: str, **others: str) -> ByHand:
    return _bound(bound_claims={"sub": list(subjects), **others})


_ROLE_EDITS = (
    Edit("user_claim", _bound(user_claim="aud")),
    Edit("role_type", _bound(role_type="oidc", allowed_redirect_uris=["http://localhost/x"])),
    Edit("bound_subject", _bound(bound_subject=_FETCHER), also=(_SUBJECTS,)),
    Edit("bound_subject", _bound(bound_subject=_THEIRS), also=(_SUBJECTS,), how="another"),
    Edit(_SUBJECTS, _claims(_FETCHER, _THEIRS)),
    Edit("token_policies", _bound(token_policies=["theirs"])),
    Edit("token_ttl", _bound(token_ttl="2h")),
)
_ROLE_OTHERS = (
    Other(
        "another claim",
        _claims(_FETCHER, _READER, iss=_ISSUER),
        lambda w: w.find(role_path(w))["bound_claims"]["iss"] == _ISSUER,
    ),
    Other(
        "claims as patterns",
        _bound(bound_claims_type="glob"),
        lambda w: w.find(role_path(w))["bound_claims_type"] == "glob",
    ),
    Other(
        "a longest lifetime",
        _bound(token_max_ttl=7200),
        lambda w: w.find(role_path(w))["token_max_ttl"] == 7200,
    ),
    Other(
        "another audience",
        _bound(bound_audiences=["api"]),
        lambda w: w.find(role_path(w))["bound_audiences"] == ["api"],
    ),
    Other("legacy ttl and policies", _bound(ttl="1h", policies="moc-kv-r")),
)
JWT_ROLE = Kind(
    "jwt-role",
    JwtRole,
    lambda w: _role(w, exclusive=False),
    stranger=ROLE_STRANGER,
    twin=lambda w: w.send(
        role_path(w),
        {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": "vault",
            "bound_claims": {"sub": [_READER, _FETCHER]},
            "policies": "moc-kv-r",
            "ttl": "1h",
        },
    ),
    edits=_ROLE_EDITS,
    fixed={"bound_audiences": "set on what we create, never on what exists: see `others`"},
    others=(
        *_ROLE_OTHERS,
        Other(
            "a subject",
            _claims(_FETCHER, _READER, _THEIRS),
            lambda w: _THEIRS in w.find(role_path(w))["bound_claims"]["sub"],
        ),
        Other(
            "a policy",
            _bound(token_policies=["x", "moc-kv-r"]),
            lambda w: "x" in w.find(role_path(w))["token_policies"],
        ),
    ),
)
EXCLUSIVE_JWT_ROLE = Kind(
    "jwt-role-exclusive",
    JwtRole,
    lambda w: _role(w, exclusive=True),
    stranger=ROLE_STRANGER,
    twin=JWT_ROLE.twin,
    edits=(
        *_ROLE_EDITS,
        Edit(_SUBJECTS, _claims(_FETCHER, _READER, _THEIRS), how="added"),
        Edit("token_policies", _bound(token_policies=["moc-kv-r", "x"]), how="added"),
    ),
    fixed=JWT_ROLE.fixed,
    others=_ROLE_OTHERS,
)
