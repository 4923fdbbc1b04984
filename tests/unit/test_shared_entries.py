"""An entry in somebody else's object: theirs survive ours, whatever the API server does."""

from __future__ import annotations

from typing import Any

import pytest

from vaultprov.errors import NotConverged
from vaultprov.kube.egress import config_entry
from vaultprov.kube.manifest import Manifest
from vaultprov.resource import Io

OURS = config_entry([{"ports": [{"protocol": "TCP", "port": 8200}]}])
THEIRS = {"name": "theirs", "componentName": "ExternalSecretsCoreController", "egress": [{}]}


class OneObject:
    """A KubePort of one ExternalSecretsConfig. atomic: an apply replaces the list."""

    def __init__(self, *, atomic: bool) -> None:
        self.atomic = atomic
        self.entries: list[dict[str, Any]] = [THEIRS]

    def get(self, _: object) -> dict[str, Any]:
        listed = {"controllerConfig": {"networkPolicies": list(self.entries)}}
        return {**OURS, "metadata": {"name": "cluster", "managedFields": []}, "spec": listed}

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        given = body["spec"]["controllerConfig"]["networkPolicies"]
        names = {each["name"] for each in given}
        kept = [] if self.atomic else [e for e in self.entries if e["name"] not in names]
        self.entries = [*kept, *given]
        return self.get(body)


def written(server: OneObject) -> Manifest:
    manifest = Manifest(OURS, entry=True)
    wanted = manifest.wanted()
    assert wanted is not None
    manifest.write(Io(None, server), wanted.fields, None)  # type: ignore[arg-type]  # a part of one
    return manifest


def test_theirs_stay_and_are_no_drift() -> None:
    server = OneObject(atomic=False)
    manifest = written(server)
    assert THEIRS in server.entries
    assert manifest.read(Io(None, server)).fields == manifest.wanted().fields  # type: ignore[arg-type, union-attr]  # a part of one; both exist


def test_what_an_api_server_drops_is_put_back_and_said() -> None:
    server = OneObject(atomic=True)
    with pytest.raises(NotConverged, match="put back"):
        written(server)
    assert THEIRS in server.entries
