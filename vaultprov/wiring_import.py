"""What `import` is asked: flags, environment, kubeconfig -> the texts of a site file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaultprov.importing import Imported, imported
from vaultprov.model import NamePatterns
from vaultprov.settings import SETTINGS
from vaultprov.site_text import site_text
from vaultprov.wiring import effective, wired


@dataclass(frozen=True, slots=True)
class Texts:
    """The site file, policy templates by file name, and what is said of them, in lines."""

    site: str
    templates: Mapping[str, str]
    summary: tuple[str, ...]


def texts(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> Texts:
    """Reads Vault. Raises Error.

    options: flags by name, as of `wiring.effective`; `file`: where the site file goes;
    `templates`: the folder of the templates, or None.
    """
    from vaultprov.clients.kubeconfig import contexts  # 0.3 s, which --help need not pay

    _, values = effective(options, environ, warn)
    keys = [setting.key for setting in SETTINGS if setting.key.startswith("names.")]
    patterns = {key: values[key].value for key in keys}
    names = NamePatterns(**{key.removeprefix("names."): each for key, each in patterns.items()})
    known = contexts(environ.get("KUBECONFIG") or None, Path.home())
    with wired("import", options, environ, warn) as (_, io, _budget):
        found = imported(names, known, io)
    folder = options.get("templates")
    if found.templates and folder is not None:
        patterns["policy_dir"] = os.path.relpath(folder, Path(options["file"]).parent)
    text = site_text(found, {key: each for key, each in patterns.items() if each is not None})
    return Texts(text, found.templates, tuple(_summary(found, folder)))


def _summary(found: Imported, folder: Path | None) -> Iterator[str]:
    environments = {each.env for each in found.clusters}
    notes = len(found.notes) + sum(len(each.notes) for each in found.clusters)
    yield (
        f"clusters: {len(found.clusters)}, environments: {len(environments)}, comments on what the "
        f"file cannot say or adoption changes: {notes}"
    )
    if found.templates and folder is None:
        yield (
            "no shipped policy set means what is live: add --templates DIR for templates that do, "
            "or onboarding would change the policies"
        )
    first = found.clusters[0]
    yield f"next:  vaultprov plan --env {first.env} --cluster {first.name}"
