"""The command line: the only user of click. It parses, runs and prints; it decides nothing.

Nothing heavy is imported before a command needs it: `--help` costs click and no more.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import pairwise
from types import FrameType

import click

from vaultprov import __version__
from vaultprov.cli.advising import advise
from vaultprov.cli.config import config
from vaultprov.cli.importing import import_
from vaultprov.cli.looking import doctor, explain, verify
from vaultprov.cli.namespaces import namespace
from vaultprov.cli.offboarding import offboard
from vaultprov.cli.onboarding import bootstrap, onboard, plan, status
from vaultprov.cli.policies import access, policy
from vaultprov.cli.rendering import render
from vaultprov.cli.rotating import rotate
from vaultprov.cli.teams import team
from vaultprov.errors import Bug, ConfigError, Error


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; the exit code. Never a traceback: a bug of ours says so (4)."""
    words = sys.argv[1:] if argv is None else argv
    try:
        _end_as_with_ctrl_c()
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


def _end_as_with_ctrl_c() -> None:
    """SIGTERM and a closed terminal leave through the same clean-up; only in a main thread."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it, and so do we
                signal.signal(number, stop)


def _failed(words: list[str], error: Error, *, told: bool = False) -> int:
    """Reports what ended a run before there was an outcome; its exit code."""
    from vaultprov.report import document, human, terminal

    if not told:
        terminal.show(human.error_lines(error), sys.stderr)
    if "--output=json" in words or ("--output", "json") in pairwise(words):
        name = next((word for word in words if not word.startswith("-")), "")
        click.echo(document.text(document.failure(name, error)))
    return error.exit_code


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


COMMANDS = (
    onboard, plan, status, bootstrap, verify, doctor, explain, advise, namespace, team, rotate,
    offboard, access, policy, render, import_, config,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)
