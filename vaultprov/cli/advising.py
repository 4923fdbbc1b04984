"""The command that compares the reviewer modes for one cluster."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn

if TYPE_CHECKING:
    from vaultprov.advise import Advice

_UNDECIDED = 3


@click.command()
@options(CLUSTER, VAULT, SITE, OUTPUT)
@click.option(
    "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
)
@click.option(
    "--kubernetes-host",
    "kubernetes__host",
    metavar="URL",
    help="API server as Vault reaches it.",
)
def advise(**given: Any) -> int:
    """Say which reviewer mode fits a cluster, with the trade-offs. Nothing is written."""
    from vaultprov.advise import advise as weigh
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.report import advice, terminal
    from vaultprov.wiring import wired

    with wired("advise", given, os.environ, warn) as (request, io, budget):
        found: Advice = weigh(request, io, budget, network=SocketNetwork())
    if given["output"] == "json":
        click.echo(json.dumps(advice.document(found), indent=2))
    else:
        terminal.show(advice.lines(found), sys.stdout)
    return 0 if found.best is not None else _UNDECIDED
