"""The store's login: mount, config, role, what the role binds."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from vaultprov.doctor.checks.accounts import named_accounts
from vaultprov.doctor.checks.remedies import onboard, patch_login, set_role
from vaultprov.doctor.logins import oracle, unsigned
from vaultprov.doctor.model import Confidence, Finding, Fix, Missing, fail, ok, unknown, warn
from vaultprov.doctor.stores import Reference, Store
from vaultprov.doctor.way_back import works_now
from vaultprov.doctor.world import World
from vaultprov.jwt import claims
from vaultprov.redact import Secret
from vaultprov.vault.acl import granted

_TYPES = {"kubernetes": ("kubernetes",), "jwt": ("jwt", "oidc")}
_PROBE_ROLE = "vaultprov-probe-no-such-role"


def logging_in(world: World) -> tuple[Store, ...]:
    """The stores that log in with a ServiceAccount; each login once."""
    return tuple({_login_of(s): s for s in reversed(world.stores()) if s.logs_in}.values())


def _login_of(store: Store) -> tuple[Any, ...]:
    return store.methods, store.mount, store.role, store.account, store.audiences


def mount_exists(world: World) -> Iterable[Finding]:
    """VP-AUTH-001."""
    for store in logging_in(world):
        try:
            entry = world.auth_mount(store.mount)
        except Missing as missing:
            _only_by_probe(world, missing)
            yield _oracle_on_mount(world, store)
            continue
        if entry is not None and entry.get("type") in _TYPES[store.methods[0]]:
            yield ok(f"type {entry.get('type')}", f"auth/{store.mount}")
            continue
        ours = world.auth_mount(world.names.auth_mount) is not None
        differs = store.mount != world.names.auth_mount
        observed = f"of type {entry.get('type')}" if entry else "absent"
        if store.mount.startswith("auth/"):
            observed += "; a mount path is given without auth/"
        field = "mountPath" if store.methods == ("kubernetes",) else "path"
        yield fail(
            f"auth/{store.mount}",
            observed,
            expected=f"an auth mount of type {store.methods[0]}",
            cause=f"{store} logs in at a mount that is not there; Vault answers that with a bare "
            "`permission denied`",
            fix=patch_login(store, {field: world.names.auth_mount}, "log in at the cluster's mount")
            if ours and differs and not store.planned
            else onboard(world, "onboard the cluster"),
        )


def _oracle_on_mount(world: World, store: Store) -> Finding:
    """Without a token: the login endpoint of a mount that exists knows that it lacks the role."""
    told = oracle(world, store.mount, _PROBE_ROLE, Secret("x"))
    subject = f"auth/{store.mount}"
    if "invalid role name" in told.refused:
        return ok("of type kubernetes, as its login endpoint shows", subject)
    if "could not be found" in told.refused:
        return ok("of type jwt, as its login endpoint shows", subject)
    if told.bare:
        return fail(
            subject,
            "its login endpoint answers permission denied to a role that cannot exist",
            expected="`invalid role name`",
            cause=f"{store} logs in at a mount (or a Vault namespace) that is not there",
            fix=onboard(world, "onboard the cluster, or mend the store's mountPath"),
        )
    return unknown(told.refused, subject)


def config_written(world: World) -> Iterable[Finding]:
    """VP-AUTH-003."""
    for store in logging_in(world):
        try:
            config = world.config(store.mount)
        except Missing as missing:
            _only_by_probe(world, missing)
            told = oracle(world, store.mount, store.role, unsigned(world, store))
            config = None if "could not load backend configuration" in told.refused else {}
        if config is not None:
            yield ok("", f"auth/{store.mount}/config")
            continue
        yield fail(
            f"auth/{store.mount}/config",
            "absent",
            expected="host, CA and reviewer token of the cluster",
            cause="the auth mount was made and never configured",
            fix=onboard(world, "onboard the cluster"),
        )


def role_exists(world: World) -> Iterable[Finding]:
    """VP-AUTH-002."""
    for store in logging_in(world):
        subject = f"auth/{store.mount}/role/{store.role}"
        try:
            found = world.role(store.mount, store.role)
            exists = found is not None
        except Missing as missing:
            _only_by_probe(world, missing)
            told = oracle(world, store.mount, store.role, unsigned(world, store))
            exists = not any(w in told.refused for w in ("invalid role name", "could not be found"))
        if exists:
            yield ok("", subject)
            continue
        ours = world.names.role
        other = store.role != ours and not store.planned and _there(world, store.mount, ours)
        yield fail(
            subject,
            "absent",
            expected="the role that the store names",
            cause=f"{store} logs in with a role that does not exist",
            fix=patch_login(store, {"role": ours}, "log in with the environment's role")
            if other
            else onboard(world, "onboard the cluster"),
        )


def _there(world: World, mount: str, role: str) -> bool:
    try:
        return world.role(mount, role) is not None
    except Missing:
        return False


def kubernetes_roles(world: World) -> Iterable[tuple[Store, Reference, Mapping[str, Any]]]:
    """Stores with their account and their role, for kubernetes mounts."""
    seen = set()
    for store, account in named_accounts(world):
        if store.methods == ("kubernetes",) and _login_of(store) not in seen:
            seen.add(_login_of(store))
            yield store, account, role_of(world, store)


def role_of(world: World, store: Store) -> Mapping[str, Any]:
    """The role that a store logs in with, of whichever method; empty when there is none."""
    return world.role(store.mount, store.role) or {}


def bound(world: World) -> Iterable[Finding]:
    """VP-AUTH-004."""
    try:
        _ = world.vault
    except Missing as missing:
        _only_by_probe(world, missing)
        yield from _bound_by_oracle(world)
        return
    for store, account, role in kubernetes_roles(world):
        names = role.get("bound_service_account_names") or ()
        namespaces = role.get("bound_service_account_namespaces") or ()
        selector = role.get("bound_service_account_namespace_selector")
        lets_name = _any(names, account.name)
        lets_namespace = _any(namespaces, account.namespace or "") or bool(selector)
        subject = f"role {store.role} of auth/{store.mount}"
        if lets_name and lets_namespace:
            yield ok(f"{account.namespace}/{account.name}", subject)
            continue
        wanting = "namespace" if lets_name else "name"
        yield _not_bound(
            world,
            account,
            subject,
            f"binds names {', '.join(names)} in namespaces {', '.join(namespaces)}",
            f"the role does not let the {wanting} of {account.namespace}/{account.name} in",
        )


def _bound_by_oracle(world: World) -> Iterable[Finding]:
    for store, account in named_accounts(world):
        if store.methods != ("kubernetes",):
            continue
        told = oracle(world, store.mount, store.role, unsigned(world, store))
        subject = f"role {store.role} of auth/{store.mount}"
        if "not authorized" in told.refused:
            cause = f"the role does not let {account.namespace}/{account.name} in"
            yield _not_bound(world, account, subject, told.refused, cause)
        else:
            yield ok("its login endpoint does not object", subject)


def _not_bound(
    world: World, account: Reference, subject: str, observed: str, cause: str
) -> Finding:
    name = f"{account.namespace}/{account.name}"
    known = name in map(str, world.case.onboarding.service_accounts)
    return fail(
        subject,
        observed,
        expected=name,
        cause=cause,
        fix=onboard(world, f"let {name} in", *(() if known else ("--service-account", name))),
    )


def _only_by_probe(world: World, missing: Missing) -> None:
    """Without a token the login endpoint tells, if it may be asked. Raises `missing` if not."""
    if not world.case.probe_login:
        raise missing


def _any(patterns: Sequence[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def selector(world: World) -> Iterable[Finding]:
    """VP-AUTH-005."""
    for store, account, role in kubernetes_roles(world):
        text = role.get("bound_service_account_namespace_selector") or ""
        listed = _any(role.get("bound_service_account_namespaces") or (), account.namespace or "")
        subject = f"role {store.role} of auth/{store.mount}"
        if not text or listed:
            yield ok("", subject)
            continue
        trouble = _selector_trouble(world, store, account, text)
        if not trouble:
            yield ok("", subject)
            continue
        yield fail(
            subject,
            trouble,
            expected=f"namespace {account.namespace} by name",
            cause="the role finds namespaces by their labels, which does not work here",
            fix=onboard(
                world,
                "bind the namespace by name",
                "--service-account",
                f"{account.namespace}/{account.name}",
            ),
        )


def _selector_trouble(world: World, store: Store, account: Reference, text: str) -> str:
    config = world.config(store.mount) or {}
    if config.get("token_reviewer_jwt_set") is False:
        return "a namespace selector needs a stored reviewer JWT, and there is none"
    try:
        wanted = yaml.safe_load(text)
    except yaml.YAMLError:
        wanted = None
    if not isinstance(wanted, dict):
        return f"the namespace selector {text!r} cannot be read"
    if wanted.get("matchExpressions"):
        return "matchExpressions of a namespace selector are not supported by Vault"
    labels = world.namespace_labels(account.namespace or "")
    lacking = {k: v for k, v in (wanted.get("matchLabels") or {}).items() if labels.get(k) != v}
    return f"namespace {account.namespace} lacks {json.dumps(lacking)}" if lacking else ""


def cidrs(world: World) -> Iterable[Finding]:
    """VP-AUTH-006."""
    operand = world.operand()
    for store, _, role in kubernetes_roles(world):
        blocks = role.get("token_bound_cidrs") or ()
        subject = f"role {store.role} of auth/{store.mount}"
        if not blocks:
            yield ok("none", subject)
            continue
        pods = operand.pods if operand else ()
        seen = [str(ip) for pod in pods if (ip := (pod.get("status") or {}).get("podIP"))]
        if seen and all(_within(each, blocks) for each in seen):
            yield ok(f"{', '.join(seen)} in {', '.join(blocks)}", subject)
            continue
        fresh = works_now(world, store.mount)
        if fresh:
            yield ok(f"Vault sees another address than the pods' own: {fresh}", subject)
            continue
        yield fail(
            subject,
            f"token_bound_cidrs {', '.join(blocks)}; the pods: {', '.join(seen) or 'no address'}",
            expected="the address from which Vault sees the operand",
            cause="the role takes logins from other addresses only; Vault answers the rest with a "
            "bare `permission denied`",
            fix=set_role(store, world, "token_bound_cidrs", "", "take the limit away, or widen it"),
            confidence=Confidence.MEDIUM,
        )


def _within(address: str, blocks: Sequence[str]) -> bool:
    try:
        given = ipaddress.ip_address(address)
        return any(given in ipaddress.ip_network(block, strict=False) for block in blocks)
    except ValueError:
        return False


def policies_of(world: World, role: Mapping[str, Any]) -> dict[str, Mapping[str, str] | None]:
    """The policies that a token of the role has, by name; None for one that does not exist."""
    names = [str(name).lower() for name in role.get("token_policies") or role.get("policies") or ()]
    if not role.get("token_no_default_policy"):
        names.append("default")
    return {name: world.policy(name) for name in dict.fromkeys(names)}


def looks_itself_up(world: World) -> Iterable[Finding]:
    """VP-AUTH-007."""
    for store in logging_in(world):
        role, subject = role_of(world, store), f"role {store.role} of auth/{store.mount}"
        held = [rules for rules in policies_of(world, role).values() if rules is not None]
        lacking = [
            path
            for path, capability in (
                ("auth/token/lookup-self", "read"),
                ("auth/token/revoke-self", "update"),
            )
            if capability not in granted(held, path)
        ]
        if not lacking:
            yield ok("", subject)
            continue
        yield fail(
            subject,
            f"its tokens may not use {', '.join(lacking)}",
            expected="the default policy, or both paths in another one",
            cause="External Secrets looks its token up and revokes it; this role's may not: the "
            "login works, and the store fails with `invalid vault credentials`",
            fix=set_role(store, world, "token_no_default_policy", "false", "keep default"),
        )


def outlives_first_use(world: World) -> Iterable[Finding]:
    """VP-AUTH-008."""
    for store in logging_in(world):
        uses = role_of(world, store).get("token_num_uses") or 0
        subject = f"role {store.role} of auth/{store.mount}"
        if not uses:
            yield ok("no limit", subject)
            continue
        yield fail(
            subject,
            f"token_num_uses {uses}",
            expected="0, no limit",
            cause=f"the token ends after {uses} request{'' if uses == 1 else 's'}, and External "
            "Secrets makes several with one login",
            fix=set_role(store, world, "token_num_uses", "0", "take the limit away"),
        )


def audience(world: World) -> Iterable[Finding]:
    """VP-AUTH-009."""
    for store, account, role in kubernetes_roles(world):
        wanted = role.get("audience") or ""
        subject = f"role {store.role} of auth/{store.mount}"
        if not wanted:
            yield warn(
                subject,
                "no audience",
                expected="an audience, and the store asking for it",
                cause="the role takes tokens that were made for anybody, the API server included",
                fix=_give_audience(world, store),
            )
            continue
        carried = store.audiences or _default_audiences(world, account)
        if wanted in carried:
            yield ok(wanted, subject)
            continue
        yield fail(
            subject,
            f"wants {wanted}; {store} asks for {', '.join(carried) or 'none'}",
            expected="the role's audience among the token's",
            cause="the token is made for another audience than the role takes",
            fix=patch_login(
                store,
                {"serviceAccountRef": {"audiences": [wanted]}},
                "ask for the role's audience",
            ),
        )


def _give_audience(world: World, store: Store) -> Fix:
    """The stores first: a role with an audience refuses every token that was not made for it."""
    wanted = world.case.onboarding.audience
    for each in world.stores():
        if (each.mount, each.role) == (store.mount, store.role) and wanted not in each.audiences:
            asked = [*each.audiences, wanted]
            return patch_login(
                each,
                {"serviceAccountRef": {"audiences": asked}},
                "let every store of the role ask for the audience; then give it to the role",
            )
    return set_role(store, world, "audience", wanted, "every store asks for it, so the role may")


def _default_audiences(world: World, account: Reference) -> tuple[str, ...]:
    """What the API server puts into a token when nothing is asked for."""
    given = claims(world.token(account, ()).token).get("aud") or []
    return (given,) if isinstance(given, str) else tuple(map(str, given))
