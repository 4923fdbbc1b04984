"""Looking at the configuration."""

from __future__ import annotations

import os
from typing import Any

import click

from vaultprov.cli.options import OUTPUT, SITE, options


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command("show")
@click.option("--env", help="Environment whose layer applies.")
@click.option("--cluster", help="Cluster whose layer applies.")
@options(SITE, OUTPUT)
def config_show(**given: Any) -> int:
    """Print every effective setting and where it came from."""
    from vaultprov.report import document, human
    from vaultprov.wiring import effective

    _, values = effective(given, os.environ)
    if given["output"] == "json":
        shown = {
            key: {"value": s.value and human.shown(s.value), "source": s.source}
            for key, s in values.items()
        }
        click.echo(
            document.text({"schema": document.SCHEMA, "command": "config show", "settings": shown})
        )
        return 0
    width = max(map(len, values))
    for key, sourced in values.items():
        click.echo(f"{key:<{width}}  {human.shown(sourced.value)}  ({sourced.source})")
    return 0
