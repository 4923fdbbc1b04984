"""Doctor as a command: once, or again and again, printing on change and writing metrics."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from vaultprov.doctor.diagnose import diagnose
from vaultprov.doctor.model import Diagnosis, Status
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Error, reason
from vaultprov.report.diagnosis import document, human, junit, prometheus, sarif
from vaultprov.wiring_diagnosis import world_of

Echo = Callable[[Iterable[str]], None]


def look(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    echo: Echo,
    warn: Callable[[str], None],
) -> int:
    """One look, or with `--watch` one every so many seconds until interrupted; the exit code."""
    if options["metrics_file"] and not options["metrics_file"].parent.is_dir():
        raise ConfigError(f"{options['metrics_file'].parent} is no folder")
    seen, last_success = None, None
    while True:
        diagnosis, expires = _once(options, environ, warn)
        if diagnosis.exit_code == 0:
            last_success = time.time()
        told = _what_matters(diagnosis)
        if told != seen:
            echo(_report(diagnosis, options["output"], verbose=options["verbose"]))
        seen = told
        if options["metrics_file"]:
            now = time.time()
            _write(
                options["metrics_file"],
                prometheus.text(diagnosis, now, expires, last_success),
            )
        if not options["watch"]:
            return diagnosis.exit_code
        time.sleep(options["watch"])


def _what_matters(diagnosis: Diagnosis) -> tuple[object, ...]:
    """What is told anew when it changes: how each check ended, and why those that are not well."""
    causes = tuple(
        (answer.check.code, finding.subject, finding.cause)
        for answer in diagnosis.answers
        for finding in answer.findings
        if finding.status in (Status.FAIL, Status.WARN)
    )
    return human.summary(diagnosis.answers), causes


def _once(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[Diagnosis, float | None]:
    with world_of(options, environ, warn) as world:
        diagnosis = diagnose(world, suppressed=options["suppress"], strict=options["strict"])
        return diagnosis, _reviewer_expires(world)


def _reviewer_expires(world: World) -> float | None:
    try:
        return world.marker(world.names.auth_mount).reviewer_ends
    except Error:
        return None


def _report(diagnosis: Diagnosis, form: str, *, verbose: bool) -> Iterable[str]:
    if form == "json":
        return [document.text(diagnosis)]
    if form == "junit":
        return [junit.text(diagnosis)]
    if form == "sarif":
        return [sarif.text(diagnosis)]
    return human.lines(diagnosis, verbose=verbose)


def _write(file: Path, text: str) -> None:
    """At once or not at all: a collector never reads half a file."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as temporary:
            temporary.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ConfigError(f"{file} cannot be written: {reason(error)}") from error
