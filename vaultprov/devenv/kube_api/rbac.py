"""Who may do what: the RBAC authorizer, reading roles and bindings from the store.

Reference: https://kubernetes.io/docs/reference/access-authn-authz/rbac/. Not done: aggregated
ClusterRoles, and the check that nobody grants more than he has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vaultprov.devenv.kube_api.authn import User
from vaultprov.devenv.kube_api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    RBAC_GROUP,
    ROLE_BINDINGS,
    ROLES,
)
from vaultprov.devenv.kube_api.status import Object, quoted
from vaultprov.devenv.kube_api.store import Store
from vaultprov.devenv.kube_api.tokens import username


@dataclass(frozen=True)
class Attributes:
    """What is asked: a verb on a resource, or on a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def combined(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User, reason: str) -> str:
        """The sentence of a 403."""
        who = f"User {quoted(user.name)} cannot {self.verb}"
        if self.path:
            sentence = f"{who} path {quoted(self.path)}"
        else:
            scope = f"in the namespace {quoted(self.namespace)}"
            sentence = (
                f"{who} resource {quoted(self.combined)} in API group {quoted(self.group)}"
                f" {scope if self.namespace else 'at the cluster scope'}"
            )
        return f"{sentence}: {reason}" if reason else sentence


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


class Authorizer:
    """Decides from the roles and bindings as they are at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, user: User, asked: Attributes) -> Decision:
        if "system:masters" in user.groups:
            return Decision(allowed=True)
        missing: list[str] = []
        for binding, home in self._bindings(asked.namespace):
            subject = _matching_subject(binding, home, user)
            if subject is None:
                continue
            ref = binding["roleRef"]
            role = self._role(ref, home)
            if role is None:
                group = f"{ref['kind'].lower()}.{RBAC_GROUP}"
                missing.append(f"{group} {quoted(ref['name'])} not found")
            elif any(allows(rule, asked) for rule in role.get("rules", [])):
                return Decision(allowed=True, reason=_grant(binding, home, subject))
        return Decision(allowed=False, reason=_not_found(missing))

    def _bindings(self, namespace: str) -> Iterator[tuple[Object, str]]:
        for binding in self._store.items(CLUSTER_ROLE_BINDINGS.collection):
            yield binding, ""
        if namespace:
            for binding in self._store.items(ROLE_BINDINGS.collection, namespace):
                yield binding, namespace

    def _role(self, ref: Object, home: str) -> Object | None:
        if ref["kind"] == "ClusterRole":
            return self._store.get(CLUSTER_ROLES.collection, "", ref["name"])
        return self._store.get(ROLES.collection, home, ref["name"])


def allows(rule: Object, asked: Attributes) -> bool:
    """Whether one rule of a role covers what is asked."""
    if not _covers(rule.get("verbs", ()), asked.verb):
        return False
    if asked.path:
        return any(_url_matches(url, asked.path) for url in rule.get("nonResourceURLs", ()))
    resources = rule.get("resources", ())
    names = rule.get("resourceNames", ())
    any_with_subresource = asked.subresource and f"*/{asked.subresource}" in resources
    return (
        _covers(rule.get("apiGroups", ()), asked.group)
        and (_covers(resources, asked.combined) or bool(any_with_subresource))
        and (not names or asked.name in names)
    )


def _covers(listed: Iterable[str], wanted: str) -> bool:
    return any(entry in ("*", wanted) for entry in listed)


def _url_matches(rule: str, path: str) -> bool:
    return rule in ("*", path) or (rule.endswith("*") and path.startswith(rule.rstrip("*")))


def _matching_subject(binding: Object, home: str, user: User) -> Object | None:
    for subject in binding.get("subjects", []):
        kind, name = subject["kind"], subject["name"]
        account = username(subject.get("namespace") or home, name)
        if (
            (kind == "User" and name == user.name)
            or (kind == "Group" and name in user.groups)
            or (kind == "ServiceAccount" and account == user.name)
        ):
            found: Object = subject
            return found
    return None


def _grant(binding: Object, home: str, subject: Object) -> str:
    """Why something is allowed, as SelfSubjectAccessReview tells it."""
    name, kind = binding["metadata"]["name"], "ClusterRoleBinding"
    if home:
        name, kind = f"{name}/{home}", "RoleBinding"
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or home}"
    ref = binding["roleRef"]
    return (
        f"RBAC: allowed by {kind} {quoted(name)} of {ref['kind']} {quoted(ref['name'])}"
        f" to {subject['kind']} {quoted(who)}"
    )


def _not_found(missing: list[str]) -> str:
    if not missing:
        return ""
    return f"RBAC: {missing[0] if len(missing) == 1 else '[' + ', '.join(missing) + ']'}"
