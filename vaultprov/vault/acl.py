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
    deciding = _deciding(rules, path)
    names = rules[deciding] if deciding is not None else set()
    return frozenset() if "deny" in names else frozenset(names)


def _deciding(patterns: Iterable[str], path: str) -> str | None:
    """The one pattern that decides. The path of a list ends in a slash, which rules may leave out.

    The order is that of `AllowOperation` for a list, which is what `sys/capabilities` asks.
    """
    tried = dict.fromkeys((path, path.removesuffix("/")))
    given = tuple(patterns)
    for each in tried:
        if each in given and not _is_wild(each):
            return each
    for each in tried:
        matching = [p for p in given if _is_wild(p) and matches(p, each)]
        if matching:
            return max(matching, key=_priority)
    return None


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern covers a path: `+` stands for one segment, a final `*` for any rest."""
    glob = pattern.endswith("*")
    if "+" not in pattern.split("/"):
        return path.startswith(pattern[:-1]) if glob else path == pattern
    wanted, given = pattern.removesuffix("*").split("/"), path.split("/")
    if len(given) < len(wanted) or (len(given) > len(wanted) and not glob):
        return False
    *heads, last = wanted
    if not all(want in ("+", have) for want, have in zip(heads, given, strict=False)):
        return False
    final = given[len(heads)]
    return last in ("+", final) or (glob and final.startswith(last))


def _is_wild(pattern: str) -> bool:
    return pattern.endswith("*") or "+" in pattern.split("/")


def _priority(pattern: str) -> tuple[int, bool, int, int, str]:
    stem, segments = pattern.removesuffix("*"), pattern.split("/")
    first = pattern.index("+") if "+" in segments else len(stem)
    return first, not pattern.endswith("*"), -segments.count("+"), len(stem), stem
