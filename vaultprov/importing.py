"""The use case: what a Vault that was set up by hand says of a site. Nothing is written to it.

Everything that a site file cannot say, or that onboarding would change, becomes a note beside the
setting that it is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from vaultprov.certificates import known_certificates
from vaultprov.errors import ConfigError, Refused
from vaultprov.model import NamePatterns, Onboarding, Scope, ServiceAccount, dns_label
from vaultprov.names import Names, joined
from vaultprov.policy_sets import Fitted, Live, fitted, role_notes, scope_of
from vaultprov.resource import Io
from vaultprov.vault.hcl import HclError, meaning
from vaultprov.vault.marker import marker_of

_WORKERS = 12
_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DEFAULT_TTL, _DEFAULT_AUDIENCE = 3600, "vault"
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """A kubeconfig context: its name, and the CA (PEM) of its API server, "" if unknown."""

    name: str
    ca_pem: str = ""


@dataclass(frozen=True, slots=True)
class ImportedCluster:
    """One cluster: its settings by key, and what they do not say, a sentence each.

    mount: the auth mount that tells of it; policies: of its role, as Vault stores their names.
    """

    env: str
    name: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    mount: str = ""
    policies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Imported:
    """A site: settings that hold for all, clusters, and what was left out.

    templates: policy templates that mean what is live, by file name; empty if a shipped set does.
    """

    address: str
    settings: Mapping[str, Any]
    clusters: tuple[ImportedCluster, ...]
    notes: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)


def imported(names: NamePatterns, contexts: Mapping[str, tuple[Context, ...]], io: Io) -> Imported:
    """Reads the site. names: how its objects are called. contexts: by the API server's URL.

    Raises Denied for what may not be read, Refused if nothing of it can be told.
    """
    look = _Look(names, contexts, io)
    clusters = look.one_each(look.clusters())
    if not clusters:
        left = f" ({'; '.join(look.notes)})" if look.notes else ""
        raise Refused(
            f"no auth mount of {io.vault.address} could be told to be a cluster's{left}",
            hint="say how they are called: --set names.auth_mount=... --set names.role=...",
        )
    look.check_hosts(clusters)
    clusters, kv_mount, fit = look.with_policies(clusters)
    settings = {"kv_mount": kv_mount, **fit.settings, **look.oidc()}
    return Imported(
        io.vault.address,
        {key: value for key, value in settings.items() if value is not None},
        tuple(sorted(look.with_groups(clusters), key=lambda each: (each.env, each.name))),
        (*look.notes, *fit.notes),
        fit.templates,
    )


class _Look:
    """What is read of Vault, each thing once. notes: what was left out."""

    def __init__(
        self, names: NamePatterns, contexts: Mapping[str, tuple[Context, ...]], io: Io
    ) -> None:
        self._names, self._contexts, self._io = names, contexts, io
        self.notes: list[str] = []

    def clusters(self) -> Iterator[ImportedCluster]:
        """Every auth mount that can be told to be a cluster's."""
        for path, entry in sorted(self._io.listing("sys/auth").items()):
            mount, kind = path.strip("/"), entry.get("type") if isinstance(entry, Mapping) else ""
            if kind == "jwt":
                self.notes.append(f"auth/{mount} is of type jwt and was not looked at")
            if kind != "kubernetes":
                continue
            facts = marker_of(entry).facts
            matched = _parts(self._names.auth_mount, mount)
            cluster = facts.get("cluster") or (matched or {}).get("cluster")
            roles = self._roles(mount)
            if cluster is None or not _is_label(cluster):
                told = f"auth/{mount} does not fit names.auth_mount {self._names.auth_mount!r}"
                self.notes.append(f"{told}; its roles: {_some(roles)}")
                continue
            env = facts.get("environment") or (matched or {}).get("env")
            fits = self._environments(roles, env, cluster)
            if len(fits) != 1:
                told = f"auth/{mount} ({cluster}): which environment it is of cannot be told"
                self.notes.append(f"{told} from its roles: {_some(roles)}")
                continue
            ((env, role),) = fits.items()
            yield self._cluster(env, cluster, mount, role, roles)

    def one_each(self, found: Iterable[ImportedCluster]) -> tuple[ImportedCluster, ...]:
        """Of several mounts of one cluster the one that onboarding would take; the first else."""
        of_cluster: dict[tuple[str, str], list[ImportedCluster]] = {}
        for each in found:
            of_cluster.setdefault((each.env, each.name), []).append(each)
        taken = []
        for mounts in of_cluster.values():
            mounts.sort(key=lambda each: each.mount != self._called(each).auth_mount)
            first, *rest = mounts
            taken.append(first)
            self.notes += [
                f"auth/{each.mount} is of the environment {each.env} and the cluster {each.name}, "
                f"too, and was left out: auth/{first.mount} was taken"
                for each in rest
            ]
        return tuple(taken)

    def _called(self, each: ImportedCluster, scope: Scope = Scope.ENVIRONMENT) -> Names:
        return Names.of(Onboarding(each.env, each.name, names=self._names, scope=scope))

    def _environments(self, roles: Iterable[str], env: str | None, cluster: str) -> dict[str, str]:
        """The environments that a mount may be of, with the role that says so."""
        fits = {}
        for role in roles:
            parts = _parts(self._names.role, role)
            if parts is None or parts.get("cluster", cluster) != cluster:
                continue
            told = parts.get("env", env)
            if told is not None and env in (None, told) and _is_label(told):
                fits[told] = role
        return fits

    def _roles(self, mount: str) -> dict[str, Found]:
        listed = self._io.vault.list(joined("auth", mount, "role")) or {}
        names = [str(name) for name in listed.get("keys") or ()]
        found = self._read([joined("auth", mount, "role", name) for name in names])
        return {name: found.get(joined("auth", mount, "role", name), {}) for name in names}

    def _read(self, paths: list[str]) -> dict[str, Found]:
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(self._io.vault.read, paths))
        return {path: each for path, each in zip(paths, found, strict=True) if each is not None}

    def _cluster(
        self, env: str, cluster: str, mount: str, role: str, roles: Mapping[str, Found]
    ) -> ImportedCluster:
        config = self._io.vault.read(joined("auth", mount, "config")) or {}
        settings, notes = _of_config(config, self._contexts)
        more, also = _of_role(role, roles[role])
        others = [name for name in roles if name != role]
        if others:
            also.append(f"other roles of auth/{mount}, which stay as they are:")
            also += [f"  {name}: {_bound(roles[name])}" for name in others]
        policies = frozenset(name.lower() for name in _policies(roles[role]))
        told = (*notes, *also)
        return ImportedCluster(env, cluster, {**settings, **more}, told, mount, policies)

    def check_hosts(self, clusters: Iterable[ImportedCluster]) -> None:
        """Two mounts of one API server are one cluster, which one of them may have."""
        of_host: dict[str, list[str]] = {}
        for each in clusters:
            of_host.setdefault(each.settings.get("kubernetes.host", ""), []).append(each.name)
        for host, names in of_host.items():
            if host and len(names) > 1:
                self.notes.append(
                    f"{' and '.join(names)} have the same API server, {host}: onboarding refuses "
                    "the second one"
                )

    def with_policies(
        self, clusters: Sequence[ImportedCluster]
    ) -> tuple[tuple[ImportedCluster, ...], str | None, Fitted]:
        """With the scope of each; the key-value mount; the policy set that means what is live."""
        all_names = [self._called(each) for each in clusters]
        wanted = {
            name
            for each in all_names
            for name in (each.read_policy, each.retired_read_policy, each.write_policy)
        }
        paths = {joined("sys/policies/acl", name): name for name in sorted(wanted)}
        texts = {paths[path]: found for path, found in self._read(list(paths)).items()}
        rules: dict[str, Mapping[str, str]] = {}
        for name, found in texts.items():
            try:
                rules[name] = meaning(str(found.get("policy") or ""))
            except HclError as error:
                self.notes.append(f"policy {name} cannot be read here: {error}")
        live, scoped = [], []
        for each, wide in zip(clusters, all_names, strict=True):
            scope = scope_of(wide, each.policies, texts)
            names = self._called(each, scope)
            more = {"scope": scope.value} if scope is Scope.CLUSTER else {}
            notes = role_notes(names, each.policies, texts)
            settings = {**each.settings, **more}
            scoped.append(replace(each, settings=settings, notes=(*each.notes, *notes)))
            live += [
                Live(each.env, each.name, scope, kind, name, rules[name])
                for kind, name in (("read", names.read_policy), ("write", names.write_policy))
                if name in rules
            ]
        mount = self._kv_mount(rules.values())
        return tuple(scoped), mount, fitted(live, mount or "k8s_secrets")

    def _kv_mount(self, policies: Iterable[Mapping[str, str]]) -> str | None:
        """The KV version 2 mount that the policies are about, or the only one there is."""
        mounts = [
            path.strip("/")
            for path, entry in self._io.listing("sys/mounts").items()
            if isinstance(entry, Mapping)
            and entry.get("type") == "kv"
            and (entry.get("options") or {}).get("version") == "2"
        ]
        paths = [path for rules in policies for path in rules]
        named = [each for each in mounts if any(path.startswith(each + "/") for path in paths)]
        fits = named or mounts
        if len(fits) == 1:
            return fits[0]
        self.notes.append(f"kv_mount: which of {_some(mounts)} it is cannot be told")
        return None

    def oidc(self) -> dict[str, Any]:
        """How people log in; the client secret is never read back."""
        mounts = [
            path.strip("/")
            for path, entry in self._io.listing("sys/auth").items()
            if isinstance(entry, Mapping) and entry.get("type") == "oidc"
        ]
        if not mounts:
            return {"oidc.enabled": False}
        mount = "oidc" if "oidc" in mounts else mounts[0]
        if len(mounts) > 1:
            self.notes.append(f"oidc.mount: there are {_some(mounts)}; {mount} was taken")
        config = self._io.vault.read(joined("auth", mount, "config")) or {}
        role_name = str(config.get("default_role") or "default")
        role = self._io.vault.read(joined("auth", mount, "role", role_name)) or {}
        found = {
            "oidc.mount": mount,
            "oidc.discovery_url": config.get("oidc_discovery_url"),
            "oidc.client_id": config.get("oidc_client_id"),
            "oidc.role": role_name,
            "oidc.user_claim": role.get("user_claim"),
            "oidc.groups_claim": role.get("groups_claim"),
            "oidc.scopes": tuple(role.get("oidc_scopes") or ()),
            "oidc.redirect_uris": tuple(role.get("allowed_redirect_uris") or ()),
        }
        if found["oidc.client_id"]:
            self.notes.append(
                "oidc: the client secret cannot be read back; for `vaultprov bootstrap` say in "
                "oidc.client_secret_env or oidc.client_secret_file where it is"
            )
        return {key: value for key, value in found.items() if value}

    def with_groups(self, clusters: Iterable[ImportedCluster]) -> Iterator[ImportedCluster]:
        """With a note where the environment's group is not there."""
        called = [(each, self._called(each).group) for each in clusters]
        paths = {name: joined("identity/group/name", name) for _, name in called}
        there = self._read(sorted(set(paths.values())))
        for each, name in called:
            absent = f"group {name} does not exist: onboarding makes it"
            notes = () if paths[name] in there else (absent,)
            yield replace(each, notes=(*each.notes, *notes))


