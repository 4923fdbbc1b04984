"""Every code has a whole page, and says what doctor says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vaultprov.doctor.model import Check
from vaultprov.doctor.table import CHECKS
from vaultprov.errors import ConfigError
from vaultprov.explain.match import match
from vaultprov.explain.pages import Page, all_pages, page
from vaultprov.explain.text import list_lines, match_lines, page_lines

PAGES = {each.code: each for each in all_pages()}
SECTIONS = ("SYMPTOMS", "WHY", "TOLD APART", "FIX", "SOURCES")


def test_every_code_has_a_page_and_no_page_is_left_over() -> None:
    assert set(PAGES) == {check.code for check in CHECKS}
    assert len(PAGES) == len(all_pages())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_titles_are_those_of_the_table(check: Check) -> None:
    assert PAGES[check.code].title == check.title


@pytest.mark.parametrize("each", PAGES.values(), ids=lambda each: each.code)
def test_a_page_is_whole(each: Page) -> None:
    assert each.symptoms
    assert each.sources
    assert all(text.strip() for text in (*each.symptoms, *each.sources))
    for text in (each.why, each.apart, each.fix):
        assert text.endswith((".", "?"))
        assert len(text) <= 450
    assert each.took in ("", "ms", "30s", "60s")
    assert len(set(each.symptoms)) == len(each.symptoms)


def test_an_unknown_code_is_met_with_a_near_one() -> None:
    with pytest.raises(ConfigError, match=r"did you mean VP-AUTH-00\d") as caught:
        page("VP-AUTH-000")
    assert caught.value.hint == "vaultprov explain --list"
    with pytest.raises(ConfigError) as caught:
        page("nonsense")
    assert "did you mean" not in caught.value.message


def test_pages_are_read_once_and_not_at_import() -> None:
    assert page("VP-NET-001") is page("VP-NET-001")
    program = (
        "import vaultprov.explain.match, vaultprov.explain.text\n"
        "from vaultprov.explain.pages import all_pages\n"
        "assert all_pages.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("each", PAGES.values(), ids=lambda each: each.code)
def test_a_page_as_lines(each: Page) -> None:
    lines = page_lines(each)
    assert lines[0] == f"{each.code}  {each.title}"
    assert tuple(line for line in lines if line in SECTIONS) == SECTIONS
    assert all(len(line) <= 100 for line in lines)
    assert each.fix.split()[-1] in "\n".join(lines)


def test_the_list() -> None:
    lines = list_lines()
    assert len(lines) == len(PAGES)
    assert all(len(line) <= 100 for line in lines)
    assert lines == sorted(lines)


def test_matches_as_lines() -> None:
    lines = match_lines(match("Code: 403. Errors:\n\n* permission denied"))
    assert lines[0].startswith("1. VP-REV-001")
    assert lines[-1] == "More: vaultprov explain VP-REV-001"
    assert all(len(line) <= 100 for line in lines)
    assert match_lines(())
