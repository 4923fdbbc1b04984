"""The use case: prove at length what workloads and people can do, and what they cannot."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vaultprov.errors import Error, NotConverged
from vaultprov.resource import Io
from vaultprov.retry import Budget
from vaultprov.run import Outcome, Request, servers
from vaultprov.touch import touched
from vaultprov.verify import Check
from vaultprov.verify_long import prove_at_length, prove_people


@dataclass(frozen=True, slots=True)
class Proof:
    """What `verify` is asked besides the workloads' logins.

    group: an OIDC group, None for none. store: to be touched; patience: seconds to wait for it.
    """

    group: str | None = None
    store: str | None = None
    patience: float = 60.0


def verify(request: Request, proof: Proof, io: Io, budget: Budget) -> Outcome:
    """The long proof. Errors end in the Outcome, not in the air."""
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    try:
        checks = prove_at_length(request.onboarding, io, budget)
        if proof.group is not None:
            checks += prove_people(request.onboarding, proof.group, io)
        if proof.store is not None:
            checks += (touched(proof.store, io, proof.patience),)
        outcome = replace(outcome, checks=checks)
        if not all(check.ok for check in checks):
            outcome = replace(outcome, error=_unverified(checks))
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _unverified(checks: Sequence[Check]) -> NotConverged:
    failed = next(check for check in checks if not check.ok)
    return NotConverged(f"not proven: {failed.title}: {failed.detail}", hint=failed.hint)
