"""A site file's text: settings and notes, written so that the file says the same when it is read.

Pure. What all clusters agree in stands at the top, what those of an environment do at theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vaultprov import site
from vaultprov.errors import Bug, ConfigError
from vaultprov.importing import Imported, ImportedCluster
from vaultprov.settings import BY_KEY, SETTINGS

_SHARED = ("audience", "token_ttl", "reviewer.mode")  # where they agree they are said once


def site_text(found: Imported, settings: Mapping[str, Any]) -> str:
    """The file's text. settings: further ones of the whole site, such as name patterns.

    Raises Bug if the file could not be read back.
    """
    shared = _agreed(found.clusters)
    whole = {"vault.address": found.address, **settings, **found.settings, **shared}
    lines = [
        f"# Made by `vaultprov import` from {found.address}. What could not be expressed, and what",
        "# adoption would change, is said in comments. `vaultprov plan` shows it all.",
        *_settings(_without_defaults(whole), ""),
        "store:",
        "  # Only Vault was looked at, and you have stores of your own: with true, onboard makes",
        "  # one.",
        "  enabled: false",
    ]
    lines += [*_comments(found.notes, ""), "environments:"]
    for env in dict.fromkeys(each.env for each in found.clusters):
        members = [each for each in found.clusters if each.env == env]
        own = {key: value for key, value in _agreed(members).items() if key not in shared}
        lines += [f"  {_scalar(env)}:", *_settings(own, "    "), "    clusters:"]
        for each in members:
            rest = {k: v for k, v in each.settings.items() if k not in shared and k not in own}
            lines += [
                f"      {_scalar(each.name)}:",
                *_comments(each.notes, "        "),
                *(_settings(rest, "        ") or ["        {}"]),
            ]
    text = "\n".join(lines) + "\n"
    try:
        site.parsed(text, Path("vaultprov.yaml"))
    except ConfigError as error:
        raise Bug(f"the site file that was written could not be read: {error.message}") from error
    return text


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
    return yaml.safe_dump(plain, width=10**6).removesuffix("\n").removesuffix("\n...")


def _comments(notes: Iterable[str], indent: str) -> Iterator[str]:
    for note in notes:
        yield f"{indent}# {' '.join(note.split()) if not note.startswith(' ') else note}"
