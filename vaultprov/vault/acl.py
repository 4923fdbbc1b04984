"""What policies grant on a path, decided as Vault decides it.

Rules of openbao/openbao `vault/acl.go` and the documentation of policies ("Priority matching"):
an exact path wins; of patterns, the one whose first wildcard comes later, then the one that does
not end in `*`, then the one with fewer `+`, then the longer one. Rules of the same pattern add up
over policies, except that `deny` beats everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def granted(policies: Iterable[Mapping[str, str]], path: str) -> frozenset[str]:
    """The capabilities on `path`; empty when none, or denied.

    policies: each as `vaultprov.vault.hcl.meaning` gives it (pattern -> capabilities).
    """
    rules: dict[str, set[str]] = {}
    for policy in policies:
        for pattern, grants in policy.items():
            given = grants.partition(";")[0].split(", ")
            rules.setdefault(pattern, set()).update(name for name in given if name != "nothing")
    matching = [pattern for pattern in rules if matches(pattern, path)]
    if not matching:
        return frozenset()
    names = rules[max(matching, key=_priority)]
    return frozenset() if "deny" in names else frozenset(names)


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern covers a path: `+` stands for one segment, a final `*` for any rest."""
    glob = pattern.endswith("*")
    if "+" not in pattern.split("/") and "+" not in pattern.rstrip("*").split("/"):
        stem = pattern[:-1]
        return path.startswith(stem) if glob else path == pattern
    wanted = (pattern[:-1] if glob else pattern).split("/")
    given = path.split("/")
    if len(given) < len(wanted) or (len(given) > len(wanted) and not glob):
        return False
    *heads, last = wanted
    if not all(want in ("+", have) for want, have in zip(heads, given, strict=False)):
        return False
    final = given[len(heads)]
    if glob:
        return final.startswith(last) or last == "+"
    return last in ("+", final)


def _priority(pattern: str) -> tuple[bool, int, bool, int, int, str]:
    segments = pattern.rstrip("*").split("/")
    wild = [index for index, char in enumerate(pattern) if char == "+"] if "+" in segments else []
    glob = pattern.endswith("*")
    first = min([*wild, *([len(pattern) - 1] if glob else [])], default=len(pattern))
    exact = not glob and not wild
    return exact, first, not glob, -segments.count("+"), len(pattern), pattern
