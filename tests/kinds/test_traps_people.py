"""Traps of the identity API, and of Secrets that a controller has to fill."""

from __future__ import annotations

from dataclasses import replace

from tests.kinds.identity_kinds import (
    alias_of,
    alias_resources,
    find_group,
    group,
    group_name,
    grouped,
    make_alias,
    other_group,
    other_login,
)
from tests.kinds.kube_kinds import namespace
from tests.kinds.world import World, changing, fields_of, step_of
from vaultprov.apply import apply, observe
from vaultprov.errors import NotConverged
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import ServiceAccount
from vaultprov.plan import Action, make_plan
from vaultprov.retry import Budget


def group_names(w: World) -> set[str]:
    return set((w.vault.port.list("identity/group/name") or {}).get("keys", ()))


def remount(w: World) -> None:
    """Somebody disables the login mount and enables it again: another accessor."""
    w.drop(f"sys/auth/{w.oidc}")
    w.send(f"sys/auth/{w.oidc}", {"type": "oidc"})


def test_a_dangling_alias_is_repaired_without_a_flag(world: World) -> None:
    """Its mount was disabled and enabled: nobody can log in through it, so nobody loses."""
    resources = alias_resources(world)
    world.apply(resources)
    before = alias_of(world)
    remount(world)
    (step,) = changing(world.plan(resources))
    assert (step.action, fields_of(step)) == (Action.UPDATE, {"mount_accessor"})
    world.apply(resources)
    after = alias_of(world)
    assert after["id"] == before["id"]
    assert after["mount_accessor"] == world.accessor(world.oidc)
    assert after["mount_path"] == f"auth/{world.oidc}/"


def test_a_mount_that_vanished_is_made_again_and_its_alias_repaired_in_one_run(
    world: World,
) -> None:
    resources = alias_resources(world)
    world.apply(resources)
    world.drop(f"sys/auth/{world.oidc}")
    world.apply(resources)
    assert alias_of(world)["mount_path"] == f"auth/{world.oidc}/"
    assert changing(world.plan(resources)) == []


def test_no_stray_group_is_ever_made(world: World) -> None:
    """Vault makes one for every alias that comes without canonical_id."""
    before = group_names(world)
    resources = alias_resources(world)
    world.apply(resources)
    remount(world)
    world.apply(resources)
    world.drop(f"identity/group-alias/id/{alias_of(world)['id']}")
    world.apply(resources)
    assert group_names(world) - before == {group_name(world)}


def test_an_alias_of_our_name_on_another_group_is_refused_and_left_alone(world: World) -> None:
    resources = alias_resources(world)
    world.apply(resources[:-1])
    make_alias(world, other_group(world))
    step = step_of(world.plan(resources), resources[-1].key)
    assert step.action is Action.REFUSE
    assert step.foreign is not None
    assert "belongs to another group" in step.foreign.reason
    assert fields_of(step) == {"canonical_id"}
    assert alias_of(world, f"other-{world.id}")["name"] == group_name(world)


def test_an_alias_of_our_name_on_another_login_is_no_clash(world: World) -> None:
    accessor = other_login(world)
    payload = {"name": group_name(world), "canonical_id": other_group(world)}
    world.send("identity/group-alias", {**payload, "mount_accessor": accessor})
    world.apply(alias_resources(world))
    assert alias_of(world)["mount_path"] == f"auth/{world.oidc}/"
    assert alias_of(world, f"other-{world.id}")["mount_accessor"] == accessor


def test_a_dangling_alias_of_our_name_on_another_group_is_no_clash(world: World) -> None:
    resources = alias_resources(world)
    world.apply(resources[:-1])
    make_alias(world, other_group(world))
    remount(world)
    world.apply(resources)
    assert alias_of(world)["mount_path"] == f"auth/{world.oidc}/"


def test_an_internal_group_is_refused_and_no_flag_helps(world: World) -> None:
    metadata = {"managed-by": "vaultprov"}
    payload = {"name": group_name(world), "type": "internal", "metadata": metadata}
    world.send("identity/group", payload)
    for flags in ((), ("--adopt",)):
        (step,) = world.plan([group(world)], *flags).refused()
        assert step.foreign is not None
        assert step.foreign.flag == ""


def test_a_group_update_sends_neither_type_nor_members(world: World) -> None:
    world.apply([group(world)])
    assert world.vault.sent["identity/group"]["type"] == "external"
    grouped(["theirs"])(world)
    world.apply([group(world)])
    assert world.vault.sent["identity/group"].keys() == {"name", "policies", "metadata"}
    assert set(find_group(world)["policies"]) == {"theirs", "moc-kv-rw"}


def test_a_group_with_upper_case_policies_is_no_drift(world: World) -> None:
    resources = [replace(group(world), policies=("MOC-kv-rw",))]
    world.apply(resources)
    assert changing(world.plan(resources)) == []


def test_a_secret_that_nobody_fills_is_reported_with_what_to_do(world: World) -> None:
    """Its ServiceAccount does not exist, so the token controller has nothing to put there."""
    ghost = ServiceAccount(world.account.namespace, "ghost")
    secret = Manifest(objects.token_secret(ghost, "ghost-token"), ("type",), wait=1)
    world.apply([Manifest(namespace(world))])
    io, budget = world.io(), Budget(timeout=5.0, attempts=3)
    observed = observe([secret], io, budget)
    (result,) = apply([secret], make_plan([secret], observed), observed, io, budget)
    assert isinstance(result.error, NotConverged)
    assert "was not filled in within 1 s" in result.error.message
    assert "--reviewer token" in result.error.hint
