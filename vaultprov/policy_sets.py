"""Which policy templates mean what live policies mean. Pure, but for reading the templates."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.model import Scope
from vaultprov.names import Names
from vaultprov.vault.hcl import meaning
from vaultprov.vault.policy import policy_folder, policy_sets, render

_KINDS = ("read", "write")
_BELOW = ("data", "metadata", "subkeys", "delete", "undelete", "destroy")


@dataclass(frozen=True, slots=True)
class Live:
    """A policy as it is. kind: `read` or `write`; rules: pattern -> capabilities."""

    env: str
    cluster: str
    scope: Scope
    kind: str
    name: str
    rules: Mapping[str, str]

    def values(self, kv_mount: str) -> dict[str, str]:
        """What a template's placeholders stand for."""
        narrow = self.scope is Scope.CLUSTER
        return {
            "env": self.env,
            "cluster": self.cluster,
            "kv_mount": kv_mount,
            "scope_path": f"{self.env}/{self.cluster}" if narrow else self.env,
        }


@dataclass(frozen=True, slots=True)
class Fitted:
    """The settings that say so, templates to write where no shipped set does, and notes."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fitted(live: Sequence[Live], kv_mount: str) -> Fitted:
    """The set that means what is live; else templates made of it, where one can be."""
    if not live:
        return Fitted(notes=("no policy of the environments exists: onboarding writes them",))
    for name in policy_sets():
        folder = policy_folder(name, None)
        if all(_means(each, folder, kv_mount) for each in live):
            return Fitted({"policy_set": name})
    templates = _templates(live, kv_mount)
    if templates:
        return Fitted(templates=templates)
    return Fitted(notes=tuple(_differences(live)))


def scope_of(names: Names, policies: Container[str], there: Container[str]) -> Scope:
    """The scope in which onboarding takes the least from a role.

    names: in scope `environment`. policies: the role's; there: those that exist. What a cluster may
    read is part of what its environment may, so of both the wider one is kept; a role with neither
    is given the narrower one, if somebody made it.
    """
    wide, narrow = names.read_policy, names.retired_read_policy
    if wide in policies and wide != narrow:
        return Scope.ENVIRONMENT
    return Scope.CLUSTER if narrow in policies or narrow in there else Scope.ENVIRONMENT


def role_notes(names: Names, policies: Iterable[str], there: Container[str]) -> Iterator[str]:
    """What onboarding does to the policies of a role, one by one. names: in the cluster's scope."""
    has = sorted(policies)
    wanted, retired = names.read_policy, names.retired_read_policy
    if wanted not in has:
        yield f"role {names.role} does not have the policy {wanted}: adoption gives it"
    if wanted not in there:
        yield f"policy {wanted} does not exist: onboarding writes it"
    for name in has:
        if name == retired != wanted:
            yield f"role {names.role} has the policy {name}: adoption takes it away"
        elif name != wanted:
            yield f"role {names.role} also has the policy {name}, which stays"


def _means(each: Live, folder: Any, kv_mount: str) -> bool:
    text = render(folder / f"{each.kind}.hcl", each.values(kv_mount))
    return dict(meaning(text)) == dict(each.rules)


def _templates(live: Iterable[Live], kv_mount: str) -> dict[str, str]:
    """Templates that mean each of these with its own values; none if there are no such."""
    found: dict[str, str] = {}
    for kind in _KINDS:
        of_kind = [each for each in live if each.kind == kind]
        if not of_kind:
            return {}
        text = _template(of_kind[0], kv_mount)
        for each in of_kind:
            try:
                same = dict(meaning(Template(text).substitute(each.values(kv_mount))))
            except (KeyError, ValueError, ConfigError):
                return {}
            if same != dict(each.rules):
                return {}
        found[f"{kind}.hcl"] = text
    return found


def _template(live: Live, kv_mount: str) -> str:
    """The policy with placeholders where its own names stand."""
    blocks = []
    for path, grants in live.rules.items():
        names, _, parameters = grants.partition(";")
        if parameters:
            return ""  # what is no capability has a shape that a path's rule does not tell
        listed = ", ".join(f'"{name}"' for name in names.split(", ") if name != "nothing")
        place = _with_placeholders(path.replace("$", "$$"), live, kv_mount)
        blocks.append(f'path "{place}" {{\n  capabilities = [{listed}]\n}}\n')
    return "\n".join(blocks)


def _with_placeholders(path: str, live: Live, kv_mount: str) -> str:
    if not path.startswith(kv_mount + "/"):
        return path
    head, _, rest = path.removeprefix(kv_mount + "/").partition("/")
    if head not in _BELOW:
        return f"$kv_mount/{path.removeprefix(kv_mount + '/')}"
    narrow = live.scope is Scope.CLUSTER and live.kind == "read"
    own = f"{live.env}/{live.cluster}/" if narrow else f"{live.env}/"
    if rest.startswith(own):
        placeholder = "$scope_path" if live.kind == "read" else "$env"
        rest = f"{placeholder}/{rest.removeprefix(own)}"
    return f"$kv_mount/{head}/{rest}"


def _differences(live: Iterable[Live]) -> Iterable[str]:
    yield "the policies differ from every shipped set, and from one environment to another:"
    for each in {one.name: one for one in live}.values():
        yield f"  {each.name}:"
        yield from (f"    {path}: {grants}" for path, grants in sorted(each.rules.items()))
    yield "set policy_dir to a folder with your own read.hcl and write.hcl before you adopt"
