"""What the collection's modules do: parameters -> use cases -> what a module returns.

The modules know Ansible and nothing of Vault; this knows the use cases and nothing of Ansible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vaultprov.apply import Status
from vaultprov.clients.network import SocketNetwork
from vaultprov.doctor.diagnose import diagnose
from vaultprov.errors import Bug, ConfigError, Error
from vaultprov.offboard import offboard
from vaultprov.report import document
from vaultprov.report.diagnosis import document as diagnoses
from vaultprov.run import Outcome, execute
from vaultprov.settings import BY_KEY
from vaultprov.verification import Proof
from vaultprov.verification import verify as prove
from vaultprov.wiring import wired
from vaultprov.wiring_diagnosis import world_of

# The command line's names -> those of the options that `wiring` takes.
_OPTIONS = {
    "context": "kubernetes__context",
    "kubernetes_host": "kubernetes__host",
    "kubernetes_ca_file": "kubernetes__ca_file",
    "reviewer": "reviewer__mode",
    "service_account": "service_accounts",
    "egress": "egress__mode",
    "vault_cidr": "egress__cidrs",
    "auth": "vault__auth",
    "auth_role_file": "vault__auth_role_file",
    "auth_secret_file": "vault__auth_secret_file",
}
# Connections have one home, whoever asks: the variables that the command line reads.
_VARIABLES = {
    "vault_addr": "VAULT_ADDR",
    "vault_token": "VAULT_TOKEN",
    "vault_namespace": "VAULT_NAMESPACE",
    "vault_cacert": "VAULT_CACERT",
    "auth_mount": "VAULTPROV_VAULT_AUTH_MOUNT",
    "auth_role": "VAULTPROV_VAULT_AUTH_ROLE",
    "auth_secret": "VAULTPROV_AUTH_SECRET",
    "kubeconfig": "KUBECONFIG",
}
# What is inside is a command line, to be run as it is.
_COMMAND = re.compile(r"(\bvaultprov [^;,()]*)")
_ENDED_BADLY = (Status.FAILED, Status.REFUSED)
_FILES = ("config", "reviewer_jwt_file", "jwks_file", "store_token_file")
# What only an onboarding uses: the same task with `state: absent` is to take back what it made.
_ONLY_PRESENT = ("reviewer_jwt_file", "jwks_file", "store_token_file", "cluster_uid", "bootstrap",
                 "renew_reviewer", "replace_cluster", "no_verify")  # fmt: skip
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One task. check: nothing is to be written. environ: as the module's process has it."""

    params: Params
    environ: Mapping[str, str]
    warn: Callable[[str], None]
    check: bool = False


class TaskFailed(Exception):
    """Why a task failed, in a playbook's terms. result: everything that the module returns."""

    def __init__(
        self, told: Error, params: Params, exit_code: int, result: Mapping[str, Any] | None = None
    ) -> None:
        message, hint = (_in_a_playbook(text, params) for text in (told.message, told.hint))
        super().__init__(f"{message}. Next: {hint}" if hint else message)
        self.result = {"key": None, **(result or {}), "hint": hint, "exit_code": exit_code}


class _OnlyPlanned(Error):
    """Ends a use case before it writes: check mode."""


def cluster(task: Task) -> dict[str, Any]:
    """Onboards a cluster, or takes it back with `state: absent`. Raises TaskFailed."""
    return _attempt(task, _absent if task.params["state"] == "absent" else _present)


def cluster_info(task: Task) -> dict[str, Any]:
    """How a cluster stands. Raises TaskFailed."""
    return _attempt(task, lambda each: {**_present(each, "status", write=False), "changed": False})


def verify(task: Task) -> dict[str, Any]:
    """What workloads can do and cannot. Raises TaskFailed if something is not as it should be."""
    return _attempt(task, _verified)


def doctor(task: Task) -> dict[str, Any]:
    """The one cause why secrets do not arrive. Raises TaskFailed if there is one."""
    return _attempt(task, _diagnosed)


