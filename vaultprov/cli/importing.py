"""The command that makes a site file of a Vault that was set up by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from vaultprov.cli.options import SITE, VAULT, options, warn
from vaultprov.errors import Refused


@click.command("import")
@options(VAULT, SITE)
@click.option(
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    default=Path("vaultprov.yaml"),
    help="Where the site file goes; - is standard output (default: vaultprov.yaml).",
)
@click.option(
    "--templates",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where policy templates go, if no shipped set means what is live.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def import_(**given: Any) -> int:
    """Write a site file for a Vault that was set up by hand. Vault is only read.

    What the file cannot say is a comment in it. Names of your own: --set names.auth_mount=...
    """
    from vaultprov.wiring_import import texts

    file, folder = given["file"], given["templates"]
    to_stdout = str(file) == "-"
    found = texts({**given, "only": "vault"}, os.environ, warn)
    files = {} if to_stdout else {file: found.site}
    if folder is not None:
        files |= {folder / name: text for name, text in found.templates.items()}
    there = [each for each in files if each.exists()]
    if there and not given["overwrite"]:
        raise Refused(
            f"refused, nothing was written: {there[0]} is there already",
            hint="add --overwrite, or give another --file (- prints it)",
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if to_stdout:
        click.echo(found.site, nl=False)
    told = sys.stderr if to_stdout else sys.stdout
    for line in (*(f"wrote {path}" for path in files), *found.summary):
        click.echo(line, file=told)
    return 0
