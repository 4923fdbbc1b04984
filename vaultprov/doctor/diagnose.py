"""The use case: a world -> a Diagnosis. Errors of single checks are answers, not ends."""

from __future__ import annotations

import time
from collections.abc import Collection

from vaultprov.doctor.engine import OnAnswer, examine
from vaultprov.doctor.model import Diagnosis
from vaultprov.doctor.table import BY_CODE, CHECKS
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Error


def diagnose(
    world: World,
    *,
    suppressed: Collection[str] = (),
    strict: bool = False,
    on_answer: OnAnswer = lambda _: None,
) -> Diagnosis:
    """Asks every check that is not suppressed.

    Raises ConfigError for a code that nobody knows, and for a store or an ExternalSecret that was
    named and does not exist.
    """
    for code in suppressed:
        if code not in BY_CODE:
            raise ConfigError(f"there is no check {code}", hint="vaultprov explain --list")
    started = time.monotonic()
    _named_exist(world)
    answers = examine(CHECKS, world, suppressed, on_answer)
    case = world.case
    return Diagnosis(
        env=case.onboarding.env,
        cluster=case.onboarding.cluster,
        answers=answers,
        servers=world.servers_told(),
        suppressed=tuple(suppressed),
        seconds=time.monotonic() - started,
        strict=strict,
    )


def _named_exist(world: World) -> None:
    """What is there no more is a finding; what was named by the caller is wrong usage."""
    try:
        if world.case.store:
            world.live_stores()
        if world.case.external_secret is not None:
            world.external_secrets()
    except ConfigError:
        raise
    except Error:
        pass  # the checks say why it cannot be told
