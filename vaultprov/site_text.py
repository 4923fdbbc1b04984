"""A site file's text: settings and notes, written so that the file says the same when it is read.

Notes quote what others wrote into Vault, so a note is one line of comment, whatever it holds. Pure.
What all clusters agree in stands at the top, what those of an environment do at theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from vaultprov import site
from vaultprov.errors import Bug, ConfigError
from vaultprov.importing import Imported, ImportedCluster
from vaultprov.redact import scrub
from vaultprov.settings import BY_KEY, SETTINGS

_SHARED = ("scope", "audience", "token_ttl", "reviewer.mode")  # where they agree they are said once
_Layers = dict[tuple[str, ...], Mapping[str, Any]]  # (), (environment,), (environment, cluster)


def expressible(found: Imported) -> Imported:
    """With a note instead of each value that Vault holds and no site file takes."""
    settings, notes = _expressible(found.settings)
    clusters = []
    for each in found.clusters:
        own, told = _expressible(each.settings)
        clusters.append(replace(each, settings=own, notes=(*each.notes, *told)))
    return replace(found, settings=settings, clusters=tuple(clusters), notes=(*found.notes, *notes))


def _expressible(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    kept, notes = {}, []
    for key, value in settings.items():
        try:
            BY_KEY[key].parse(value)
        except ConfigError as error:
            notes.append(f"{key} cannot be said here: {scrub(error.message)}")
            continue
        if scrub(str(value)) == str(value):
            kept[key] = value
        else:
            notes.append(f"{key} cannot be said here: it looks like a token")
    return kept, notes


def site_text(found: Imported, settings: Mapping[str, Any]) -> str:
    """The file's text. settings: further ones of the whole site, such as name patterns.

    found: with values that a site file takes.

    Raises Bug if the file would not be read as just these settings.
    """
    shared = _agreed(found.clusters)
    whole = {"vault.address": found.address, **settings, **found.settings, **shared}
    whole = _without_defaults(whole)
    made_by = (
        f"Made by `vaultprov import` from {found.address}. What could not be expressed, and what",
        "adoption would change, is said in comments. `vaultprov plan` shows it all.",
    )
    lines = [
        *_comments(made_by, ""),
        *_settings(whole, ""),
        "store:",
        "  # Only Vault was looked at, and you have stores of your own: with true, onboard makes",
        "  # one.",
        "  enabled: false",
        *_comments(found.notes, ""),
        "environments:",
    ]
    meant: _Layers = {(): {**whole, "store.enabled": False}}
    for env in dict.fromkeys(each.env for each in found.clusters):
        members = [each for each in found.clusters if each.env == env]
        own = {key: value for key, value in _agreed(members).items() if key not in shared}
        meant[env,] = own
        lines += [f"  {_scalar(env)}:", *_settings(own, "    "), "    clusters:"]
        for each in members:
            rest = {k: v for k, v in each.settings.items() if k not in shared and k not in own}
            meant[env, each.name] = rest
            lines += [
                f"      {_scalar(each.name)}:",
                *_comments(each.notes, "        "),
                *(_settings(rest, "        ") or ["        {}"]),
            ]
    text = "\n".join(lines) + "\n"
    _check(text, meant)
    return text


def _check(text: str, meant: _Layers) -> None:
    """Raises Bug if the text is not read as what was meant, no more and no less."""
    try:
        read = site.parsed(text, Path(site.FILE_NAME))
        parsed = {
            layer: {key: BY_KEY[key].parse(value) for key, value in settings.items()}
            for layer, settings in meant.items()
        }
    except ConfigError as error:
        raise Bug(f"the site file that was written could not be read: {error.message}") from error
    layers: list[tuple[tuple[str, ...], Mapping[str, site.Sourced]]] = [
        ((), read.site),
        *(((env,), settings) for env, settings in read.environments.items()),
        *read.clusters.items(),
    ]
    found = {
        layer: {key: sourced.value for key, sourced in settings.items()}
        for layer, settings in layers
    }
    if found != parsed:
        raise Bug("the site file that was written would not be read as what was found")


def _agreed(clusters: Iterable[ImportedCluster]) -> dict[str, Any]:
    members = list(clusters)
    return {
        key: members[0].settings[key]
        for key in _SHARED
        if key in members[0].settings
        and all(each.settings.get(key) == members[0].settings[key] for each in members)
    }


def _without_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    order = {setting.key: number for number, setting in enumerate(SETTINGS)}
    wanted = {k: v for k, v in settings.items() if v != BY_KEY[k].default or k == "vault.address"}
    return dict(sorted(wanted.items(), key=lambda item: order[item[0]]))


def _settings(settings: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    section = ""
    for key, value in settings.items():
        first, dot, rest = key.partition(".")
        if dot and first != section:
            lines.append(f"{indent}{first}:")
        section = first if dot else ""
        name, deeper = (rest, indent + "  ") if dot else (key, indent)
        if isinstance(value, tuple | list):
            lines += [f"{deeper}{name}:", *(f"{deeper}  - {_scalar(each)}" for each in value)]
        else:
            lines.append(f"{deeper}{name}: {_scalar(value)}")
    return lines


def _scalar(value: object) -> str:
    plain = value if isinstance(value, bool | int) else str(value)
    # Only the style with double quotes has one line for every text.
    style = None if str(plain).isprintable() else '"'
    text: str = yaml.safe_dump(plain, width=sys.maxsize, default_style=style)
    return text.removesuffix("\n").removesuffix("\n...")


def _comments(notes: Iterable[str], indent: str) -> Iterator[str]:
    """A line each: what would end the line, or not be seen in it, is escaped."""
    for note in notes:
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in note)
        yield f"{indent}# {''.join(shown)}"
