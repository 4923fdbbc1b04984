"""The commands that let single namespaces in: namespace add, remove, list."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn
from vaultprov.cli.outcome import ended, shown

_CONTEXT = click.option(
    "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
)
_NAMES = click.argument("namespaces", nargs=-1, required=True, metavar="NAMESPACE...")


@click.group()
def namespace() -> None:
    """Let single namespaces of a cluster in, take them out, see how they stand."""


@namespace.command()
@_NAMES
@options(CLUSTER, _CONTEXT, VAULT, SITE, OUTPUT)
def add(**given: Any) -> int:
    """Let namespaces in: the role, a ServiceAccount and a SecretStore in each, and the proof."""
    return _change(given, add=True)


@namespace.command()
@_NAMES
@options(CLUSTER, _CONTEXT, VAULT, SITE, OUTPUT)
@click.option("--yes", is_flag=True, help="Do not ask for the cluster's name.")
def remove(**given: Any) -> int:
    """Take namespaces out again, and prove that their logins are refused."""
    return _change(given, add=False)


@namespace.command("list")
@options(CLUSTER, _CONTEXT, VAULT, SITE, OUTPUT)
def list_(**given: Any) -> int:
    """Show whom the role lets in and which stores log in, and what does not fit."""
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.namespaces import standings
    from vaultprov.report import human, terminal
    from vaultprov.wiring import wired

    with wired("namespace list", given, os.environ, warn) as (request, io, budget):
        rows = standings(request, io, budget, SocketNetwork())
    if given["output"] == "json":
        found = [{name: getattr(row, name) or None for name in row.__slots__} for row in rows]
        click.echo(json.dumps({"schema": "vaultprov/v1", "namespaces": found}, indent=2))
    else:
        terminal.show(human.standing_lines(rows), sys.stdout)
    return 1 if any(row.trouble for row in rows) else 0


def _change(given: dict[str, Any], *, add: bool) -> int:
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.model import dns_label
    from vaultprov.namespaces import change
    from vaultprov.wiring import wired

    names = [dns_label(each, "namespace") for each in dict.fromkeys(given["namespaces"])]
    on_plan = shown(given["output"], "" if add or given["yes"] else given["cluster"])
    command = "namespace add" if add else "namespace remove"
    with wired(command, given, os.environ, warn) as (request, io, budget):
        outcome = change(
            request, names, io, budget, add=add, network=SocketNetwork(), on_plan=on_plan
        )
    return ended(outcome, given["output"])
