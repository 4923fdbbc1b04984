"""Pods, their peers, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Answer(StrEnum):
    """Unknown is neither of the others."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Direction(StrEnum):
    """As seen from the pod that the policies select."""

    EGRESS = "egress"
    INGRESS = "ingress"

    @property
    def policy_type(self) -> str:
        """As `policyTypes` spells it."""
        return self.value.capitalize()

    @property
    def peers_key(self) -> str:
        """The field of a rule that lists its peers; also how a sentence joins port and peer."""
        return "to" if self is Direction.EGRESS else "from"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as policies see it. ports: named container ports, name -> (number, protocol)."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end, and the port that is spoken to (for ingress: the port of the selected pod).

    address None: not known. pod None: outside the cluster (a VM, a load balancer); selectors never
    match that.
    """

    address: str | None
    port: int
    protocol: str = "TCP"
    pod: Pod | None = None

    def __str__(self) -> str:
        address = self.address or "an unknown address"
        return f"{address} (a pod of {self.pod.namespace})" if self.pod else address


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and its grounds.

    isolating: NAMESPACE/NAME of the policies that isolate the pod. allowed_by: the rule that lets
    it, `NAMESPACE/NAME egress rule 2`; it stays when other objects make the answer unknown.
    objects: the unmodelled objects that make the answer unknown.
    """

    answer: Answer
    isolating: tuple[str, ...] = ()
    allowed_by: str = ""
    reason: str = ""
    objects: tuple[str, ...] = ()
