"""Options that several commands share, and how they speak to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


SITE = options(
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Site file (default: vaultprov.yaml, found upwards).",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting of the site file.",
    ),
)
OUTPUT = click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", help="Form of the report."
)
VAULT = options(
    click.option(
        "--auth",
        "vault__auth",
        type=click.Choice(["token", "approle", "jwt", "kubernetes"]),
        help="How to log in to Vault (default: token).",
    ),
    click.option(
        "--auth-role-file",
        "vault__auth_role_file",
        metavar="FILE",
        help="File with the role (approle: role id); - is standard input.",
    ),
    click.option(
        "--auth-secret-file",
        "vault__auth_secret_file",
        metavar="FILE",
        help="File with the secret id or JWT; - is standard input.",
    ),
    click.option(
        "--timeout", metavar="DURATION", help="Nothing is tried for longer (default: 120s)."
    ),
)
CLUSTER = options(
    click.option("--env", required=True, help="Environment, for example moc."),
    click.option("--cluster", required=True, help="Cluster, for example smaug."),
)
DESIRED = options(
    click.option(
        "--kubernetes-host",
        "kubernetes__host",
        metavar="URL",
        help="API server as Vault reaches it.",
    ),
    click.option(
        "--kubernetes-ca-file",
        "kubernetes__ca_file",
        metavar="FILE",
        help="CA of the API server (PEM).",
    ),
    click.option(
        "--reviewer",
        "reviewer__mode",
        type=click.Choice(["secret", "token", "client", "jwt"]),
        help="Who reviews tokens: see `vaultprov advise` (default: secret).",
    ),
    click.option(
        "--service-account",
        "service_accounts",
        multiple=True,
        metavar="NAMESPACE/NAME",
        help="Workload ServiceAccount; repeatable.",
    ),
    click.option(
        "--scope", type=click.Choice(["environment", "cluster"]), help="What workloads may read."
    ),
    click.option(
        "--policy-set", metavar="NAME", help="Shipped policy templates: default, operate-first."
    ),
    click.option("--policy-dir", metavar="DIR", help="Your own read.hcl and write.hcl."),
    click.option(
        "--no-oidc", is_flag=True, help="No groups: people do not log in through OIDC here."
    ),
)
CLUSTER_SIDE = options(
    click.option("--no-store", is_flag=True, help="Make no store of External Secrets."),
    click.option(
        "--egress",
        "egress__mode",
        type=click.Choice(["auto", "networkpolicy", "externalsecretsconfig", "none"]),
        help="How a closed way from External Secrets to Vault is opened (default: auto).",
    ),
    click.option("--no-egress", is_flag=True, help="The same as --egress none."),
    click.option(
        "--vault-cidr",
        "egress__cidrs",
        multiple=True,
        metavar="CIDR",
        help="Address range of Vault instead of its name's addresses; repeatable.",
    ),
)
LIVE = options(
    click.option(
        "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
    ),
    click.option("--only", type=click.Choice(["vault", "cluster"]), help="Do just this half."),
    click.option(
        "--reviewer-jwt-file",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help="With --only vault: the reviewer JWT; - is standard input.",
    ),
    click.option(
        "--jwks-file",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help="With --only vault and --reviewer jwt: the cluster's public keys (JWKS).",
    ),
    click.option(
        "--cluster-uid", metavar="UID", help="With --only vault: uid of the namespace kube-system."
    ),
    click.option(
        "--store-token-file",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help="Vault token for store.token_secret; - is standard input.",
    ),
    click.option(
        "--exclusive", is_flag=True, help="Own the role's bound names and namespaces: drop others."
    ),
    click.option("--adopt", is_flag=True, help="Take over what exists without vaultprov's marker."),
    click.option(
        "--replace-cluster",
        is_flag=True,
        help="Point a mount at another cluster than the one it belongs to.",
    ),
    click.option("--bootstrap", is_flag=True, help="Create what the site needs once, too."),
)


def echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)
