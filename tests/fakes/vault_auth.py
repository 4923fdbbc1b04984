"""Config and roles of the fake Vault's kubernetes and oidc mounts, as the plugins treat them.

Read off a running OpenBao 2.7.2; `tests/contract` keeps it so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from vaultprov.errors import Error, LoginFailed, Rejected
from vaultprov.jwt import claims
from vaultprov.redact import Secret

Data = dict[str, Any]

_NO_LOCAL_CA = (
    "open /var/run/secrets/kubernetes.io/serviceaccount/ca.crt: no such file or directory"
)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TOKEN_FIELDS: Data = {"token_policies": [], "token_ttl": 0, "token_max_ttl": 0, "token_period": 0}


def seconds(value: str | int) -> int:
    """A TTL as the server stores it."""
    match = re.fullmatch(r"(\d+)([smhd]?)", str(value))
    if match is None:
        raise Rejected(f"error parsing {value!r} as a duration")
    return int(match[1]) * _UNITS[match[2]]


def listed(value: Any) -> list[str]:
    """A list, which clients may give as one comma-separated text."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value or ())


def need(condition: object, message: str) -> None:
    """Raises Rejected, as the client does for a 400, unless the condition holds."""
    if not condition:
        raise Rejected(message)


class _Auth:
    """What both plugins have: one config, and roles whose names are lower-cased."""

    def __init__(self) -> None:
        self.config: Data | None = None
        self.roles: dict[str, Data] = {}

    def read(self, path: str) -> Data | None:
        if path == "config":
            return None if self.config is None else self.shown_config(self.config)
        role = self.roles.get(path.removeprefix("role/").lower())
        return None if role is None else self.shown_role(role)

    def list(self, path: str) -> Data | None:
        return {"keys": sorted(self.roles)} if path == "role" and self.roles else None

    def write(self, path: str, payload: Data) -> Data:
        if path == "config":
            self.config = self.new_config(payload)  # nothing of the old one is kept
        else:
            name = path.removeprefix("role/").lower()
            self.roles[name] = self.new_role(self.roles.get(name), payload)
        return {}

    def delete(self, path: str) -> None:
        need(path != "config", "unsupported operation")
        self.roles.pop(path.removeprefix("role/").lower(), None)

    def shown_config(self, config: Data) -> Data:
        raise NotImplementedError

    def shown_role(self, role: Data) -> Data:
        return {name: value for name, value in role.items() if value is not None}

    def new_config(self, payload: Data) -> Data:
        raise NotImplementedError

    def new_role(self, old: Data | None, payload: Data) -> Data:
        raise NotImplementedError


def merged_token_fields(old: Mapping[str, Any], payload: Data) -> Data:
    """The `token_*` fields, and their legacy spellings, which live until the new one is written."""
    role = {**old}
    if "policies" in payload:
        role["policies"] = sorted({name.lower() for name in listed(payload["policies"])})
        role["token_policies"] = role["policies"]
    if "ttl" in payload:
        role["ttl"] = role["token_ttl"] = seconds(payload["ttl"])
    if "token_policies" in payload:
        role["token_policies"] = listed(payload["token_policies"])  # verbatim
        role["policies"] = None
    for name in ("token_ttl", "token_max_ttl", "token_period"):
        if name in payload:
            role[name] = seconds(payload[name])
    if "token_ttl" in payload:
        role["ttl"] = role["token_ttl"] if "ttl" in payload else None
    return role


