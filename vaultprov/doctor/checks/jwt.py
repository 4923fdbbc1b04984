"""JWT mounts: Vault checks tokens against keys that it was given, without asking the cluster.

Fields: vault-plugin-auth-jwt and openbao `path_config.go`, `path_role.go`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from vaultprov.doctor.checks.accounts import named_accounts
from vaultprov.doctor.checks.remedies import config_path, onboard, patch_login, role_path
from vaultprov.doctor.model import Confidence, Finding, Fix, Missing, Vantage, fail, ok, unknown
from vaultprov.doctor.network import Reached, Url
from vaultprov.doctor.stores import Reference, Store
from vaultprov.doctor.way_back import is_ours, works_now
from vaultprov.doctor.world import World
from vaultprov.jwt import PublicKey, claims, header

# What a key set is written with; secrets are of OIDC, where nobody logs in with a ServiceAccount.
_CONFIG = (
    "jwt_validation_pubkeys",
    "jwks_url",
    "jwks_ca_pem",
    "oidc_discovery_url",
    "oidc_discovery_ca_pem",
    "jwt_supported_algs",
    "bound_issuer",
    "default_role",
)


def _logins(world: World) -> Iterable[tuple[Store, Reference, Mapping[str, Any]]]:
    for store, account in named_accounts(world):
        if store.methods == ("jwt",):
            yield store, account, world.role(store.mount, store.role) or {}


def _claims(world: World, store: Store, account: Reference) -> dict[str, Any]:
    return claims(world.token(account, store.audiences).token)


def audience(world: World) -> Iterable[Finding]:
    """VP-JWT-001."""
    for store, account, role in _logins(world):
        bound = tuple(role.get("bound_audiences") or ())
        carried = tuple(_claims(world, store, account).get("aud") or ())
        subject = f"role {store.role} of auth/{store.mount}"
        if set(bound) & set(carried):
            yield ok(", ".join(bound), subject)
        elif bound:
            change = {
                "kubernetesServiceAccountToken": {
                    "audiences": [bound[0]],
                    "serviceAccountRef": {"audiences": [bound[0]]},
                }
            }
            yield fail(
                subject,
                f"bound_audiences {', '.join(bound)}; the token has {', '.join(carried)}",
                expected="one audience in common",
                cause="the token is made for another audience than the role takes",
                fix=patch_login(store, change, "ask for the role's audience"),
            )
        else:
            yield fail(
                subject,
                "no bound_audiences",
                expected=f"{', '.join(carried)}",
                cause="a token with an audience is refused by a JWT role that binds none",
                fix=Fix(
                    "bind it",
                    f"{_write_role(store)} bound_audiences={shlex.quote(carried[0])}"
                    if carried
                    else "",
                ),
            )


def _write_role(store: Store) -> str:
    """What is not given stays; but without its type the role would become one for OIDC."""
    return f"vault write {role_path(store)} role_type=jwt"


def _write_config(store: Store, config: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """A config is written as a whole: what is not given is forgotten (openbao `path_config.go`)."""
    words = [f"vault write {config_path(store.mount)}"]
    for name, value in {**{field: config.get(field) for field in _CONFIG}, **change}.items():
        given = value if isinstance(value, list) else [value]
        words += [f"{name}={shlex.quote(str(each))}" for each in given if each]
    return " ".join(words)


def binding(world: World) -> Iterable[Finding]:
    """VP-JWT-002."""
    for store, account, role in _logins(world):
        has = _claims(world, store, account)
        config = world.config(store.mount) or {}
        globs = role.get("bound_claims_type") == "glob"
        wrong = []
        if role.get("bound_subject") and role["bound_subject"] != has.get("sub"):
            wrong.append(("bound_subject", role["bound_subject"], str(has.get("sub"))))
        if config.get("bound_issuer") and config["bound_issuer"] != has.get("iss"):
            wrong.append(("bound_issuer", config["bound_issuer"], str(has.get("iss"))))
        for name, value in (role.get("bound_claims") or {}).items():
            wanted = value if isinstance(value, list) else [value]
            if not _claimed(_pointer(has, name), wanted, globs=globs):
                wrong.append((f"bound_claims {name}", wanted, str(_pointer(has, name))))
        subject = f"role {store.role} of auth/{store.mount}"
        if not wrong:
            yield ok("", subject)
            continue
        field, wanted, carried = wrong[0]
        command = f"{_write_role(store)} {field}={shlex.quote(carried)}"
        if field == "bound_issuer":
            command = _write_config(store, config, {field: carried})
        elif " " in field:
            command = f"vault read {role_path(store)}"
        yield fail(
            subject,
            f"{field} {wanted}; the token has {carried}",
            expected=carried,
            cause=f"the token's {field.removeprefix('bound_')} is not the one that Vault wants",
            fix=Fix("bind the token's own, unless others log in with this role, too", command),
        )


def _claimed(claim: Any, wanted: list[Any], *, globs: bool) -> bool:
    """Whether one value of the claim is one that the role binds (openbao `claims.go`)."""
    values = [str(each) for each in (claim if isinstance(claim, list) else [claim])]
    if not globs:
        return any(str(each) in values for each in wanted)
    return any(_fits(value, str(each)) for value in values for each in wanted)


def _fits(value: str, pattern: str) -> bool:
    """In a glob only the asterisk means anything (ryanuber/go-glob)."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value, re.DOTALL) is not None


