"""The commands about policies and what they grant: policy show, diff, test; access."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vaultprov.cli.options import CLUSTER, OUTPUT, SITE, VAULT, options, warn
from vaultprov.cli.outcome import ended
from vaultprov.errors import ConfigError

_CHANGES, _INCOMPLETE = 5, 3
_VAULT = {"only": "vault"}  # no cluster is looked at
_KIND = options(
    click.option(
        "--scope", type=click.Choice(["environment", "cluster"]), help="What workloads may read."
    ),
    click.option(
        "--policy-set", metavar="NAME", help="Shipped policy templates: default, operate-first."
    ),
    click.option("--policy-dir", metavar="DIR", help="Your own read.hcl and write.hcl."),
    click.option("--no-oidc", is_flag=True, help="Without the policy of people."),
)


@click.group()
def policy() -> None:
    """See the policies that onboarding writes, how they differ, and what they really grant."""


@policy.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options(CLUSTER, _KIND, SITE)
def show(**given: Any) -> int:
    """Print the policies' text, templates filled in. No server is asked."""
    from vaultprov.desired import policies
    from vaultprov.wiring import onboarding_of

    onboarding = onboarding_of(given, os.environ, warn)
    found = {each.name: each.text for each in policies(onboarding)}
    unknown = [name for name in given["names"] if name not in found]
    if unknown:
        raise ConfigError(f"there is no policy {unknown[0]}", hint=f"one of: {', '.join(found)}")
    for name in given["names"] or found:
        click.echo(f"# policy {name}\n{found[name]}")
    return 0


@policy.command()
@options(CLUSTER, _KIND, VAULT, SITE, OUTPUT)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 5 if they differ.")
def diff(**given: Any) -> int:
    """Show how Vault's policies differ from these, by meaning: path and capabilities."""
    from vaultprov.policies import diff as compare
    from vaultprov.report import human
    from vaultprov.wiring import wired

    with wired("policy diff", {**given, "only": "vault"}, os.environ, warn) as (
        request,
        io,
        budget,
    ):
        outcome = compare(request, io, budget)
    code = ended(outcome, given["output"], human.difference_lines)
    return _CHANGES if given["detailed_exitcode"] and code == 0 and outcome.changed else code


@policy.command()
@options(CLUSTER, _KIND, VAULT, SITE, OUTPUT)
def test(**given: Any) -> int:
    """Ask Vault what a token with each policy may do, on the paths that matter.

    Each is tried with a token of one minute, which needs an administrator's right to make it.
    """
    from vaultprov.policies import test as try_out
    from vaultprov.report import human
    from vaultprov.wiring import wired

    with wired("policy test", {**given, "only": "vault"}, os.environ, warn) as (
        request,
        io,
        budget,
    ):
        outcome = try_out(request, io, budget)
    return ended(outcome, given["output"], human.grant_lines)


@click.command()
@click.argument("path")
@options(CLUSTER, VAULT, SITE, OUTPUT)
def access(**given: Any) -> int:
    """Say who can read a secret: through which role, group or entity, by which policy.

    PATH is one of the cluster's (team-a/db), of the environment's (moc/smaug/team-a/db), or whole
    (k8s_secrets/moc/smaug/team-a/db). Exits 3 if something could not be looked at.
    """
    from vaultprov.access import access as look
    from vaultprov.report import grants, terminal
    from vaultprov.report.document import text
    from vaultprov.wiring import wired

    with wired("access", given | _VAULT, os.environ, warn) as (request, io, budget):
        found = look(request.onboarding, given["path"], io, budget)
    if given["output"] == "json":
        click.echo(text(grants.document(request, found)))
    else:
        terminal.show(grants.lines(found), sys.stdout)
    return _INCOMPLETE if found.unknown else 0