def _attempt(task: Task, work: Callable[[Task], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work(task)
    except Error as error:
        raise TaskFailed(error, task.params, error.exit_code) from error
    except (TaskFailed, KeyboardInterrupt):
        raise
    except Exception as error:
        # Without its own text: of a value that nobody foresaw, it may be a secret.
        bug = Bug(f"this is a bug of vaultprov ({type(error).__name__})")
        raise TaskFailed(bug, task.params, bug.exit_code) from error


def _present(task: Task, command: str = "onboard", *, write: bool = True) -> dict[str, Any]:
    with wired(command, _options(task.params), _environ(task), task.warn) as (request, io, budget):
        writing = write and not task.check
        outcome = execute(request, io, budget, write=writing, network=SocketNetwork())
    return _result(outcome, task)


def _absent(task: Task) -> dict[str, Any]:
    def on_plan(*_: object) -> None:
        if task.check:
            raise _OnlyPlanned("check mode")

    params = {k: v for k, v in task.params.items() if k not in _ONLY_PRESENT}
    with wired("offboard", _options(params), _environ(task), task.warn) as (request, io, budget):
        outcome = offboard(request, io, budget, network=SocketNetwork(), on_plan=on_plan)
    if isinstance(outcome.error, _OnlyPlanned):
        found = _document(outcome)
        pending = any(step["action"] != "keep" for step in found["steps"])
        return {**found, "ok": True, "changed": pending, "error": None, "diff": _diff(found)}
    return _result(outcome, task)


def _verified(task: Task) -> dict[str, Any]:
    with wired("verify", _options(task.params), _environ(task), task.warn) as (request, io, budget):
        outcome = prove(request, Proof(None, task.params.get("touch_store")), io, budget)
    return _result(outcome, task)


def _diagnosed(task: Task) -> dict[str, Any]:
    options = _options(task.params)
    with world_of(options, _environ(task), task.warn) as world:
        diagnosis = diagnose(
            world,
            suppressed=task.params.get("suppress") or (),
            strict=bool(task.params.get("strict")),
        )
    found: dict[str, Any] = {"changed": False, **json.loads(diagnoses.text(diagnosis))}
    if diagnosis.exit_code == 0:
        return found
    root = found["root"] or {}
    fix = (root.get("fix") or {}).get("command") or ""
    told = f"{root['id']}: {root['cause']}" if root else "some checks could not be told"
    raise TaskFailed(Error(told, hint=fix), task.params, diagnosis.exit_code, found)


def _options(params: Params) -> dict[str, Any]:
    """As `wiring` takes them; what was not given is absent."""
    given = {k: v for k, v in params.items() if v is not None and k not in _VARIABLES}
    given |= {name: Path(given[name]) for name in _FILES if name in given}
    settings = dict(_flat(given.pop("set", None) or {}))
    unknown = sorted(settings.keys() - BY_KEY.keys())
    if unknown:
        raise ConfigError(
            f"set: there is no setting {unknown[0]!r}", hint="vaultprov config show lists every key"
        )
    options = {key.replace(".", "__"): value for key, value in settings.items()}
    return options | {_OPTIONS.get(name, name): value for name, value in given.items()}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`reviewer: {namespace: x}`, as in the site file, is `reviewer.namespace: x`."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and prefix + key not in BY_KEY:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _environ(task: Task) -> dict[str, str]:
    given = {_VARIABLES[k]: str(v) for k, v in task.params.items() if k in _VARIABLES and v}
    return {**task.environ, **given}


def _result(outcome: Outcome, task: Task) -> dict[str, Any]:
    found = _document(outcome)
    result = {**found, "diff": _diff(found)}
    if outcome.error is not None:
        ended = (str(r.step.key) for r in outcome.results if r.status in _ENDED_BADLY)
        failed = {**result, "key": next(ended, None)}
        raise TaskFailed(outcome.error, task.params, outcome.exit_code, failed)
    return result


def _in_a_playbook(told: str, params: Params) -> str:
    """What the command line says, in terms of the task: `--adopt` is `adopt: true`."""

    def option(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        if name not in params:
            return found[0]
        return f"{name}: true" if isinstance(params[name], bool) else f"{name}:"

    parts = _COMMAND.split(told)
    parts[::2] = [
        re.sub(r"--([a-z][a-z-]*)", option, each).replace("the same command", "the same task")
        for each in parts[::2]
    ]
    return "".join(parts)


def _document(outcome: Outcome) -> dict[str, Any]:
    """The document of the command line, as plain data."""
    plain: dict[str, Any] = json.loads(document.text(document.document(outcome)))
    return plain


def _diff(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """What Ansible shows with --diff: for each resource the fields that differ."""
    shown = []
    for step in found["steps"]:
        if step["action"] == "keep":
            continue
        before = {name: each["from"] for name, each in step["fields"].items()}
        after = {name: each["to"] for name, each in step["fields"].items()}
        gone = step["action"] == "delete"
        shown.append(
            {
                "before_header": step["key"],
                "after_header": step["key"],
                "before": _yaml(before) or ("present\n" if gone else ""),
                "after": "" if gone else _yaml(after),
            }
        )
    return shown


def _yaml(fields: Mapping[str, Any]) -> str:
    known = {name: value for name, value in fields.items() if value is not None}
    return yaml.safe_dump(known, sort_keys=True) if known else ""
