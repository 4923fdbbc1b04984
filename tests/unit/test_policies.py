"""policy diff and test: what differs is pending, whose ever it is; what was tried is told."""

from __future__ import annotations

from tests.unit.worlds import Clock, MemoryVault
from vaultprov import desired, policies
from vaultprov.errors import Denied
from vaultprov.model import Onboarding
from vaultprov.resource import Fields, Io
from vaultprov.run import Request
from vaultprov.vault.acl import granted
from vaultprov.vault.hcl import meaning

OPEN = 'path "k8s_secrets/data/*" { capabilities = ["read"] }'
READ, WRITE = desired.policies(Onboarding("moc", "smaug"))


class Stingy(MemoryVault):
    """Makes one token, which may do what `text` says, and no more."""

    def __init__(self, text: str) -> None:
        super().__init__(
            {f"sys/policies/acl/{each.name}": {"policy": each.text} for each in (READ, WRITE)}
        )
        self.text, self.left = text, 1

    def token_with(self, names: tuple[str, ...], seconds: int) -> MemoryVault:
        if not self.left:
            raise Denied("permission denied")
        self.left -= 1
        return self

    def write(self, path: str, payload: Fields) -> dict[str, list[str]]:
        rules = meaning(self.text)
        return {each: sorted(granted([rules], each)) for each in payload["paths"]}

    def revoke_self(self) -> None:
        """It has ended."""


def request(command: str) -> Request:
    return Request(command, Onboarding("moc", "smaug"))


def test_a_policy_of_others_that_differs_is_pending(clock: Clock) -> None:
    """Nothing is written here, so nothing is refused: it is what adoption would change."""
    vault = MemoryVault({f"sys/policies/acl/{READ.name}": {"policy": OPEN}})
    outcome = policies.diff(request("policy diff"), Io(vault, None), clock.budget())
    assert outcome.changed
    assert {r.step.key.name: r.status for r in outcome.results}[READ.name] == "planned"


def test_policies_that_are_the_same_are_not_pending(clock: Clock) -> None:
    io = Io(Stingy(""), None)
    assert not policies.diff(request("policy diff"), io, clock.budget()).changed


def test_what_was_tried_before_an_error_is_told(clock: Clock) -> None:
    outcome = policies.test(request("policy test"), Io(Stingy(READ.text), None), clock.budget())
    assert isinstance(outcome.error, Denied)
    assert outcome.checks
    assert all(check.ok and check.title.startswith(READ.name) for check in outcome.checks)


def test_what_failed_before_an_error_is_a_failure(clock: Clock) -> None:
    outcome = policies.test(request("policy test"), Io(Stingy(OPEN), None), clock.budget())
    assert isinstance(outcome.error, Denied)
    assert outcome.exit_code == 1
