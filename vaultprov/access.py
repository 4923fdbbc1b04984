"""The use case: who can read a secret, through which role, group or entity, by which policy.

Vault knows no such question: every policy is judged here as Vault judges it (`vault.acl`), for
everybody who is given policies. What may not be looked at is told, because unknown is not nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vaultprov.errors import ConfigError, Denied
from vaultprov.model import Onboarding, vault_path
from vaultprov.names import joined
from vaultprov.resource import Io
from vaultprov.vault.acl import granted, matches
from vaultprov.vault.hcl import HclError, meaning

_WORKERS = 12
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


def access(onboarding: Onboarding, given: str, io: Io) -> Access:
    """Looks at every policy and everybody who has some. Raises Denied without the policies."""
    look = _Look(io)
    path = secret_path(onboarding, given)
    policies = look.policies(path)
    holders = [
        holder
        for kind, name, who, held in look.holders()
        if (holder := _holder(kind, name, who, held, policies, path)) is not None
    ]
    return Access(path, tuple(sorted(holders, key=lambda h: (h.kind, h.name))), tuple(look.unknown))


def _holder(
    kind: str, name: str, who: str, held: set[str], policies: Mapping[str, Rules], path: str
) -> Holder | None:
    """With all its policies together: a `deny` of one of them beats the others."""
    if "root" in held:
        return Holder(kind, name, who, ("read", "write"), ("root",))
    mine = {each: policies[each] for each in sorted(held) if each in policies}
    has = granted(mine.values(), path)
    may = [word for word, any_of in (("read", ("read",)), ("write", _WRITING)) if has & {*any_of}]
    if not may:
        return None
    deciding = tuple(each for each, rules in mine.items() if granted([rules], path))
    return Holder(kind, name, who, tuple(may), deciding)


class _Look:
    """What is read of Vault. unknown: what could not be."""

    def __init__(self, io: Io) -> None:
        self._io = io
        self.unknown: list[str] = []

    def policies(self, path: str) -> dict[str, Rules]:
        """The rules of every policy. Raises Denied if they may not be listed."""
        listed = self._io.vault.list("sys/policies/acl") or {}
        names = [str(name) for name in listed.get("keys") or () if name != "root"]
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

    def holders(self) -> Iterator[tuple[str, str, str, set[str]]]:
        """Kind, name, whom it lets in, and policies of everybody who is given some."""
        for mount, entry in self._io.listing("sys/auth").items():
            kind = entry.get("type", "") if isinstance(entry, Mapping) else ""
            for folder, what, told in _HOLDERS.get(kind, ()):
                root = joined("auth", mount, folder)
                for path, found in self._all(root).items():
                    yield f"{kind} {what}", path.removeprefix("auth/"), told(found), _held(found)
        for path, found in self._all("identity/group/id").items():
            name = str(found.get("name") or path)
            yield f"{found.get('type') or ''} group".strip(), name, _of_group(found), _only(found)
        for path, found in self._all("identity/entity/id").items():
            name = str(found.get("name") or path)
            yield "entity", name, _of_entity(found), _only(found)

    def _all(self, root: str) -> dict[str, Found]:
        try:
            listed = self._io.vault.list(root) or {}
        except Denied:
            self.unknown.append(f"{root}/ may not be listed")
            return {}
        return self._read([joined(root, str(name)) for name in listed.get("keys") or ()])

    def _read(self, paths: list[str]) -> dict[str, Found]:
        """What is there, by path, read side by side."""

        def one(path: str) -> Found | None:
            try:
                return self._io.vault.read(path)
            except Denied:
                self.unknown.append(f"{path} may not be read")
                return None

        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(one, paths))
        return {path: each for path, each in zip(paths, found, strict=True) if each is not None}


def _may_fit(pattern: str, path: str) -> bool:
    """Whether a pattern with identity templates covers a path for anybody."""
    parts = ["+" if "{{" in part else part for part in pattern.split("/")]
    return matches("/".join(parts), path)


def _only(found: Found) -> set[str]:
    return {str(name).lower() for name in found.get("policies") or ()}


def _held(found: Found) -> set[str]:
    """A login gets the default policy, too, unless its role says otherwise."""
    names = [
        *(found.get("token_policies") or ()),
        *(found.get("policies") or ()),
        *(found.get("allowed_policies") or ()),
    ]
    default = () if found.get("token_no_default_policy") else ("default",)
    return {str(name).lower() for name in (*names, *default)}


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
    return "; ".join(told) or "everybody who logs in there"


def _of_group(group: Found) -> str:
    alias = group.get("alias") or {}
    if alias.get("name"):
        return f"people of {alias['name']} at {alias.get('mount_path') or 'a mount that is gone'}"
    return f"{len(group.get('member_entity_ids') or ())} members"


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


def _nobody_named(_: Found) -> str:
    return "whoever has the credential"


_HOLDERS: Mapping[str, tuple[tuple[str, str, Callable[[Found], str]], ...]] = {
    "kubernetes": (("role", "role", _of_kubernetes),),
    "jwt": (("role", "role", _of_jwt),),
    "oidc": (("role", "role", _of_jwt),),
    "approle": (("role", "role", _nobody_named),),
    "token": (("roles", "role", _nobody_named),),
    "userpass": (("users", "user", _nobody_named),),
    "ldap": (("groups", "group", _nobody_named), ("users", "user", _nobody_named)),
    "cert": (("certs", "role", _nobody_named),),
}
