"""Applying: in the order of the data, success is a second read, and a failure stays local."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.worlds import Box, Clock, MemoryVault, Shelf, Thing, has, key, plan, ref
from vaultprov.apply import Result, Status, apply, check_rights, observe
from vaultprov.errors import Denied, Error, MissingRight, NotConverged, StalePlan, Unreachable
from vaultprov.plan import make_plan
from vaultprov.resource import AtLeast, Fields, Io, KubeRight, Right, State, VaultRight

ORDER = ["a", "b", "c", "d", "e"]


def away() -> Unreachable:
    return Unreachable("no answer", transient=True)


def run(clock: Clock, *boxes: Box, between: Mapping[str, Any] | None = None) -> dict[str, Result]:
    """Plans, lets somebody change the shelf in between, and applies; the results by name."""
    io = Io(None, None)
    observed = observe(boxes, io, clock.budget())
    made = make_plan(boxes, observed)
    for name, fields in (between or {}).items():
        if fields is None:
            boxes[0].shelf.content.pop(name)
        else:
            boxes[0].shelf.content[name] = fields
    results = apply(boxes, made, observed, io, clock.budget(timeout=10))
    assert [result.step for result in results] == list(made.steps)
    return {result.step.key.name: result for result in results}


def ends(results: Mapping[str, Result]) -> dict[str, str]:
    return {name: str(result.status) for name, result in results.items()}


def error_of(result: Result) -> Error:
    assert result.error is not None
    return result.error


@dataclass(frozen=True)
class HalfWritten(Box):
    """A write that fails writes the first of its fields all the same."""

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        if self.fails:
            self.shelf.content[self.name] = dict(list(target.items())[:1])
        super().write(io, target, found)


@dataclass(frozen=True)
class Lagging(Box):
    """Once there is something to read, the first `lag` reads do not see it."""

    lag: list[int] = field(default_factory=lambda: [0])

    def read(self, io: Io) -> State | None:
        state = super().read(io)
        if state is not None and self.lag[0]:
            self.lag[0] -= 1
            return None
        return state


class TestOrder:
    def test_what_is_referred_to_comes_first_and_its_value_arrives(self, clock: Clock) -> None:
        shelf = Shelf()
        chain = [
            Box(shelf, "c", {"x": ref("b")}),
            Box(shelf, "b", {"x": ref("a")}),
            Box(shelf, "a"),
        ]
        assert set(ends(run(clock, *chain)).values()) == {"written"}
        assert shelf.log == ["write a", "write b", "write c"]
        assert shelf.content["c"] == {"x": "id of b"}

    def test_after_is_order_without_data(self, clock: Clock) -> None:
        shelf = Shelf()
        run(clock, Box(shelf, "b", after=(key("a"),)), Box(shelf, "a"))
        assert shelf.log == ["write a", "write b"]

    def test_events_come_as_things_happen_and_results_in_the_plans_order(
        self, clock: Clock
    ) -> None:
        shelf = Shelf()
        heard: list[Result] = []
        boxes = [Box(shelf, "b", {"x": ref("a")}), Box(shelf, "a")]
        made = make_plan(boxes, {})
        results = apply(boxes, made, {}, Io(None, None), clock.budget(), heard.append)
        assert [r.step.key.name for r in heard] == ["a", "b"]
        assert [r.step.key.name for r in results] == ["b", "a"]


class TestFailure:
    def test_takes_its_dependants_with_it_and_nothing_else(self, clock: Clock) -> None:
        shelf = Shelf()
        results = run(
            clock,
            Box(shelf, "a", fails=[Denied("not you")]),
            Box(shelf, "b", {"x": ref("a")}),
            Box(shelf, "c", {"x": ref("b")}),
            Box(shelf, "d", after=(key("a"),)),
            Box(shelf, "e"),
        )
        assert ends(results) == {
            "a": "failed",
            "b": "skipped",
            "c": "skipped",
            "d": "skipped",
            "e": "written",
        }
        assert error_of(results["a"]).message == "not you"
        assert error_of(results["c"]).message == "not tried: it needs thing/b, which failed"
        assert sorted(shelf.log) == ["write a", "write e"]

    def test_of_one_source_is_enough(self, clock: Clock) -> None:
        shelf = Shelf()
        needy = Box(shelf, "c", {"x": ref("a"), "y": ref("b")})
        results = run(clock, Box(shelf, "a"), Box(shelf, "b", fails=[Denied("no")]), needy)
        assert ends(results) == {"a": "written", "b": "failed", "c": "skipped"}

    def test_that_may_pass_is_tried_again(self, clock: Clock) -> None:
        shelf = Shelf()
        assert ends(run(clock, Box(shelf, "a", fails=[away(), away()]))) == {"a": "written"}
        assert shelf.did("write a") == 3

    def test_that_will_not_pass_is_not_tried_again(self, clock: Clock) -> None:
        shelf = Shelf()
        assert ends(run(clock, Box(shelf, "a", fails=[Denied("no")]))) == {"a": "failed"}
        assert shelf.did("write a") == 1


class TestSuccess:
    def test_is_a_second_read_that_agrees(self, clock: Clock) -> None:
        shelf = Shelf(b={"x": 2, "y": 1})
        results = run(clock, Box(shelf, "a", deaf=True), Box(shelf, "b", {"x": 1}, deaf=True))
        assert ends(results) == {"a": "failed", "b": "failed"}
        assert isinstance(results["a"].error, NotConverged)
        assert error_of(results["a"]).message.endswith("disagrees: it does not exist")
        assert error_of(results["b"]).message.endswith("disagrees: x")

    @pytest.mark.parametrize(
        "lag",
        [1, 2],
    )
    def test_may_show_late_and_is_waited_for_without_a_second_write(
        self, clock: Clock, lag: int
    ) -> None:
        """A standby that serves reads lags behind; enabling a mount twice is an error."""
        shelf = Shelf()
        assert ends(run(clock, Lagging(shelf, "a", lag=[lag]))) == {"a": "written"}
        assert len(clock.naps) == lag
        assert shelf.log == ["write a"]

    def test_of_a_removal_is_a_second_read_that_finds_nothing(self, clock: Clock) -> None:
        results = run(clock, Box(Shelf(a={"x": 1}), "a", None, deaf=True))
        assert isinstance(results["a"].error, NotConverged)
        assert error_of(results["a"]).message.endswith("disagrees: it still exists")

    def test_writes_what_others_added_along_with_ours(self, clock: Clock) -> None:
        shelf = Shelf(a={"x": frozenset({"theirs"})})
        run(clock, Box(shelf, "a", {"x": AtLeast(frozenset({"ours"}))}))
        assert shelf.content["a"]["x"] == {"ours", "theirs"}

    def test_a_second_run_writes_nothing(self, clock: Clock) -> None:
        shelf = Shelf()
        boxes = [Box(shelf, "b", {"x": ref("a")}), Box(shelf, "a")]
        run(clock, *boxes)
        shelf.log.clear()
        assert ends(run(clock, *boxes)) == {"a": "kept", "b": "kept"}
        assert shelf.log == []

    def test_removal(self, clock: Clock) -> None:
        shelf = Shelf(a={"x": 1})
        results = run(clock, Box(shelf, "a", None), Box(shelf, "b", None))
        assert ends(results) == {"a": "written", "b": "kept"}
        assert (shelf.content, shelf.log) == ({}, ["remove a"])


class TestLostAnswer:
    """A write that took effect is not repeated, and is not reported as unchanged."""

    def test_of_a_write(self, clock: Clock) -> None:
        shelf = Shelf()
        assert ends(run(clock, Box(shelf, "a", loses=[away()]))) == {"a": "written"}
        assert shelf.log == ["write a"]

    def test_of_a_change(self, clock: Clock) -> None:
        shelf = Shelf(a={"x": 0})
        assert ends(run(clock, Box(shelf, "a", loses=[away()]))) == {"a": "written"}
        assert shelf.log == ["write a"]

    def test_of_a_write_that_took_effect_in_part_is_no_stale_plan(self, clock: Clock) -> None:
        shelf = Shelf()
        halves: list[Error] = [away()]
        results = run(clock, HalfWritten(shelf, "a", {"x": 1, "y": 2}, fails=halves))
        assert ends(results) == {"a": "written"}
        assert shelf.content["a"] == {"x": 1, "y": 2}

    def test_of_a_removal(self, clock: Clock) -> None:
        shelf = Shelf(a={"x": 1})
        assert ends(run(clock, Box(shelf, "a", None, loses=[away()]))) == {"a": "written"}
        assert shelf.log == ["remove a"]


class TestStalePlan:
    """What was known when the plan was shown must still be so, or be right by now."""

    @pytest.mark.parametrize(
        ("before", "wants", "between", "named"),
        [
            ({"x": 2}, {"x": 1}, {"x": 3}, "x"),
            ({"x": 2, "y": 1}, {"x": 1, "y": 1}, {"x": 2, "y": 2}, "y"),
            ({"x": 2}, {"x": 1}, None, "x"),
            (None, {"x": 1}, {"x": 2}, "x"),
            ({"x": {"k": 2}}, {"x": {"k": 1}}, {"x": {"k": 2, "l": 1}}, "x[l]"),
        ],
        ids=["changed", "another field", "removed", "somebody created it", "a new member"],
    )
    def test_a_surprise_stops_the_step(
        self, clock: Clock, before: Any, wants: Any, between: Any, named: str
    ) -> None:
        shelf = Shelf(**({} if before is None else {"a": before}))
        results = run(clock, Box(shelf, "a", wants), between={"a": between})
        assert isinstance(results["a"].error, StalePlan)
        assert f"({named})" in error_of(results["a"]).message
        assert shelf.log == []

    def test_somebody_else_created_it_without_our_field(self, clock: Clock) -> None:
        shelf = Shelf()
        results = run(clock, Box(shelf, "a"), between={"a": {"theirs": 1}})
        assert isinstance(results["a"].error, StalePlan)
        assert "(somebody else created it)" in error_of(results["a"]).message
        assert shelf.log == []

    @pytest.mark.parametrize("before", [{"x": 2}, None], ids=["changed", "created"])
    def test_what_became_right_meanwhile_is_kept(self, clock: Clock, before: Any) -> None:
        shelf = Shelf(**({} if before is None else {"a": before}))
        assert ends(run(clock, Box(shelf, "a"), between={"a": {"x": 1}})) == {"a": "kept"}
        assert shelf.log == []

    def test_what_vanished_meanwhile_needs_no_removal(self, clock: Clock) -> None:
        shelf = Shelf(a={"x": 1})
        assert ends(run(clock, Box(shelf, "a", None), between={"a": None})) == {"a": "kept"}
        assert shelf.log == []

    def test_a_value_known_only_after_apply_is_no_surprise(self, clock: Clock) -> None:
        shelf = Shelf(b={"x": "id of an older a"})
        results = run(clock, Box(shelf, "a"), Box(shelf, "b", {"x": ref("a")}))
        assert ends(results) == {"a": "written", "b": "written"}

    def test_is_not_tried_again(self, clock: Clock) -> None:
        run(clock, Box(Shelf(a={"x": 2}), "a"), between={"a": {"x": 3}})
        assert clock.naps == []


class TestObserve:
    def test_reads_everything(self, clock: Clock) -> None:
        boxes = [Box(Shelf(a={"x": 1}), "a"), Box(Shelf(), "b")]
        observed = observe(boxes, Io(None, None), clock.budget())
        assert observed == {key("a"): has(x=1, attrs={"id": "id of a"}), key("b"): None}

    def test_reports_the_first_error_in_the_order_of_the_resources(self, clock: Clock) -> None:
        shelf = Shelf()
        boxes = [Box(shelf, n, blind=Denied(n) if n in "bd" else None) for n in ORDER]
        with pytest.raises(Denied, match="b"):
            observe(boxes, Io(None, None), clock.budget())


class TestRights:
    """Before the first write: is every write of the plan allowed?"""

    PATH = "auth/smaug-k8s/config"

    def check(
        self, needs: Sequence[Right], held: Mapping[str, list[str]], wants: Any = None
    ) -> MemoryVault:
        vault = MemoryVault({"sys/capabilities-self": held})
        box = Box(Shelf(), "a", wants or {"x": 1}, needs=tuple(needs))
        check_rights([box], make_plan([box], {}), Io(vault, None))
        return vault

    @pytest.mark.parametrize(
        ("needs", "held"),
        [
            ("write", "create"),
            ("write", "update"),
            ("write sudo", "update sudo"),
            ("delete", "delete"),
            ("write sudo", "root"),
        ],
    )
    def test_held(self, needs: str, held: str) -> None:
        self.check([VaultRight(self.PATH, tuple(needs.split()))], {self.PATH: held.split()})

    @pytest.mark.parametrize(
        ("needs", "held", "lacking"),
        [
            ("write", "deny", "write"),
            ("write", "read list", "write"),
            ("write sudo", "update", "sudo"),
            ("write sudo", "read", "write and sudo"),
            ("delete", "create update", "delete"),
        ],
    )
    def test_lacking_names_the_path_and_the_capability(
        self, needs: str, held: str, lacking: str
    ) -> None:
        with pytest.raises(MissingRight) as caught:
            self.check([VaultRight(self.PATH, tuple(needs.split()))], {self.PATH: held.split()})
        assert f"Vault path {self.PATH} needs {lacking}." in caught.value.message
        assert "Nothing was written" in caught.value.message

    def test_a_path_that_vault_does_not_answer_for_is_not_allowed(self) -> None:
        with pytest.raises(MissingRight):
            self.check([VaultRight(self.PATH, ("write",))], {})

    def test_all_that_is_missing_is_told_at_once(self) -> None:
        needs = [VaultRight("one", ("write",)), VaultRight("two", ("write",))]
        with pytest.raises(MissingRight, match=r"one needs write; .*two needs write"):
            self.check(needs, {})

    def test_vault_is_asked_once_for_all_paths(self) -> None:
        needs = [VaultRight(path, ("write",)) for path in ("one", "two", "one")]
        vault = self.check(needs, {"one": ["update"], "two": ["update"]})
        assert vault.written == [("sys/capabilities-self", {"paths": ["one", "two"]})]

    def test_nobody_is_asked_when_nothing_is_written(self) -> None:
        kept = Thing("a", {"x": 1}, has(x=1))
        vault = MemoryVault()
        check_rights([kept], plan(kept), Io(vault, None))
        assert vault.asked == []

    def test_it_is_told_who_has_the_right(self) -> None:
        """For teams that is not who has policy vaultprov-provisioner."""
        box = Box(Shelf(), "a", needs=(KubeRight("get", "", "secrets", "ns", "s"),))
        with pytest.raises(MissingRight) as caught:
            check_rights(
                [box],
                make_plan([box], {}),
                Io(None, StrictKube(KubeRight("get", "", "pods", "ns"))),
            )
        assert "for teams it is not enough, use an administrator's" in caught.value.hint

    def test_the_cluster_is_asked_for_each_right(self) -> None:
        may = KubeRight("get", "", "secrets", "ns", "s")
        may_not = KubeRight("create", "rbac.authorization.k8s.io", "clusterrolebindings", None)
        box = Box(Shelf(), "a", needs=(may, may_not))
        with pytest.raises(MissingRight) as caught:
            check_rights([box], make_plan([box], {}), Io(None, StrictKube(may)))
        assert "not allow create clusterrolebindings.rbac.authorization.k8s.io" in (
            caught.value.message
        )
        assert "secrets" not in caught.value.message


class StrictKube:
    """A cluster that allows one thing."""

    server = context = "smaug"

    def __init__(self, right: KubeRight) -> None:
        self.right = right

    def allowed(self, right: KubeRight) -> bool:
        return right == self.right

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(name)


def test_a_step_that_keeps_is_not_looked_at_again(clock: Clock) -> None:
    """Its read was part of the plan: applying costs requests for changes only."""
    thing = Thing("a", {"x": 1}, has(x=1))
    observed = {thing.key: thing.found}
    made = make_plan([thing], observed)
    blind = Box(Shelf(), "a", {"x": 1}, blind=Denied("must not be read"))
    [result] = apply([blind], made, observed, Io(None, None), clock.budget())
    assert result.status is Status.KEPT
