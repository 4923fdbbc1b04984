"""Looking at the world, and making a plan true: in the order of the data, otherwise at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum

from vaultprov.errors import Error, MissingRight, NotConverged, Rejected, StalePlan
from vaultprov.plan import (
    Action,
    FieldChange,
    Observed,
    Plan,
    Step,
    diff,
    order,
    resolve,
    target,
)
from vaultprov.resource import (
    UNKNOWN,
    Fields,
    Io,
    Key,
    KubeRight,
    Resource,
    Right,
    State,
    VaultRight,
)
from vaultprov.retry import Budget

WORKERS = 24  # a run has fewer independent reads than this, so that all go out at once
_PROVISIONER = (
    "use a Vault token with policy vaultprov-provisioner (`vaultprov bootstrap` writes it; for "
    "teams it is not enough, use an administrator's) and a kubeconfig of a cluster admin"
)
CONVERGENCE = 30.0  # seconds that a standby may lag behind a write


class Status(StrEnum):
    """How a step ended."""

    WRITTEN = "written"
    KEPT = "kept"
    FAILED = "failed"
    SKIPPED = "skipped"  # what it needs failed
    REFUSED = "refused"
    PLANNED = "planned"  # nothing was tried


@dataclass(frozen=True, slots=True)
class Result:
    """A step and how it ended."""

    step: Step
    status: Status
    error: Error | None = None


OnEvent = Callable[[Result], None]


def observe(resources: Sequence[Resource], io: Io, budget: Budget) -> dict[Key, State | None]:
    """Reads every resource, concurrently. Raises the first Error in the resources' order."""
    with ThreadPoolExecutor(WORKERS) as pool:
        reads = {r.key: pool.submit(budget.call, lambda r=r: r.read(io)) for r in resources}
        return {key: read.result() for key, read in reads.items()}


def check_rights(
    resources: Sequence[Resource],
    plan: Plan,
    io: Io,
    besides: Sequence[Right] = (),
    hint: str = _PROVISIONER,
) -> None:
    """Raises MissingRight if any write of the plan is not allowed; changes nothing.

    besides: rights that the run needs after its writes. hint: who may do it.
    """
    by_key = {resource.key: resource for resource in resources}
    writes = (Action.CREATE, Action.UPDATE, Action.DELETE)
    needed = (
        right
        for step in plan.steps
        if step.action in writes
        for right in by_key[step.key].rights(step.action)
    )
    rights = dict.fromkeys([*needed, *besides])
    missing = _missing_in_vault([r for r in rights if isinstance(r, VaultRight)], io)
    missing += _missing_in_cluster([r for r in rights if isinstance(r, KubeRight)], io)
    if missing:
        raise MissingRight(
            "missing right: " + "; ".join(missing) + ". Nothing was written",
            hint=hint,
        )


def _missing_in_vault(rights: Sequence[VaultRight], io: Io) -> list[str]:
    if not rights:
        return []
    answer = io.vault.write("sys/capabilities-self", {"paths": [r.path for r in rights]})
    missing = []
    for right in rights:
        held = frozenset(answer.get(right.path, ()))
        if held & {"create", "update"}:
            held |= {"write"}
        lacking = [] if "root" in held else [need for need in right.needs if need not in held]
        if lacking:
            missing.append(f"Vault path {right.path} needs {' and '.join(lacking)}")
    return missing


def _missing_in_cluster(rights: Sequence[KubeRight], io: Io) -> list[str]:
    if not rights:
        return []
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = pool.map(lambda right: _held(right, io), rights)
        return [
            f"the cluster does not allow {r}"
            for r, ok in zip(rights, answers, strict=True)
            if not ok
        ]


def _held(right: KubeRight, io: Io) -> bool:
    if io.kube.allowed(right):
        return True
    return bool(right.instead) and all(io.kube.allowed(each) for each in right.instead)


