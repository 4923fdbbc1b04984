"""Fixtures of the unit tests: no servers, no waiting."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.unit.worlds import Clock

# A busy machine is no failure, and a found example belongs into the test, not into a database.
settings.register_profile("unit", deadline=None, database=None)
settings.load_profile("unit")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as `vaultprov.retry` and tenacity see it."""
    clock = Clock()
    for user in ("vaultprov.retry.time", "tenacity.time", "tenacity.nap.time"):
        monkeypatch.setattr(user, clock)
    return clock
