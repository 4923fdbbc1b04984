"""Config and roles of a kubernetes auth mount.

Facts that decide this file (vault-plugin-auth-kubernetes `path_config.go`, `path_role.go`): a
config write replaces everything, the reviewer JWT included, which no read returns; a role write
merges what is sent, except the namespace selector, which is emptied when it is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vaultprov.certificates import fingerprints, known_certificates
from vaultprov.errors import ConfigError
from vaultprov.jwt import claims
from vaultprov.model import Reviewer, ReviewerMode, ServiceAccount
from vaultprov.names import joined
from vaultprov.redact import Secret
from vaultprov.resource import (
    AtLeast,
    Fields,
    Foreign,
    GrantedToken,
    Io,
    Key,
    KubeRight,
    OnCreate,
    Ref,
    Right,
    State,
    VaultRight,
)
from vaultprov.vault.marker import find_mount, mark, mark_rights, marker_of

_NOT_OURS = ("issuer", "disable_iss_validation", "pem_keys", "use_annotations_as_alias_metadata")


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """How Vault reaches one cluster's API server to review tokens.

    jwt: the reviewer JWT (a Secret or a Ref to one); None when the mode stores none or mints one,
    or when there is none at hand and what is stored has to do.
    account_uid: in mode `token`, a Ref to the uid of the reviewer's ServiceAccount: a recreated
    account means a dead token.
    renew_after: write a JWT anew unless one was written after this (seconds since the epoch).
    granted: in mode `token`, the one to write; without it one is asked for.
    guarded: this run does not know which cluster it is about, so that a marked mount's host is
    changed on the user's word alone.
    """

    mount: str
    host: str
    ca_pem: str
    reviewer: Reviewer
    jwt: Secret | Ref | None = None
    account_uid: Ref | str | None = None
    renew_after: float | None = None
    guarded: bool = False
    after: tuple[Key, ...] = ()
    required: str = ""
    granted: GrantedToken | None = None

    @property
    def key(self) -> Key:
        return Key("vault/auth-config", self.mount)

    def wanted(self) -> State:
        fields: dict[str, Any] = {
            "kubernetes_host": self.host.rstrip("/"),
            "kubernetes_ca_cert": fingerprints(self.ca_pem),
            "disable_local_ca_jwt": True,
        }
        if self.reviewer.mode is ReviewerMode.TOKEN:
            fields |= {"reviewer_account_uid": self.account_uid, "reviewer_valid": True}
        elif self.reviewer.mode is ReviewerMode.CLIENT:
            fields["token_reviewer_jwt"] = None
        elif self.jwt is not None:
            fields["token_reviewer_jwt"] = self.jwt
        if self.renew_after is not None:
            fields["reviewer_renewed"] = True
        return State(fields)

    def read(self, io: Io) -> State | None:
        found = io.vault.read(joined("auth", self.mount, "config"))
        entry = find_mount(io, self.mount)
        if found is None or entry is None:
            return None
        facts = marker_of(entry).facts
        # Old servers do not tell whether a JWT is set; then the marker is all there is.
        is_set = found.get("token_reviewer_jwt_set", "reviewer" in facts)
        fields = {
            "kubernetes_host": str(found.get("kubernetes_host", "")).rstrip("/"),
            "kubernetes_ca_cert": known_certificates(str(found.get("kubernetes_ca_cert") or "")),
            "disable_local_ca_jwt": found.get("disable_local_ca_jwt", False),
            "token_reviewer_jwt": Secret.known_by(facts.get("reviewer", "unknown"))
            if is_set
            else None,
            "reviewer_account_uid": facts.get("reviewer-account"),
            "reviewer_valid": is_set and _lives(facts, io.now(), self.reviewer),
        }
        since = facts.get("reviewer-since")
        if self.renew_after is not None:
            fields["reviewer_renewed"] = (_epoch(since) or 0.0) >= self.renew_after
        attrs = {
            "raw": {name: found[name] for name in _NOT_OURS if name in found},
            "since": since,
            "expires": facts.get("reviewer-expires"),
        }
        guards = {}
        if self.guarded and "cluster-uid" in facts:
            guards["kubernetes_host"] = Foreign(
                f"belongs to the cluster with identity {facts['cluster-uid']}",
                "--replace-cluster",
                "say which cluster this is with --cluster-uid, or add --replace-cluster",
            )
        return State(fields, attrs, None, guards)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        jwt, expires = self._reviewer_jwt(io, target, found)
        foreign: Mapping[str, Any] = found.attrs["raw"] if found else {}
        payload: dict[str, Any] = {
            **foreign,
            "kubernetes_host": target["kubernetes_host"],
            "kubernetes_ca_cert": self.ca_pem,
            "disable_local_ca_jwt": True,
            "token_reviewer_jwt": jwt if jwt is not None else "",
        }
        io.vault.write(joined("auth", self.mount, "config"), payload)
        # After the config: a run that is killed in between leaves an old fingerprint, which the
        # next run sees as drift. The other order would hide the missing write.
        mark(
            io,
            self.mount,
            reviewer=jwt.fingerprint if jwt else None,
            reviewer_since=_rfc3339(io.now(), "milliseconds") if jwt else None,
            reviewer_expires=expires,
            reviewer_account=target.get("reviewer_account_uid"),
        )

    def _reviewer_jwt(
        self, io: Io, target: Fields, found: State | None
    ) -> tuple[Secret | None, str | None]:
        """The JWT to write and when it ends (RFC 3339), if it does.

        Raises ConfigError rather than erase a JWT that is needed and not at hand.
        """
        if self.reviewer.mode is ReviewerMode.CLIENT:
            return None, None
        if self.reviewer.mode is ReviewerMode.TOKEN:
            account = self.reviewer.account
            granted = self.granted or io.kube.request_token(
                account.namespace, account.name, (), self.reviewer.duration
            )
            return granted.token, _rfc3339(granted.expires)
        jwt = target.get("token_reviewer_jwt")
        if isinstance(jwt, Secret) and jwt.at_hand:
            ends = claims(jwt).get("exp")
            return jwt, _rfc3339(ends) if ends else None
        if found is not None and found.fields["token_reviewer_jwt"] is None:
            return None, None
        raise ConfigError(
            f"auth/{self.mount}/config has to be written whole, "
            "and the reviewer JWT is not at hand",
            hint="give it with --reviewer-jwt-file PATH (or - for standard input), "
            "or say --reviewer client",
        )

    def remove(self, io: Io, found: State) -> None:
        """Vault has no delete for it: it goes with the mount."""

    def rights(self, action: str) -> tuple[Right, ...]:
        path = joined("auth", self.mount, "config")
        if action == "read":
            return (VaultRight(path, ("read",)), VaultRight("sys/auth", ("read",)))
        if action == "delete":
            return ()
        rights: tuple[Right, ...] = (VaultRight(path, ("write",)), *mark_rights(self.mount))
        if self.reviewer.mode is ReviewerMode.TOKEN:
            rights += (token_right(self.reviewer.account),)
        return rights


def token_right(account: ServiceAccount) -> KubeRight:
    """What a TokenRequest for `account` needs."""
    return KubeRight("create", "", "serviceaccounts/token", account.namespace, account.name)


def _rfc3339(epoch: float, precision: str = "seconds") -> str:
    text = datetime.fromtimestamp(epoch, UTC).isoformat(timespec=precision)
    return text.replace("+00:00", "Z")


def _lives(facts: Mapping[str, str], now: float, reviewer: Reviewer) -> bool:
    """Whether the token of mode `token` need not be renewed yet.

    A server may grant less than was asked for, even less than `renew_before`: then the last third
    of what it granted counts.
    """
    since, ends = (_epoch(facts.get(name)) for name in ("reviewer-since", "reviewer-expires"))
    if since is None or ends is None:
        return False
    return ends - now > min(reviewer.renew_before, (ends - since) / 3)


def _epoch(rfc3339: str | None) -> float | None:
    try:
        return datetime.fromisoformat(rfc3339 or "").timestamp()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Role:
    """A role: which ServiceAccounts may log in and what they get.

    Names and namespaces are a cross product. Unless `exclusive`, people's additions stay.
    retired: policies of ours that the role must no longer have, after a change of scope. dropped:
    namespaces that it must no longer let in.
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
        names = frozenset(account.name for account in self.accounts)
        namespaces = frozenset(account.namespace for account in self.accounts)
        policies = frozenset(name.lower() for name in self.policies)
        return State(
            {
                "alias_name_source": "serviceaccount_uid",
                "bound_service_account_names": self._bound(AtLeast(names, globs=True)),
                "bound_service_account_namespaces": self._bound(
                    AtLeast(namespaces, globs=True, without=frozenset(self.dropped))
                ),
                "token_policies": self._bound(AtLeast(policies, without=frozenset(self.retired))),
                "token_ttl": self.ttl,
                # An audience on an existing role locks out every client that does not ask for it.
                "audience": OnCreate(self.audience),
            }
        )

    def _bound(self, ours: AtLeast) -> Any:
        return ours.items if self.exclusive else ours

    def read(self, io: Io) -> State | None:
        found = io.vault.read(self._path)
        if found is None:
            return None
        fields = {
            # Empty on roles that were made before the field existed; it means the same.
            "alias_name_source": found.get("alias_name_source") or "serviceaccount_uid",
            "bound_service_account_names": frozenset(
                found.get("bound_service_account_names") or ()
            ),
            "bound_service_account_namespaces": frozenset(
                found.get("bound_service_account_namespaces") or ()
            ),
            "token_policies": frozenset(
                name.lower() for name in found.get("token_policies") or found.get("policies") or ()
            ),
            "token_ttl": found.get("token_ttl") or found.get("ttl") or 0,
            "audience": found.get("audience") or "",
        }
        selector = found.get("bound_service_account_namespace_selector") or ""
        attrs = {
            "selector": selector,
            "audience": fields["audience"],
            "namespaces": fields["bound_service_account_namespaces"],
        }
        return State(fields, attrs)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        payload = {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in target.items()
        }
        # The one field that a write empties when it does not send it.
        payload["bound_service_account_namespace_selector"] = (
            found.attrs["selector"] if found else ""
        )
        io.vault.write(self._path, payload)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(self._path)

    def rights(self, action: str) -> tuple[Right, ...]:
        needs = {"read": "read", "delete": "delete"}.get(action, "write")
        return (VaultRight(self._path, (needs,)),)

    @property
    def _path(self) -> str:
        return joined("auth", self.mount, "role", self.name)
