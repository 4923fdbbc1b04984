"""The collection and the package are one release: the one checks for the other's version."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import vaultprov

COLLECTION = Path(vaultprov.__file__).parent / "ansible" / "collection"


def test_the_collection_has_the_packages_version() -> None:
    galaxy = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    util = (COLLECTION / "plugins" / "module_utils" / "engine.py").read_text()
    told = re.search(r'^VERSION = "(.+?)"', util, re.MULTILINE)
    assert told is not None
    assert galaxy["version"] == told[1] == vaultprov.__version__
    needed = (COLLECTION / "requirements.txt").read_text()
    assert needed == f"vaultprov=={vaultprov.__version__}\n"
