"""Looking at the configuration."""

from __future__ import annotations

import os
from typing import Any

import click

from vaultprov.cli.options import OUTPUT, SITE, options, warn


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
    from vaultprov.settings import BY_KEY
    from vaultprov.wiring import effective

    _, values = effective(given, os.environ, warn)
    written = {key: BY_KEY[key].written(each.value) for key, each in values.items()}
    if given["output"] == "json":
        shown = {
            key: {"value": value and human.shown(value), "source": values[key].source}
            for key, value in written.items()
        }
        click.echo(
            document.text({"schema": document.SCHEMA, "command": "config show", "settings": shown})
        )
        return 0
    width = max(map(len, values))
    for key, value in written.items():
        click.echo(f"{key:<{width}}  {human.shown(value)}  ({values[key].source})")
    return 0
