"""How pods stand among the NetworkPolicies of others, before anything of ours is added. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

Policy = Mapping[str, Any]
Flow = tuple[Pod, Peer]


class Standing(Enum):
    """What a policy of ours would do to the pods."""

    FREE = "nothing isolates them: one more policy would, and cut everything that it does not name"
    ALLOWED = "isolated, and others open every flow: one more policy would change nothing"
    CLOSED = "isolated, and some flow is closed: one more policy opens it and closes nothing"
    UNSURE = "it cannot be told whether anything isolates them"


@dataclass(frozen=True, slots=True)
class Finding:
    """A standing and its grounds; by: the policies that isolate or, if ALLOWED, the rules."""

    standing: Standing
    reason: str
    by: tuple[str, ...] = ()


def find(
    flows: Iterable[Flow], policies: Sequence[Policy], direction: Direction = Direction.EGRESS
) -> Finding:
    """How the pods of these flows stand. flows: at least one, pod first, whatever the direction.

    Other kinds of policy are left out: a NetworkPolicy of ours adds to NetworkPolicies alone.
    """
    verdicts = []
    for pod, peer in flows:
        verdict = evaluate(pod, peer, policies, direction=direction)
        if verdict.isolating and pod.host_network:
            return Finding(Standing.UNSURE, verdict.reason)
        verdicts.append(verdict)
    isolated = next((v for v in verdicts if v.isolating), None)
    free = next((v for v in verdicts if not v.isolating), None)
    unsure = next((v for v in verdicts if v.answer is Answer.UNKNOWN and not v.isolating), None)
    if unsure is not None:
        return Finding(Standing.UNSURE, unsure.reason)
    if isolated is None:
        return Finding(Standing.FREE, free.reason if free else "there are no pods")
    if free is not None:
        return Finding(Standing.UNSURE, f"only some of the pods are isolated: {isolated.reason}")
    closed = next((v for v in verdicts if v.answer is not Answer.ALLOWED), None)
    if closed is not None:
        return Finding(Standing.CLOSED, closed.reason, closed.isolating)
    rules = tuple(dict.fromkeys(v.allowed_by for v in verdicts))
    return Finding(Standing.ALLOWED, isolated.reason, rules)


def doubts(
    flows: Iterable[Flow],
    policies: Sequence[Policy],
    unmodelled: Sequence[str],
    direction: Direction = Direction.EGRESS,
) -> tuple[str, ...]:
    """What may still close these flows under these policies, one sentence for each cause."""
    told = {}
    for pod, peer in flows:
        verdict = evaluate(pod, peer, policies, direction=direction, unmodelled=unmodelled)
        if verdict.objects:
            names = ", ".join(verdict.objects)
            told[names] = f"{names} may decide otherwise and cannot be evaluated here"
        elif verdict.answer is not Answer.ALLOWED:
            told[verdict.reason] = verdict.reason
    return tuple(told.values())


def name_of(policy: Policy) -> str:
    """A policy's name; empty when it has none."""
    return str((policy.get("metadata") or {}).get("name") or "")


def labels_of(policy: Policy) -> Mapping[str, str]:
    """A policy's labels."""
    return (policy.get("metadata") or {}).get("labels") or {}


def within(policies: Iterable[Policy], namespace: str) -> list[Policy]:
    """The policies of a namespace; one without a namespace, as in a file, gets it by being applied.

    Whatever is no policy at all stays, for the evaluator to doubt.
    """
    return [
        each
        for each in policies
        if not isinstance(each, Mapping)
        or ((each.get("metadata") or {}).get("namespace") or namespace) == namespace
    ]
