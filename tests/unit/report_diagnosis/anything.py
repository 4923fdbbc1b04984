"""Diagnoses of any strings, those included that no server should ever send."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from vaultprov.doctor.model import (
    Answer,
    Check,
    Confidence,
    Diagnosis,
    Finding,
    Fix,
    Status,
    Vantage,
)
from vaultprov.errors import Error

FEW = settings(max_examples=40)  # each is a whole diagnosis, which takes its time to draw
NASTY = ["\x1b[31m", "\x9b2J", "]]>", "<&\"'", "\\", "\n", "\r\n", "{0}", "\ud800", "\u2028", "\0"]
TEXT = st.lists(
    st.one_of(
        st.text(max_size=8), st.text(st.characters(categories=["Cc", "Cs", "Zl"]), max_size=3)
    )
    | st.sampled_from(NASTY),
    max_size=3,
).map("".join)
FINDINGS = st.builds(
    Finding,
    st.sampled_from(Status),
    TEXT,
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    TEXT,
    st.none() | st.builds(Fix, TEXT, TEXT, TEXT),
    st.sampled_from(Confidence),
)
CHECKS = st.builds(
    lambda number, title, vantage, symptom: Check(
        f"VP-NET-{number:03}", title, vantage, lambda _world: (), symptom=symptom
    ),
    st.integers(1, 12),
    TEXT,
    st.sampled_from(Vantage),
    st.booleans(),
)
ANSWERS = st.builds(
    Answer,
    CHECKS,
    st.lists(FINDINGS, max_size=3).map(tuple),
    st.floats(0, 1e6),
    st.just("") | st.sampled_from(["VP-NET-001", "VP-NET-002"]),
    st.none() | st.sampled_from(Vantage),
    st.just("") | st.sampled_from(["--probe", "vault login"]) | TEXT,
)
ANY = st.builds(
    Diagnosis,
    TEXT,
    TEXT,
    st.lists(ANSWERS, max_size=4, unique_by=lambda a: a.check.code).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.floats(0, 1e6),
    st.booleans(),
    st.none() | st.builds(lambda told, hint: Error(told, hint=hint), TEXT, TEXT),
)
