"""The auth config: where Vault asks whether a token is genuine, and whom it trusts there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from vaultprov.certificates import fingerprints
from vaultprov.doctor.checks.accounts import named_accounts
from vaultprov.doctor.checks.login import kubernetes_roles
from vaultprov.doctor.checks.remedies import config_path, onboard
from vaultprov.doctor.logins import BLACK_HOLE, login
from vaultprov.doctor.model import Confidence, Finding, Fix, fail, ok, unknown
from vaultprov.doctor.network import Reached, Url
from vaultprov.doctor.way_back import (
    configs,
    host_of,
    is_inside,
    is_local,
    is_ours,
    replayed,
    works_now,
)
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Refused
from vaultprov.jwt import claims
from vaultprov.reach import check_reachable, hostname

_UNAUTHORIZED = 401


def not_local(world: World) -> Iterable[Finding]:
    """VP-REV-005."""
    for mount, config in configs(world):
        if config.get("disable_local_ca_jwt"):
            yield ok("", f"auth/{mount}/config")
            continue
        if is_local(world, mount, config):
            yield ok("Vault runs in this cluster: its own CA and token fit", f"auth/{mount}/config")
            continue
        yield fail(
            f"auth/{mount}/config",
            "disable_local_ca_jwt is false",
            expected="true for every cluster that Vault does not run in",
            cause="a Vault in a pod uses its own cluster's CA, and without a reviewer JWT sends "
            "its own token to the other cluster",
            fix=_mend(world, mount, "write the config whole"),
        )


def has_ca(world: World) -> Iterable[Finding]:
    """VP-REV-006."""
    for mount, config in configs(world):
        pem = str(config.get("kubernetes_ca_cert") or "")
        trouble = "" if pem or is_local(world, mount, config) else "no kubernetes_ca_cert"
        if pem:
            try:
                fingerprints(pem)
            except ConfigError as error:
                trouble = error.message
        if not trouble:
            yield ok("", f"auth/{mount}/config")
            continue
        yield fail(
            f"auth/{mount}/config",
            trouble,
            expected="the CA of the API server's certificate (PEM)",
            cause="without a CA that can be parsed Vault trusts no API server",
            fix=_mend(world, mount, "write the config whole"),
        )


def issuer(world: World) -> Iterable[Finding]:
    """VP-REV-007."""
    for mount, config in configs(world):
        if config.get("disable_iss_validation", True):
            yield ok("", f"auth/{mount}/config")
            continue
        wanted = str(config.get("issuer") or "kubernetes/serviceaccount")
        account = next((account for _, account in named_accounts(world)), None)
        has = str(claims(world.token(account, ()).token).get("iss")) if account else ""
        if has == wanted:
            yield ok(f"it is {wanted}, as it should be", f"auth/{mount}/config")
            continue
        path = config_path(mount)
        yield fail(
            f"auth/{mount}/config",
            f"takes tokens of issuer {wanted} only; the cluster's have {has or 'another'}",
            expected="disable_iss_validation=true, the default since Vault 1.9",
            cause="the mount checks the issuer, and the cluster's tokens have another",
            fix=Fix(
                "switch the check off and let onboarding write the rest again",
                f"vault write {path} kubernetes_host={shlex.quote(host_of(config))} "
                f'kubernetes_ca_cert="$(vault read -field=kubernetes_ca_cert {path})" '
                "disable_local_ca_jwt=true disable_iss_validation=true "
                f"&& vaultprov onboard {world.case.who}",
            )
            if is_ours(world, mount)
            else _mend(world, mount, "switch the check off"),
        )


def this_cluster(world: World) -> Iterable[Finding]:
    """VP-REV-010."""
    for mount, config in configs(world):
        host, ours = host_of(config), world.live.server.rstrip("/")
        subject = f"auth/{mount}/config"
        inner = _is_inner_name(host) and is_inside(world, mount)
        if host in (ours, world.case.kubernetes_host) or inner:
            yield ok(host, subject)
            continue
        answer = replayed(world, mount, config)
        if answer is not None and answer.status in (200, 201):
            yield ok(f"{host}, another address of this cluster", subject)
        elif answer is not None and answer.status == _UNAUTHORIZED:
            yield _other_cluster(world, mount, host, "it does not know this cluster's tokens")
        elif answer is not None and answer.reached is Reached.UNTRUSTED:
            yield _other_cluster(world, mount, host, "its certificate is signed by another CA")
        else:
            told = answer.detail if answer is not None else "the reviewer's token is not at hand"
            yield unknown(f"{host} is not {ours}, and could not be compared: {told}", subject)


def _is_inner_name(host: str) -> bool:
    """Whether it is how every cluster calls its own API server."""
    return (hostname(host) + ".").startswith("kubernetes.default.")


def _other_cluster(world: World, mount: str, host: str, seen: str) -> Finding:
    return fail(
        f"auth/{mount}/config",
        f"kubernetes_host {host}: {seen}",
        expected=world.case.kubernetes_host or world.live.server,
        cause="Vault asks another API server than this cluster's",
        fix=_mend(world, mount, "point it at this cluster"),
    )


def ca_fits(world: World) -> Iterable[Finding]:
    """VP-REV-004."""
    for mount, config in configs(world):
        host, subject = host_of(config), f"auth/{mount}/config"
        if is_local(world, mount, config):
            yield ok("Vault uses its own pod's", subject)
            continue
        url = Url.parse(host)
        addresses = world.addresses(url.host)
        tried = [
            world.handshake(url, address, str(config.get("kubernetes_ca_cert") or ""))
            for address in addresses
        ]
        bad = next((t for t in tried if t.reached in (Reached.UNTRUSTED, Reached.MISFIT)), None)
        if bad is not None:
            yield fail(
                subject,
                f"{host}: {bad.detail}",
                expected="the CA that signed the API server's certificate",
                cause="the CA in Vault's config is not the one of the API server's certificate, or "
                "it has been replaced",
                fix=_mend(world, mount, "write the config with the cluster's CA"),
            )
        elif any(t.reached is Reached.OK for t in tried):
            yield ok("", subject)
        else:
            told = tried[0].detail if tried else "no such host"
            yield unknown(f"this machine does not reach {host}: {told}", subject)


def vault_reaches(world: World) -> Iterable[Finding]:
    """VP-REV-003."""
    onboarding = world.case.onboarding
    for mount, config in configs(world):
        host, subject = host_of(config), f"auth/{mount}/config"
        fix = _reachable(world, mount, host)
        try:
            if not is_inside(world, mount):
                check_reachable(host, world.case.vault_address, onboarding.cluster)
        except Refused as error:
            yield _unreachable(subject, error.message, fix, Confidence.HIGH)
            continue
        fresh = works_now(world, mount)
        if not world.case.probe_login and fresh:
            yield ok(fresh, subject)
            continue
        for store, _, _ in kubernetes_roles(world):
            if store.mount != mount:
                continue
            told = login(world, store)
            if told.refused and told.seconds >= BLACK_HOLE:
                seen = f"a login is refused after {told.seconds:.1f} s, a dropped connection's time"
                yield _unreachable(subject, f"{host}: {seen}", fix, Confidence.HIGH)
            elif told.refused:
                yield ok(f"Vault answers within {told.seconds:.1f} s", subject)
            else:
                yield ok("a login works", subject)


def _reachable(world: World, mount: str, host: str) -> Fix:
    """The kubeconfig's address if it is another one and may do; else somebody has to know one."""
    text = "give Vault an address that it can reach"
    if not is_ours(world, mount):
        return _mend(world, mount, text)
    given = world.case.kubernetes_host or world.live.server.rstrip("/")
    try:
        check_reachable(given, world.case.vault_address, world.case.onboarding.cluster)
    except Refused:
        given = host
    if given != host:
        return onboard(world, text)
    text += ", or open the way to it"
    return onboard(world, text, "--kubernetes-host https://ADDRESS_FOR_VAULT:6443")


def _unreachable(subject: str, observed: str, fix: Fix, confidence: Confidence) -> Finding:
    return fail(
        subject,
        observed,
        expected="an address and a way that Vault's host can use",
        cause="Vault cannot reach the cluster's API server: a firewall, or an address that only "
        "the cluster knows",
        fix=fix,
        confidence=confidence,
    )


def _mend(world: World, mount: str, text: str) -> Fix:
    """Onboarding writes the config of its own mount alone."""
    if is_ours(world, mount):
        return onboard(world, text)
    return Fix(
        f"{text}; auth/{mount} is not the mount of this onboarding, so its keeper has to",
        f"vault read {config_path(mount)}",
    )
