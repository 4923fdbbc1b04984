"""What doctor prints, pinned by golden files. To update them see tests/unit/test_report.py."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace

import pytest
import yaml

from tests.unit.report_diagnosis.diagnoses import (
    ALIVE,
    DENIED,
    DIAGNOSES,
    EGRESS,
    EXPIRES,
    HEALTHY,
    MANIFEST,
    blocked,
    but,
)
from tests.unit.test_report import golden, lines
from vaultprov.doctor.model import Answer, Diagnosis, Fix, Status, fail, unknown
from vaultprov.errors import ConfigError
from vaultprov.report.diagnosis import document, human
from vaultprov.report.document import failure

FAILED = DIAGNOSES["manifest"]


def printed(diagnosis: Diagnosis, *, colour: bool = False, verbose: bool = False) -> list[str]:
    return list(human.lines(diagnosis, colour=colour, verbose=verbose))


def denied(fix: Fix | None) -> Diagnosis:
    """One failure, mended by this."""
    found = replace(DENIED.findings[0], fix=fix)
    return but(replace(DENIED, findings=(found,)))


@pytest.mark.parametrize("name", DIAGNOSES)
def test_text(name: str) -> None:
    golden(f"doctor-{name}.txt", lines(printed(DIAGNOSES[name])))


@pytest.mark.parametrize("name", ["healthy", "two"])
def test_text_with_all_that_is_well(name: str) -> None:
    golden(f"doctor-{name}-verbose.txt", lines(printed(DIAGNOSES[name], verbose=True)))


@pytest.mark.parametrize("name", DIAGNOSES)
def test_document(name: str) -> None:
    golden(f"doctor-{name}.json", document.text(DIAGNOSES[name]) + "\n")


@pytest.mark.parametrize("name", DIAGNOSES)
def test_programs_may_ask_for_every_key_however_it_ended(name: str) -> None:
    content = json.loads(document.text(DIAGNOSES[name]))
    assert list(content) == list(document.document(HEALTHY))
    assert set(failure("doctor", ConfigError("no"))) <= set(content)
    assert content["exit_code"] == DIAGNOSES[name].exit_code
    assert content["ok"] is (content["exit_code"] == 0)


@pytest.mark.parametrize("name", DIAGNOSES)
def test_every_check_is_named_in_the_text(name: str) -> None:
    told = "\n".join(printed(DIAGNOSES[name], verbose=True))
    assert all(answer.check.code in told for answer in DIAGNOSES[name].answers)


@pytest.mark.parametrize("name", DIAGNOSES)
def test_colour_changes_nothing_but_the_colour(name: str) -> None:
    coloured = printed(DIAGNOSES[name], colour=True, verbose=True)
    plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in coloured]
    assert plain == printed(DIAGNOSES[name], verbose=True)
    assert plain != coloured
    assert all(line.isascii() for line in plain)


@pytest.mark.parametrize("name", sorted(set(DIAGNOSES) - {"healthy"}))
def test_health_is_claimed_of_health_only(name: str) -> None:
    assert "ealthy" not in "\n".join(printed(DIAGNOSES[name]))


def test_the_last_line_of_a_healthy_cluster() -> None:
    assert printed(HEALTHY)[-1] == "Healthy: 12 checks ok"


def test_the_last_lines_can_be_pasted() -> None:
    """A shell hands to the command exactly the manifest."""
    text = "\n".join(printed(FAILED))
    pasted = text.partition("\nNext:\n")[2]
    assert pasted.startswith("kubectl apply -f - <<'EOF'\n")
    script = f"kubectl() {{ cat; }}\n{pasted}\n"
    done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
    assert done.stdout == MANIFEST
    assert done.stderr == ""


def test_a_manifest_may_hold_the_delimiter() -> None:
    fix = Fix("apply it", manifest="a: |\nEOF\nb: $HOME `x`\n")
    assert printed(denied(fix))[-6:] == [
        "Next:",
        "kubectl apply -f - <<'EOF_'",
        "a: |",
        "EOF",
        "b: $HOME `x`",
        "EOF_",
    ]


def test_the_manifest_in_the_report_is_still_yaml() -> None:
    """Where it is not what the report ends with."""
    before = replace(DENIED, check=replace(DENIED.check, code="VP-CLU-001"))
    text = "\n".join(printed(replace(FAILED, answers=(before, *FAILED.answers))))
    block = text.partition("manifest:\n")[2].partition("      more:")[0]
    assert yaml.safe_load(block) == yaml.safe_load(MANIFEST)


NEXT = {
    "a command": (Fix("do it", "vault status"), ["Next: vault status"]),
    "a command of several lines": (Fix("do it", "a \\\n  b\n"), ["Next:", "a \\", "  b"]),
    "words": (Fix("ask who runs\nthe firewall"), ["Next: ask who runs the firewall"]),
    "nothing": (None, ["Next: vaultprov explain VP-NET-001"]),
}


@pytest.mark.parametrize(("fix", "last"), NEXT.values(), ids=NEXT)
def test_the_one_next_command(fix: Fix | None, last: list[str]) -> None:
    told = printed(denied(fix))
    assert told[-len(last) :] == last
    assert told[-len(last) - 1].startswith("Root cause: VP-NET-001 NetworkPolicy")


def test_a_cause_that_is_not_sure_says_so() -> None:
    alone = DIAGNOSES["two"].answers[10]
    assert printed(but(alone))[-2].endswith("somebody removed it (confidence medium)")


def test_the_root_is_in_the_document_with_what_mends_it() -> None:
    content = document.document(FAILED)
    assert content["root"]["id"] == "VP-NET-001"
    assert content["root"] in content["checks"]
    assert content["next"] == content["root"]["fix"]
    assert content["next"]["manifest"] == MANIFEST


def test_without_a_root_the_next_thing_is_what_lets_us_see_more() -> None:
    content = document.document(DIAGNOSES["no-vault"])
    assert content["root"] is None
    assert content["missing"] == ["vault"]
    assert content["next"] == {
        "text": "vault login -method=oidc",
        "command": None,
        "manifest": None,
    }


def test_a_warning_beside_a_failure_is_named() -> None:
    told = printed(but(DENIED, EXPIRES))
    assert [line for line in told if line.startswith("Also warned: VP-REV-001 the token was")]


def test_a_failure_beside_the_root_is_named_by_its_cause() -> None:
    told = printed(DIAGNOSES["two"])
    assert "Also wrong: VP-AUTH-002 the role was never written, or somebody removed it" in told


def test_a_warning_does_not_hide_what_could_not_be_told() -> None:
    diagnosis = but(EXPIRES, Answer(EGRESS, (unknown("x"),)))
    assert diagnosis.exit_code == 3
    assert "1 check could not be told" in printed(diagnosis)


def test_a_symptom_keeps_the_words_that_the_user_saw() -> None:
    told = "\n".join(printed(FAILED))
    assert (
        "symptom of VP-NET-001: VP-ES-007 ClusterSecretStore vault: Ready is False: unable" in told
    )


def test_a_cause_of_several_lines_stays_in_one() -> None:
    cause = "first\nRoot cause: VP-KV-001 forged"
    found = fail("a", "b", expected="c", cause=cause, fix=Fix("d"))
    told = printed(but(Answer(EGRESS, (found,))))
    assert [line for line in told if line.startswith("Root cause")] == [
        "Root cause: VP-NET-001 first Root cause: VP-KV-001 forged (confidence high)"
    ]


def test_blocked_by_a_check_that_was_not_asked() -> None:
    assert "blocked by VP-X-1: VP-REV-001 the reviewer" in "\n".join(
        printed(but(blocked(ALIVE, "VP-X-1")))
    )


def test_the_stages_follow_the_table() -> None:
    """Chain order is kept, so that what is read first is nearer to the cause."""
    table = pytest.importorskip("vaultprov.doctor.table")
    stages = [human.stage_of(each.code) for each in table.CHECKS]
    runs = [stage for i, stage in enumerate(stages) if i == 0 or stages[i - 1] != stage]
    assert len(runs) == len(set(runs)), runs
    assert set(stages) == set(human.STAGES.values())


def test_a_stage_that_nobody_knows_has_a_heading() -> None:
    assert human.stage_of("VP-NEW-001") == "More"


def test_summary_changes_with_a_state_and_with_nothing_else() -> None:
    assert human.summary(HEALTHY.answers[:3]) == ""
    assert human.summary((DENIED,)) == "VP-NET-001=fail"


def test_every_status_has_a_mark_of_two_columns() -> None:
    assert {len(mark) for mark in human.MARKS.values()} == {2}
    assert len(set(human.MARKS.values())) == len(Status)
