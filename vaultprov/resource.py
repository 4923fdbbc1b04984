"""The core abstraction: a resource knows what is wanted, how to read it and how to write it.

It does not know how to compare: `vaultprov.plan.diff` does that once for all kinds. Whatever needs
normalising (TTLs in seconds, sets, parsed certificates) is normalised in `wanted` and `read`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from vaultprov.errors import Unreachable
from vaultprov.redact import Secret


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """Identity of a resource: printable, ordered; `vault/policy/moc-kv-r`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that another resource has, or will have once it is written."""

    key: Key
    attr: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A set or mapping of which we own only what we name: foreign members stay.

    globs: members found may be patterns, where `*` stands for anything,
    as Vault's bound names do. without: members (or patterns of them) that must not be there.
    """

    items: frozenset[str] | Mapping[str, str]
    globs: bool = False
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OnCreate:
    """A value that is set on what we create and left alone on what exists."""

    value: Any


class _Unknown:
    """The value of a Ref whose resource does not exist yet."""

    def __repr__(self) -> str:
        return "(known after apply)"


UNKNOWN: Final = _Unknown()

# Vault and Kubernetes answer JSON; canonical field values are what wanted() and read() make of it.
Value = Any
Fields = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Foreign:
    """Why something that exists is not ours to change, and the flag that says do it anyway.

    flag "" means that no flag helps: somebody has to look.
    """

    reason: str
    flag: str = "--adopt"
    hint: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Canonical fields of a resource, wanted or found.

    attrs are facts for others to refer to (accessor, uid, token), never compared.
    foreign guards the whole resource, guards single fields of it.
    """

    fields: Fields
    attrs: Fields = field(default_factory=dict)
    foreign: Foreign | None = None
    guards: Mapping[str, Foreign] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VaultRight:
    """A capability on a path of Vault's API, as `sys/capabilities-self` reports it.

    needs: of `read`, `list`, `delete`, `sudo`, and `write`, which is create or update: which of
    the two Vault checks depends on whether the path knows about existence.
    """

    path: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KubeRight:
    """A verb on an object, as SelfSubjectAccessReview takes it."""

    verb: str
    group: str
    resource: str
    namespace: str | None
    name: str | None = None
    instead: tuple[KubeRight, ...] = ()  # all of these would do as well

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}{where}"


Right = VaultRight | KubeRight


@dataclass(frozen=True, slots=True)
class GrantedToken:
    """A ServiceAccount token and when it ends (seconds since the epoch)."""

    token: Secret
    expires: float


class VaultPort(Protocol):
    """What we need of Vault. Payloads may hold Secrets; only the client reveals them."""

    address: str

    def read(self, path: str) -> Mapping[str, Any] | None:
        """The answer's `data`; None when absent (404). Everything else raises."""

    def list(self, path: str) -> Mapping[str, Any] | None:
        """The listing's `data` (keys, key_info); None when there is nothing."""

    def write(self, path: str, payload: Fields) -> Mapping[str, Any]:
        """POSTs; the answer's `data`, empty for 204."""

    def delete(self, path: str) -> None:
        """Deletes; absent is fine."""

    def login(self, mount: str, payload: Fields) -> VaultPort:
        """A port for the token that `auth/MOUNT/login` gives. Raises LoginFailed."""

    def token_with(self, policies: tuple[str, ...], seconds: int) -> VaultPort:
        """A port for a new token with these policies and `default`, which lives for so long.

        Raises Denied or Rejected: others than one's own policies need sudo.
        """

    @property
    def policies(self) -> tuple[str, ...]:
        """Policies of the token, if this port logged in for it."""

    def revoke_self(self) -> None:
        """Ends the token of this port."""

    def close(self) -> None:
        """Gives the connections back."""


class KubeReader(Protocol):
    """The part of the Kubernetes API that a folder of manifests can answer, too."""

    server: str
    context: str

    def get(self, manifest: Fields) -> dict[str, Any] | None:
        """The live object with the manifest's identity; None when absent."""

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        """All objects of a kind (in a namespace, matching a label selector).

        None when the API does not know the kind.
        """

    def versions(self, group: str) -> tuple[str, ...]:
        """The versions of an API group that are served, such as `v1`; empty when it is unknown."""


