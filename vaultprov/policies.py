"""The use cases about the policies that onboarding writes: how they differ, what they grant."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vaultprov.apply import Result, Status, observe
from vaultprov.desired import policies
from vaultprov.errors import Denied, Error, NotConverged, Rejected
from vaultprov.model import Onboarding
from vaultprov.names import Names, joined
from vaultprov.plan import Action, make_plan
from vaultprov.resource import Io
from vaultprov.retry import Budget
from vaultprov.run import Outcome, Request, servers
from vaultprov.vault.acl import granted
from vaultprov.vault.hcl import CAPABILITIES, meaning
from vaultprov.vault.policy import Policy
from vaultprov.verify import Check, revoked

_KEY = "vaultprov-proof"  # a key that nobody has
_SECONDS = 60  # life of the tokens that are tried


def diff(request: Request, io: Io, budget: Budget) -> Outcome:
    """What the live policies would become, path by path. Nothing is written."""
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io))
    try:
        resources = tuple(policies(request.onboarding))
        plan = make_plan(resources, observe(resources, io, budget), request.allow)
        # Nothing is refused where nothing is to be written: what differs is pending, whose ever.
        results = tuple(
            Result(step, Status.KEPT if step.action is Action.KEEP else Status.PLANNED)
            for step in plan.steps
        )
        outcome = replace(outcome, results=results)
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def test(request: Request, io: Io, budget: Budget) -> Outcome:
    """Asks Vault what a token with each policy may do, on the paths that matter.

    Each token has that policy and `default`, as every login has, lives for a minute and is revoked
    at once. Needs the right to make such tokens (`auth/token/create` with sudo).
    """
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io))
    try:
        for policy in policies(request.onboarding):
            checks = tuple(_tested(policy, request.onboarding, io, budget))
            outcome = replace(outcome, checks=(*outcome.checks, *checks))
        failed = next((check for check in outcome.checks if not check.ok), None)
        if failed is not None:
            told = f"not as it should be: {failed.title}: {failed.detail}"
            outcome = replace(outcome, error=NotConverged(told, hint=failed.hint))
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


def _tested(policy: Policy, onboarding: Onboarding, io: Io, budget: Budget) -> Iterator[Check]:
    who = f"--env {onboarding.env} --cluster {onboarding.cluster}"
    found = budget.call(lambda: policy.read(io))
    if found is None:
        hint = f"vaultprov onboard {who}"
        yield Check(f"policy {policy.name} exists", ok=False, detail="absent", hint=hint)
        return
    wanted, paths = [meaning(policy.text)], _paths(onboarding)
    has = _capabilities(policy, list(paths), io, budget)
    for path in paths:
        should, does = granted(wanted, path), has[path]
        title = f"{policy.name} on {path}: {_shown(should)}"
        told = "" if does == should else f"Vault grants {_shown(does)}"
        yield Check(title, does == should, told, "" if not told else f"vaultprov policy diff {who}")
    for path, what in paths.items():
        if what and granted(wanted, path):
            title = f"{policy.name} grants nothing on {what}"
            told = f"{_shown(granted(wanted, path))} on {path}"
            hint = "mend the template in policy_dir"
            yield Check(title, ok=False, detail=told, hint=hint)


def _capabilities(
    policy: Policy, paths: Sequence[str], io: Io, budget: Budget
) -> dict[str, frozenset[str]]:
    """What Vault itself says of a token with this policy."""
    try:
        session = budget.call(lambda: io.vault.token_with((policy.name,), _SECONDS))
    except (Denied, Rejected) as error:
        raise Denied(
            f"a token with policy {policy.name} cannot be made: {error.message}",
            hint="use an administrator's token (auth/token/create with sudo)",
        ) from error
    with revoked(session):
        answer = session.write("sys/capabilities-self", {"paths": list(paths)})
    return {path: frozenset(answer[path]) - {"deny"} for path in paths}


def _paths(onboarding: Onboarding) -> Mapping[str, str]:
    """The paths that matter, and what no policy of ours may grant there, in words ("" for any)."""
    mount, env, cluster = onboarding.kv_mount, onboarding.env, onboarding.cluster
    own, elsewhere = joined(env, cluster, _KEY), joined(env, f"not-{cluster}", _KEY)
    names = Names.of(onboarding)
    tools = ("data", "metadata", "subkeys", "delete", "undelete", "destroy")
    return {
        **{joined(mount, tool, own): "" for tool in tools},
        joined(mount, "metadata", env, cluster) + "/": "",
        joined(mount, "data", elsewhere): "",
        joined(mount, "metadata") + "/": "",
        joined(mount, "data", f"not-{env}", _KEY): "another environment",
        joined("auth", names.auth_mount, "role", names.role): "roles",
        joined("sys/policies/acl", names.read_policy): "policies",
        "auth/token/create": "tokens",
    }


def _shown(capabilities: frozenset[str]) -> str:
    return ", ".join(name for name in CAPABILITIES if name in capabilities) or "nothing"
