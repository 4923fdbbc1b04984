"""A Vault and a cluster, in memory or real, and what happens there by our and by other hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.counting import CountingKube, CountingVault
from tests.fakes.hands import Hands
from vaultprov.apply import Status, apply, check_rights, observe
from vaultprov.model import ServiceAccount
from vaultprov.plan import Action, Plan, Step, make_plan
from vaultprov.resource import Fields, Io, Key, Resource, Right, State, VaultPort
from vaultprov.retry import Budget

Resources = Sequence[Resource]


@dataclass(frozen=True)
class Facts:
    """What kinds are made from: certificates, a public key, two OIDC providers."""

    ca_pem: str
    other_ca_pem: str
    public_key: str
    issuer: str
    other_issuer: str


@dataclass(frozen=True)
class World:
    """One test's place: `id` is in every name, because servers are shared."""

    id: str
    vault: CountingVault
    kube: CountingKube
    hands: Hands
    limited: Callable[[str], VaultPort]  # policy -> a port for a token that holds it
    facts: Facts

    @property
    def mount(self) -> str:
        return f"smaug-{self.id}-k8s"

    @property
    def oidc(self) -> str:
        return f"oidc-{self.id}"

    @property
    def account(self) -> ServiceAccount:
        return ServiceAccount(f"eso-{self.id}", "eso-vault-auth")

    def io(self, vault: VaultPort | None = None) -> Io:
        return Io(vault or self.vault, self.kube)

    def plan(self, resources: Resources, *allow: str) -> Plan:
        return make_plan(resources, observe(resources, self.io(), _budget()), allow)

    def apply(self, resources: Resources, *allow: str, vault: VaultPort | None = None) -> Plan:
        """Plans and applies; nothing may be refused or fail."""
        io = self.io(vault)
        observed = observe(resources, io, _budget())
        plan = make_plan(resources, observed, allow)
        assert not plan.refused(), plan.refused()
        check_rights(resources, plan, io)
        results = apply(resources, plan, observed, io, _budget())
        failed = [result for result in results if result.status not in _FINE]
        assert not failed, failed
        return plan

    def writes(self) -> list[str]:
        return self.vault.writes + self.kube.writes

    def forget_writes(self) -> None:
        self.vault.writes.clear()
        self.kube.writes.clear()

    def find(self, path: str) -> dict[str, Any]:
        """What Vault has there, past the counted port."""
        found = self.vault.port.read(path)
        assert found is not None, f"{path} is absent"
        return dict(found)

    def send(self, path: str, payload: Fields) -> Mapping[str, Any]:
        """Somebody writes to Vault's API."""
        return self.vault.port.write(path, payload)

    def drop(self, path: str) -> None:
        """Somebody deletes something of Vault's."""
        self.vault.port.delete(path)

    def description(self, mount: str) -> str:
        return str(self.find("sys/auth")[f"{mount}/"]["description"])

    def describe(self, mount: str, old: str, new: str) -> None:
        """Somebody edits a mount's description."""
        before = self.description(mount)
        assert old in before, before
        self.send(f"sys/mounts/auth/{mount}/tune", {"description": before.replace(old, new)})

    def accessor(self, mount: str) -> str:
        return str(self.find("sys/auth")[f"{mount}/"]["accessor"])


_FINE = (Status.WRITTEN, Status.KEPT)


def _budget() -> Budget:
    return Budget(timeout=5.0, attempts=3)


def step_of(plan: Plan, key: Key) -> Step:
    return next(step for step in plan.steps if step.key == key)


def fields_of(step: Step) -> set[str]:
    """The fields that a step would change."""
    return {change.field for change in step.changes}


def changing(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.action is not Action.KEEP]


@dataclass(frozen=True)
class Unwanted:
    """A resource that must not exist."""

    resource: Resource
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return self.resource.key

    def wanted(self) -> State | None:
        return None

    def read(self, io: Io) -> State | None:
        return self.resource.read(io)

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        raise AssertionError("what must not exist is not written")

    def remove(self, io: Io, found: State) -> None:
        self.resource.remove(io, found)

    def rights(self, action: str) -> tuple[Right, ...]:
        return self.resource.rights(action)
