"""What the collection's modules do: parameters -> use cases -> what a module returns.

The modules know Ansible and nothing of Vault; this knows the use cases and nothing of Ansible.
"""

from __future__ import annotations

import json
import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vaultprov.apply import Status
from vaultprov.clients.network import SocketNetwork
from vaultprov.doctor.diagnose import diagnose
from vaultprov.errors import Bug, ConfigError, Error
from vaultprov.names import Names
from vaultprov.offboard import offboard
from vaultprov.plan import Plan
from vaultprov.report import document
from vaultprov.report.diagnosis import document as diagnoses
from vaultprov.run import Condition, Outcome, execute
from vaultprov.settings import BY_KEY
from vaultprov.verification import Proof
from vaultprov.verification import verify as prove
from vaultprov.wiring import wired
from vaultprov.wiring_diagnosis import world_of

# The command line's names -> those of the options that `wiring` takes.
_OPTIONS = {
    "vault_addr": "vault__address",
    "vault_namespace": "vault__namespace",
    "vault_cacert": "vault__ca_cert",
    "auth_mount": "vault__auth_mount",
    "auth_role": "vault__auth_role",
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
    "from": "from_dir",
}
# Secrets, and where a kubeconfig is, are no settings: they have one home, the variables that the
# command line reads, the strongest first. What a task says is stronger than any of them, and than
# the file that another variable names.
_VARIABLES = {
    "vault_token": ("BAO_TOKEN", "VAULT_TOKEN"),
    "auth_secret": ("VAULTPROV_AUTH_SECRET",),
    "kubeconfig": ("KUBECONFIG",),
}
_OVERRULED = {"auth_secret": ("VAULTPROV_VAULT_AUTH_SECRET_FILE",)}
# What is inside is a command line, to be run as it is.
_COMMAND = re.compile(r"(\b(?:vaultprov|kubectl|oc|helm|vault|bao|curl) [^;,()]*)")
_SETTING = re.compile(r"--set ([\w.]+)=([^\s,;)]+)")
_ENDED_BADLY = (Status.FAILED, Status.REFUSED)
_PATHS = ("config", "dir", "reviewer_jwt_file", "jwks_file", "store_token_file", "from_dir")
# What only an onboarding uses: the same task with `state: absent` is to take back what it made.
_ONLY_PRESENT = ("reviewer_jwt_file", "jwks_file", "store_token_file", "cluster_uid", "bootstrap",
                 "renew_reviewer", "replace_cluster", "no_verify")  # fmt: skip
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One task. environ: as the module's process has it. check, diff: Ansible's modes."""

    params: Params
    environ: Mapping[str, str]
    warn: Callable[[str], None]
    check: bool = False
    diff: bool = False


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
    return _attempt(task, _looked_at)


def verify(task: Task) -> dict[str, Any]:
    """What workloads can do and cannot. Raises TaskFailed if something is not as it should be."""
    return _attempt(task, _verified)


def doctor(task: Task) -> dict[str, Any]:
    """The one cause why secrets do not arrive. Raises TaskFailed if there is one."""
    return _attempt(task, _diagnosed)


def render(task: Task) -> dict[str, Any]:
    """What is applied in the cluster, as files. Raises TaskFailed."""
    return _attempt(task, _rendered)


def _attempt(task: Task, work: Callable[[Task], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work(task)
    except Error as error:
        raise TaskFailed(error, task.params, error.exit_code) from None
    except TaskFailed:
        raise
    except Exception as error:  # noqa: BLE001 - told as a bug of ours, which it is
        # Without its own text: of a value that nobody foresaw, it may be a secret.
        bug = Bug(f"this is a bug of vaultprov ({type(error).__name__})")
        where = "".join(traceback.format_tb(error.__traceback__))
        shown = {"exception": where} if task.environ.get("VAULTPROV_DEBUG") else {}
        raise TaskFailed(bug, task.params, bug.exit_code, shown) from None


def _present(task: Task) -> dict[str, Any]:
    wiring = wired("onboard", _options(task.params), _environ(task), task.warn)
    with wiring as (request, io, budget):
        outcome = execute(request, io, budget, write=not task.check, network=SocketNetwork())
    return _result(outcome, task)


def _looked_at(task: Task) -> dict[str, Any]:
    """That a cluster's mount is somebody else's is an answer, too, and no failure."""
    wiring = wired("status", _options(task.params), _environ(task), task.warn)
    with wiring as (request, io, budget):
        outcome = execute(request, io, budget, write=False, network=SocketNetwork())
    found = {**_told(outcome, task), "changed": False}
    if outcome.error is not None and outcome.condition is not Condition.FOREIGN:
        raise TaskFailed(outcome.error, task.params, outcome.exit_code, found)
    return found


def _absent(task: Task) -> dict[str, Any]:
    def on_plan(plan: Plan, _: Outcome) -> None:
        if task.check and not plan.refused():
            raise _OnlyPlanned("check mode")

    params = {k: v for k, v in task.params.items() if k not in _ONLY_PRESENT}
    with wired("offboard", _options(params), _environ(task), task.warn) as (request, io, budget):
        outcome = offboard(request, io, budget, network=SocketNetwork(), on_plan=on_plan)
    if isinstance(outcome.error, _OnlyPlanned):
        found = _told(outcome, task)
        pending = any(step["action"] != "keep" for step in found["steps"])
        return {**found, "ok": True, "changed": pending, "error": None}
    return _result(outcome, task)


def _verified(task: Task) -> dict[str, Any]:
    params = task.params
    store = None if task.check else params["touch_store"]
    with wired("verify", _options(params), _environ(task), task.warn) as (request, io, budget):
        group = params["oidc_group"]
        if group == "":
            group = Names.of(request.onboarding).group
        outcome = prove(request, Proof(group, store, params["patience"]), io, budget)
    # The annotation that makes External Secrets look is what a run would write.
    return _result(outcome, task, pending=task.check and bool(params["touch_store"]))


def _diagnosed(task: Task) -> dict[str, Any]:
    options = _options(task.params)
    options["probe"] = options["probe"] and not task.check
    with world_of(options, _environ(task), task.warn) as world:
        diagnosis = diagnose(
            world,
            suppressed=task.params["suppress"] or (),
            strict=task.params["strict"],
        )
    found: dict[str, Any] = {"changed": False, **json.loads(diagnoses.text(diagnosis))}
    if diagnosis.exit_code == 0:
        return found
    root, fix = found["root"], found["next"] or {}
    told = f"{root['id']}: {root['cause']}" if root else "some checks could not be told"
    command = fix.get("command") or ""
    hint = command or fix.get("text") or ""
    if fix.get("manifest"):
        hint += " (what to apply is in next.manifest)"
    params: Params = {} if command else task.params  # a command is run as it is
    raise TaskFailed(Error(told, hint=hint), params, diagnosis.exit_code, found)


def _rendered(task: Task) -> dict[str, Any]:
    from vaultprov.render import compared, header, leftovers, write
    from vaultprov.report import files as report
    from vaultprov.wiring_render import rendered

    options = _options(task.params)
    facts, tree = rendered(options, _environ(task), task.warn)
    folder: Path = options["dir"]
    act = compared if task.check else write
    files = act(tree, folder, adopt=task.params["adopt"])
    left = leftovers({file.path for file in files}, folder, header(facts.command))
    shown = [{"prepared": file.diff} for file in files if file.differs]
    return report.document(facts, files, left) | ({"diff": shown} if task.diff else {})


def _options(params: Params) -> dict[str, Any]:
    """As `wiring` takes them; what was not given is absent."""
    nothing: tuple[object, ...] = (None, [], {})  # an empty list is what a loop had nothing for
    given = {k: v for k, v in params.items() if v not in nothing and k not in _VARIABLES}
    settings = dict(_flat(given.pop("set", None) or {}))
    unknown = sorted(key for key in settings if key not in BY_KEY)
    if unknown:
        raise ConfigError(
            f"set: there is no setting {unknown[0]!r}", hint="vaultprov config show lists every key"
        )
    options = {_OPTIONS.get(name, name): value for name, value in given.items()}
    options |= {key.replace(".", "__"): value for key, value in settings.items()}
    return options | {name: Path(options[name]) for name in _PATHS if name in options}


def of_no_setting(settings: Mapping[str, Any] | None) -> set[str]:
    """The values in `set` whose keys are no settings."""
    strange = (value for key, value in _flat(settings or {}) if key not in BY_KEY)
    return {value for value in strange if isinstance(value, str) and value}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`reviewer: {namespace: x}`, as in the site file, is `reviewer.namespace: x`."""
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in BY_KEY:
            yield from _flat(value, f"{key}.")
        elif value is not None:
            yield key, value


