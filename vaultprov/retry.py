"""Retry the step, not the request: the one user of tenacity.

A step begins with a read, so a write whose answer was lost is not written twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity

from vaultprov.errors import Error, NotConverged

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """Until when a run may try (seconds on the monotonic clock), and how often one step may fail.

    NotConverged is not a failed try: it is polled for until the budget ends.
    """

    timeout: float = 120.0
    attempts: int = 6
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.started + self.timeout - time.monotonic())

    def call(self, step: Callable[[], T]) -> T:
        """`step()`, again with exponential jitter while it fails with a transient Error.

        Raises the last Error when the budget ends.
        """
        failures = 0

        def should_retry(error: BaseException) -> bool:
            nonlocal failures
            if not isinstance(error, Error) or not error.transient:
                return False
            failures += not isinstance(error, NotConverged)
            return failures < self.attempts

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(should_retry),
            stop=tenacity.stop_before_delay(self.left()),
            wait=_wait,
            reraise=True,
        )
        return retrying(step)


_jitter = tenacity.wait_random_exponential(multiplier=0.1, max=5.0)


def _wait(state: tenacity.RetryCallState) -> float:
    """What the server asked for, else exponential with jitter (seconds)."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Error) and error.retry_after is not None:
        return error.retry_after
    return _jitter(state)
