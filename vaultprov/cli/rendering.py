"""The command that writes files: render."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from vaultprov.cli.options import (
    CLUSTER,
    CLUSTER_SIDE,
    DESIRED,
    OUTPUT,
    SITE,
    echo,
    options,
    warn,
)


@click.command()
@options(CLUSTER, DESIRED, CLUSTER_SIDE, SITE, OUTPUT)
@click.option(
    "--dir",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the files go; made if absent.",
)
@click.option(
    "--layout",
    type=click.Choice(["plain", "kustomize", "operate-first"]),
    default="kustomize",
    help="How the files are arranged.",
)
@click.option(
    "--include",
    multiple=True,
    type=click.Choice(
        [
            "cluster",
            "store",
            "egress",
            "guardrail",
            "gatekeeper",
            "examples",
            "istio",
            "big-bang",
            "vault",
        ]
    ),
    help="What to render; repeatable (default: cluster and store).",
)
@click.option("--check", is_flag=True, help="Write nothing; show what differs, and exit 5 if so.")
@click.option("--adopt", is_flag=True, help="Overwrite files of others, and shared ones.")
def render(**given: Any) -> int:
    """Write the objects that onboard applies as files, for git. No server is asked."""
    from vaultprov.render import compared, header, leftovers, write
    from vaultprov.report import document, files
    from vaultprov.wiring_render import rendered

    facts, tree = rendered(given, os.environ, warn)
    folder, check = given["folder"], given["check"]
    if check:  # also what only --adopt would overwrite
        found = compared(tree, folder, adopt=True)
    else:
        found = write(tree, folder, adopt=given["adopt"])
    left = leftovers({file.path for file in found}, folder, header(facts.command))
    if given["output"] == "json":
        click.echo(document.text(files.document(facts, found, left)))
    else:
        echo(files.human(folder, found, left, written=not check))
    return 5 if check and any(file.differs for file in found) else 0
