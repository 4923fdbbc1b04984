"""The commands that look: verify, doctor, explain."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, echo, options, warn
from vaultprov.cli.outcome import ended
from vaultprov.errors import ConfigError


@click.command()
@options(CLUSTER, VAULT, SITE, OUTPUT)
@click.option(
    "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
)
@click.option(
    "--service-account",
    "service_accounts",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="Workload ServiceAccount; repeatable.",
)
@click.option(
    "--oidc-group",
    is_flag=False,
    flag_value="",
    metavar="[GROUP]",
    help="Also check that people of this group get in (default: the environment's).",
)
@click.option(
    "--touch-store",
    metavar="[NAMESPACE/]NAME",
    help="Have this store looked at again, and wait until it is Ready.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    default=60.0,
    metavar="SECONDS",
    help="How long to wait for that (default: 60).",
)
def verify(**given: Any) -> int:
    """Prove what a workload can do and what it cannot, by doing it as External Secrets would."""
    from vaultprov.names import Names
    from vaultprov.report import human
    from vaultprov.verification import Proof
    from vaultprov.verification import verify as prove
    from vaultprov.wiring import wired

    with wired("verify", given, os.environ, warn) as (request, io, budget):
        group = given["oidc_group"]
        if group == "":
            group = Names.of(request.onboarding).group
        proof = Proof(group, given["touch_store"], given["patience"])
        outcome = prove(request, proof, io, budget)
    return ended(outcome, given["output"], human.proof_lines)


_VANTAGE = options(
    click.option(
        "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
    ),
    click.option("--store", metavar="[NAMESPACE/]NAME", help="Look at this store alone."),
)


@click.command()
@options(CLUSTER, _VANTAGE, VAULT, SITE)
@click.option(
    "--external-secret", metavar="NAMESPACE/NAME", help="Look at this ExternalSecret alone."
)
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Manifests instead of a live cluster.",
)
@click.option("--probe", is_flag=True, help="Start a short-lived pod beside the operand.")
@click.option(
    "--probe-image",
    metavar="IMAGE",
    help="The pod's image, with a shell (default: the operand's own).",
)
@click.option(
    "--probe-login", is_flag=True, help="Log in to Vault as the store does (audit lines)."
)
@click.option("--operand-namespace", help="Where External Secrets runs (default: found).")
@click.option(
    "--output",
    type=click.Choice(["text", "json", "junit", "sarif"]),
    default="text",
    help="Form of the report.",
)
@click.option("-v", "--verbose", is_flag=True, help="A line for every check, also those well.")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@click.option("--suppress", multiple=True, metavar="CODE", help="Leave a check out; repeatable.")
@click.option("--watch", type=click.FloatRange(1), metavar="SECONDS", help="Look again and again.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write Prometheus text there.",
)
def doctor(**given: Any) -> int:
    """Find the one cause why secrets do not arrive, and the one fix.

    It reads only. --probe starts a pod beside External Secrets for up to a minute and removes it;
    --probe-login logs in to Vault as the store does. Exit 0: healthy, 1: a cause was found, 3: some
    checks could not be told.
    """
    from vaultprov.watch import look

    return look(given, os.environ, echo=echo, warn=warn)


@click.command()
@click.argument("code", required=False)
@click.option("--list", "listed", is_flag=True, help="Every code with its title.")
@click.option("--match", "pasted", metavar="TEXT", help="An error text; - is standard input.")
@click.option("--took", type=float, metavar="SECONDS", help="How long the request took to fail.")
def explain(code: str | None, pasted: str | None, took: float | None, *, listed: bool) -> int:
    """Explain a code of doctor, or find the causes of an error text."""
    from vaultprov.explain.match import match
    from vaultprov.explain.pages import page
    from vaultprov.explain.text import list_lines, match_lines, page_lines

    if sum((code is not None, listed, pasted is not None)) != 1:
        raise click.UsageError("give a CODE, or --list, or --match TEXT")
    if code is not None:
        full = code.upper()
        echo(page_lines(page(full if full.startswith("VP-") else f"VP-{full}")))
        return 0
    if pasted is None:
        echo(list_lines())
        return 0
    found = match(sys.stdin.read() if pasted == "-" else pasted, took)
    if not found:
        raise ConfigError(
            "nothing that is known looks like this text",
            hint="vaultprov doctor --env ENV --cluster CLUSTER looks at the servers themselves",
        )
    echo(match_lines(found))
    return 0
