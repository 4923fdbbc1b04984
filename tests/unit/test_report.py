"""What is printed, pinned by golden files: people and programs read the same outcome.

After an intended change: VAULTPROV_UPDATE_GOLDEN=1 pytest tests/unit/test_report.py, and look at
the difference before it is committed. A run that updates fails, so that it cannot pass for a test.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from vaultprov.apply import Result, Status
from vaultprov.errors import ConfigError, Denied, Error, NotConverged, Refused
from vaultprov.model import Onboarding, Only
from vaultprov.plan import Action, FieldChange, Plan, Step
from vaultprov.redact import Secret
from vaultprov.report import document, human, terminal
from vaultprov.resource import UNKNOWN, Foreign, Key
from vaultprov.run import Condition, Outcome, Request
from vaultprov.verify import Check

GOLDEN = Path(__file__).parent / "golden"
CANARY = "canary-3f9a1c-never-to-be-seen"


def golden(name: str, text: str) -> None:
    """`text` is what the golden file says."""
    file = GOLDEN / name
    if os.environ.get("VAULTPROV_UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
        pytest.fail(f"{name} was written")
    assert text == file.read_text(encoding="utf-8")
    assert CANARY not in text


def lines(made: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in made)


def change(name: str, before: object, after: object) -> FieldChange:
    return FieldChange(name, before, after)


JWT = Secret(CANARY)
REQUEST = Request("onboard", Onboarding("moc", "smaug"))
SERVERS = (
    "vault    https://vault.example.com",
    "cluster  https://api.smaug.example.com:6443, context smaug, identity 4b1f0c9e",
)
CREATE = Step(
    Key("vault/policy", "moc-kv-r"),
    Action.CREATE,
    (change("path[k8s_secrets/data/moc/*]", None, "read"), change("list", None, ["a", {"b": 1}])),
)
UPDATE = Step(
    Key("vault/role", "smaug-k8s/moc-ops"),
    Action.UPDATE,
    (
        change("bound_service_account_names", frozenset({"b", "a"}), frozenset({"c", "a", "b"})),
        change("token_ttl", 60, 3600),
        change("audience", "vault", None),
        change("token_policies", frozenset(), frozenset({"moc-kv-r"})),
    ),
    {"bound_service_account_names": ("a", "b")},
)
CONFIG = Step(
    Key("vault/auth-config", "smaug-k8s"),
    Action.UPDATE,
    (
        change("token_reviewer_jwt", Secret.known_by("sha256:old"), JWT),
        change("reviewer_account_uid", None, UNKNOWN),
        change("disable_local_ca_jwt", False, True),
        change("more", {"b": 1, "a": 2}, ("y", "x")),
    ),
)
KEEP = Step(
    Key("vault/group", "vault-admins-moc"), Action.KEEP, (), {"policies": ("audit",)}, Foreign("x")
)
DELETE = Step(Key("cluster/secret", "ns/old"), Action.DELETE)
REFUSE = Step(
    Key("vault/auth", "smaug-k8s"),
    Action.REFUSE,
    (change("cluster_uid", "9e0a", "4b1f"),),
    None,
    Foreign(
        "belongs to cluster ember with identity 9e0a", "--replace-cluster", "check the context"
    ),
)
ADOPTED = replace(
    UPDATE,
    key=Key("vault/group", "adopted"),
    changes=(change("type", "a", "b"),),
    extra=None,
    foreign=Foreign("is a group that carries no vaultprov marker"),
)
EVERYTHING = (CREATE, UPDATE, CONFIG, KEEP, DELETE, REFUSE, ADOPTED)
DENIED = Denied("vault/policy/moc-kv-r: permission denied", hint="vault token lookup")
CHECKS = (
    Check(
        "external-secrets/fetcher logs in at auth/smaug-k8s as moc-ops", True, "policies default"
    ),
    Check("external-secrets/fetcher may read k8s_secrets/moc/smaug/", True),
    Check(
        "external-secrets/fetcher may not read another environment",
        False,
        "the token may read k8s_secrets/data/not-moc/vaultprov-proof",
        "look for a policy that is too wide among default, moc-kv-r",
    ),
)
UNPROVED = NotConverged("everything is in place, but the proof failed", hint="look for a policy")


def ended(*ends: tuple[Step, Status, Error | None]) -> tuple[Result, ...]:
    return tuple(Result(step, status, error) for step, status, error in ends)


PLANNED = Outcome(
    REQUEST,
    SERVERS,
    ended(*((step, Status.PLANNED, None) for step in (CREATE, UPDATE, CONFIG, DELETE, ADOPTED)))
    + ended((KEEP, Status.KEPT, None), (REFUSE, Status.REFUSED, None)),
    condition=Condition.DRIFTED,
    reviewer="written 2026-01-01T00:00:00Z, does not expire",
    error=Refused("refused, nothing was written", hint="check the context"),
    seconds=0.25,
)
DONE = Outcome(
    REQUEST,
    SERVERS,
    ended((CREATE, Status.WRITTEN, None), (CONFIG, Status.WRITTEN, None))
    + ended((KEEP, Status.KEPT, None)),
    CHECKS[:2],
    Condition.IN_PLACE,
    "expires 2027-01-01T00:00:00Z",
    seconds=0.8124,
    write=True,
)
FAILED = Outcome(
    REQUEST,
    SERVERS,
    ended(
        (CREATE, Status.FAILED, DENIED),
        (UPDATE, Status.SKIPPED, Error("not tried: it needs vault/policy/moc-kv-r, which failed")),
        (CONFIG, Status.WRITTEN, None),
        (KEEP, Status.KEPT, None),
    ),
    condition=Condition.DRIFTED,
    error=DENIED,
    seconds=1.0,
    write=True,
)
UNTRUE = replace(DONE, checks=CHECKS, error=UNPROVED)
NOTHING = replace(DONE, results=ended((KEEP, Status.KEPT, None)), checks=CHECKS[:1])
ABSENT = replace(PLANNED, condition=Condition.ABSENT, reviewer="", error=None)
BOOTSTRAP = replace(
    DONE, request=replace(REQUEST, command="bootstrap"), condition=None, reviewer=""
)
UNKNOWN_STATE = Outcome(REQUEST, SERVERS[:1], error=DENIED)
OUTCOMES = {
    "planned": PLANNED,
    "done": DONE,
    "failed": FAILED,
    "unproved": UNTRUE,
    "nothing": NOTHING,
    "absent": ABSENT,
    "bootstrap": BOOTSTRAP,
    "unknown": UNKNOWN_STATE,
}


@pytest.mark.parametrize("only", Only)
def test_plan(only: Only) -> None:
    request, plan = replace(REQUEST, only=only), Plan(EVERYTHING if only == "both" else (KEEP,))
    golden(f"plan-{only}.txt", lines(human.plan_lines(plan, Outcome(request, SERVERS))))


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome(name: str) -> None:
    golden(f"outcome-{name}.txt", lines(human.outcome_lines(OUTCOMES[name])))


@pytest.mark.parametrize("name", ["planned", "done", "absent", "bootstrap", "unknown"])
def test_status(name: str) -> None:
    golden(f"status-{name}.txt", lines(human.status_lines(OUTCOMES[name])))


@pytest.mark.parametrize("name", OUTCOMES)
def test_document(name: str) -> None:
    golden(f"document-{name}.json", document.text(document.document(OUTCOMES[name])) + "\n")


WRONG = ConfigError("vaultprov.yaml:3: unknown key 'kv_mout'", hint="did you mean kv_mount?")


def test_error() -> None:
    golden("error.txt", lines([*human.error_lines(WRONG), *human.error_lines(Error("no hint"))]))


def test_document_of_a_run_that_never_began() -> None:
    golden("document-failure.json", document.text(document.failure("plan", WRONG)) + "\n")


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_document_is_json_of_one_schema_with_the_same_keys(name: str) -> None:
    """Programs may ask for every key, however the run ended."""
    content = json.loads(document.text(document.document(OUTCOMES[name])))
    assert content["schema"] == "vaultprov/v1"
    assert list(content) == list(document.document(DONE))
    assert set(document.failure("plan", WRONG)) <= set(content)


@pytest.mark.parametrize("name", OUTCOMES)
def test_text_and_document_name_the_same_resources(name: str) -> None:
    outcome = OUTCOMES[name]
    text = lines(human.plan_lines(Plan(tuple(r.step for r in outcome.results)), Outcome(REQUEST)))
    for step in document.document(outcome)["steps"]:
        assert f" {step['key']}" in text
        assert all(f"{name}: " in text for name in step["fields"])


@pytest.mark.parametrize("action", Action)
def test_every_action_has_its_own_symbol(action: Action) -> None:
    assert list(human.SYMBOLS.values()).count(human.SYMBOLS[action]) == 1


SHOWN: dict[str, tuple[object, str]] = {
    "nothing": (None, "(none)"),
    "an empty set": (frozenset(), "(empty)"),
    "a set in order": (frozenset({"b", "a"}), "a, b"),
    "a mapping in order": ({"b": 1, "a": None}, '{"a": null, "b": 1}'),
    "a secret": (JWT, repr(JWT)),
    "what is not known yet": (UNKNOWN, "(known after apply)"),
    "a number": (3600, "3600"),
    "a text": ("plain", "plain"),
}


@pytest.mark.parametrize(("value", "text"), SHOWN.values(), ids=SHOWN)
def test_values_are_shown_in_one_line(value: object, text: str) -> None:
    assert human.shown(value) == text


def test_progress_names_the_step_and_how_it_ended() -> None:
    assert human.result_event(FAILED.results[0]) == "failed vault/policy/moc-kv-r"


EXITS = {"planned": 6, "done": 0, "failed": 1, "unproved": 1, "nothing": 0, "unknown": 3}


@pytest.mark.parametrize(("name", "code"), EXITS.items())
def test_exit_codes(name: str, code: int) -> None:
    outcome = OUTCOMES[name]
    assert outcome.exit_code == code
    assert document.document(outcome)["ok"] is (code == 0)


def test_a_failed_step_or_check_is_exit_code_1_even_without_an_error() -> None:
    assert replace(FAILED, error=None).exit_code == 1
    assert replace(UNTRUE, error=None).exit_code == 1


@pytest.mark.parametrize(
    ("name", "changed"),
    [("planned", True), ("done", True), ("failed", True), ("nothing", False), ("unknown", False)],
)
def test_changed(name: str, changed: bool) -> None:
    """Written, or for a plan: to be written."""
    assert OUTCOMES[name].changed is changed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_text() -> None:
    stream = io.StringIO()
    terminal.show(["  + vault/policy/a", "", "[not markup]"], stream)
    assert stream.getvalue() == "  + vault/policy/a\n\n[not markup]\n"


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    terminal.show(["  + vault/policy/a", "[not markup]"], stream)
    assert "\x1b[32m  + vault/policy/a\x1b[0m" in stream.getvalue()
    assert "[not markup]" in stream.getvalue()


def test_no_color_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    terminal.show(["  + vault/policy/a", "error: no"], stream)
    assert "\x1b[3" not in stream.getvalue()


def test_progress_is_silent_in_a_pipe() -> None:
    stream = io.StringIO()
    with terminal.progress(stream) as progress:
        progress.update("written a")
    assert stream.getvalue() == ""
