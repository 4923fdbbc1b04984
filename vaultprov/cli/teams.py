"""The commands about a team's part of a cluster: team onboard, team offboard."""

from __future__ import annotations

import os
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn
from vaultprov.cli.outcome import ended, shown

_TEAM = options(
    click.option(
        "--group", "team", required=True, help="The team's group, as the OIDC claim calls it."
    ),
    click.option(
        "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
    ),
)


@click.group()
def team() -> None:
    """Give a team of people namespaces of a cluster, and take them back."""


@team.command("onboard")
@options(CLUSTER, _TEAM, VAULT, SITE, OUTPUT)
@click.option(
    "--namespace", "namespaces", multiple=True, required=True, help="Namespace; repeatable."
)
@click.option("--adopt", is_flag=True, help="Take over what exists without vaultprov's marker.")
def onboard_(**given: Any) -> int:
    """Group, policies, role, and in each namespace a store; and the proof.

    Running it again with further namespaces adds them.
    """
    return _run("onboard", given)


@team.command("offboard")
@options(CLUSTER, _TEAM, VAULT, SITE, OUTPUT)
@click.option(
    "--namespace", "namespaces", multiple=True, help="Only this one; repeatable (default: all)."
)
@click.option("--yes", is_flag=True, help="Do not ask for the group's name.")
def offboard_(**given: Any) -> int:
    """Take namespaces from a team, with the last one all that it has; secrets stay."""
    return _run("offboard", given)


def _run(verb: str, given: dict[str, Any]) -> int:
    from vaultprov import team as teams
    from vaultprov.clients.network import SocketNetwork
    from vaultprov.model import dns_label
    from vaultprov.wiring import wired

    names = [dns_label(each, "namespace") for each in dict.fromkeys(given["namespaces"])]
    leaving = verb == "offboard"
    on_plan = shown(given["output"], given["team"] if leaving and not given["yes"] else "")
    use_case = teams.offboard if leaving else teams.onboard
    with wired(f"team {verb}", given, os.environ, warn) as (request, io, budget):
        outcome = use_case(request, names, io, budget, network=SocketNetwork(), on_plan=on_plan)
    return ended(outcome, given["output"])
