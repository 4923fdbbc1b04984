"""What holds for every kind of the table, in memory and at real servers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import vaultprov.vault
from tests.kinds.kind import NO_FLAG_HELPS, Edit, Kind, Other, Removal, Stranger
from tests.kinds.table import KINDS
from tests.kinds.world import Unwanted, World, changing, fields_of, step_of
from vaultprov.kube import manifest, objects
from vaultprov.plan import Action
from vaultprov.resource import VaultRight

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
_ALL_FLAGS = ("--adopt", "--replace-cluster")


def pairs(name: str) -> pytest.MarkDecorator:
    """Each kind with each of its `edits` or `others`."""
    cases = [
        pytest.param(kind, each, id=f"{kind}-{each}")
        for kind in KINDS
        for each in getattr(kind, name)
    ]
    return pytest.mark.parametrize(("kind", name[:-1]), cases)


def kinds_with(name: str, value: object) -> pytest.MarkDecorator:
    """The kinds of which the table says so; for the others it says why not."""
    cases = [kind for kind in KINDS if getattr(kind, name) is value]
    return pytest.mark.parametrize("kind", cases, ids=str)


def kinds_of_the_product() -> Iterator[object]:
    found = pkgutil.iter_modules(vaultprov.vault.__path__, "vaultprov.vault.")
    for module in (manifest, *(importlib.import_module(each.name) for each in found)):
        for _, found_class in inspect.getmembers(module, inspect.isclass):
            if found_class.__module__ == module.__name__ and hasattr(found_class, "wanted"):
                yield found_class


def builders_of_the_product() -> Iterator[object]:
    for name, function in inspect.getmembers(objects, inspect.isfunction):
        if function.__module__ == objects.__name__ and name != "binding_rights":
            yield function


def test_every_kind_of_the_product_is_in_the_table() -> None:
    assert {kind.source for kind in KINDS if inspect.isclass(kind.source)} == {
        found for found in kinds_of_the_product() if found is not manifest.Manifest
    }


def test_every_builder_of_manifests_is_in_the_table() -> None:
    assert {kind.source for kind in KINDS if inspect.isfunction(kind.source)} == set(
        builders_of_the_product()
    )


@every_kind
def test_every_field_has_an_edit_or_a_reason(kind: Kind, world: World) -> None:
    wanted = kind.make(world)[-1].wanted()
    assert wanted is not None
    assert {edit.field for edit in kind.edits} | set(kind.fixed) == set(wanted.fields)


@every_kind
def test_applied_to_nothing_the_next_plan_is_empty(kind: Kind, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    assert changing(world.plan(resources)) == []


@every_kind
def test_applied_twice_nothing_is_written(kind: Kind, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    world.forget_writes()
    world.apply(resources)
    assert world.writes() == []


@pairs("edits")
def test_an_edit_by_hand_is_the_only_thing_in_the_plan_and_is_repaired(
    kind: Kind, edit: Edit, world: World
) -> None:
    resources = kind.make(world)
    world.apply(resources)
    edit.by_hand(world)
    plan = world.plan(resources)
    (step,) = changing(plan)
    assert step.key == resources[-1].key
    assert fields_of(step) == {edit.field, *edit.also}
    if edit.flag:
        assert step.action is Action.REFUSE
        assert step.foreign is not None
        assert step.foreign.flag == ("" if edit.flag == NO_FLAG_HELPS else edit.flag)
    else:
        assert step.action is Action.UPDATE
    if edit.flag == NO_FLAG_HELPS:
        assert world.plan(resources, *_ALL_FLAGS).refused()
        return
    world.apply(resources, edit.flag)
    assert changing(world.plan(resources)) == []


@pairs("others")
def test_what_others_add_is_no_drift_and_stays(kind: Kind, other: Other, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    other.by_hand(world)
    assert changing(world.plan(resources)) == []
    if other.still is None:
        return
    assert other.still(world)
    edit = next(edit for edit in kind.edits if edit.flag != NO_FLAG_HELPS)
    edit.by_hand(world)
    world.forget_writes()
    world.apply(resources, edit.flag)
    assert world.writes()
    assert other.still(world)


@kinds_with("removal", Removal.GONE)
def test_removed_it_is_gone_and_removing_it_again_is_fine(kind: Kind, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    found = resources[-1].read(world.io())
    assert found is not None
    unwanted = [Unwanted(resources[-1])]
    world.apply(unwanted)
    assert resources[-1].read(world.io()) is None
    assert changing(world.plan(unwanted)) == []
    resources[-1].remove(world.io(), found)


@kinds_with("removal", Removal.REFUSED)
def test_what_is_the_sites_is_never_removed(kind: Kind, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    assert world.plan([Unwanted(resources[-1])], *_ALL_FLAGS).refused()


@kinds_with("removal", Removal.NOTHING_TO_DO)
def test_a_config_goes_with_its_mount_and_not_before(kind: Kind, world: World) -> None:
    resources = kind.make(world)
    world.apply(resources)
    found = resources[-1].read(world.io())
    assert found is not None
    world.forget_writes()
    resources[-1].remove(world.io(), found)
    assert world.writes() == []
    mount = next(resource for resource in resources if resource.key.kind == "vault/auth")
    world.drop(f"sys/auth/{mount.key.name}")
    assert resources[-1].read(world.io()) is None


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if isinstance(kind.stranger, Stranger)], ids=str
)
def test_what_a_stranger_made_is_refused_until_adopted(kind: Kind, world: World) -> None:
    assert isinstance(kind.stranger, Stranger)
    resources = kind.make(world)
    world.apply(resources[:-1])
    kind.stranger.made(world)
    step = step_of(world.plan(resources), resources[-1].key)
    assert step.action is Action.REFUSE
    assert step.foreign is not None
    if kind.stranger.flag == NO_FLAG_HELPS:
        assert step.foreign.flag == ""
        assert world.plan(resources, *_ALL_FLAGS).refused()
        return
    assert step.foreign.flag == kind.stranger.flag
    world.apply(resources, kind.stranger.flag)
    assert kind.stranger.kept(world)
    assert changing(world.plan(resources)) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if callable(kind.twin)], ids=str)
def test_a_strangers_that_is_already_right_is_kept_as_it_is(kind: Kind, world: World) -> None:
    assert callable(kind.twin)
    resources = kind.make(world)
    world.apply(resources[:-1])
    kind.twin(world)
    world.forget_writes()
    world.apply(resources)
    assert world.writes() == []


@every_kind
def test_the_rights_it_names_are_enough(kind: Kind, world: World) -> None:
    """Reading, creating and updating, with a token that may do what it says and no more."""
    resources = kind.make(world)
    held: dict[str, set[str]] = {"sys/capabilities-self": {"create", "update"}}
    for resource in resources:
        for action in ("read", "create", "update"):
            for right in resource.rights(action):
                if isinstance(right, VaultRight):
                    held.setdefault(right.path, set()).update(right.needs)
    blocks = (
        f'path "{path}" {{ capabilities = [{", ".join(f"{n!r}" for n in sorted(needs))}] }}\n'
        for path, needs in held.items()
    )
    text = "".join(blocks).replace("'write'", "'create', 'update'").replace("'", '"')
    world.send(f"sys/policies/acl/rights-{world.id}", {"policy": text})
    port = world.limited(f"rights-{world.id}")
    world.apply(resources, vault=port)
    edit = next((edit for edit in kind.edits if edit.flag != NO_FLAG_HELPS), None)
    if edit is not None:
        edit.by_hand(world)
        world.apply(resources, edit.flag, vault=port)
    port.close()
