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
    from vaultprov.render import differences, header, leftovers, write
    from vaultprov.report import document
    from vaultprov.wiring_render import rendered

    facts, tree = rendered(given, os.environ, warn)
    folder: Path = given["folder"]
    diffs = dict(differences(tree, folder)) if given["check"] else {}
    changed = list(diffs) if given["check"] else write(tree, folder, adopt=given["adopt"])
    left = leftovers(tree, folder, header(facts.command))
    if given["output"] == "json":
        click.echo(
            document.text(
                {
                    "schema": document.SCHEMA,
                    "command": "render",
                    "env": facts.env,
                    "cluster": facts.cluster,
                    "ok": True,
                    "changed": bool(changed),
                    "files": {path: path in changed for path in sorted(tree)},
                    "leftovers": left,
                }
            )
        )
    else:
        for diff in diffs.values():
            click.echo(diff, nl=False)
        if not given["check"]:
            echo(f"wrote {folder / path}" for path in changed)
        same = len(tree) - len(changed)
        echo(
            f"not rendered this time: {folder / path} (if it is to go, delete it and its line in "
            "kustomization.yaml)"
            for path in left
        )
        verb = "differ" if given["check"] else "written"
        count = f"{len(changed)} file{'' if len(changed) == 1 else 's'}"
        click.echo(f"{count} {verb}, {same} as they should be.")
    return 5 if given["check"] and changed else 0
