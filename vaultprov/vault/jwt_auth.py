"""Config and roles of a JWT auth mount: Vault checks tokens with the cluster's public keys.

Nobody calls back, so that Vault need not reach the API server. One mount is for one cluster: by
default all OpenShift clusters have the same issuer, and a subject does not say which cluster it is
from, so that with two clusters' keys in one mount each could log in as the other.

Facts that decide this file (openbao and vault-plugin-auth-jwt `path_config.go`, `path_role.go`;
tests/kinds keeps them true): a config write replaces everything and takes exactly one source of
keys; without `jwt_supported_algs` only RS256 is taken; a role write merges what is sent, except
`role_type` and `bound_claims_type`, which fall back to `oidc` and `string`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaultprov.certificates import known_certificates
from vaultprov.errors import Rejected
from vaultprov.jwt import PublicKey
from vaultprov.model import ServiceAccount
from vaultprov.names import joined
from vaultprov.resource import (
    AtLeast,
    Fields,
    Foreign,
    Io,
    Key,
    OnCreate,
    Ref,
    Right,
    State,
    VaultRight,
)
from vaultprov.vault.marker import find_mount, marker_of

_SUBJECT = "system:serviceaccount:"


# A write without them empties them.
_NOT_OURS = (
    "default_role",
    "namespace_in_state",
    "override_allowed_server_names",
    "provider_config",
    "unsupported_critical_cert_extensions",
)


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """With which keys Vault checks the tokens of one cluster.

    keys, algorithms: what the cluster publishes (a frozenset of PublicKey, one of names), or Refs
    to them. issuer: of its tokens, a Ref to it, or None when it is not known and what is stored has
    to do. jwks_url: where Vault fetches the keys itself, instead of `keys`; ca_pem: the CA there.
    guarded: this run does not know which cluster it is about, so that a marked mount's keys are
    changed on the user's word alone.
    """

    mount: str
    keys: frozenset[PublicKey] | Ref
    algorithms: frozenset[str] | Ref
    issuer: str | Ref | None = None
    jwks_url: str = ""
    ca_pem: str = ""
    guarded: bool = False
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/jwt-config", self.mount)

    def wanted(self) -> State:
        by_url = bool(self.jwks_url)
        fields: dict[str, Any] = {
            "jwt_validation_pubkeys": None if by_url else self.keys,
            "jwks_url": self.jwks_url or None,
            "jwks_ca_pem": known_certificates(self.ca_pem) or None if by_url else None,
            "jwks_pairs": None,
            "oidc_discovery_url": None,
            "jwt_supported_algs": self.algorithms,
        }
        if self.issuer is not None:
            fields["bound_issuer"] = self.issuer
        return State(fields)

    def read(self, io: Io) -> State | None:
        found = io.vault.read(self._path)
        if found is None:
            return None
        pems = found.get("jwt_validation_pubkeys") or ()
        fields = {
            "jwt_validation_pubkeys": frozenset(PublicKey.of_pem(pem) for pem in pems) or None,
            "jwks_url": found.get("jwks_url") or None,
            "jwks_ca_pem": known_certificates(str(found.get("jwks_ca_pem") or "")) or None,
            # Vault's alone, and a source of keys (vault-plugin-auth-jwt `path_config.go`).
            "jwks_pairs": str(found.get("jwks_pairs") or "") or None,
            "oidc_discovery_url": found.get("oidc_discovery_url") or None,
            # Vault's own default, as its library has it (cap/jwt `jwt.go`).
            "jwt_supported_algs": frozenset(found.get("jwt_supported_algs") or ("RS256",)),
            "bound_issuer": found.get("bound_issuer") or None,
        }
        attrs = {"raw": {name: found[name] for name in _NOT_OURS if found.get(name)}}
        return State(fields, attrs, None, self._guards(io))

    def _guards(self, io: Io) -> dict[str, Foreign]:
        entry = find_mount(io, self.mount) if self.guarded else None
        facts = marker_of(entry).facts if entry else {}
        if "cluster-uid" not in facts:
            return {}
        other = Foreign(
            f"belongs to the cluster with identity {facts['cluster-uid']}",
            "--replace-cluster",
            "say which cluster this is with --cluster-uid, or add --replace-cluster",
        )
        return {"jwt_validation_pubkeys": other, "jwks_url": other}

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        payload: dict[str, Any] = {
            **(found.attrs["raw"] if found else {}),
            "jwt_supported_algs": sorted(target["jwt_supported_algs"]),
            "bound_issuer": self._issuer(target, found) or "",
        }
        if self.jwks_url:
            payload |= {"jwks_url": self.jwks_url, "jwks_ca_pem": self.ca_pem}
        else:
            payload["jwt_validation_pubkeys"] = [
                each.pem for each in sorted(target["jwt_validation_pubkeys"])
            ]
        try:
            io.vault.write(self._path, payload)
        except Rejected as error:
            if not self.jwks_url:
                raise
            raise Rejected(
                f"{error.message}: Vault cannot fetch keys from {self.jwks_url} (it cannot reach "
                "it, does not trust its certificate, or is not let in)",
                hint="leave reviewer.jwks_url out: the keys are copied then",
            ) from error

    def _issuer(self, target: Fields, found: State | None) -> Any:
        if "bound_issuer" in target:
            return target["bound_issuer"]
        return found.fields["bound_issuer"] if found else None

    def remove(self, io: Io, found: State) -> None:
        """Vault has no delete for it: it goes with the mount."""

    def rights(self, action: str) -> tuple[Right, ...]:
        if action == "delete":
            return ()
        if action == "read":
            return (VaultRight(self._path, ("read",)), VaultRight("sys/auth", ("read",)))
        return (VaultRight(self._path, ("write",)),)

    @property
    def _path(self) -> str:
        return joined("auth", self.mount, "config")


@dataclass(frozen=True, slots=True)
class JwtRole:
    """A role: which ServiceAccounts may log in and what they get.

    Each ServiceAccount is bound by its whole name (`sub`), so that names and namespaces are no
    cross product. Unless `exclusive`, people's additions stay. retired: policies of ours that the
    role must no longer have. dropped: namespaces that it must no longer let in.
    """

    mount: str
    name: str
    accounts: tuple[ServiceAccount, ...]
    policies: tuple[str, ...]
    ttl: int  # seconds
    audience: str
    exclusive: bool = False
    retired: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/role", joined(self.mount, self.name))

    def wanted(self) -> State:
        subjects = frozenset(map(_subject, self.accounts))
        without = frozenset(f"{_SUBJECT}{namespace}:*" for namespace in self.dropped)
        policies = frozenset(name.lower() for name in self.policies)
        return State(
            {
                "role_type": "jwt",
                "user_claim": "sub",
                "bound_subject": None,
                "bound_claims.sub": self._bound(AtLeast(subjects, without=without)),
                # A JWT with an audience needs one here; another one would lock the others out.
                "bound_audiences": OnCreate(frozenset({self.audience})),
                "token_policies": self._bound(AtLeast(policies, without=frozenset(self.retired))),
                "token_ttl": self.ttl,
            }
        )

    def _bound(self, ours: AtLeast) -> Any:
        return ours.items if self.exclusive else ours

    def read(self, io: Io) -> State | None:
        found = io.vault.read(self._path)
        if found is None:
            return None
        claims = dict(found.get("bound_claims") or {})
        subjects = claims.pop("sub", ())
        subjects = frozenset([subjects] if isinstance(subjects, str) else subjects)
        audiences = frozenset(found.get("bound_audiences") or ())
        alone = found.get("bound_subject")
        # Both have to hold: one subject beside a list that lacks it lets nobody in.
        bound = (subjects & {alone} if subjects else frozenset({alone})) if alone else subjects
        fields = {
            "role_type": found.get("role_type"),
            "user_claim": found.get("user_claim"),
            "bound_subject": alone or None,
            "bound_claims.sub": bound,
            "bound_audiences": audiences,
            "token_policies": frozenset(
                name.lower() for name in found.get("token_policies") or found.get("policies") or ()
            ),
            "token_ttl": found.get("token_ttl") or found.get("ttl") or 0,
        }
        attrs = {
            "claims": claims,
            "claims_type": found.get("bound_claims_type") or "string",
            "audience": min(audiences, default=""),
            "namespaces": frozenset(each for name in bound if (each := _namespace(name))),
        }
        return State(fields, attrs)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        payload = {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in target.items()
        }
        subjects = payload.pop("bound_claims.sub")
        others: Mapping[str, Any] = found.attrs["claims"] if found else {}
        payload["bound_subject"] = ""
        payload["bound_claims"] = {**others, "sub": subjects}
        payload["bound_claims_type"] = found.attrs["claims_type"] if found else "string"
        io.vault.write(self._path, payload)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(self._path)

    def rights(self, action: str) -> tuple[Right, ...]:
        needs = {"read": "read", "delete": "delete"}.get(action, "write")
        return (VaultRight(self._path, (needs,)),)

    @property
    def _path(self) -> str:
        return joined("auth", self.mount, "role", self.name)


def _subject(account: ServiceAccount) -> str:
    return f"{_SUBJECT}{account.namespace}:{account.name}"


def _namespace(subject: str) -> str:
    """The namespace in a ServiceAccount's subject; "" for another subject."""
    return subject.removeprefix(_SUBJECT).partition(":")[0] if subject.startswith(_SUBJECT) else ""