def apply(
    resources: Sequence[Resource],
    plan: Plan,
    observed: Observed,
    io: Io,
    budget: Budget,
    on_event: OnEvent = lambda _: None,
    on_state: Callable[[Key, State | None], None] = lambda *_: None,
) -> tuple[Result, ...]:
    """Makes the plan true; the results in the order of the plan.

    Events come as things happen, and so does every state that is seen. A failed step takes what
    depends on it with it and nothing else.
    """
    by_key = {resource.key: resource for resource in resources}
    steps = {step.key: step for step in plan.steps}
    world = World(observed, on_state)
    waiting = order(resources)
    results: dict[Key, Result] = {}
    running: dict[Future[Result], Key] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        while waiting or running:
            for key in [k for k, needs in waiting.items() if needs <= results.keys()]:
                needs = waiting.pop(key)
                broken = sorted(
                    k for k in needs if results[k].status in (Status.FAILED, Status.SKIPPED)
                )
                if broken:
                    results[key] = _skipped(steps[key], broken[0])
                    on_event(results[key])
                else:
                    running[pool.submit(_run, by_key[key], steps[key], world, io, budget)] = key
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                results[running.pop(future)] = result
                on_event(result)
    return tuple(results[step.key] for step in plan.steps)


class World:
    """What is known of every resource while the plan is being applied."""

    def __init__(self, observed: Observed, on_state: Callable[[Key, State | None], None]) -> None:
        self._on_state = on_state
        self._states: dict[Key, State | None] = dict(observed)
        self._lock = threading.Lock()

    def saw(self, key: Key, state: State | None) -> None:
        with self._lock:
            self._states[key] = state
            self._on_state(key, state)

    def states(self) -> Mapping[Key, State | None]:
        with self._lock:
            return dict(self._states)


def _skipped(step: Step, cause: Key) -> Result:
    return Result(step, Status.SKIPPED, Error(f"not tried: it needs {cause}, which failed"))


def _run(resource: Resource, step: Step, world: World, io: Io, budget: Budget) -> Result:
    if step.action is Action.KEEP:
        return Result(step, Status.KEPT)
    wrote = False  # remembered across attempts: a lost answer must not be reported as unchanged

    def attempt() -> Fields | None:
        """Reads, and writes what still differs; the fields that must be found afterwards."""
        nonlocal wrote
        found = _look(resource, io, world)
        wanted = resource.wanted()
        if wanted is None:
            if found is not None:
                wrote = True
                resource.remove(io, found)
            return None
        fields = resolve(wanted.fields, world.states())
        changes = diff(fields, found)
        if not wrote:
            _check_stale(step, changes, found)
        if changes or found is None:
            wrote = True
            try:
                resource.write(io, target(fields, found), found)
            except Rejected:
                # Somebody may have made the very same at the same moment (`already in use`).
                now = _look(resource, io, world)
                if now is None or diff(fields, now):
                    raise
        return fields

    try:
        fields = budget.call(attempt)
        if wrote:
            # Polled apart from the write: a standby that lags must not be answered with another.
            patience = Budget(min(budget.left(), CONVERGENCE))
            patience.call(lambda: _expect(resource, io, world, fields))
    except Error as error:
        return Result(step, Status.FAILED, error)
    return Result(step, Status.WRITTEN if wrote else Status.KEPT)


def _look(resource: Resource, io: Io, world: World) -> State | None:
    io.forget()
    found = resource.read(io)
    world.saw(resource.key, found)
    return found


def _expect(resource: Resource, io: Io, world: World, fields: Fields | None) -> None:
    """Success is a second read that agrees, not a 2xx."""
    after = _look(resource, io, world)
    if fields is None:
        left = ["it still exists"] if after is not None else []
    elif after is None:
        left = ["it does not exist"]
    else:
        left = [change.name for change in diff(fields, after)]
    if left:
        raise NotConverged(
            f"{resource.key} was written, but reading it again disagrees: {', '.join(left)}",
            hint="look for another writer, then run the same command again",
            transient=True,
        )


def _check_stale(step: Step, changes: Sequence[FieldChange], found: State | None) -> None:
    """A field that was known at plan time must not differ now, except by having become right."""
    planned = {change.name: change for change in step.changes}
    surprises = [
        change.name
        for change in changes
        if change.name not in planned
        or (planned[change.name].after is not UNKNOWN and planned[change.name] != change)
    ]
    appeared = found is not None and step.action is Action.CREATE and bool(changes)
    if surprises or appeared:
        what = ", ".join(surprises) or "somebody else created it"
        raise StalePlan(
            f"the plan is stale: {step.key} has changed since it was made ({what})",
            hint="run the same command again",
        )