def _of_config(
    config: Found, contexts: Mapping[str, tuple[Context, ...]]
) -> tuple[dict[str, Any], list[str]]:
    host = str(config.get("kubernetes_host") or "").rstrip("/")
    if not host:
        return {}, ["the mount has no config: onboarding writes it, with kubernetes.host"]
    settings: dict[str, Any] = {"kubernetes.host": host}
    known, notes = contexts.get(host, ()), []
    if not host.startswith("https://"):
        notes.append(f"kubernetes_host is {host}: it has to be https://")
        del settings["kubernetes.host"]
    if known:
        settings["kubernetes.context"] = known[0].name
    else:
        notes.append(f"no context of your kubeconfig has {host}: set kubernetes.context")
    ca = known_certificates(str(config.get("kubernetes_ca_cert") or ""))
    if not ca:
        notes.append("the config has no CA: adoption writes the kubeconfig's")
    elif known and known[0].ca_pem and ca != known_certificates(known[0].ca_pem):
        notes.append("the config's CA is not the kubeconfig's: adoption writes the kubeconfig's")
    if not config.get("disable_local_ca_jwt"):
        notes.append("disable_local_ca_jwt is false: adoption sets it")
    is_set = config.get("token_reviewer_jwt_set")  # old servers do not tell
    if is_set is False and config.get("disable_local_ca_jwt"):
        settings["reviewer.mode"] = "client"
    elif is_set is False:
        notes.append("no reviewer JWT is stored (Vault uses its own token): adoption makes one")
    elif is_set is None:
        notes.append("whether a reviewer JWT is stored is not told: adoption makes a new one")
    else:
        notes.append("the stored reviewer JWT cannot be read back: adoption makes a new one")
    return settings, notes


