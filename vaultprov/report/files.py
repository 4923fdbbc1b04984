"""What became of a rendered tree, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vaultprov.render import Facts, File
from vaultprov.report.document import SCHEMA


def document(facts: Facts, files: Sequence[File], leftovers: Sequence[str]) -> dict[str, Any]:
    """The JSON document. `files` says of each path whether it was, or would be, changed."""
    return {
        "schema": SCHEMA,
        "command": "render",
        "env": facts.env,
        "cluster": facts.cluster,
        "ok": True,
        "changed": any(file.differs for file in files),
        "files": {file.path: file.differs for file in files},
        "leftovers": list(leftovers),
    }


def human(
    folder: Path, files: Sequence[File], leftovers: Sequence[str], *, written: bool
) -> Iterator[str]:
    """Line by line: what was written, or what differs where nothing was."""
    changed = [file for file in files if file.differs]
    for file in changed:
        yield f"wrote {folder / file.path}" if written else file.diff.removesuffix("\n")
    for path in leftovers:
        yield (
            f"not rendered this time: {folder / path} (if it is to go, delete it and its line in "
            "kustomization.yaml)"
        )
    count = f"{len(changed)} file{'' if len(changed) == 1 else 's'}"
    verb = "written" if written else "differ"
    yield f"{count} {verb}, {len(files) - len(changed)} as they should be."
