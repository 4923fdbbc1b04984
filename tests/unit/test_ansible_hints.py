"""A hint of the command line is told in a playbook's terms; a command line in it stays as it is."""

from __future__ import annotations

import pytest

from vaultprov.ansible.engine import TaskFailed
from vaultprov.errors import Refused

PARAMS = {"adopt": False, "kubernetes_host": None, "kubernetes_ca_file": None, "bootstrap": False,
          "only": None, "context": None}  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("", ""),
        ("add --adopt to the same command", "add adopt: true to the same task"),
        (
            "give --kubernetes-host URL and --kubernetes-ca-file FILE",
            "give kubernetes_host: URL and kubernetes_ca_file: FILE",
        ),
        (
            "vaultprov bootstrap (once for the whole site; or add --bootstrap)",
            "vaultprov bootstrap (once for the whole site; or add bootstrap: true)",
        ),
        (
            "--set argocd.repo_url=URL, or in the site file",
            'set: {argocd.repo_url: "URL"}, or in the site file',
        ),
        (
            "kubectl --context smaug get nodes, then add --adopt",
            "kubectl --context smaug get nodes, then add adopt: true",
        ),
        ("vaultprov offboard --only vault", "vaultprov offboard --only vault"),
        ("add --probe", "add --probe"),  # not an option of this module
    ],
)
def test_a_hint_names_the_tasks_options(hint: str, told: str) -> None:
    failed = TaskFailed(Refused("no", hint=hint), PARAMS, 6)
    assert failed.result == {"key": None, "hint": told, "exit_code": 6}
    assert str(failed) == (f"no. Next: {told}" if told else "no")


def test_a_message_does_so_too() -> None:
    failed = TaskFailed(Refused("--only vault knows nothing of the cluster"), PARAMS, 2)
    assert str(failed) == "only: vault knows nothing of the cluster"
