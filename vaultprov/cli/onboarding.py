"""The commands that plan and write: onboard, plan, status, bootstrap."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vaultprov.cli.options import (
    CLUSTER,
    CLUSTER_SIDE,
    DESIRED,
    LIVE,
    OUTPUT,
    SITE,
    VAULT,
    options,
    warn,
)
from vaultprov.cli.outcome import ended, shown


@click.command()
@options(CLUSTER, DESIRED, CLUSTER_SIDE, LIVE, VAULT, SITE, OUTPUT)
@click.option("--no-verify", is_flag=True, help="Skip the proof at the end.")
@click.option(
    "--renew-reviewer", is_flag=True, help="Write the auth config again with the reviewer token."
)
def onboard(**given: Any) -> int:
    """Connect a cluster: plan, apply, prove. Safe to run any number of times."""
    return _run("onboard", given, write=True)


@click.command()
@options(CLUSTER, DESIRED, CLUSTER_SIDE, LIVE, VAULT, SITE, OUTPUT)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 5 when changes are pending.")
def plan(**given: Any) -> int:
    """Show what onboard would do; write nothing."""
    return _run("plan", given, write=False)


@click.command()
@options(CLUSTER, DESIRED, CLUSTER_SIDE, LIVE, VAULT, SITE, OUTPUT)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 5 when the cluster is not in place.")
def status(**given: Any) -> int:
    """Say in short how a cluster stands: in place, drifted, foreign, not onboarded."""
    return _run("status", given, write=False)


@click.command()
@options(VAULT, SITE, OUTPUT)
@click.option(
    "--no-oidc", is_flag=True, help="No OIDC mount: people do not log in through OIDC here."
)
@click.option("--adopt", is_flag=True, help="Take over what exists without vaultprov's marker.")
def bootstrap(**given: Any) -> int:
    """Create what the site needs once: KV mount, OIDC login, the policy vaultprov-provisioner."""
    return _run("bootstrap", {**given, "bootstrap": True}, write=True)


def _run(command: str, given: dict[str, Any], *, write: bool) -> int:
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.report import human, terminal
    from vaultprov.run import execute
    from vaultprov.wiring import wired

    short = command == "status"
    on_plan = shown(given["output"], quiet=short)
    with (
        wired(command, given, os.environ, warn) as (request, io, budget),
        terminal.progress(sys.stderr) as spinner,
    ):
        outcome = execute(
            request,
            io,
            budget,
            write=write,
            network=SocketNetwork(),
            on_plan=on_plan,
            on_event=lambda result: spinner.update(human.result_event(result)),
        )
    code = ended(outcome, given["output"], human.status_lines if short else None)
    pending = given.get("detailed_exitcode") and code == 0 and outcome.changed
    return 5 if pending else code
