"""The command that takes an onboarding back."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from vaultprov.cli.confirming import confirm
from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn

if TYPE_CHECKING:
    from vaultprov.plan import Plan
    from vaultprov.run import Outcome


@click.command()
@options(CLUSTER, VAULT, SITE, OUTPUT)
@click.option(
    "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
)
@click.option(
    "--only",
    type=click.Choice(["vault", "cluster"]),
    help="Just this half; vault for a cluster that is no more.",
)
@click.option(
    "--reviewer",
    "reviewer__mode",
    type=click.Choice(["secret", "token", "client", "jwt"]),
    help="Of which mode: the mount that was left behind when the mode was changed.",
)
@click.option("--adopt", is_flag=True, help="Remove an auth mount without vaultprov's marker, too.")
@click.option("--yes", is_flag=True, help="Do not ask for the cluster's name.")
def offboard(**given: Any) -> int:
    """Disconnect a cluster: show what breaks, remove, prove that logins are refused.

    Secrets in the key-value store, namespaces, and what others use stay.
    """
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.offboard import offboard as take_back
    from vaultprov.report import document, human, terminal
    from vaultprov.wiring import wired

    as_json = given["output"] == "json"

    def on_plan(made: Plan, planned: Outcome) -> None:
        if not as_json:
            terminal.show(human.plan_lines(made, planned), sys.stdout)
        if made.changes and not made.refused() and not given["yes"]:
            confirm(given["cluster"], as_json=as_json)

    with wired("offboard", given, os.environ, warn) as (request, io, budget):
        outcome = take_back(request, io, budget, network=SocketNetwork(), on_plan=on_plan)
    if as_json:
        click.echo(document.text(document.document(outcome)))
    else:
        terminal.show(human.outcome_lines(outcome), sys.stdout)
    if outcome.error is not None:
        told = not as_json and any(r.error is outcome.error for r in outcome.results)
        terminal.show(human.error_lines(outcome.error, told=told), sys.stderr)
    return outcome.exit_code
