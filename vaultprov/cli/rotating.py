"""The command that renews what Vault holds of a cluster."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn
from vaultprov.cli.outcome import ended


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
@click.option(
    "--kubernetes-ca-file",
    "kubernetes__ca_file",
    metavar="FILE",
    help="CA of the API server (PEM); during its rotation the new one, or both.",
)
@click.option(
    "--reviewer",
    "reviewer__mode",
    type=click.Choice(["secret", "token", "jwt"]),
    help="Who reviews tokens (default: secret); in mode jwt the cluster's keys are taken over.",
)
@click.option(
    "--if-expires-within",
    metavar="DURATION",
    help="Only if the token ends within this time, for example 30d.",
)
def rotate(**given: Any) -> int:
    """Give Vault a new reviewer token and the API server's current CA; no login fails meanwhile.

    The old token ends only after a login with the new one. Running it again finishes a rotation
    that was interrupted.
    """
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.model import seconds
    from vaultprov.report import human, terminal
    from vaultprov.rotate import rotate as renew
    from vaultprov.wiring import wired

    text = given["if_expires_within"]
    within = None if text is None else seconds(text, "--if-expires-within")
    with (
        wired("rotate", given, os.environ, warn) as (request, io, budget),
        terminal.progress(sys.stderr) as spinner,
    ):
        outcome = renew(
            request,
            io,
            budget,
            network=SocketNetwork(),
            within=within,
            on_event=lambda result: spinner.update(human.result_event(result)),
        )
    return ended(outcome, given["output"], human.rotation_lines)
