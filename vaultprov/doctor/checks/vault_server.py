"""Vault as a server: its certificate, its state, node by node. No token is needed for any of it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable

from vaultprov.doctor.checks.remedies import patch_provider
from vaultprov.doctor.checks.stores import ca_of
from vaultprov.doctor.model import (
    Confidence,
    Finding,
    Fix,
    Missing,
    Status,
    Vantage,
    fail,
    ok,
    unknown,
)
from vaultprov.doctor.network import Attempt, Reached, Url
from vaultprov.doctor.stores import Store
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, Error, Rejected, Sealed, Unreachable

_STATES = {
    472: "a disaster recovery secondary, which serves no client",
    474: "a standby that cannot reach the active node",
    530: "a node that was removed from the cluster",
}
_TOO_MANY = 429
_QUOTA = "rate limit quota exceeded"  # openbao `vault/quotas/quotas.go`


def speaks_tls(world: World) -> Iterable[Finding]:
    """VP-TLS-004."""
    for store, address, _ in _tried(world):
        url = store.url
        if url.scheme == "http":
            told = world.health(url, address)
            if "HTTP request to an HTTPS server" in told.detail:
                yield _wrong_scheme(store, "https", "it speaks TLS only")
            else:
                says = "VAULT_ADDR" if store.planned else "the store"
                yield ok(f"plain HTTP, as {says} says", str(store))
            continue
        tried = world.handshake(url, address, ca_of(world, store))
        seen = world.health(url, address)
        if tried.reached is Reached.PLAIN:
            yield _wrong_scheme(store, "http", "it speaks plain HTTP; better give it a certificate")
        elif Reached.CLIENT_CERT in (tried.reached, seen.reached):
            if _has_client_certificate(store):
                yield ok("with a client certificate", str(store))
                continue
            yield fail(
                str(store),
                "Vault asks for a client certificate, and the store has none",
                expected="spec.provider.vault.tls",
                cause="Vault's listener requires client certificates (mTLS)",
                fix=Fix(
                    "name certificate and key in the store",
                    f"kubectl explain {store.kind.lower()}.spec.provider.vault.tls",
                ),
            )
        else:
            yield ok(tried.detail if tried.reached is Reached.OK else "", str(store))


def _wrong_scheme(store: Store, scheme: str, why: str) -> Finding:
    right = f"{scheme}://{store.server.partition('://')[2]}"
    return fail(
        str(store),
        f"{store.server}: {why}",
        expected=right,
        cause="the scheme of the store's server is not the one that Vault speaks",
        fix=patch_provider(store, {"server": right}, "mend the server's URL"),
    )


def _has_client_certificate(store: Store) -> bool:
    provider = ((store.body.get("spec") or {}).get("provider") or {}).get("vault") or {}
    return bool((provider.get("tls") or {}).get("certSecretRef"))


def trusted(world: World) -> Iterable[Finding]:
    """VP-TLS-001."""
    for store, address, tried in _shaken(world):
        pem = ca_of(world, store)
        if tried.reached is Reached.UNTRUSTED:
            known = world.case.vault_ca
            proven = known and world.handshake(store.url, address, known).reached is Reached.OK
            bundle = base64.b64encode(known.encode()).decode() if proven else "BASE64_OF_THE_CA"
            change: dict[str, object] = {"caBundle": bundle}
            if store.ca_provider:
                change["caProvider"] = None
            yield fail(
                str(store),
                f"{address}: {tried.detail}",
                expected="a certificate that the store's CA signed"
                if pem
                else "a certificate that a public CA signed, or a caBundle in the store",
                cause="the store's CA is not the one of Vault's certificate"
                if pem
                else "the store names no CA, and Vault's certificate is not signed by a public one",
                fix=patch_provider(store, change, "give the store the CA of Vault's certificate"),
                confidence=Confidence.HIGH if pem else Confidence.MEDIUM,
            )
        elif tried.reached is Reached.OK:
            yield ok(tried.detail, f"{store} at {address}")
        elif tried.reached not in (Reached.MISFIT, Reached.CLIENT_CERT, Reached.PLAIN):
            yield unknown(f"the TLS handshake ended otherwise: {tried.detail}", f"{store.server}")


def fits(world: World) -> Iterable[Finding]:
    """VP-TLS-002."""
    for store, address, tried in _shaken(world):
        if tried.reached is Reached.MISFIT:
            yield fail(
                str(store),
                f"{address}: {tried.detail}",
                expected=f"a certificate that is valid now and for {store.url.host}",
                cause="Vault's certificate has ended"
                if "expired" in tried.detail
                else "Vault's certificate is for other names than the store's server",
                fix=Fix(
                    "renew Vault's certificate, or name a server that it is valid for",
                    f"openssl s_client -connect {store.url.host}:{store.url.port} "
                    "-servername "
                    f"{store.url.host} </dev/null | openssl x509 -noout -dates -ext subjectAltName",
                ),
            )
        elif tried.reached is Reached.OK:
            yield ok("", f"{store} at {address}")


def serving(world: World) -> Iterable[Finding]:
    """VP-VLT-001."""
    for store, address, told in _healths(world):
        body, node = told.body or {}, f"Vault node {address}"
        if body.get("initialized") is False:
            yield fail(
                node,
                "not initialised",
                expected="initialised and unsealed",
                cause="Vault was never initialised: this may be a new and empty one",
                fix=Fix(
                    "initialise it",
                    f"vault operator init {shlex.quote(f'-address={store.server}')}",
                ),
            )
        elif body.get("sealed"):
            yield fail(
                node,
                "sealed",
                expected="unsealed",
                cause="Vault is sealed: it restarted, or somebody sealed it",
                fix=Fix(
                    "unseal it", f"vault operator unseal {shlex.quote(f'-address={store.server}')}"
                ),
            )
        elif told.body is None or "initialized" not in body:
            yield _not_vault(store, address, told)
        else:
            yield ok(f"version {body.get('version', 'unknown')}", node)


def _at(store: Store) -> str:
    return shlex.quote(f"-address={store.server}")


def _not_vault(store: Store, address: str, told: Attempt) -> Finding:
    if told.reached is Reached.CLIENT_CERT:
        return ok("it asks for a client certificate before it tells", f"Vault node {address}")
    if told.reached is not Reached.OK:
        return unknown(f"{address} did not answer: {told.detail}", store.server)
    return fail(
        f"{store.server} at {address}",
        f"status {told.status}, {told.detail!r}",
        expected="Vault's own health report",
        cause="something else answers in Vault's place: a proxy, a router, a mesh",
        fix=Fix("see what it is", f"curl -k {shlex.quote(store.server + '/v1/sys/health')}"),
    )


def every_node(world: World) -> Iterable[Finding]:
    """VP-VLT-002."""
    for store, address, told in _healths(world):
        node = f"Vault node {address}"
        leader = world.leader(store.url, address).body or {}
        trouble = _STATES.get(told.status, "")
        if (told.body or {}).get("standby") and leader:
            trouble = _leaderless(world, str(leader.get("leader_address") or ""))
        if trouble:
            yield fail(
                node,
                f"status {told.status}: {trouble}",
                expected="an active node, or a standby that has one",
                cause=f"the node at {address} is {trouble}",
                fix=Fix("see who leads", "vault operator raft list-peers"),
            )
        elif told.body is not None:
            yield ok("standby" if told.body.get("standby") else "active", node)


def _leaderless(world: World, leader: str) -> str:
    """Why a standby has nobody to send clients to; "" if it has.

    Of an active node that is gone the address stays known until another one is elected. That this
    machine cannot reach it proves nothing, unless what only an active node tells fails as well
    (standbys of OpenBao answer reads themselves).
    """
    if not leader:
        return "a standby without an active node to send clients to"
    url = Url.parse(leader)
    told = [world.health(url, address) for address in world.addresses(url.host)]
    if any(each.reached is Reached.OK for each in told):
        return ""
    try:
        world.read("sys/ha-status")
    except (Unreachable, Sealed):
        return f"a standby whose active node {leader} does not answer"
    except Error:
        pass  # whatever it says, it was answered
    return ""


def not_limited(world: World) -> Iterable[Finding]:
    """VP-VLT-003. Quotas may be for all of Vault, or for the auth mount alone."""
    for store, address, told in _healths(world):
        answers = (told, world.leader(store.url, address))
        limited = next((each for each in answers if _is_limited(each)), None)
        if limited is None:
            yield ok("", f"Vault node {address}")
            continue
        wait = (limited.headers or {}).get("retry-after", "")
        yield _limited(
            f"Vault node {address}",
            "; ".join(map(str, (limited.body or {})["errors"])),
            (f"Retry-After: {wait} s",) if wait else (),
        )
    for mount in dict.fromkeys(store.mount for store in world.stores() if store.mount):
        try:
            world.config(mount)
        except Missing:
            continue  # the mount's own check says what cannot be told
        except Error as error:
            if _QUOTA in error.message:
                yield _limited(f"auth/{mount}", error.message)


def _is_limited(told: Attempt) -> bool:
    """A standby's health has this status too, but no errors."""
    return told.status == _TOO_MANY and "errors" in (told.body or {})


