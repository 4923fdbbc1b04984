"""Ports that count what is written through them, whatever is behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vaultprov.resource import Fields, GrantedToken, KubePort, KubeRight, VaultPort

_QUESTIONS = ("sys/capabilities-self",)


@dataclass
class CountingVault:
    """A VaultPort that notes every write; `sent` holds the payloads by path."""

    port: VaultPort
    writes: list[str] = field(default_factory=list)
    sent: dict[str, Fields] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.port.address

    @address.setter
    def address(self, value: str) -> None:
        self.port.address = value

    @property
    def policies(self) -> tuple[str, ...]:
        return self.port.policies

    def read(self, path: str) -> Mapping[str, Any] | None:
        return self.port.read(path)

    def list(self, path: str) -> Mapping[str, Any] | None:
        return self.port.list(path)

    def write(self, path: str, payload: Fields) -> Mapping[str, Any]:
        if path not in _QUESTIONS:
            self.writes.append(f"write {path}")
            self.sent[path] = payload
        return self.port.write(path, payload)

    def delete(self, path: str) -> None:
        self.writes.append(f"delete {path}")
        self.port.delete(path)

    def login(self, mount: str, payload: Fields) -> VaultPort:
        return self.port.login(mount, payload)

    def token_with(self, policies: tuple[str, ...], seconds: int) -> VaultPort:
        return self.port.token_with(policies, seconds)

    def revoke_self(self) -> None:
        self.port.revoke_self()

    def close(self) -> None:
        self.port.close()


@dataclass
class CountingKube:
    """A KubePort that notes every write; minting a token is one."""

    port: KubePort
    writes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server, self.context = self.port.server, self.port.context

    def get(self, manifest: Fields) -> dict[str, Any] | None:
        return self.port.get(manifest)

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        return self.port.items(version, kind, namespace, labels)

    def versions(self, group: str) -> tuple[str, ...]:
        return self.port.versions(group)

    def create(self, manifest: Fields) -> dict[str, Any]:
        self.writes.append(f"create {manifest['kind']}")
        return self.port.create(manifest)

    def annotate(self, manifest: Fields, annotations: Mapping[str, str]) -> None:
        self.writes.append(f"annotate {manifest['kind']} {manifest['metadata']['name']}")
        self.port.annotate(manifest, annotations)

    def signing_keys(self) -> list[dict[str, Any]]:
        return self.port.signing_keys()

    def token_issuer(self) -> str:
        return self.port.token_issuer()

    def apply(self, manifest: Fields) -> dict[str, Any]:
        self.writes.append(f"apply {manifest['kind']} {manifest['metadata']['name']}")
        return self.port.apply(manifest)

    def delete(self, manifest: Fields) -> None:
        self.writes.append(f"delete {manifest['kind']} {manifest['metadata']['name']}")
        self.port.delete(manifest)

    def wait(
        self, manifest: Fields, ready: Callable[[dict[str, Any]], bool], timeout: float
    ) -> dict[str, Any]:
        return self.port.wait(manifest, ready, timeout)

    def request_token(
        self, namespace: str, name: str, audiences: tuple[str, ...], seconds: int
    ) -> GrantedToken:
        self.writes.append(f"token {namespace}/{name}")
        return self.port.request_token(namespace, name, audiences, seconds)

    def allowed(self, right: KubeRight) -> bool:
        return self.port.allowed(right)

    def close(self) -> None:
        self.port.close()
