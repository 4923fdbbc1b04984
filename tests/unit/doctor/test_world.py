"""What the world concludes from what it was told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from vaultprov.doctor.facts import Case
from vaultprov.doctor.network import Network
from vaultprov.doctor.stores import store_of
from vaultprov.doctor.world import World
from vaultprov.model import Onboarding
from vaultprov.resource import KubeReader

SECRET = {"kind": "ExternalSecret", "metadata": {"name": "db", "namespace": "team-a"}}


class Cluster:
    """A cluster that has events, and nothing else."""

    def __init__(self, *said: str) -> None:
        self.said = said

    def items(self, *_: object) -> list[dict[str, Any]]:
        about = {"kind": "ExternalSecret", "name": "db"}
        return [
            {"type": "Warning", "involvedObject": about, "lastTimestamp": when, "message": when}
            for when in self.said
        ]


def store(**times: str) -> Any:
    """A store whose spec and status were written at these times."""
    managed = [{"time": when, "fieldsV1": {f"f:{part}": {}}} for part, when in times.items()]
    return store_of(
        {
            "kind": "ClusterSecretStore",
            "metadata": {"name": "vault", "managedFields": managed},
            "spec": {"provider": {"vault": {"server": "https://vault"}}},
        }
    )


EARLY, LATE, LATER = "2026-11-23T09:00:00Z", "2026-11-23T09:00:01Z", "2026-11-23T09:00:02Z"
CASES = [
    ("said before the change", (EARLY,), {"spec": LATE}, True),
    ("said after the change", (LATE,), {"spec": EARLY}, False),
    ("said in the same second", (LATE,), {"spec": LATE}, False),
    ("the newest word counts", (EARLY, LATER), {"spec": LATE}, False),
    ("a status is no change", (LATE,), {"spec": EARLY, "status": LATER}, False),
    ("nothing was said", (), {"spec": LATE}, False),
]


@pytest.mark.parametrize(
    ("said", "times", "old"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_words_of_before_the_stores_last_change_are_old(
    said: tuple[str, ...], times: dict[str, str], old: bool
) -> None:
    case = Case(Onboarding("moc", "smaug"), "https://vault")
    world = World(case, cast("Network", None), kube=cast("KubeReader", Cluster(*said)))
    assert world.is_outdated(SECRET, store(**times)) is old


def test_events_come_newest_first() -> None:
    case = Case(Onboarding("moc", "smaug"), "https://vault")
    cluster = cast("KubeReader", Cluster(EARLY, LATER, LATE))
    assert World(case, cast("Network", None), kube=cluster).events(SECRET) == (LATER, LATE, EARLY)
