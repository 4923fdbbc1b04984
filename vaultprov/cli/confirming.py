"""Asking a person before something is removed."""

from __future__ import annotations

import sys

import click

from vaultprov.errors import Refused


def confirm(name: str, *, as_json: bool) -> None:
    """Raises Refused unless a person types this name."""
    again = "add --yes to the same command once the plan is what you want"
    if as_json or not sys.stdin.isatty():
        raise Refused("refused, nothing was removed: nobody is there to confirm it", hint=again)
    if click.prompt(f"Type {name} to remove this", default="", show_default=False) != name:
        raise Refused("refused, nothing was removed: another name was typed", hint=again)
