"""A step is tried again while that may help, and for no longer than the run may take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.worlds import Clock, failing
from vaultprov.errors import Denied, Error, NotConverged, Unreachable

MANY = 10_000


def away(retry_after: float | None = None) -> Unreachable:
    return Unreachable("no answer", transient=True, retry_after=retry_after)


def counted(step: Callable[[], str]) -> tuple[Callable[[], str], list[None]]:
    tries: list[None] = []

    def counting() -> str:
        tries.append(None)
        return step()

    return counting, tries


def test_what_succeeds_is_done_once(clock: Clock) -> None:
    step, tries = counted(failing())
    assert clock.budget().call(step) == "done"
    assert (len(tries), clock.naps) == (1, [])


def test_a_transient_error_is_tried_again(clock: Clock) -> None:
    step, tries = counted(failing(away(), away()))
    assert clock.budget().call(step) == "done"
    assert (len(tries), len(clock.naps)) == (3, 2)


@pytest.mark.parametrize(
    "error", [Denied("no"), Unreachable("no such host"), NotConverged("no")], ids=repr
)
def test_a_permanent_error_is_raised_at_once(clock: Clock, error: Error) -> None:
    step, tries = counted(failing(error))
    with pytest.raises(type(error)) as caught:
        clock.budget().call(step)
    assert caught.value is error
    assert (len(tries), clock.naps) == (1, [])


def test_a_bug_of_ours_is_not_tried_again(clock: Clock) -> None:
    tries: list[None] = []

    def broken() -> None:
        tries.append(None)
        raise KeyError("x")

    with pytest.raises(KeyError):
        clock.budget().call(broken)
    assert len(tries) == 1


@pytest.mark.parametrize("attempts", [1, 2, 6])
def test_a_step_may_fail_only_so_often(clock: Clock, attempts: int) -> None:
    step, tries = counted(failing(*[away() for _ in range(MANY)]))
    with pytest.raises(Unreachable):
        clock.budget(timeout=1e9, attempts=attempts).call(step)
    assert len(tries) == attempts


def test_the_last_error_is_the_one_that_is_raised(clock: Clock) -> None:
    last = away()
    with pytest.raises(Unreachable) as caught:
        clock.budget(attempts=2).call(failing(away(), last))
    assert caught.value is last


def test_not_converged_is_polled_for_and_counts_for_no_attempt(clock: Clock) -> None:
    waiting = [NotConverged("not yet", transient=True) for _ in range(20)]
    assert clock.budget(attempts=2).call(failing(*waiting, away())) == "done"


def test_polling_ends_with_the_budget(clock: Clock) -> None:
    budget = clock.budget(timeout=60)
    with pytest.raises(NotConverged):
        budget.call(failing(*[NotConverged("never", transient=True) for _ in range(MANY)]))
    assert sum(clock.naps) <= 60


def test_the_server_says_how_long_to_wait(clock: Clock) -> None:
    clock.budget().call(failing(away(7), away(0)))
    assert clock.naps == [7, 0]


def test_a_wait_beyond_the_budget_is_not_begun(clock: Clock) -> None:
    step, tries = counted(failing(away(61)))
    with pytest.raises(Unreachable):
        clock.budget(timeout=60).call(step)
    assert (len(tries), clock.naps) == (1, [])


def test_waits_are_short_and_random(clock: Clock) -> None:
    with pytest.raises(Unreachable):
        clock.budget(attempts=6).call(failing(*[away() for _ in range(6)]))
    assert all(nap <= 5 for nap in clock.naps)
    assert len(set(clock.naps)) > 1


def test_a_spent_budget_still_allows_one_try(clock: Clock) -> None:
    """Reading once tells more than saying that there was no time."""
    budget = clock.budget(timeout=10)
    clock.now += 11
    step, tries = counted(failing(away()))
    with pytest.raises(Unreachable):
        budget.call(step)
    assert len(tries) == 1
    assert budget.call(failing()) == "done"


def test_all_steps_of_a_run_share_its_time(clock: Clock) -> None:
    budget = clock.budget(timeout=10)
    budget.call(failing(away(4)))
    assert budget.left() == 6
    with pytest.raises(Unreachable):
        budget.call(failing(away(7)))
    clock.now += 100
    assert budget.left() == 0
