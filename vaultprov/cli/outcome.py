"""How a run ends: its report on the right streams, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from vaultprov.cli.confirming import confirm

if TYPE_CHECKING:
    from vaultprov.plan import Plan
    from vaultprov.run import OnPlan, Outcome


def ended(
    outcome: Outcome, output: str, lines: Callable[[Outcome], Iterable[str]] | None = None
) -> int:
    """Prints the report and returns the exit code.

    output: `json` or `human`. lines: of the report for people, by default what was done and proved.
    """
    from vaultprov.report import document, human, terminal

    if output == "json":
        click.echo(document.text(document.document(outcome)))
    else:
        terminal.show((lines or human.outcome_lines)(outcome), sys.stdout)
    if outcome.error is not None:
        told = lines is None and any(r.error is outcome.error for r in outcome.results)
        terminal.show(human.error_lines(outcome.error, told=told and output != "json"), sys.stderr)
    return outcome.exit_code


def shown(output: str, asked: str = "", *, quiet: bool = False) -> OnPlan:
    """What is done with a plan before it is carried out: it is printed, unless `quiet`.

    asked: the name that a person has to type before anything is removed, "" for none.
    """
    from vaultprov.report import human, terminal

    as_json = output == "json"

    def on_plan(made: Plan, planned: Outcome) -> None:
        if not as_json and not quiet:
            terminal.show(human.plan_lines(made, planned), sys.stdout)
        if asked and made.changes and not made.refused():
            confirm(asked, as_json=as_json)

    return on_plan
