"""Why a login was refused, as far as it shows from here: the way back that Vault's config says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.unit.worlds import MemoryVault
from vaultprov.doctor.network import Attempt, Reached
from vaultprov.errors import Unreachable
from vaultprov.model import Onboarding, Reviewer, ReviewerMode
from vaultprov.resource import Io
from vaultprov.unproved import unproved
from vaultprov.verify import Check

BARE = Check("the workload logs in", ok=False, detail="permission denied")
CONFIG = {"kubernetes_host": "https://api.smaug.example.com:6443", "kubernetes_ca_cert": "PEM"}
MOC_SMAUG = Onboarding("moc", "smaug")
REACHED = Attempt(Reached.OK)
RENEW = "again with --renew-reviewer"


@dataclass(frozen=True)
class Seen:
    """A network with one host in it."""

    addresses: tuple[str, ...] = ("192.0.2.1",)
    attempt: Attempt = REACHED

    def resolve(self, host: str) -> tuple[str, ...]:
        assert host == "api.smaug.example.com"
        return self.addresses

    def handshake(self, url: Any, address: str, ca_pem: str | None) -> Attempt:
        assert (url.port, address, ca_pem) == (6443, "192.0.2.1", "PEM")
        return self.attempt


class NoResolver(Seen):
    def resolve(self, host: str) -> tuple[str, ...]:
        raise Unreachable("the resolver does not answer")


def told(network: Any, check: Check = BARE, onboarding: Onboarding = MOC_SMAUG) -> tuple[str, str]:
    io = Io(MemoryVault({"auth/smaug-k8s/config": CONFIG}), None)
    checks = (Check("something else", ok=True), check)
    error = unproved("not so", checks, onboarding, io, network, "again with {}".format)
    return error.message, error.hint


@pytest.mark.parametrize(
    ("network", "seen", "flag"),
    [
        (Seen(()), "a name without an address", "--kubernetes-host"),
        (
            Seen(attempt=Attempt(Reached.REFUSED, "refused")),
            "not reached from",
            "--kubernetes-host",
        ),
        (Seen(attempt=Attempt(Reached.TIMEOUT, "4 s")), "not reached from", "--kubernetes-host"),
        (Seen(attempt=Attempt(Reached.UNTRUSTED, "unknown CA")), "CA", "--kubernetes-ca-file"),
        (Seen(attempt=Attempt(Reached.MISFIT, "other name")), "CA", "--kubernetes-ca-file"),
    ],
)
def test_what_is_wrong_with_the_way_back_is_told(network: Any, seen: str, flag: str) -> None:
    message, hint = told(network)
    assert message.startswith("not so: the workload logs in: permission denied; ")
    assert seen in message
    assert "https://api.smaug.example.com:6443" in message
    assert hint.startswith(f"again with {flag}")


@pytest.mark.parametrize("network", [Seen(), NoResolver(), None])
def test_a_way_that_looks_well_leaves_the_reviewers_token(network: Any) -> None:
    assert told(network) == ("not so: the workload logs in: permission denied", RENEW)


def test_what_knows_better_is_not_guessed_about() -> None:
    known = replace(BARE, hint="vault policy read moc-kv-r")
    assert told(Seen(()), known)[1] == "vault policy read moc-kv-r"


def test_with_public_keys_vault_asks_nobody() -> None:
    by_keys = replace(MOC_SMAUG, reviewer=Reviewer(mode=ReviewerMode.JWT))
    assert told(Seen(()), onboarding=by_keys)[1] == (
        "vaultprov doctor --env moc --cluster smaug --probe-login"
    )
