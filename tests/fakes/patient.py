"""A real server's port for tests that look at single requests.

OpenBao now and then closes a kept connection just as the next request is sent; the product tries
its steps again then, and so do these tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vaultprov.errors import NotConverged
from vaultprov.retry import Budget


class Patient:
    """Passes everything on; a call that fails with a transient error is tried again."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._again(found) if callable(found) else found

    def _again(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            def attempt() -> Any:
                try:
                    return method(*args, **kwargs)
                except NotConverged as error:
                    error.transient = False  # an answer, and not a failure to get one
                    raise

            return Budget(timeout=5.0, attempts=3).call(attempt)

        return call
