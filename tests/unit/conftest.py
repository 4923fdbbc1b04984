"""Fixtures of the unit tests: no servers, no waiting."""

from __future__ import annotations

import pytest

from tests.unit.worlds import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time as `vaultprov.retry` and tenacity see it."""
    clock = Clock()
    for user in ("vaultprov.retry.time", "tenacity.time", "tenacity.nap.time"):
        monkeypatch.setattr(user, clock)
    return clock