def _environ(task: Task) -> dict[str, str]:
    """The variables of the process; what the task says takes the place of all that mean the same.

    Raises ConfigError for an empty secret: a lookup that found nothing is not to become whatever
    else this machine has.
    """
    environ = dict(task.environ)
    for name, variables in _VARIABLES.items():
        value = task.params.get(name)
        if value is None:
            continue
        if value == "":
            raise ConfigError(f"{name} is empty", hint=f"leave {name} out, or give one")
        if value == next((environ[each] for each in variables if environ.get(each)), None):
            continue  # it came from there
        for variable in (*variables, *_OVERRULED.get(name, ())):
            environ.pop(variable, None)
        environ[variables[0]] = str(value)
    return environ


def _result(outcome: Outcome, task: Task, *, pending: bool = False) -> dict[str, Any]:
    """What the module returns. pending: the run would write what is no step."""
    found = _told(outcome, task)
    found["changed"] = found["changed"] or pending
    if outcome.error is not None:
        ended = (str(r.step.key) for r in outcome.results if r.status in _ENDED_BADLY)
        failed = {**found, "changed": outcome.written, "key": next(ended, None)}
        raise TaskFailed(outcome.error, task.params, outcome.exit_code, failed)
    return found


def _in_a_playbook(told: str, params: Params) -> str:
    """What the command line says, in terms of the task: `--adopt` is `adopt: true`."""

    def option(found: re.Match[str]) -> str:
        name = found[1].replace("-", "_")
        if name not in params:
            return found[0]
        return f"{name}: true" if isinstance(params[name], bool) else f"{name}:"

    parts = _COMMAND.split(told)
    for n in range(0, len(parts), 2):
        settings = _SETTING.sub(r'set: {\1: "\2"}', parts[n])
        options = re.sub(r"--([a-z][a-z-]*)", option, settings)
        parts[n] = options.replace("the same command", "the same task")
    return "".join(parts)


def _told(outcome: Outcome, task: Task) -> dict[str, Any]:
    """The document of the command line, as plain data; in diff mode what differs besides."""
    plain: dict[str, Any] = json.loads(document.text(document.document(outcome)))
    return plain | ({"diff": _diff(plain)} if task.diff else {})


def _diff(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """What Ansible shows with --diff: for each resource the fields that differ, or differed."""
    shown = []
    for step in found["steps"]:
        if step["status"] not in ("planned", "written", "refused"):
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
    return yaml.safe_dump(known, width=math.inf, allow_unicode=True) if known else ""
