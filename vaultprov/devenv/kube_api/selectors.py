"""Label and field selectors: which objects a list or a watch is about."""

import re
from collections.abc import Callable

from vaultprov.devenv.kube_api.status import Object, bad_request

Selector = Callable[[Object], bool]

_SET_BASED = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)")
_EQUALITY = re.compile(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)")
_EXISTS = re.compile(r"(!?)\s*([^\s!=,()]+)")
_FIELDS = ("metadata.name", "metadata.namespace")


def selector(labels: str, fields: str) -> Selector:
    """Objects that satisfy both a labelSelector and a fieldSelector; empty ones hold for all."""
    tests = [_label_test(part) for part in _requirements(labels)]
    tests += [_field_test(part) for part in _requirements(fields)]
    return lambda item: all(test(item) for test in tests)


def single_name(fields: str) -> str:
    """The name that a fieldSelector pins, or "": authorization looks at it as at a get."""
    for part in _requirements(fields):
        match = _EQUALITY.fullmatch(part)
        if match and match[1] == "metadata.name" and match[2] != "!=":
            return match[3]
    return ""


def _requirements(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _label_test(requirement: str) -> Selector:
    if match := _SET_BASED.fullmatch(requirement):
        key, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        return _labelled(key, lambda found: (found in values) == (operator == "in"))
    if match := _EQUALITY.fullmatch(requirement):
        key, operator, wanted = match.groups()
        return _labelled(key, lambda found: (found == wanted) == (operator != "!="))
    if match := _EXISTS.fullmatch(requirement):
        absent, key = match.groups()
        return _labelled(key, lambda found: (found is None) == bool(absent))
    raise bad_request(f"unable to parse requirement: {requirement!r}")


def _labelled(key: str, test: Callable[[str | None], bool]) -> Selector:
    return lambda item: test((item["metadata"].get("labels") or {}).get(key))


def _field_test(requirement: str) -> Selector:
    match = _EQUALITY.fullmatch(requirement)
    if not match:
        raise bad_request(f"invalid selector: {requirement!r}; can't understand {requirement!r}")
    key, operator, wanted = match.groups()
    if key not in _FIELDS:
        known = ", ".join(f'"{field}"' for field in _FIELDS)
        raise bad_request(f'"{key}" is not a known field selector: only {known}')
    attribute = key.removeprefix("metadata.")
    return lambda item: (item["metadata"].get(attribute, "") == wanted) == (operator != "!=")
