"""The commands that let single namespaces in: namespace add, remove, list."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from vaultprov.cli.confirming import confirm
from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn

if TYPE_CHECKING:
    from vaultprov.plan import Plan
    from vaultprov.run import Outcome

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
    from vaultprov.report import document, human, terminal
    from vaultprov.wiring import wired

    as_json = given["output"] == "json"
    names = [dns_label(each, "namespace") for each in dict.fromkeys(given["namespaces"])]

    def on_plan(made: Plan, planned: Outcome) -> None:
        if not as_json:
            terminal.show(human.plan_lines(made, planned), sys.stdout)
        if not add and made.changes and not made.refused() and not given["yes"]:
            confirm(given["cluster"], as_json=as_json)

    command = "namespace add" if add else "namespace remove"
    with wired(command, given, os.environ, warn) as (request, io, budget):
        outcome = change(
            request, names, io, budget, add=add, network=SocketNetwork(), on_plan=on_plan
        )
    if as_json:
        click.echo(document.text(document.document(outcome)))
    else:
        terminal.show(human.outcome_lines(outcome), sys.stdout)
    if outcome.error is not None:
        told = not as_json and any(r.error is outcome.error for r in outcome.results)
        terminal.show(human.error_lines(outcome.error, told=told), sys.stderr)
    return outcome.exit_code
