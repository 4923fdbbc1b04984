"""The pages: one TOML file for each group of codes. Nothing is read before it is asked for."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vaultprov.errors import ConfigError

_FOLDER = Path(__file__).parent / "pages"


@dataclass(frozen=True, slots=True)
class Page:
    """What is to be known of one code.

    symptoms: texts as people see them; `<NAME>` stands for what varies. took: "ms", "30s" or "60s",
    how long the failing request takes, where that tells it apart.
    """

    code: str
    title: str
    symptoms: tuple[str, ...]
    why: str
    apart: str
    fix: str
    sources: tuple[str, ...]
    took: str = ""


@cache
def all_pages() -> tuple[Page, ...]:
    """Every page, by code."""
    pages = [
        Page(
            code,
            each["title"],
            tuple(each["symptoms"]),
            each["why"],
            each["apart"],
            each["fix"],
            tuple(each["sources"]),
            each.get("took", ""),
        )
        for file in sorted(_FOLDER.glob("*.toml"))
        for code, each in tomllib.loads(file.read_text(encoding="utf-8")).items()
    ]
    return tuple(sorted(pages, key=lambda page: page.code))


def page(code: str) -> Page:
    """The page of a code. Raises ConfigError."""
    pages = {each.code: each for each in all_pages()}
    if code in pages:
        return pages[code]
    near = difflib.get_close_matches(code, pages, 1)
    told = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"there is no code {code}{told}", hint="vaultprov explain --list")