def _limited(subject: str, words: str, evidence: tuple[str, ...] = ()) -> Finding:
    return fail(
        subject,
        f"429: {words}",
        expected="room for the operand's requests",
        cause="a rate limit quota refuses requests; one black sheep may use it up",
        fix=Fix(
            "see the quotas, and raise the one that bites",
            "vault list sys/quotas/rate-limit",
        ),
        evidence=evidence,
    )


def namespace_exists(world: World) -> Iterable[Finding]:
    """VP-VLT-004."""
    ours, names = world.case.vault_namespace.strip("/"), world.names
    for store in world.known_stores():
        theirs = (store.login_namespace or store.vault_namespace).strip("/")
        if theirs != ours and (store.mount, store.role) != (names.auth_mount, names.role):
            yield Finding(Status.SKIPPED, str(store), f"of another Vault namespace, {theirs}")
        elif theirs != ours:
            yield fail(
                str(store),
                f"Vault namespace {theirs or '(root)'}",
                expected=f"{ours or '(root)'}, where the cluster was onboarded",
                cause="the store logs in at another Vault namespace than the auth mount's",
                fix=patch_provider(store, {"namespace": ours or None}, "name the right namespace"),
            )
    try:
        world.read("sys/auth")
    except Denied:
        world.read("auth/token/lookup-self")  # a token works in no namespace that is not there
        yield ok(ours or "root")
    except Missing:
        # The mount's own check says what cannot be told without a token.
        yield Finding(Status.SKIPPED, ours or "root", "there is no token to ask with")
    except Rejected as error:
        if "namespace" not in error.message:
            raise
        yield fail(
            f"Vault namespace {ours}",
            "absent",
            expected="the namespace that this machine is configured for",
            cause="VAULT_NAMESPACE names a namespace that does not exist",
            fix=Fix("mend the variable", "vault namespace list"),
        )
    else:
        yield ok(ours or "root")


def _tried(world: World) -> Iterable[tuple[Store, str, Url]]:
    """Every store with every address of its server, as far as this machine can reach it."""
    for store in world.stores():
        url = store.url
        if world.service_of(url.host) is None:
            for address in world.addresses(url.host):
                yield store, address, url


def _shaken(world: World) -> Iterable[tuple[Store, str, Attempt]]:
    for store in world.stores():
        if world.service_of(store.url.host) is not None:
            raise Missing(
                Vantage.OPERAND, f"{store.server} is an address of the cluster", "add --probe"
            )
    for store, address, url in _tried(world):
        if url.scheme == "https":
            yield store, address, world.handshake(url, address, ca_of(world, store))


def _healths(world: World) -> Iterable[tuple[Store, str, Attempt]]:
    """The health of each node of each server; a standby's is read like any other's.

    Of a server that only the cluster reaches, the address that this machine has of Vault instead.
    """
    seen = set()
    tried = list(_tried(world))
    if not tried:
        here = world.planned()
        tried = [(here, address, here.url) for address in world.addresses(here.url.host)]
    for store, address, url in tried:
        if (url, address) not in seen:
            seen.add((url, address))
            yield store, address, world.health(url, address)