def _of_role(name: str, role: Found) -> tuple[dict[str, Any], list[str]]:
    settings: dict[str, Any] = {}
    notes: list[str] = []
    names = role.get("bound_service_account_names") or ()
    namespaces = role.get("bound_service_account_namespaces") or ()
    accounts = sorted(_accounts(names, namespaces), key=str)
    if accounts:
        settings["service_accounts"] = tuple(map(str, accounts))
    globs = sorted(each for each in (*names, *namespaces) if "*" in each)
    if globs:
        notes.append(f"role {name} also binds {', '.join(globs)}: it stays, but is not listed here")
    if role.get("bound_service_account_namespace_selector"):
        notes.append(f"role {name} also binds namespaces by a selector, which stays")
    audience = role.get("audience") or ""
    if not audience:
        notes.append(f"role {name} has no audience: adoption leaves it so")
    elif audience != _DEFAULT_AUDIENCE:
        settings["audience"] = audience
    ttl = role.get("token_ttl") or role.get("ttl") or 0
    if not ttl:
        notes.append(f"role {name} has no token_ttl: adoption sets {_DEFAULT_TTL} s")
    elif ttl != _DEFAULT_TTL:
        try:
            Onboarding("env", "cluster", token_ttl=ttl)
            settings["token_ttl"] = ttl
        except ConfigError as error:
            notes.append(f"role {name}: {error.message}: adoption sets {_DEFAULT_TTL} s")
    return settings, notes


