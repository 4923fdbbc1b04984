"""Errors a user can act on: what happened, where, and the one next thing to do.

Classes are named by what to do next. Foreign exceptions are translated into these once, in
`vaultprov.clients`; anything else that reaches the command line is a bug of ours (exit code 4).
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """Base of everything vaultprov raises on purpose.

    message: what happened and where, one sentence without a final stop.
    hint: the one next command or action, may be empty.
    transient: the same step may succeed if it is simply tried again.
    retry_after: seconds the server asked us to wait, if it did.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.transient = transient
        self.retry_after = retry_after


class ConfigError(Error):
    """Wrong usage or configuration: nothing was sent to any server."""

    exit_code = 2


class Unreachable(Error):
    """A server did not answer, or something in between answered for it."""

    exit_code = 3


class Sealed(Error):
    """Vault answers but cannot work: sealed or not initialised."""

    exit_code = 3


class Denied(Error):
    """A server refused to let us look: the token is unknown or lacks a right."""

    exit_code = 3


class MissingRight(Error):
    """The plan needs a right that the token does not have; found before the first write."""


class Rejected(Error):
    """A server understood the request and refused its content (400, 409, 422)."""


class NotConverged(Error):
    """A write was accepted, but reading again does not show it."""


class LoginFailed(Error):
    """A login to Vault was refused; transient when Vault does not say why."""


class Bug(Error):
    """Something that vaultprov did not foresee."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="run again with VAULTPROV_DEBUG=1 and report the traceback")


def reason(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read or written; its path is the message's."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or str(error)


class Refused(Error):
    """We will not do this without an explicit flag."""

    exit_code = 6


class StalePlan(Error):
    """The world changed between plan and apply."""