class KubePort(KubeReader, Protocol):
    """What we need of the Kubernetes API. Objects are the API's own JSON."""

    def create(self, manifest: Fields) -> dict[str, Any]:
        """Creates an object or asks a review (SubjectAccessReview, TokenReview); the answer."""

    def annotate(self, manifest: Fields, annotations: Mapping[str, str]) -> None:
        """Sets annotations on an object that exists; whose fields are whose stays as it is."""

    def apply(self, manifest: Fields) -> dict[str, Any]:
        """Server-side apply with our field manager; takes over conflicting fields."""

    def delete(self, manifest: Fields) -> None:
        """Deletes; absent is fine."""

    def wait(
        self, manifest: Fields, ready: Callable[[dict[str, Any]], bool], timeout: float
    ) -> dict[str, Any]:
        """Watches until `ready(object)`; raises NotConverged after `timeout` seconds."""

    def request_token(
        self, namespace: str, name: str, audiences: tuple[str, ...], seconds: int
    ) -> GrantedToken:
        """TokenRequest; no audiences means the API server's own."""

    def allowed(self, right: KubeRight) -> bool:
        """SelfSubjectAccessReview."""

    def signing_keys(self) -> list[dict[str, Any]]:
        """The public keys of ServiceAccount tokens, as JSON Web Keys."""

    def token_issuer(self) -> str:
        """The issuer (`iss`) of ServiceAccount tokens."""

    def close(self) -> None:
        """Gives the connections back."""


class _Listing:
    """One answer, and the lock under which it is asked for once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: Mapping[str, Any] | None = None


class Io:
    """The ports of one run, with the listings that many resources share.

    A half that is not part of the run is None; desired() names no resource of that half.
    """

    def __init__(
        self,
        vault: VaultPort | None,
        kube: KubePort | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._vault, self._kube, self.now = vault, kube, now
        self._listings: dict[str, _Listing] = {}
        self._guard = threading.Lock()

    @property
    def vault(self) -> VaultPort:
        if self._vault is None:
            raise LookupError("this run has no Vault half")
        return self._vault

    @property
    def kube(self) -> KubePort:
        if self._kube is None:
            raise LookupError("this run has no cluster half")
        return self._kube

    def has_vault(self) -> bool:
        return self._vault is not None

    def has_kube(self) -> bool:
        return self._kube is not None

    def listing(self, path: str, *, verb: str = "read") -> Mapping[str, Any]:
        """What several resources look at (`sys/auth`, a group), read once until `forget`.

        Empty when absent.
        """
        with self._guard:
            listing = self._listings.setdefault(path, _Listing())
        with listing.lock:
            if listing.found is None:
                read = self.vault.list if verb == "list" else self.vault.read
                found = read(path)
                if found is None and path.startswith("sys/"):
                    raise Unreachable(
                        f"{self.vault.address} has no {path}: it is no Vault",
                        hint="check VAULT_ADDR and VAULT_NAMESPACE",
                    )
                listing.found = found or {}
            return listing.found

    def forget(self) -> None:
        """The next `listing` reads again, also if a read is under way: that one is of the past."""
        with self._guard:
            self._listings = {}


class Resource(Protocol):
    """One kind is one file: what is wanted, how to read it, how to write it.

    after: keys to come first without any data from them; other order is read off the Refs.
    required: when set, we never create it; absent means refuse, and this is the hint.
    """

    @property
    def key(self) -> Key: ...
    @property
    def after(self) -> tuple[Key, ...]: ...
    @property
    def required(self) -> str: ...
    def wanted(self) -> State | None:
        """Pure. None: must not exist."""

    def read(self, io: Io) -> State | None:
        """Canonical; None: absent. Everything but absent raises."""

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        """Makes every wanted field true; `target` is resolved and merged with `found`."""

    def remove(self, io: Io, found: State) -> None:
        """Makes the resource absent."""

    def rights(self, action: str) -> tuple[Right, ...]:
        """What `read`, `create`, `update` or `delete` of it needs."""
