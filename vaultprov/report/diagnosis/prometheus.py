"""A diagnosis as Prometheus text (exposition 0.0.4), for the textfile collector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vaultprov.doctor.model import Diagnosis, Status
from vaultprov.report.diagnosis.clean import clean

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def text(
    diagnosis: Diagnosis, now: float, reviewer_expires: float | None, last_success: float | None
) -> str:
    """The metrics of one look. Times are seconds since the epoch; what is None has no series.

    now: when it was looked, to be alerted on: a file that nobody writes any more stays as it is.
    reviewer_expires: when the reviewer token ends; None when it does not, or is not known.
    last_success: when doctor last ended with exit code 0.
    """
    return "".join(f"{line}\n" for line in _lines(diagnosis, now, reviewer_expires, last_success))


def _lines(
    diagnosis: Diagnosis, now: float, reviewer_expires: float | None, last_success: float | None
) -> Iterator[str]:
    safe = clean(diagnosis)
    place = {"env": safe.env, "cluster": safe.cluster}
    yield from _head("check_state", "State of each check: 1 for the one that it is in.")
    # A series must not come twice.
    states = {(a.check.code, a.check.vantage): a.status for a in reversed(safe.answers)}
    for (code, vantage), status in reversed(states.items()):
        for state in Status:
            labels = {**place, "code": code, "vantage": vantage, "state": state}
            yield _sample("check_state", labels, int(status is state))
    healthy = int(safe.exit_code == 0)
    left = None if reviewer_expires is None else reviewer_expires - now
    for name, told, value in (
        ("healthy", "1 when doctor found nothing wrong and could tell everything.", healthy),
        ("last_run_timestamp_seconds", "When doctor last looked.", now),
        ("last_success_timestamp_seconds", "When doctor was last healthy.", last_success),
        (
            "reviewer_token_expires_timestamp_seconds",
            "When the reviewer token ends.",
            reviewer_expires,
        ),
        (
            "reviewer_token_expiry_seconds",
            "Seconds from the last look until the reviewer token ends; negative when it has.",
            left,
        ),
    ):
        if value is not None:
            yield from _head(name, told)
            yield _sample(name, place, value)


def _head(name: str, told: str) -> Iterator[str]:
    yield f"# HELP vaultprov_{name} {told}"
    yield f"# TYPE vaultprov_{name} gauge"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{each.translate(_ESCAPES)}"' for label, each in labels.items())
    return f"vaultprov_{name}{{{told}}} {value if isinstance(value, int) else f'{value:.3f}'}"
