"""Planning: only our own fields count, others' work stays, and what is not ours is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worlds import ALIEN, Thing, has, key, plan, ref
from vaultprov.plan import Action, FieldChange, Plan, diff, extras, order, resolve, target
from vaultprov.resource import UNKNOWN, AtLeast, Foreign, OnCreate, State


def some(*items: str, globs: bool = False) -> AtLeast:
    return AtLeast(frozenset(items), globs)


def words(*items: str) -> frozenset[str]:
    return frozenset(items)


def actions(made: Plan) -> dict[str, str]:
    return {step.key.name: str(step.action) for step in made.steps}


DIFFS: dict[str, tuple[Any, Any, dict[str, tuple[Any, Any]]]] = {
    # rule: (wanted x, found x, changes as name -> (from, to))
    "equal values are no change": (1, 1, {}),
    "a different value is one change": (1, 2, {"x": (2, 1)}),
    "None asks for nothing to be there": (None, "old", {"x": ("old", None)}),
    "order in a set does not matter": (words("a", "b"), words("b", "a"), {}),
    "an own set loses foreign members": (
        words("a"),
        words("a", "b"),
        {"x": (words("a", "b"), words("a"))},
    ),
    "a mapping differs member by member": (
        {"same": 1, "new": 2, "other": 3},
        {"same": 1, "other": 4, "gone": 5},
        {"x[new]": (None, 2), "x[other]": (4, 3), "x[gone]": (5, None)},
    ),
    "a mapping within a mapping differs member by member, too": (
        {"a": {"b": {"c": 1, "same": 2}}},
        {"a": {"b": {"c": 3, "same": 2}}},
        {"x[a][b][c]": (3, 1)},
    ),
    "a mapping without members is not nothing": ({"a": {}}, {}, {"x[a]": (None, {})}),
    "a member that becomes a mapping is one change": (
        {"a": {"b": 1}},
        {"a": "text"},
        {"x[a]": ("text", {"b": 1})},
    ),
    "a mapping where there was none": ({"a": 1}, None, {"x[a]": (None, 1)}),
    "a mapping instead of a text is one change": ({"a": 1}, "text", {"x": ("text", {"a": 1})}),
    "at least: foreign members are no change": (some("a"), words("a", "b"), {}),
    "at least: what is missing is added to what is there": (
        some("a", "c"),
        words("a", "b"),
        {"x": (words("a", "b"), words("a", "b", "c"))},
    ),
    "at least of a field that is not there": (some("a"), None, {"x": (None, words("a"))}),
    "at least: foreign members of a mapping are no change": (
        AtLeast({"a": "1"}),
        {"a": "1", "b": "2"},
        {},
    ),
    "at least: our member of a mapping is mended": (
        AtLeast({"a": "1"}),
        {"a": "0", "b": "2"},
        {"x[a]": ("0", "1")},
    ),
    "at least of a mapping that is not there": (AtLeast({"a": "1"}), None, {"x[a]": (None, "1")}),
    "a glob covers by prefix": (some("eso-a", globs=True), words("eso-*"), {}),
    "a glob covers by suffix": (some("a-eso", globs=True), words("*-eso"), {}),
    "a star alone covers everything": (some("anything", globs=True), words("*"), {}),
    "a glob of another prefix does not cover": (
        some("eso", globs=True),
        words("dev-*"),
        {"x": (words("dev-*"), words("dev-*", "eso"))},
    ),
    "a star in the middle is a glob too": (
        some("acb", globs=True),
        words("a*b"),
        {},
    ),
    "without globs a star is a plain name": (
        some("a"),
        words("*"),
        {"x": (words("*"), words("*", "a"))},
    ),
    "on create: what exists is left alone": (OnCreate("vault"), "", {}),
    "unknown is always a change": (UNKNOWN, "something", {"x": ("something", UNKNOWN)}),
    "unknown over a mapping is one change": (UNKNOWN, {"a": 1}, {"x": ({"a": 1}, UNKNOWN)}),
}


@pytest.mark.parametrize(("wanted", "found", "changes"), DIFFS.values(), ids=DIFFS)
def test_diff(wanted: Any, found: Any, changes: Mapping[str, tuple[Any, Any]]) -> None:
    assert {c.name: (c.before, c.after) for c in diff({"x": wanted}, has(x=found))} == changes


def test_fields_that_we_do_not_want_are_not_looked_at() -> None:
    assert diff({"x": 1}, has(x=1, added_by_a_newer_server=True)) == ()


def test_an_absent_resource_differs_in_every_field() -> None:
    wanted = {"x": 1, "who": OnCreate("vault"), "set": some("a")}
    assert diff(wanted, None) == (
        FieldChange("x", None, 1),
        FieldChange("who", None, "vault"),
        FieldChange("set", None, words("a")),
    )


@pytest.mark.parametrize(("name", "field"), [("x", "x"), ("path[kv/data/*]", "path")])
def test_a_change_knows_its_field_without_the_member(name: str, field: str) -> None:
    assert FieldChange(name, 1, 2).field == field


def test_target_is_what_we_want_merged_with_what_others_added() -> None:
    """A write carries the whole field: leaving out others' members would remove them."""
    wanted = {
        "own": words("a"),
        "set": some("a"),
        "map": AtLeast({"a": "1"}),
        "once": OnCreate("new"),
    }
    found = has(own=words("a", "b"), set=words("b"), map={"b": "2"}, once="old", more=1)
    assert target(wanted, found) == {
        "own": words("a"),
        "set": words("a", "b"),
        "map": {"a": "1", "b": "2"},
        "once": "old",
    }
    assert target(wanted, None) == {
        "own": words("a"),
        "set": words("a"),
        "map": {"a": "1"},
        "once": "new",
    }


