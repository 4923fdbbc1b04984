"""Who can read a secret, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vaultprov.access import Access
from vaultprov.report.document import SCHEMA
from vaultprov.run import Request

_BESIDES = "holders of a root token and of tokens made with `vault token create -policy`"
_HEAD = ("MAY", "THROUGH", "WHO", "BY POLICY")


def lines(access: Access) -> Iterator[str]:
    """In columns, and what could not be told."""
    yield f"Who can reach {access.path}"
    rows = [
        (", ".join(h.may), f"{h.kind} {h.name}", h.who, ", ".join(h.policies))
        for h in access.holders
    ]
    if not rows:
        partly = " where it could be looked" if access.unknown else f", besides {_BESIDES}"
        yield f"  nobody was found{partly}"
    widths = [max(len(row[n]) for row in (_HEAD, *rows)) for n in range(3)]
    for row in (_HEAD, *rows) if rows else ():
        columns = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        yield "  " + "  ".join([*columns, row[3]]).rstrip()
    if rows:
        yield f"Also: {_BESIDES}."
    yield from (f"not known: {sentence}" for sentence in access.unknown)


def document(request: Request, access: Access) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "schema": SCHEMA,
        "command": request.command,
        "env": request.onboarding.env,
        "cluster": request.onboarding.cluster,
        "ok": not access.unknown,
        "changed": False,
        "path": access.path,
        "holders": [
            {
                "kind": h.kind,
                "name": h.name,
                "who": h.who,
                "may": list(h.may),
                "policies": list(h.policies),
            }
            for h in access.holders
        ],
        "unknown": list(access.unknown),
    }
