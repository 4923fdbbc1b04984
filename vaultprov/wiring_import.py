"""What `import` is asked: flags, environment, kubeconfig -> the texts of a site file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaultprov import site
from vaultprov.importing import Imported, imported
from vaultprov.model import NamePatterns
from vaultprov.settings import SETTINGS
from vaultprov.site_text import expressible, site_text
from vaultprov.wiring import config_home, effective, wired


@dataclass(frozen=True, slots=True)
class Texts:
    """The site file, policy templates by file name, and what is said of them, in lines.

    first: one of the clusters, as the options that name it.
    """

    site: str
    templates: Mapping[str, str]
    summary: tuple[str, ...]
    first: str


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
        found = expressible(imported(names, known, io))
    folder = options.get("templates")
    if found.templates and folder is not None:
        patterns["policy_dir"] = os.path.relpath(folder, Path(options["file"]).parent)
    text = site_text(found, {key: each for key, each in patterns.items() if each is not None})
    first = f"--env {found.clusters[0].env} --cluster {found.clusters[0].name}"
    return Texts(text, found.templates, tuple(_summary(found, folder)), first)


def next_step(file: Path | None, first: str, environ: Mapping[str, str]) -> str:
    """The command to go on with once the site file is there. file: None if that is not known.

    first: as in `Texts`.
    """
    there = site.find(Path.cwd(), config_home(environ))
    is_found = file is None or (there is not None and there.samefile(file))
    config = "" if is_found else f"--config {shlex.quote(str(file))} "
    return f"vaultprov plan {config}{first}"


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
