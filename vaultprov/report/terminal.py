"""Colours and progress, on a terminal only; a pipe or NO_COLOR gets the plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

_STYLES = {
    "+": "green",
    "~": "yellow",
    "-": "red",
    "!": "bold red",
    "x": "bold red",
    "=": "dim",
    "ok": "green",
    "error:": "bold red",
    "next:": "bold",
    "warning:": "yellow",
}


class Progress(Protocol):
    """Shows what is happening."""

    def update(self, text: str) -> None: ...


class _Silent:
    def update(self, text: str) -> None:
        """Not a terminal: nothing to show."""


def show(lines: Iterable[str], stream: IO[str]) -> None:
    """Writes lines, coloured by the symbol that they begin with if `stream` is a terminal."""
    if not stream.isatty():
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()
        return
    from rich.console import Console  # start-up: a pipe never pays for it
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=True)
    for line in lines:
        symbol = line.split(maxsplit=1)[0] if line.strip() else ""
        console.print(Text(line, style=_STYLES.get(symbol, "")))


@contextmanager
def progress(stream: IO[str]) -> Iterator[Progress]:
    """A spinner on a terminal."""
    if not stream.isatty():
        yield _Silent()
        return
    from rich.console import Console

    class Spinner:
        def __init__(self) -> None:
            self._status = Console(file=stream).status("")

        def update(self, text: str) -> None:
            self._status.update(text)
            self._status.start()

        def stop(self) -> None:
            self._status.stop()

    spinner = Spinner()
    try:
        yield spinner
    finally:
        spinner.stop()
