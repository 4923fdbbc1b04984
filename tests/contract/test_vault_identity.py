"""What every VaultPort does: external groups and their aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.conftest import VaultSubject
from vaultprov.errors import Rejected
from vaultprov.resource import VaultPort


@dataclass(frozen=True)
class Login:
    """An oidc mount."""

    path: str
    accessor: str


def mounted(port: VaultPort, path: str) -> Login:
    port.write(f"sys/auth/{path}", {"type": "oidc"})
    return Login(path, (port.read("sys/auth") or {})[f"{path}/"]["accessor"])


def make_group(port: VaultPort, name: str, **fields: Any) -> str:
    answer = port.write("identity/group", {"name": name, "type": "external", **fields})
    return str(answer["id"])


def read_group(port: VaultPort, name: str) -> dict[str, Any]:
    found = port.read(f"identity/group/name/{name}")
    assert found is not None
    return dict(found)


def make_alias(port: VaultPort, name: str, login: Login, group_id: str) -> str:
    payload = {"name": name, "mount_accessor": login.accessor, "canonical_id": group_id}
    answer = port.write("identity/group-alias", payload)
    assert answer["canonical_id"] == group_id
    return str(answer["id"])


def group_names(port: VaultPort) -> set[str]:
    return set((port.list("identity/group/name") or {}).get("keys", ()))


@pytest.mark.parametrize("name", ["C#-devs", "who?", "a?b=c", "50%", "%41", "two words", "Größe"])
def test_a_name_that_means_something_in_a_url_is_a_name(
    vault: VaultSubject, unique: str, name: str
) -> None:
    made = make_group(vault.port, f"{unique}-{name}")
    assert read_group(vault.port, f"{unique}-{name}")["id"] == made


def test_a_new_group_answers_with_its_id(vault: VaultSubject, unique: str) -> None:
    group_id = make_group(vault.port, unique, policies=["Zed", "a"], metadata={"k": "v"})
    group = read_group(vault.port, unique)
    assert (group["id"], group["type"]) == (group_id, "external")
    assert group["policies"] == ["a", "zed"]  # lower-cased
    assert group["metadata"] == {"k": "v"}
    assert group["alias"] == {}


def test_an_update_answers_without_an_id_and_replaces_policies_and_metadata(
    vault: VaultSubject, unique: str
) -> None:
    group_id = make_group(vault.port, unique, policies=["a"], metadata={"k": "v"})
    payload = {"name": unique, "policies": ["b"], "metadata": {"z": "y"}}
    assert vault.port.write("identity/group", payload) == {}
    group = read_group(vault.port, unique)
    assert (group["id"], group["policies"], group["metadata"]) == (group_id, ["b"], {"z": "y"})


def test_an_update_keeps_what_it_does_not_name(vault: VaultSubject, unique: str) -> None:
    make_group(vault.port, unique, policies=["a"], metadata={"k": "v"})
    vault.port.write("identity/group", {"name": unique})
    group = read_group(vault.port, unique)
    assert (group["policies"], group["metadata"]) == (["a"], {"k": "v"})


def test_the_type_of_a_group_cannot_be_changed(vault: VaultSubject, unique: str) -> None:
    make_group(vault.port, unique)
    with pytest.raises(Rejected, match="group type cannot be changed"):
        vault.port.write("identity/group", {"name": unique, "type": "internal"})


def test_group_names_ignore_case(vault: VaultSubject, unique: str) -> None:
    make_group(vault.port, f"Up-{unique}")
    assert read_group(vault.port, f"uP-{unique}")["name"] == f"Up-{unique}"


def test_an_alias_shows_in_its_group_and_in_the_listing(vault: VaultSubject, unique: str) -> None:
    login = mounted(vault.port, unique)
    group_id = make_group(vault.port, unique)
    alias_id = make_alias(vault.port, unique, login, group_id)
    expected = {
        "name": unique,
        "mount_accessor": login.accessor,
        "mount_path": f"auth/{login.path}/",
        "canonical_id": group_id,
    }
    alias = read_group(vault.port, unique)["alias"]
    assert {name: alias[name] for name in ("id", *expected)} == {"id": alias_id, **expected}
    listing = vault.port.list("identity/group-alias/id") or {}
    assert alias_id in listing["keys"]
    info = listing["key_info"][alias_id]
    assert {name: info[name] for name in expected} == expected


def test_a_second_alias_of_the_same_name_and_mount_is_rejected(
    vault: VaultSubject, unique: str
) -> None:
    login = mounted(vault.port, unique)
    group_id = make_group(vault.port, unique)
    make_alias(vault.port, unique, login, group_id)
    with pytest.raises(Rejected, match="already in use"):
        make_alias(vault.port, unique, login, group_id)


def test_a_group_has_one_alias_and_another_drops_the_first(
    vault: VaultSubject, unique: str
) -> None:
    login = mounted(vault.port, unique)
    group_id = make_group(vault.port, unique)
    first = make_alias(vault.port, unique, login, group_id)
    second = make_alias(vault.port, f"{unique}-2", login, group_id)
    assert read_group(vault.port, unique)["alias"]["id"] == second
    assert first not in (vault.port.list("identity/group-alias/id") or {})["keys"]


def test_an_alias_moves_by_its_id(vault: VaultSubject, unique: str) -> None:
    here, there = mounted(vault.port, unique), mounted(vault.port, f"{unique}-2")
    old, new = make_group(vault.port, unique), make_group(vault.port, f"{unique}-2")
    alias_id = make_alias(vault.port, unique, here, old)
    moved = {"name": f"{unique}-n", "mount_accessor": there.accessor, "canonical_id": new}
    vault.port.write(f"identity/group-alias/id/{alias_id}", moved)
    assert read_group(vault.port, unique)["alias"] == {}
    alias = read_group(vault.port, f"{unique}-2")["alias"]
    assert {name: alias[name] for name in ("id", *moved)} == {"id": alias_id, **moved}


def test_an_alias_without_a_group_makes_a_stray_one(vault: VaultSubject, unique: str) -> None:
    """Which is why ours never does without canonical_id."""
    login = mounted(vault.port, unique)
    before = group_names(vault.port)
    payload = {"name": unique, "mount_accessor": login.accessor}
    stray = vault.port.write("identity/group-alias", payload)["canonical_id"]
    (name,) = group_names(vault.port) - before
    assert read_group(vault.port, name)["id"] == stray


@pytest.mark.parametrize("missing", ["mount_accessor", "canonical_id"])
def test_an_alias_of_what_does_not_exist_is_rejected(
    vault: VaultSubject, unique: str, missing: str
) -> None:
    login = mounted(vault.port, unique)
    payload = {
        "name": unique,
        "mount_accessor": login.accessor,
        "canonical_id": make_group(vault.port, unique),
        missing: "auth_none",
    }
    with pytest.raises(Rejected):
        vault.port.write("identity/group-alias", payload)


def test_an_internal_group_takes_no_alias(vault: VaultSubject, unique: str) -> None:
    login = mounted(vault.port, unique)
    answer = vault.port.write("identity/group", {"name": unique, "type": "internal"})
    with pytest.raises(Rejected, match="internal group"):
        make_alias(vault.port, unique, login, str(answer["id"]))


def test_an_unknown_alias_id_is_rejected(vault: VaultSubject, unique: str) -> None:
    login = mounted(vault.port, unique)
    with pytest.raises(Rejected, match="invalid group alias ID"):
        vault.port.write(
            f"identity/group-alias/id/{unique}", {"name": "x", "mount_accessor": login.accessor}
        )


def test_an_alias_dangles_once_its_mount_is_gone(vault: VaultSubject, unique: str) -> None:
    """Also when there is a mount at the same path again: the accessor is another."""
    login = mounted(vault.port, unique)
    group_id = make_group(vault.port, unique)
    alias_id = make_alias(vault.port, unique, login, group_id)
    vault.port.delete(f"sys/auth/{login.path}")
    again = mounted(vault.port, login.path)
    alias = read_group(vault.port, unique)["alias"]
    assert alias["mount_accessor"] == login.accessor
    assert "mount_path" not in alias
    info = (vault.port.list("identity/group-alias/id") or {})["key_info"][alias_id]
    assert "mount_path" not in info
    repaired = {"name": unique, "mount_accessor": again.accessor, "canonical_id": group_id}
    vault.port.write(f"identity/group-alias/id/{alias_id}", repaired)
    assert read_group(vault.port, unique)["alias"]["mount_path"] == f"auth/{login.path}/"


def test_a_deleted_alias_leaves_its_group(vault: VaultSubject, unique: str) -> None:
    login = mounted(vault.port, unique)
    alias_id = make_alias(vault.port, unique, login, make_group(vault.port, unique))
    for _ in range(2):  # absent is fine
        vault.port.delete(f"identity/group-alias/id/{alias_id}")
    assert read_group(vault.port, unique)["alias"] == {}


def test_a_deleted_group_takes_its_alias_with_it(vault: VaultSubject, unique: str) -> None:
    login = mounted(vault.port, unique)
    alias_id = make_alias(vault.port, unique, login, make_group(vault.port, unique))
    for _ in range(2):  # absent is fine
        vault.port.delete(f"identity/group/name/{unique}")
    assert vault.port.read(f"identity/group/name/{unique}") is None
    assert vault.port.read(f"identity/group-alias/id/{alias_id}") is None
