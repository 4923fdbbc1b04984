"""Label selectors (apimachinery `labels.Selector`): everything in one has to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vaultprov.netpol.reading import Malformed, entry, mapping, sequence, text

Labels = Mapping[str, str]

_OPERATORS: Mapping[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,  # holds for a label that is absent
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}
_WITH_VALUES = ("In", "NotIn")


def selects(selector: Any, labels: Labels, where: str = "the selector") -> bool:
    """Whether a selector selects these labels; an empty one selects everything.

    NotIn and DoesNotExist hold for a label that is absent. Raises Malformed.
    """
    fields = mapping(selector, where, ("matchLabels", "matchExpressions"))
    wanted = mapping(fields.get("matchLabels"), f"{where}.matchLabels")
    for name, value in wanted.items():
        text(value, f"{where}.matchLabels[{name}]")
    expressions = sequence(fields.get("matchExpressions"), f"{where}.matchExpressions")
    # Everything is read before anything counts: a part that does not hold hides no broken one.
    held = [
        _holds(expression, labels, f"{where}.matchExpressions[{number}]")
        for number, expression in enumerate(expressions)
    ]
    return all(labels.get(name) == value for name, value in wanted.items()) and all(held)


def _holds(expression: Any, labels: Labels, where: str) -> bool:
    fields = entry(expression, where, ("key", "operator", "values"))
    key = text(fields.get("key"), f"{where}.key")
    operator = text(fields.get("operator"), f"{where}.operator")
    if operator not in _OPERATORS:
        raise Malformed(f"{where} has the unknown operator {operator!r}")
    values = [
        text(value, f"{where}.values")
        for value in sequence(fields.get("values"), f"{where}.values")
    ]
    if bool(values) is not (operator in _WITH_VALUES):
        raise Malformed(f"{where}: {operator} needs {'' if not values else 'no '}values")
    return _OPERATORS[operator](labels.get(key), values)