def test_extras_name_the_members_that_others_added() -> None:
    wanted = {"set": some("a"), "map": AtLeast({"k": "v"}), "own": words("a"), "none": some("a")}
    found = has(
        set=words("a", "z", "b"), map={"k": "x", "more": "y"}, own=words("a", "b"), none=None
    )
    assert extras(wanted, found) == {"set": ("b", "z"), "map": ("more",)}


def test_no_extras_without_a_resource_or_without_foreign_members() -> None:
    assert extras({"set": some("a")}, None) is None
    assert extras({"set": some("a")}, has(set=words("a"))) is None


class TestResolve:
    """A Ref becomes what it refers to, or UNKNOWN when that does not exist yet."""

    WANTS = {"plain": 1, "x": ref("a")}  # noqa: RUF012 - nobody changes it

    def test_known(self) -> None:
        observed = {key("a"): has(attrs={"id": 7})}
        assert resolve(self.WANTS, observed) == {"plain": 1, "x": 7}

    @pytest.mark.parametrize(
        "observed",
        [{}, {key("a"): None}, {key("a"): has()}],
        ids=["not observed", "absent", "without that attribute"],
    )
    def test_unknown(self, observed: Mapping[Any, State | None]) -> None:
        assert resolve(self.WANTS, observed)["x"] is UNKNOWN

    def test_a_source_that_is_about_to_vanish_is_unknown(self) -> None:
        observed = {key("a"): has(attrs={"id": 7})}
        assert resolve(self.WANTS, observed, {key("a")})["x"] is UNKNOWN


