"""The command that makes a site file of a Vault that was set up by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from vaultprov.cli.options import SITE, VAULT, options, warn
from vaultprov.errors import ConfigError, Refused, reason


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
    from vaultprov.wiring_import import next_step, texts

    folder, overwrite = given["templates"], given["overwrite"]
    file = None if str(given["file"]) == "-" else given["file"]
    # Before Vault is read, which may take minutes.
    if file is not None:
        _check_file(file, overwrite=overwrite)
    if folder is not None:
        _check_place(folder)
    found = texts({**given, "only": "vault"}, os.environ, warn)
    files = {} if file is None else {file: found.site}
    if folder is not None:
        files |= {folder / name: text for name, text in found.templates.items()}
    for path in files:
        _check_file(path, overwrite=overwrite)
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise _unwritable(path, error) from error
    if file is None:
        click.echo(found.site, nl=False)
    step = f"next:  {next_step(file, found.first, os.environ)}"
    told = sys.stderr if file is None else sys.stdout
    for line in (*(f"wrote {path}" for path in files), *found.summary, step):
        click.echo(line, file=told)
    return 0


def _check_file(path: Path, *, overwrite: bool) -> None:
    """Raises ConfigError if no file can be written there, Refused if one would be replaced."""
    _check_place(path)
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder, nothing was written", hint=f"--file {path / 'vaultprov.yaml'}"
        )
    if path.exists() and not overwrite:
        raise Refused(
            f"refused, nothing was written: {path} is there already",
            hint="add --overwrite, or give another --file (- prints it)",
        )


def _check_place(path: Path) -> None:
    """Tries to write there and leaves nothing: rights alone tell little. Raises ConfigError."""
    try:
        place = next(each for each in (path, *path.absolute().parents) if each.exists())
        if place == path and not place.is_dir():
            place.open("ab").close()
        else:
            TemporaryFile(dir=place).close()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {reason(error)}", hint="give another place (--file - prints)"
    )