class KubernetesAuth(_Auth):
    """vault-plugin-auth-kubernetes. reviews: what the cluster's TokenReview says of a token."""

    def __init__(self, reviews: Callable[[str], bool], *, in_pod: bool) -> None:
        super().__init__()
        self.reviews, self.in_pod = reviews, in_pod

    def new_config(self, payload: Data) -> Data:
        need(payload.get("kubernetes_host"), "no host provided")
        config = {
            "kubernetes_host": payload["kubernetes_host"],
            "kubernetes_ca_cert": payload.get("kubernetes_ca_cert", ""),
            "token_reviewer_jwt": payload.get("token_reviewer_jwt", ""),
            "disable_local_ca_jwt": bool(payload.get("disable_local_ca_jwt", False)),
            "disable_iss_validation": bool(payload.get("disable_iss_validation", True)),
            "issuer": payload.get("issuer", ""),
            "pem_keys": listed(payload.get("pem_keys")),
        }
        has_ca = bool(config["kubernetes_ca_cert"])
        alone = "kubernetes_ca_cert must be given when disable_local_ca_jwt is true"
        need(has_ca or not config["disable_local_ca_jwt"], alone)
        need(has_ca or self.in_pod, _NO_LOCAL_CA)
        return config

    def shown_config(self, config: Data) -> Data:
        shown = {k: v for k, v in config.items() if k != "token_reviewer_jwt"}
        return {**shown, "token_reviewer_jwt_set": bool(config["token_reviewer_jwt"])}

    def new_role(self, old: Data | None, payload: Data) -> Data:
        blank = {"alias_name_source": "serviceaccount_uid", "audience": None, **_TOKEN_FIELDS}
        role = merged_token_fields(old or blank, payload)
        selector = payload.get("bound_service_account_namespace_selector", "")
        role["bound_service_account_namespace_selector"] = selector  # the one that is not merged
        for name in ("bound_service_account_names", "bound_service_account_namespaces"):
            role[name] = listed(payload[name]) if name in payload else role.get(name, [])
            need("*" not in role[name] or len(role[name]) == 1, 'can not mix "*" with values')
        need(role["bound_service_account_names"], '"bound_service_account_names" can not be empty')
        need(role["bound_service_account_namespaces"] or selector, "namespaces can not be empty")
        if "audience" in payload:
            role["audience"] = payload["audience"] or None
        source = payload.get("alias_name_source", role["alias_name_source"])
        need(
            source in ("serviceaccount_uid", "serviceaccount_name"),
            "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
        )
        return {**role, "alias_name_source": source}

    def login(self, payload: Data) -> tuple[str, ...]:
        """The policies of the token. Raises LoginFailed."""
        role = self.roles.get(str(payload.get("role")).lower())
        if role is None:
            raise LoginFailed(f'invalid role name "{payload.get("role")}"')
        if self.config is None:
            raise LoginFailed("could not load backend configuration")
        token = payload["jwt"]
        if not self.reviews(token):
            raise LoginFailed("permission denied")
        try:
            said = claims(Secret(token))
        except Error as error:
            raise LoginFailed("permission denied") from error
        *_, namespace, name = str(said["sub"]).split(":")
        if role["audience"] and role["audience"] not in said["aud"]:
            raise LoginFailed("invalid audience (aud) claim")
        if not _bound(role["bound_service_account_names"], name):
            raise LoginFailed("service account name not authorized")
        if not _bound(role["bound_service_account_namespaces"], namespace):
            raise LoginFailed("namespace not authorized")
        return ("default", *role["token_policies"])


def _bound(patterns: Iterable[str], value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


class JwtAuth(_Auth):
    """vault-plugin-auth-jwt, of both types; whatever a URL names is always there."""

    _SOURCES = ("jwt_validation_pubkeys", "jwks_url", "oidc_discovery_url")
    _CONFIG: ClassVar[Data] = {
        "bound_issuer": "",
        "default_role": "",
        "jwks_ca_pem": "",
        "jwks_url": "",
        "jwt_supported_algs": [],
        "jwt_validation_pubkeys": [],
        "namespace_in_state": False,
        "oidc_client_id": "",
        "oidc_discovery_ca_pem": "",
        "oidc_discovery_url": "",
        "override_allowed_server_names": [],
        "provider_config": {},
    }
    _ROLE: ClassVar[Data] = {
        "allowed_redirect_uris": None,
        "bound_audiences": None,
        "bound_claims": None,
        "bound_claims_type": "string",
        "bound_subject": "",
        "claim_mappings": None,
        "groups_claim": "",
        "oidc_scopes": None,
        "role_type": "oidc",
        "user_claim": "",
        "verbose_oidc_logging": False,
        **_TOKEN_FIELDS,
    }
    _LISTS = ("allowed_redirect_uris", "bound_audiences", "oidc_scopes")
    _BOUND = ("bound_audiences", "bound_claims", "bound_subject")
    _FORGOTTEN = ("role_type", "bound_claims_type")  # what a write that leaves them out resets

    def new_config(self, payload: Data) -> Data:
        client = [payload.get(name) for name in ("oidc_client_id", "oidc_client_secret")]
        both = "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"
        need(all(client) or not any(client), both)
        given = [name for name in self._SOURCES if payload.get(name)]
        need(len(given) == 1, "exactly one of 'jwt_validation_pubkeys', 'jwks_url' must be set")
        pems = payload.get("jwt_validation_pubkeys") or ()
        need(all("BEGIN PUBLIC KEY" in pem for pem in pems), "error parsing public key")
        known = {name: payload.get(name, blank) for name, blank in self._CONFIG.items()}
        return {**known, "oidc_client_secret": payload.get("oidc_client_secret", "")}

    def shown_config(self, config: Data) -> Data:
        shown = {k: v for k, v in config.items() if k != "oidc_client_secret"}
        return {**shown, "status": "valid"}

    def new_role(self, old: Data | None, payload: Data) -> Data:
        role = merged_token_fields(old or self._ROLE, payload)
        role |= {name: self._ROLE[name] for name in self._FORGOTTEN}
        for name in self._ROLE.keys() & payload.keys() - _TOKEN_FIELDS.keys():
            role[name] = listed(payload[name]) if name in self._LISTS else payload[name]
        need(role["user_claim"], "a user claim must be defined on the role")
        need(
            role["role_type"] != "oidc" or role["allowed_redirect_uris"],
            "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
        )
        bound = role["role_type"] != "jwt" or any(role[name] for name in self._BOUND)
        need(bound, "must have at least one bound constraint when creating/updating a role")
        return role

    def shown_role(self, role: Data) -> Data:
        return {k: v for k, v in role.items() if v is not None or k in self._ROLE}
