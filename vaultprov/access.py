"""The use case: who can read a secret, through which role, group or entity, by which policy.

Vault knows no such question: every policy is judged here as Vault judges it (`vault.acl`), for
everybody who is given policies. What may not be looked at is told, because unknown is not nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError, Denied
from vaultprov.model import Onboarding, vault_path
from vaultprov.names import joined
from vaultprov.plan import covers
from vaultprov.resource import Io
from vaultprov.retry import Budget
from vaultprov.vault.acl import granted
from vaultprov.vault.hcl import HclError, meaning

_WORKERS = 12
_CONFIG = "config"  # of a method that gives policies to everybody who logs in
_TEMPLATE, _ANYTHING = re.compile(r"\{\{.*?\}\}"), "\0"
_WRITING = ("create", "update", "patch", "delete")
Rules = Mapping[str, str]
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who may read or write a secret.

    kind: `kubernetes role`, `group`, ...; name: where Vault has it; who: whom it lets in, in words;
    may: `read`, `write` or both; policies: those that decide.
    """

    kind: str
    name: str
    who: str
    may: tuple[str, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read or write the secret at `path`.

    unknown: what could not be told, a sentence each.
    """

    path: str
    holders: tuple[Holder, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Given:
    """Somebody who is given policies. any_of: one takes of them what one likes, and no `deny`."""

    kind: str
    name: str
    who: str
    policies: frozenset[str]
    any_of: bool = False


def secret_path(onboarding: Onboarding, given: str) -> str:
    """The path of Vault's API for a secret: below the mount, the environment, or the cluster.

    given: may begin with the mount or with the environment; else it is one of this cluster. Raises
    ConfigError if it is no plain path.
    """
    try:
        mount, path = onboarding.kv_mount, vault_path(given, "path")
    except ConfigError as error:
        raise ConfigError(error.message, hint="a secret's path, such as team-a/db") from None
    if path.startswith(mount + "/"):
        path = path.removeprefix(mount + "/")
        return joined(mount, "data", path.removeprefix("data/"))
    if path.startswith(onboarding.env + "/"):
        return joined(mount, "data", path)
    return joined(mount, "data", onboarding.env, onboarding.cluster, path)


def access(onboarding: Onboarding, given: str, io: Io, budget: Budget) -> Access:
    """Looks at every policy and everybody who has some. Raises Denied without the policies."""
    look = _Look(io, budget)
    path = secret_path(onboarding, given)
    rules = look.policies(path)
    holders = [
        holder
        for each in look.holders(rules.keys())
        if (holder := _holder(each, rules, path)) is not None
    ]
    return Access(path, tuple(sorted(holders, key=lambda h: (h.kind, h.name))), tuple(look.unknown))


def _holder(given: _Given, rules: Mapping[str, Rules], path: str) -> Holder | None:
    """With all its policies together: a `deny` of one of them beats the others."""
    if "root" in given.policies:
        return Holder(given.kind, given.name, given.who, ("read", "write"), ("root",))
    mine = {each: rules[each] for each in sorted(given.policies) if each in rules}
    together = [[each] for each in mine.values()] if given.any_of else [[*mine.values()]]
    has = {capability for each in together for capability in granted(each, path)}
    may = [word for word, any_of in (("read", ("read",)), ("write", _WRITING)) if has & {*any_of}]
    if not may:
        return None
    deciding = tuple(each for each, its in mine.items() if granted([its], path))
    return Holder(given.kind, given.name, given.who, tuple(may), deciding)


class _Look:
    """What is read of Vault. unknown: what could not be."""

    def __init__(self, io: Io, budget: Budget) -> None:
        self._io, self._budget = io, budget
        self.unknown: list[str] = []

    def policies(self, path: str) -> dict[str, Rules]:
        """The rules of every policy. Raises Denied if they may not be listed."""
        names = [name for name in self._names("sys/policies/acl") if name != "root"]
        texts = self._read([joined("sys/policies/acl", name) for name in names])
        rules: dict[str, Rules] = {}
        for name in names:
            text = str(texts.get(joined("sys/policies/acl", name), {}).get("policy") or "")
            try:
                rules[name] = meaning(text)
            except HclError as error:
                self.unknown.append(f"policy {name} cannot be read here: {error}")
                continue
            if any(_may_fit(pattern, path) for pattern in rules[name] if "{{" in pattern):
                self.unknown.append(
                    f"policy {name} may grant it to some: its paths depend on who logs in"
                )
        return rules

    def holders(self, policies: Collection[str]) -> Iterator[_Given]:
        """Everybody who is given some. policies: the names of all that there are."""
        for mount, entry in self._io.listing("sys/auth").items():
            kind = str(entry.get("type", "")) if isinstance(entry, Mapping) else ""
            kind = "token" if kind == "ns_token" else kind  # as it is called in a namespace
            if kind not in _HOLDERS:
                self.unknown.append(
                    f"whom {joined('auth', mount)} lets in: logins of kind {kind} are not looked at"
                )
            for folder, what, told in _HOLDERS.get(kind, ()):
                root = joined("auth", mount, folder)
                for path, found in (self._one if folder == _CONFIG else self._all)(root).items():
                    name, given = path.removeprefix("auth/"), _held(found, policies)
                    yield _Given(f"{kind} {what}", name, told(found), given, kind == "token")
            if kind in ("jwt", "oidc"):
                self._programs(joined("auth", mount, "cel/role"))
        groups = self._all("identity/group/id")
        called = {path.rpartition("/")[2]: _name(path, found) for path, found in groups.items()}
        for path, found in groups.items():
            kind = f"{found.get('type') or ''} group".strip()
            yield _Given(kind, _name(path, found), _of_group(found, called), _only(found))
        for path, found in self._all("identity/entity/id").items():
            yield _Given("entity", _name(path, found), _of_entity(found), _only(found))

    def _programs(self, root: str) -> None:
        """OpenBao's CEL roles: each computes the policies from what a token says."""
        for name in self._listed(root):
            self.unknown.append(f"{joined(root, name)} decides at each login, by a CEL program")

    def _one(self, path: str) -> dict[str, Found]:
        return self._read([path], or_nothing=True)

    def _all(self, root: str) -> dict[str, Found]:
        return self._read([joined(root, name) for name in self._listed(root)])

    def _listed(self, root: str) -> list[str]:
        try:
            return self._names(root)
        except Denied:
            self.unknown.append(f"{root}/ may not be listed")
            return []

    def _names(self, root: str) -> list[str]:
        listed = self._budget.call(lambda: self._io.vault.list(root)) or {}
        return [str(name) for name in listed.get("keys") or ()]

    def _read(self, paths: list[str], *, or_nothing: bool = False) -> dict[str, Found]:
        """What is there, by path, read side by side. or_nothing: what is absent is no riddle."""

        def one(path: str) -> Found | str:
            try:
                found = self._budget.call(lambda: self._io.vault.read(path))
            except Denied:
                return f"{path} may not be read"
            if found is None:
                return "" if or_nothing else f"{path} is listed, but nothing is there"
            return found

        with ThreadPoolExecutor(_WORKERS) as pool:
            answers = list(pool.map(one, paths))
        self.unknown += [each for each in answers if isinstance(each, str) and each]
        return {
            path: each
            for path, each in zip(paths, answers, strict=True)
            if not isinstance(each, str)
        }


def _may_fit(pattern: str, path: str) -> bool:
    """Whether a pattern with identity templates, which stand for anything, may cover a path."""
    parts = _TEMPLATE.sub(_ANYTHING, pattern.removesuffix("*")).split("/")
    fits = ["[^/]*" if part == "+" else re.escape(part) for part in parts]
    rest = ".*" if pattern.endswith("*") else ""
    return bool(re.fullmatch("/".join(fits).replace(re.escape(_ANYTHING), ".*") + rest, path))


def _name(path: str, found: Found) -> str:
    return str(found.get("name") or path)


def _only(found: Found) -> frozenset[str]:
    return frozenset(_lower(found.get("policies")))


def _held(found: Found, policies: Collection[str]) -> frozenset[str]:
    """A login gets the default policy, too, unless its role says otherwise."""
    default = () if found.get("token_no_default_policy") else ("default",)
    plain = {*_lower(found.get("token_policies")), *_lower(found.get("policies")), *default}
    return frozenset(plain | _choice(found, policies)) - _lower(found.get("disallowed_policies"))


def _choice(role: Found, policies: Collection[str]) -> set[str]:
    """What may be asked for through a token role; without any rule, only what one has already.

    Where a role tells only what is not allowed, all else is, whatever one has.
    """
    allowed, refused = _lower(role.get("allowed_policies")), _lower(role.get("disallowed_policies"))
    globs, without = role.get("allowed_policies_glob"), role.get("disallowed_policies_glob")
    if not (allowed or globs):
        return {name for name in policies if (refused or without) and not _fits(without, name)}
    return {
        name
        for name in {*allowed, *policies}
        if name in allowed or _fits(globs, name)
        if not _fits(without, name)
    }


def _lower(names: Any) -> set[str]:
    return {str(name).lower() for name in names or ()}


def _fits(globs: Any, name: str) -> bool:
    return any(covers(glob, name) for glob in _lower(globs))


def _of_kubernetes(role: Found) -> str:
    names = _several(role.get("bound_service_account_names"))
    namespaces = _several(role.get("bound_service_account_namespaces"))
    selector = role.get("bound_service_account_namespace_selector")
    also = f" or namespaces matching {selector}" if selector else ""
    return f"ServiceAccounts {names} in {namespaces}{also}"


def _of_jwt(role: Found) -> str:
    bound = {str(k): v for k, v in (role.get("bound_claims") or {}).items()}
    if role.get("bound_subject"):
        bound["sub"] = role["bound_subject"]
    told = [f"{name} {_several(value)}" for name, value in sorted(bound.items())]
    return "; ".join(told) or _everybody(role)


def _of_group(group: Found, called: Mapping[str, str]) -> str:
    """called: the names of all groups by their ids."""
    alias = group.get("alias") or {}
    if alias.get("name"):
        return f"people of {alias['name']} at {alias.get('mount_path') or 'a mount that is gone'}"
    members = len(group.get("member_entity_ids") or ())
    inner = sorted(called.get(str(each), str(each)) for each in group.get("member_group_ids") or ())
    told = [f"{members} members"] if members or not inner else []
    return " and ".join([*told, *([f"whoever is in group {', '.join(inner)}"] if inner else [])])


def _of_entity(entity: Found) -> str:
    aliases = entity.get("aliases") or ()
    told = [f"{each.get('name')} at {each.get('mount_path')}" for each in aliases]
    return ", ".join(told) or "nobody logs in as it"


def _several(value: Any) -> str:
    """Names in words; `*` is everybody."""
    names = [value] if isinstance(value, str) else list(value or ())
    if "*" in names:
        return "any"
    return ", ".join(sorted(map(str, names))) or "none"


def _everybody(_: Found) -> str:
    return "everybody who logs in there"


def _nobody_named(_: Found) -> str:
    return "whoever has the credential"


_HOLDERS: Mapping[str, tuple[tuple[str, str, Callable[[Found], str]], ...]] = {
    "kubernetes": (("role", "role", _of_kubernetes),),
    "jwt": (("role", "role", _of_jwt),),
    "oidc": (("role", "role", _of_jwt),),
    "approle": (("role", "role", _nobody_named),),
    "token": (("roles", "role", _nobody_named),),
    "userpass": (("users", "user", _nobody_named),),
    "ldap": (
        ("groups", "group", _nobody_named),
        ("users", "user", _nobody_named),
        (_CONFIG, "config", _everybody),
    ),
    "cert": (("certs", "role", _nobody_named),),
}
