"""Pages and matches as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from vaultprov.explain.match import Match
from vaultprov.explain.pages import Page, all_pages

_WIDTH = 100
_SHOWN = 5  # likely causes; more are no help


def page_lines(page: Page) -> list[str]:
    """One page."""
    return [
        *_wrapped(f"{page.code}  {page.title}"),
        *_section("SYMPTOMS", page.symptoms, bullet="- "),
        *_section("WHY", [page.why]),
        *_section("TOLD APART", [page.apart]),
        *_section("FIX", [page.fix]),
        *_section("SOURCES", page.sources, bullet="- "),
    ]


def list_lines() -> list[str]:
    """Every code with what is true when it is well."""
    return [f"{page.code:<11}  {page.title}" for page in all_pages()]


def match_lines(matches: Sequence[Match]) -> list[str]:
    """The likeliest causes; the first in more words."""
    if not matches:
        return ["nothing that is known looks like this text"]
    lines: list[str] = []
    for number, each in enumerate(matches[:_SHOWN], 1):
        doubt = f"{number}. {each.page.code}  in doubt: {each.page.title}"
        lines += _wrapped(doubt, after="   ")
        lines += _wrapped(f"looks like: {each.why}", before="   ", after="     ")
    first = matches[0].page
    lines += ["", *_wrapped(f"{first.code}: {first.why}"), *_wrapped(f"Fix: {first.fix}")]
    return [*lines, f"More: vaultprov explain {first.code}"]


def _section(name: str, texts: Sequence[str], *, bullet: str = "") -> list[str]:
    lines = ["", name]
    for text in texts:
        lines += _wrapped(
            " ".join(text.split()), before=f"  {bullet}", after="  " + " " * len(bullet)
        )
    return lines


def _wrapped(text: str, *, before: str = "", after: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=before,
        subsequent_indent=after,
        break_on_hyphens=False,
    )