GONE = Foreign("is broken", "", "look at it")  # no flag helps
OTHER = Foreign("belongs to another cluster", "--replace-cluster")
PLANS: dict[str, tuple[Thing, str, str]] = {
    # rule: (world, flags, action)
    "absent and wanted": (Thing("a", {"x": 1}), "", "create"),
    "different": (Thing("a", {"x": 1}, has(x=2)), "", "update"),
    "equal": (Thing("a", {"x": 1}, has(x=1)), "", "keep"),
    "there and not wanted": (Thing("a", None, has(x=1)), "", "delete"),
    "absent and not wanted": (Thing("a", None), "", "keep"),
    "required and absent is never created": (Thing("a", {}, required="bootstrap"), "", "refuse"),
    "required and absent, whatever the flags": (
        Thing("a", {}, required="bootstrap"),
        "--adopt --replace-cluster",
        "refuse",
    ),
    "required and there": (Thing("a", {"x": 1}, has(x=1), required="bootstrap"), "", "keep"),
    "required and there and different": (
        Thing("a", {"x": 1}, has(x=2), required="bootstrap"),
        "",
        "update",
    ),
    "foreign and equal needs no permission": (Thing("a", {"x": 1}, has(ALIEN, x=1)), "", "keep"),
    "foreign and different": (Thing("a", {"x": 1}, has(ALIEN, x=2)), "", "refuse"),
    "foreign, with the flag": (Thing("a", {"x": 1}, has(ALIEN, x=2)), "--adopt", "update"),
    "foreign, with another flag": (
        Thing("a", {"x": 1}, has(ALIEN, x=2)),
        "--replace-cluster",
        "refuse",
    ),
    "foreign and to be removed": (Thing("a", None, has(ALIEN, x=2)), "", "refuse"),
    "foreign and to be removed, with the flag": (
        Thing("a", None, has(ALIEN, x=2)),
        "--adopt",
        "delete",
    ),
    "no flag helps": (Thing("a", {"x": 1}, has(GONE, x=2)), "--adopt", "refuse"),
    "no flag is not the flag ''": (Thing("a", {"x": 1}, has(GONE, x=2)), "", "refuse"),
    "a guarded field that differs": (
        Thing("a", {"x": 1}, has(guards={"x": OTHER}, x=2)),
        "",
        "refuse",
    ),
    "a guarded field that differs, with its flag": (
        Thing("a", {"x": 1}, has(guards={"x": OTHER}, x=2)),
        "--replace-cluster",
        "update",
    ),
    "a guarded field that is right": (
        Thing("a", {"x": 1, "y": 1}, has(guards={"x": OTHER}, x=1, y=2)),
        "",
        "update",
    ),
    "a guard holds for every member of a mapping": (
        Thing("a", {"x": {"k": 1}}, has(guards={"x": OTHER}, x={"k": 2})),
        "",
        "refuse",
    ),
    "two reasons need two flags": (
        Thing("a", {"x": 1}, has(ALIEN, {"x": OTHER}, x=2)),
        "--adopt",
        "refuse",
    ),
    "two reasons and two flags": (
        Thing("a", {"x": 1}, has(ALIEN, {"x": OTHER}, x=2)),
        "--adopt --replace-cluster",
        "update",
    ),
}


@pytest.mark.parametrize(("thing", "flags", "action"), PLANS.values(), ids=PLANS)
def test_action(thing: Thing, flags: str, action: str) -> None:
    assert actions(plan(thing, allow=flags.split())) == {"a": action}


def test_a_refusal_shows_what_adopting_would_change_and_why_it_is_refused() -> None:
    [step] = plan(Thing("a", {"x": 1}, has(ALIEN, x=2))).steps
    assert (step.action, step.foreign) == (Action.REFUSE, ALIEN)
    assert step.changes == (FieldChange("x", 2, 1),)


def test_what_no_flag_helps_with_is_told_first() -> None:
    """Asking for --adopt would lead nowhere."""
    [step] = plan(Thing("a", {"x": 1}, has(ALIEN, {"x": GONE}, x=2))).steps
    assert step.foreign == GONE


def test_a_missing_requirement_carries_its_hint() -> None:
    [step] = plan(Thing("a", {"x": 1}, required="vaultprov bootstrap")).steps
    assert step.foreign == Foreign("is missing", "", "vaultprov bootstrap")


def test_an_adopted_resource_still_says_that_it_was_foreign() -> None:
    [step] = plan(Thing("a", {"x": 1}, has(ALIEN, x=2)), allow=["--adopt"]).steps
    assert step.foreign == ALIEN


def test_extras_are_told_when_kept_and_when_changed() -> None:
    made = plan(
        Thing("kept", {"s": some("a")}, has(s=words("a", "b"))),
        Thing("changed", {"s": some("a")}, has(s=words("b"))),
    )
    assert [step.extra for step in made.steps] == [{"s": ("b",)}, {"s": ("b",)}]


def test_a_dependant_of_something_new_changes_after_apply() -> None:
    made = plan(Thing("a", {"x": 1}), Thing("b", {"x": ref("a")}, has(x="old")))
    assert made.steps[1].changes == (FieldChange("x", "old", UNKNOWN),)


def test_a_dependant_of_something_that_exists_is_compared_with_it() -> None:
    source = Thing("a", {"x": 1}, has(x=1, attrs={"id": 7}))
    made = plan(source, Thing("b", {"x": ref("a")}, has(x=7)), Thing("c", {"x": ref("a")}))
    assert actions(made) == {"a": "keep", "b": "keep", "c": "create"}