def _accounts(names: Iterable[str], namespaces: Iterable[str]) -> Iterator[ServiceAccount]:
    """Names and namespaces are a cross product; patterns have no place in it."""
    for namespace in namespaces:
        for name in names:
            if "*" in namespace + name:
                continue
            try:
                yield ServiceAccount(namespace, name)
            except ConfigError:
                continue  # nobody has such a name


def _bound(role: Found) -> str:
    names = ", ".join(role.get("bound_service_account_names") or ())
    namespaces = ", ".join(role.get("bound_service_account_namespaces") or ())
    policies = ", ".join(_policies(role))
    return f"{names or 'none'} in {namespaces or 'none'}, policies {policies or 'none'}"


def _policies(role: Found) -> tuple[str, ...]:
    return tuple(role.get("token_policies") or role.get("policies") or ())


def _is_label(name: str) -> bool:
    """Whether a site file takes it as the name of an environment or cluster."""
    try:
        return bool(dns_label(name, "name"))
    except ConfigError:
        return False


def _parts(pattern: str, name: str) -> dict[str, str] | None:
    """What stands for `{env}` and `{cluster}` in a name; None if it does not fit the pattern."""
    regex = re.escape(pattern)
    for part in ("env", "cluster"):
        regex = regex.replace(re.escape(f"{{{part}}}"), f"(?P<{part}>{_NAME})", 1)
    found = re.fullmatch(regex, name)
    return found.groupdict() if found else None


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
