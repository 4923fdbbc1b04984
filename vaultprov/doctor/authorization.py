"""Whether an Istio AuthorizationPolicy is about the operand: yes, no, or it depends. Pure.

Fields and patterns: Istio's reference, "Authorization Policy" (exact, prefix*, *suffix, *).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SOURCE = frozenset({"namespaces", "notNamespaces", "principals", "notPrincipals"})
_OPERATION = frozenset({"ports", "notPorts"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who wants in: its namespace and ServiceAccount, and the port that it wants."""

    namespace: str
    service_account: str
    port: int

    @property
    def principal(self) -> str:
        """Its identity in the mesh, with the usual trust domain."""
        return f"cluster.local/ns/{self.namespace}/sa/{self.service_account}"


def answer(policy: Mapping[str, Any], caller: Caller) -> bool | None:
    """Whether a rule of the policy matches the caller; None if that depends on what is not known.

    A policy without rules matches nobody.
    """
    return _any(_rule(rule, caller) for rule in (policy.get("spec") or {}).get("rules") or ())


def _rule(rule: Mapping[str, Any], caller: Caller) -> bool | None:
    anybody: list[Mapping[str, Any]] = [{}]
    sources = [each.get("source") or {} for each in rule.get("from") or anybody]
    operations = [each.get("operation") or {} for each in rule.get("to") or anybody]
    parts = [
        _any(_source(each, caller) for each in sources),
        _any(_operation(each, caller) for each in operations),
    ]
    if rule.get("when"):
        parts.append(None)
    return _all(parts)


def _source(source: Mapping[str, Any], caller: Caller) -> bool | None:
    parts: list[bool | None] = [
        _listed(source, "namespaces", "notNamespaces", caller.namespace),
        _listed(source, "principals", "notPrincipals", caller.principal),
    ]
    return _all([*parts, None] if source.keys() - _SOURCE else parts)


def _operation(operation: Mapping[str, Any], caller: Caller) -> bool | None:
    parts: list[bool | None] = [_listed(operation, "ports", "notPorts", str(caller.port))]
    return _all([*parts, None] if operation.keys() - _OPERATION else parts)


def _listed(given: Mapping[str, Any], named: str, excepted: str, value: str) -> bool:
    if any(_fits(value, str(each)) for each in given.get(excepted) or ()):
        return False
    wanted: Sequence[Any] = given.get(named) or ()
    return not wanted or any(_fits(value, str(each)) for each in wanted)


def _fits(value: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _any(parts: Iterable[bool | None]) -> bool | None:
    found = set(parts)
    return True if True in found else None if None in found else False


def _all(parts: Iterable[bool | None]) -> bool | None:
    found = set(parts)
    return False if False in found else None if None in found else True
