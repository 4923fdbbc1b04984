"""Start-up: `vaultprov --help` imports nothing heavy, which would cost most of a second."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("hvac", "kubernetes", "requests", "yaml", "rich", "tenacity")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    code = "import sys, vaultprov.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", HEAVY)
def test_the_command_line_does_not_import(imported: set[str], module: str) -> None:
    assert module not in imported


def test_the_command_line_was_really_imported(imported: set[str]) -> None:
    assert {"vaultprov.cli", "click"} <= imported