def test_a_dependant_of_something_that_vanishes_is_unknown() -> None:
    made = plan(Thing("a", None, has(attrs={"id": 7})), Thing("b", {"x": ref("a")}, has(x=7)))
    assert made.steps[1].changes == (FieldChange("x", 7, UNKNOWN),)


def test_steps_come_in_the_order_of_the_resources() -> None:
    made = plan(Thing("z", {"x": ref("a")}), Thing("a", {"x": 1}), Thing("m", None))
    assert [step.key.name for step in made.steps] == ["z", "a", "m"]


def test_a_plan_changes_something_unless_all_is_kept() -> None:
    kept = Thing("a", {"x": 1}, has(x=1))
    assert not plan(kept).changes
    assert plan(kept, Thing("b", {"x": 1})).changes
    assert plan(kept, Thing("b", {"x": 1}, has(ALIEN, x=2))).changes


def test_a_plan_knows_its_refusals() -> None:
    made = plan(Thing("a", {"x": 1}), Thing("b", {}, required="x"), Thing("c", None, has(ALIEN)))
    assert [step.key.name for step in made.refused()] == ["b", "c"]


class TestOrder:
    """The order is read off the Refs and `after`; what is not part of the run is no condition."""

    def test_refs_and_after(self) -> None:
        world = [
            Thing("c", {"x": ref("a"), "y": ref("elsewhere")}, after=(key("b"), key("nowhere"))),
            Thing("a", {"x": 1}),
            Thing("b", None, after=(key("a"),)),
        ]
        assert order(world) == {
            key("c"): {key("a"), key("b")},
            key("a"): set(),
            key("b"): {key("a")},
        }

    def test_a_cycle_is_an_error_of_ours(self) -> None:
        with pytest.raises(CycleError):
            order([Thing("a", {"x": ref("b")}), Thing("b", {}, after=(key("a"),))])


names = st.sampled_from(["a", "b", "c", "d"])
members = st.frozensets(names)
texts = st.dictionaries(names, names)
wanted_values = st.one_of(
    names,
    st.none(),
    members,
    texts,
    st.builds(AtLeast, members, st.booleans()),
    st.builds(AtLeast, texts),
    st.builds(OnCreate, names),
)


def found_like(value: Any) -> st.SearchStrategy[Any]:
    """What a read may answer for a field that wants `value`: the same kind of thing, or nothing."""
    shape = value.items if isinstance(value, AtLeast) else value
    if isinstance(shape, frozenset):
        starred = st.frozensets(st.one_of(names, st.sampled_from(["*", "a*", "*b"])))
        return st.one_of(st.none(), starred)
    return (
        st.one_of(st.none(), texts) if isinstance(shape, Mapping) else st.one_of(st.none(), names)
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Any], State | None]:
    wanted = draw(st.dictionaries(st.sampled_from(["x", "y", "z"]), wanted_values))
    if draw(st.booleans()):
        return wanted, None
    return wanted, State({name: draw(found_like(value)) for name, value in wanted.items()})


@given(worlds())
def test_once_the_target_is_written_nothing_is_left_to_do(
    world: tuple[dict[str, Any], State | None],
) -> None:
    wanted, found = world
    assert diff(wanted, State(target(wanted, found))) == ()


@given(worlds())
def test_a_target_differs_exactly_where_the_plan_says(
    world: tuple[dict[str, Any], State | None],
) -> None:
    wanted, found = world
    have = found.fields if found else {}
    differing = {
        name
        for name, value in target(wanted, found).items()
        if (have.get(name) or None) != (value or None)
    }
    assert {c.field for c in diff(wanted, found) if (c.before or None) != (c.after or None)} == (
        differing
    )


@given(members, members, st.booleans())
def test_at_least_never_removes_a_member(
    ours: frozenset[str], have: frozenset[str], g: bool
) -> None:
    aim = target({"x": AtLeast(ours, g)}, has(x=have))["x"]
    assert aim == have | ours


@given(texts, texts)
def test_at_least_never_removes_a_member_of_a_mapping(
    ours: dict[str, str], have: dict[str, str]
) -> None:
    aim = target({"x": AtLeast(ours)}, has(x=have))["x"]
    assert set(aim) == set(have) | set(ours)
    assert {k: aim[k] for k in ours} == ours
    assert all(aim[k] == have[k] for k in have if k not in ours)
