"""The least-privilege policy `vaultprov-provisioner`, derived from the kinds themselves.

Every resource tells what reading, creating and changing it needs; the union of that over everything
vaultprov would ever make is the policy. With clusters in the site file the paths are exact;
without, the segments that depend on an environment or cluster become `+`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vaultprov.desired import Target, bootstrap_resources, onboarding_resources
from vaultprov.model import Onboarding, Only, ReviewerMode
from vaultprov.redact import Secret
from vaultprov.resource import Resource, VaultRight

_ACTIONS = ("read", "create", "update")  # deleting is for an administrator: `offboard`
_ANY = "any-environment-or-cluster"  # a valid name that stands for all of them
_EXPANDED = {"write": ("create", "update")}
_ALWAYS = (
    VaultRight("sys/capabilities-self", ("write",)),
    VaultRight("auth/token/revoke-self", ("write",)),
    # Doctor: what every token may do besides its role's policies, and where the other nodes are.
    VaultRight("sys/policies/acl/default", ("read",)),
    VaultRight("sys/ha-status", ("read",)),
)


def provisioner_policy(site: Onboarding, known: Sequence[Onboarding]) -> str:
    """HCL of a policy that is exactly enough to run what onboards clusters and keeps them so.

    Not enough for `offboard`, `team`, `access`, `policy test` and `import`: an administrator's.
    site: settings that hold for all; known: the onboardings of the site file, may be empty.
    """
    exact = bool(known)
    listed = known or [replace(site, env=_ANY, cluster=_ANY)]
    onboardings = [
        replace(each, reviewer=replace(each.reviewer, mode=mode))
        for each in listed
        for mode in (ReviewerMode.SECRET, ReviewerMode.JWT)  # they have mounts of their own
    ]
    rights = [*_ALWAYS, *_rights(bootstrap_resources(site, Secret("placeholder"), ""))]
    for onboarding in onboardings:
        # The certificate is not part of any right, so an empty one will do.
        rights += _rights(onboarding_resources(onboarding, Target(), Only.VAULT, bootstrapped=True))
    held: dict[str, set[str]] = {}
    for right in rights:
        path = right.path if exact else _wild(right.path)
        held.setdefault(path, set()).update(
            capability for need in right.needs for capability in _EXPANDED.get(need, (need,))
        )
    blocks = (
        f"path {json.dumps(path)} {{\n  capabilities = {json.dumps(sorted(needs))}\n}}\n"
        for path, needs in sorted(held.items())
    )
    return "\n".join(blocks)


def _rights(resources: Iterable[Resource]) -> list[VaultRight]:
    return [
        right
        for resource in resources
        for action in _ACTIONS
        for right in resource.rights(action)
        if isinstance(right, VaultRight)
    ]


def _wild(path: str) -> str:
    return "/".join("+" if _ANY in segment else segment for segment in path.split("/"))
