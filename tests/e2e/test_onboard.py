"""The main job, as a user runs it, against real servers."""

from __future__ import annotations

from tests.conftest import Lab


def test_from_nothing_to_a_proof(site: Lab) -> None:
    done = site.onboard()
    assert done.code == 0, done.err
    assert "may read k8s_secrets/moc/smaug/" in done.out


def test_a_second_run_writes_nothing(onboarded: Lab) -> None:
    again = onboarded.onboard("--output", "json")
    assert again.code == 0
    assert again.document["changed"] is False
    assert again.actions() == {}
