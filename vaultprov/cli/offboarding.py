"""The command that takes an onboarding back."""

from __future__ import annotations

import os
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn
from vaultprov.cli.outcome import ended, shown


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
    from vaultprov.wiring import wired

    on_plan = shown(given["output"], "" if given["yes"] else given["cluster"])
    with wired("offboard", given, os.environ, warn) as (request, io, budget):
        outcome = take_back(request, io, budget, network=SocketNetwork(), on_plan=on_plan)
    return ended(outcome, given["output"])
