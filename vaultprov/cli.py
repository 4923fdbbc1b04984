"""The command line: the only user of click. It parses, runs and prints; it decides nothing.

Nothing heavy is imported before a command needs it: `--help` costs click and no more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vaultprov import __version__
from vaultprov.errors import Bug, ConfigError, Error

if TYPE_CHECKING:
    from vaultprov.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; the exit code. Never a traceback: a bug of ours says so (4)."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = cli.main(args=words, prog_name="vaultprov", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return _failed(words, ConfigError(error.format_message()), told=True)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; running the same command again carries on", err=True)
        return 130
    except Error as error:
        return _failed(words, error)
    except Exception as error:
        if os.environ.get("VAULTPROV_DEBUG"):
            raise
        # Without the exception's own text: of a value that nobody foresaw, it may be a secret.
        return _failed(words, Bug(f"this is a bug of vaultprov ({type(error).__name__})"))
    return code if isinstance(code, int) else 0


def _failed(words: list[str], error: Error, *, told: bool = False) -> int:
    """Reports what ended a run before there was an outcome; its exit code."""
    from vaultprov.report import document, human, terminal

    if not told:
        terminal.show(human.error_lines(error), sys.stderr)
    if "--output=json" in words or ("--output", "json") in pairwise(words):
        name = next((word for word in words if not word.startswith("-")), "")
        click.echo(document.text(document.failure(name, error)))
    return error.exit_code


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_SITE_OPTIONS = _options(
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
_OUTPUT = click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", help="Form of the report."
)
_VAULT_OPTIONS = _options(
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
_CLUSTER_OPTIONS = _options(
    click.option("--env", required=True, help="Environment, for example moc."),
    click.option("--cluster", required=True, help="Cluster, for example smaug."),
)
_SCOPE_OPTIONS = _options(
    click.option(
        "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
    ),
    click.option("--only", type=click.Choice(["vault", "cluster"]), help="Do just this half."),
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
        type=click.Choice(["secret", "token", "client"]),
        help="Where the reviewer token comes from (default: secret).",
    ),
    click.option(
        "--reviewer-jwt-file",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help="With --only vault: the reviewer JWT; - is standard input.",
    ),
    click.option(
        "--cluster-uid", metavar="UID", help="With --only vault: uid of the namespace kube-system."
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="vaultprov %(version)s")
def cli() -> None:
    """Connect Kubernetes clusters to Vault or OpenBao for External Secrets.

    One idempotent command takes a cluster from nothing to "a workload can log in and read its
    secrets, and here is the proof":

        vaultprov onboard --env moc --cluster smaug

    Exit codes: 0 done or nothing to do; 1 the work or the check failed; 2 wrong usage or
    configuration; 3 could not tell (unreachable, sealed, not allowed to look); 4 a bug of
    vaultprov; 5 changes pending (--detailed-exitcode); 6 refused, needs an explicit flag.
    """


@cli.command()
@_options(_CLUSTER_OPTIONS, _SCOPE_OPTIONS, _VAULT_OPTIONS, _SITE_OPTIONS, _OUTPUT)
@click.option("--no-verify", is_flag=True, help="Skip the proof at the end.")
@click.option(
    "--renew-reviewer", is_flag=True, help="Write the auth config again with the reviewer token."
)
def onboard(**options: Any) -> int:
    """Connect a cluster: plan, apply, prove. Safe to run any number of times."""
    return _run("onboard", options, write=True)


@cli.command()
@_options(_CLUSTER_OPTIONS, _SCOPE_OPTIONS, _VAULT_OPTIONS, _SITE_OPTIONS, _OUTPUT)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 5 when changes are pending.")
def plan(**options: Any) -> int:
    """Show what onboard would do; write nothing."""
    return _run("plan", options, write=False)


@cli.command()
@_options(_CLUSTER_OPTIONS, _SCOPE_OPTIONS, _VAULT_OPTIONS, _SITE_OPTIONS, _OUTPUT)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 5 when the cluster is not in place.")
def status(**options: Any) -> int:
    """Say in short how a cluster stands: in place, drifted, foreign, not onboarded."""
    return _run("status", options, write=False)


@cli.command()
@_options(_VAULT_OPTIONS, _SITE_OPTIONS, _OUTPUT)
@click.option(
    "--no-oidc", is_flag=True, help="No OIDC mount: people do not log in through OIDC here."
)
@click.option("--adopt", is_flag=True, help="Take over what exists without vaultprov's marker.")
def bootstrap(**options: Any) -> int:
    """Create what the site needs once: KV mount, OIDC login, the policy vaultprov-provisioner."""
    return _run("bootstrap", {**options, "bootstrap": True}, write=True)


@cli.command()
@_options(_CLUSTER_OPTIONS, _VAULT_OPTIONS, _SITE_OPTIONS, _OUTPUT)
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
    "--patience", type=click.FloatRange(1), default=60.0, metavar="SECONDS", help="How long."
)
def verify(**options: Any) -> int:
    """Prove what a workload can do and what it cannot, by doing it as External Secrets would."""
    from vaultprov.names import Names
    from vaultprov.report import document, human, terminal
    from vaultprov.run import Proof
    from vaultprov.run import verify as prove
    from vaultprov.wiring import wired

    with wired("verify", options, os.environ, _warn) as (request, io, budget):
        group = options["oidc_group"]
        if group == "":
            group = Names.of(request.onboarding).group
        proof = Proof(group, options["touch_store"], options["patience"])
        outcome = prove(request, proof, io, budget)
    if options["output"] == "json":
        click.echo(document.text(document.document(outcome)))
    else:
        terminal.show(human.proof_lines(outcome), sys.stdout)
    if outcome.error is not None:
        terminal.show(human.error_lines(outcome.error), sys.stderr)
    return outcome.exit_code


_VANTAGE_OPTIONS = _options(
    click.option(
        "--context", "kubernetes__context", help="Kubeconfig context (default: the current one)."
    ),
    click.option("--store", metavar="[NAMESPACE/]NAME", help="Look at this store alone."),
)


@cli.command()
@_options(_CLUSTER_OPTIONS, _VANTAGE_OPTIONS, _VAULT_OPTIONS, _SITE_OPTIONS)
@click.option("--external-secret", metavar="NAMESPACE/NAME", help="Look at this one alone.")
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Manifests instead of a live cluster.",
)
@click.option("--probe", is_flag=True, help="Start a short-lived pod beside the operand.")
@click.option("--probe-image", metavar="IMAGE", help="Its image (default: the operand's own).")
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
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@click.option("--suppress", multiple=True, metavar="CODE", help="Leave a check out; repeatable.")
@click.option("--watch", type=click.FloatRange(1), metavar="SECONDS", help="Look again and again.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write Prometheus text there.",
)
def doctor(**options: Any) -> int:
    """Find the one cause why External Secrets cannot read from Vault, and the one fix."""
    from vaultprov.watch import look

    return look(options, os.environ, echo=_echo, warn=_warn)


@cli.command()
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
        _echo(page_lines(page(code.upper())))
        return 0
    if pasted is None:
        _echo(list_lines())
        return 0
    found = match(sys.stdin.read() if pasted == "-" else pasted, took)
    if not found:
        raise ConfigError(
            "nothing that is known looks like this text",
            hint="vaultprov doctor --env ENV --cluster CLUSTER looks at the servers themselves",
        )
    _echo(match_lines(found))
    return 0


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


@cli.group()
def config() -> None:
    """Look at the configuration."""


@config.command("show")
@click.option("--env", help="Environment whose layer applies.")
@click.option("--cluster", help="Cluster whose layer applies.")
@_options(_SITE_OPTIONS, _OUTPUT)
def config_show(**options: Any) -> int:
    """Print every effective setting and where it came from."""
    from vaultprov.report import document, human
    from vaultprov.wiring import effective

    _, values = effective(options, os.environ)
    if options["output"] == "json":
        shown = {
            key: {"value": s.value and human.shown(s.value), "source": s.source}
            for key, s in values.items()
        }
        click.echo(
            document.text({"schema": document.SCHEMA, "command": "config show", "settings": shown})
        )
        return 0
    width = max(map(len, values))
    for key, sourced in values.items():
        click.echo(f"{key:<{width}}  {human.shown(sourced.value)}  ({sourced.source})")
    return 0


@cli.command()
@click.option("--keep", is_flag=True, help="Leave the servers running and print how to use them.")
def demo(*, keep: bool) -> int:
    """Run the main job against servers of its own: OpenBao, OIDC provider, Kubernetes API."""
    try:
        from vaultprov.demo import play
    except ImportError as error:
        raise click.UsageError(
            f"the demo's servers are not installed ({error.name}): pip install 'vaultprov[demo]'"
        ) from error
    return play(main, keep=keep)


def _run(command: str, options: dict[str, Any], *, write: bool) -> int:
    from vaultprov.report import document, human, terminal
    from vaultprov.run import execute
    from vaultprov.wiring import wired

    as_json, short = options["output"] == "json", command == "status"

    def on_plan(made: Plan, servers: tuple[str, ...]) -> None:
        if not as_json and not short:
            terminal.show(human.plan_lines(request, made, servers), sys.stdout)

    with (
        wired(command, options, os.environ, _warn) as (request, io, budget),
        terminal.progress(sys.stderr) as spinner,
    ):
        outcome = execute(
            request,
            io,
            budget,
            write=write,
            on_plan=on_plan,
            on_event=lambda result: spinner.update(human.result_event(result)),
        )
    if as_json:
        click.echo(document.text(document.document(outcome)))
    else:
        lines = human.status_lines(outcome) if short else human.outcome_lines(outcome)
        terminal.show(lines, sys.stdout)
    if outcome.error is not None:
        told = not as_json and any(r.error is outcome.error for r in outcome.results)
        terminal.show(human.error_lines(outcome.error, told=told), sys.stderr)
    pending = options.get("detailed_exitcode") and outcome.exit_code == 0 and outcome.changed
    return 5 if pending else outcome.exit_code


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)
