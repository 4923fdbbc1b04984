"""Ways to the servers, and facts that are asked for once, however many checks need them.

A fact that cannot be had raises its Error for every check that asks: all of them then say that they
could not tell, and a server that does not answer costs one time-out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vaultprov.doctor.model import Missing, NotAsked, Vantage
from vaultprov.doctor.network import Network
from vaultprov.errors import Error, Unreachable
from vaultprov.model import Onboarding, ServiceAccount
from vaultprov.names import Names
from vaultprov.resource import KubePort, KubeReader, VaultPort

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be diagnosed, and how far doctor may go.

    vault_address, vault_namespace: as this machine is configured. store, external_secret: look at
    this one alone. probe, probe_login: what may be done besides reading.
    """

    onboarding: Onboarding
    vault_address: str
    vault_namespace: str = ""
    vault_ca: str = ""  # PEM, as this machine trusts it
    kubernetes_host: str = ""  # as the site says that Vault reaches it
    store: str = ""
    external_secret: ServiceAccount | None = None  # NAMESPACE/NAME has the same form
    probe: bool = False
    probe_image: str = ""
    probe_login: bool = False
    operand_namespace: str = ""
    debug: bool = False  # a bug of a check ends the run
    now: Callable[[], float] = field(default=time.time)

    @property
    def who(self) -> str:
        """The flags that name the cluster, for commands that we suggest."""
        return f"--env {self.onboarding.env} --cluster {self.onboarding.cluster}"


class _Once:
    """One fact, and the lock under which it is asked for once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.error: Error | None = None
        self.known = False


class Facts:
    """Everything that checks may look at. Threads share it.

    gate: Vault without a token, for logins. vault, kube: None where there is no access; the reason
    is in `no_vault`, `no_kube`. kube may be a folder of manifests; live is the cluster itself, None
    for a folder.
    """

    def __init__(
        self,
        case: Case,
        network: Network,
        *,
        vault: VaultPort | None = None,
        gate: VaultPort | None = None,
        kube: KubeReader | None = None,
        live: KubePort | None = None,
        no_vault: Error | None = None,
        no_kube: Error | None = None,
    ) -> None:
        self.case, self.network = case, network
        self.names = Names.of(case.onboarding)
        self._vault, self._gate, self._kube, self._live = vault, gate, kube, live
        self._no_vault, self._no_kube = no_vault, no_kube
        self.stopped = threading.Event()  # set when the run is interrupted
        self._facts: dict[Hashable, _Once] = {}
        self._guard = threading.Lock()
        self._silent: dict[str, Error] = {}  # what a server's silence raised, by server

    @property
    def ports(self) -> dict[str, Any]:
        """For another world of the same servers, which remembers nothing."""
        return {"vault": self._vault, "gate": self._gate, "kube": self._kube, "live": self._live}

    def once(self, key: Hashable, ask: Callable[[], T]) -> T:
        """`ask()`, or what it answered or raised (an Error) the first time."""
        with self._guard:
            fact = self._facts.setdefault(key, _Once())
        with fact.lock:
            if not fact.known:
                try:
                    fact.value = ask()
                except Error as error:
                    fact.error = error
                fact.known = True
        if fact.error is not None:
            raise fact.error
        value: T = fact.value
        return value

    def _asked(self, server: str, ask: Callable[[], T]) -> T:
        """`ask()`; but a server that let one question run into its time-out is not asked again."""
        if (silent := self._silent.get(server)) is not None:
            raise silent
        try:
            return ask()
        except Unreachable as error:
            if "did not answer in time" in error.message:
                self._silent[server] = error
            raise

    # The ways in.

    @property
    def vault(self) -> VaultPort:
        """Raises Missing."""
        if self._vault is None:
            raise _missing(Vantage.VAULT, self._no_vault)
        return self._vault

    @property
    def kube(self) -> KubeReader:
        """The cluster or a folder of its manifests. Raises Missing."""
        if self._kube is None:
            raise _missing(Vantage.CLUSTER, self._no_kube)
        return self._kube

    @property
    def live(self) -> KubePort:
        """The cluster itself. Raises Missing."""
        if self._live is None:
            reason = None if self._kube is not None else self._no_kube
            raise _missing(Vantage.CLUSTER, reason)
        return self._live

    @property
    def has_kube(self) -> bool:
        """Whether there is a cluster to look at, live or in files."""
        return self._kube is not None

    @property
    def is_offline(self) -> bool:
        """Whether the cluster is a folder of manifests."""
        return self._kube is not None and self._live is None

    def missed(self, what: str) -> None:
        """To be called before something is said to be absent.

        Raises Missing for a folder: what is not in it may well be in the cluster.
        """
        if self.is_offline:
            raise Missing(Vantage.CLUSTER, f"{what} is not among the files")

    @property
    def gate(self) -> VaultPort:
        """Vault's login endpoints. Raises NotAsked unless login attempts were allowed."""
        if not self.case.probe_login:
            raise NotAsked("--probe-login")
        if self._gate is None:
            raise _missing(Vantage.VAULT, self._no_vault)
        return self._gate

    def servers_told(self) -> tuple[str, ...]:
        """Where doctor looks: a forgotten context is seen here."""
        vault = self.case.vault_address
        if self._no_vault is not None:
            vault += f" ({self._no_vault.message})"
        cluster = f"{self._kube.server}, context {self._kube.context}" if self._kube else ""
        if self._no_kube is not None:
            cluster = self._no_kube.message
        return f"vault    {vault}", f"cluster  {cluster}"


def _missing(vantage: Vantage, reason: Error | None) -> Missing:
    if reason is None:
        return Missing(vantage, "only the live cluster could tell", "run it without --from")
    return Missing(vantage, reason.message, reason.hint)