def _pointer(claimed: Mapping[str, Any], name: str) -> Any:
    """A claim by name or, beginning with a slash, by JSON pointer."""
    value: Any = claimed
    for part in name.strip("/").split("/") if name.startswith("/") else (name,):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def keys(world: World) -> Iterable[Finding]:
    """VP-JWT-003."""
    for store, account, _ in _logins(world):
        config = world.config(store.mount) or {}
        pems = config.get("jwt_validation_pubkeys") or ()
        stored = {PublicKey.of_pem(str(pem)) for pem in pems}
        subject = f"auth/{store.mount}/config"
        if not stored:
            continue  # the keys come from a URL
        kid = header(world.token(account, store.audiences).token).get("kid")
        published = world.once("jwks", world.live.signing_keys)
        readable = [(each, key) for each in published if (key := PublicKey.of_jwk(each))]
        live = [key for each, key in readable if not kid or each.get("kid") == kid]
        if not live:
            yield unknown("the cluster publishes no key of this token that we can read", subject)
        elif stored & set(live):
            yield ok(f"{len(stored)} keys", subject)
        else:
            yield fail(
                subject,
                f"none of {len(stored)} keys is the one that signs the cluster's tokens",
                expected=f"the key {kid or 'of the cluster'}",
                cause="the cluster's signing key was replaced, or the keys are another cluster's",
                fix=_new_keys(world, store, config, [key.pem for _, key in readable]),
            )


def _new_keys(world: World, store: Store, config: Mapping[str, Any], pems: list[str]) -> Fix:
    told = "give Vault the keys that the cluster publishes, in place of the stored ones"
    if is_ours(world, store.mount):
        return onboard(world, told)
    return Fix(told, _write_config(store, config, {"jwt_validation_pubkeys": pems}))


def key_source(world: World) -> Iterable[Finding]:
    """VP-JWT-004."""
    for store, _, _ in _logins(world):
        config = world.config(store.mount) or {}
        source = config.get("jwks_url") or config.get("oidc_discovery_url")
        subject = f"auth/{store.mount}/config"
        if not source:
            continue
        url = Url.parse(str(source))
        addresses = world.addresses(url.host)
        tried = [world.connect(address, url.port) for address in addresses]
        if any(each.reached is Reached.OK for each in tried):
            yield ok(str(source), subject)
            continue
        told = tried[0].detail if tried else "no such host"
        fresh = works_now(world, store.mount)
        if fresh:
            yield ok(f"{told}, from this machine; but {fresh}", subject)
            continue
        if not tried and ".svc" in url.host:
            raise Missing(Vantage.VAULT, f"{source} is a name of the cluster that Vault runs in")
        yield fail(
            subject,
            f"{source}: {told}, from this machine",
            expected="an address that Vault can fetch keys from",
            cause="Vault cannot fetch the cluster's keys",
            fix=Fix("name an address that Vault reaches", f"vault read {config_path(store.mount)}"),
            confidence=Confidence.MEDIUM,
        )
