"""Policies are judged as a real server judges them (`sys/capabilities` of a token with them)."""

from __future__ import annotations

import random

import hvac
import pytest

from vaultprov.devenv.openbao import OpenBao
from vaultprov.vault.acl import granted
from vaultprov.vault.hcl import meaning

SEGMENTS = ("a", "b", "ab", "+", "data", "*")
NAMES = ("a", "b", "ab", "abc", "data")
CAPABILITIES = ("read", "list", "create", "update", "delete", "deny")


def _pattern(rng: random.Random) -> str:
    parts = [rng.choice(SEGMENTS) for _ in range(rng.randint(1, 4))]
    text = "/".join(part for part in parts if part != "*") or "a"
    ends = ("", "/", "/*") if text.endswith("+") else ("", "", "/", "*", "/*")  # no `+*`
    return text + rng.choice(ends)


def _policy(rng: random.Random) -> str:
    rules = {_pattern(rng): rng.sample(CAPABILITIES, rng.randint(1, 3)) for _ in range(4)}
    lines = []
    for pattern, names in rules.items():
        listed = ", ".join(f'"{name}"' for name in names)
        lines.append(f'path "x/{pattern}" {{ capabilities = [{listed}] }}')
    return "\n".join(lines)


def _path(rng: random.Random) -> str:
    return (
        "x/"
        + "/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 4)))
        + rng.choice(("", "", "/"))
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_same_as_a_real_server(bao: OpenBao, seed: int) -> None:
    """Two policies at once, sixty paths; what differs is named."""
    rng = random.Random(seed)
    client = hvac.Client(url=bao.address, token=bao.root_token)
    for _ in range(6):
        texts = [_policy(rng), _policy(rng)]
        for number, text in enumerate(texts):
            client.sys.create_or_update_policy(f"p{number}", text)
        made = client.auth.token.create(policies=["p0", "p1"], no_default_policy=True)
        paths = sorted({_path(rng) for _ in range(60)})
        asked = {"token": made["auth"]["client_token"], "paths": paths}
        told = client.write_data("sys/capabilities", data=asked)["data"]
        policies = [meaning(text) for text in texts]
        for path in paths:
            real = frozenset(told[path]) - {"deny"}
            assert granted(policies, path) == real, "\n".join((path, *texts))
