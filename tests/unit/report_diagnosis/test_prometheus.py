"""The exposition is read back by the rules of its format, whatever the strings are."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report_diagnosis.anything import ANY, FEW
from tests.unit.report_diagnosis.diagnoses import HEALTHY
from vaultprov.doctor.model import Diagnosis, Status
from vaultprov.report.diagnosis import prometheus
from vaultprov.report.diagnosis.clean import clean

NOW = 1_767_225_600.0


def exposition(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of an exposition, read by the rules of format 0.0.4."""
    assert text.endswith("\n")
    typed, samples = set[str](), {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            if word == "TYPE":
                assert rest == "gauge"
                assert name not in typed
                typed.add(name)
            else:
                assert word == "HELP"
            continue
        name, labels, value = _sample(line)
        assert name in typed
        assert (name, labels) not in samples
        samples[name, labels] = value
    return samples


def _sample(line: str) -> tuple[str, tuple[tuple[str, str], ...], float]:
    name, _, rest = line.partition("{")
    assert set(name) <= set(string.ascii_lowercase + "_")
    labels = []
    while not rest.startswith("}"):
        label, value, rest = _label(rest.removeprefix(","))
        labels.append((label, value))
    return name, tuple(labels), float(rest.removeprefix("} "))


def _label(rest: str) -> tuple[str, str, str]:
    label, _, rest = rest.partition('="')
    value = ""
    while not rest.startswith('"'):
        if rest.startswith("\\"):
            value += {"\\": "\\", '"': '"', "n": "\n"}[rest[1]]
            rest = rest[2:]
        else:
            value, rest = value + rest[0], rest[1:]
    return label, value, rest[1:]


def test_label_reader_reads_escapes() -> None:
    assert _sample('a{b="c\\n\\"\\\\",d=""} 1') == ("a", (("b", 'c\n"\\'), ("d", "")), 1.0)


@FEW
@given(ANY, st.none() | st.floats(0, 4e9), st.none() | st.floats(0, 4e9))
def test_prometheus_is_one_hot(
    diagnosis: Diagnosis, expires: float | None, success: float | None
) -> None:
    samples = exposition(prometheus.text(diagnosis, NOW, expires, success))
    place = (("env", clean(diagnosis.env)), ("cluster", clean(diagnosis.cluster)))
    for answer in diagnosis.answers:
        labels = (*place, ("code", answer.check.code), ("vantage", answer.check.vantage))
        for state in Status:
            value = samples.pop(("vaultprov_check_state", (*labels, ("state", state))))
            assert value == (answer.status is state)
    times = {name.removeprefix("vaultprov_"): value for (name, _), value in samples.items()}
    assert times.pop("healthy") == (diagnosis.exit_code == 0)
    assert times.pop("last_run_timestamp_seconds") == NOW
    assert {labels for _, labels in samples} == {place}
    if success is not None:
        assert times.pop("last_success_timestamp_seconds") == pytest.approx(success, abs=0.001)
    if expires is not None:
        ends = times.pop("reviewer_token_expires_timestamp_seconds")
        assert ends == pytest.approx(expires, abs=0.001)
        left = times.pop("reviewer_token_expiry_seconds")
        assert left == pytest.approx(expires - NOW, abs=0.001)
    assert times == {}


def test_a_check_that_is_there_twice_is_one_series() -> None:
    twice = replace(HEALTHY, answers=(HEALTHY.answers[0],) * 2)
    assert exposition(prometheus.text(twice, NOW, None, None))
