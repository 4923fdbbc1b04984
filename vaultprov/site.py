"""Layered configuration: defaults < site < environment < cluster < variables < flags.

Every value knows its source.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vaultprov.errors import ConfigError, reason
from vaultprov.model import (
    Egress,
    NamePatterns,
    Oidc,
    Onboarding,
    Reviewer,
    ServiceAccount,
    Store,
    dns_label,
)
from vaultprov.redact import scrub
from vaultprov.settings import BY_KEY, SECRET_VARIABLE, SETTINGS

FILE_NAME = "vaultprov.yaml"
_SECRETIVE = re.compile(r"(secret|token|password|passwd|jwt|credential|private_key|key_data)s?$")


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Site:
    """A parsed site file: settings per layer. path None: there is no file."""

    path: Path | None = None
    site: Mapping[str, Sourced] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, Sourced]] = field(default_factory=dict)
    clusters: Mapping[tuple[str, str], Mapping[str, Sourced]] = field(default_factory=dict)

    def effective(
        self,
        env: str | None,
        cluster: str | None,
        environ: Mapping[str, str],
        flags: Mapping[str, Any],
    ) -> dict[str, Sourced]:
        """Every setting with its value and source. Flags that are None were not given."""
        values = {s.key: Sourced(s.default, "default") for s in SETTINGS}
        values.update(self.site)
        values.update(self.environments.get(env or "", {}))
        values.update(self.clusters.get((env or "", cluster or ""), {}))
        if environ.get(SECRET_VARIABLE):
            values["vault.auth_secret_file"] = Sourced(None, SECRET_VARIABLE)
        given = {key: value for key, value in flags.items() if value is not None and value != ()}
        parsed = {key: Sourced(_parsed(key, each, "flag"), "flag") for key, each in given.items()}
        for layer in (dict(_from_environ(environ)), parsed):
            # A role that a stronger layer names is not read from a weaker one's file.
            if "vault.auth_role" in layer:
                values["vault.auth_role_file"] = Sourced(None, layer["vault.auth_role"].source)
            values.update(layer)
        return values


_STORE = (
    "enabled",
    "name",
    "kind",
    "namespaces",
    "namespace_regexes",
    "namespace_labels",
    "refresh",
    "ca_provider",
    "max_retries",
    "retry_interval",
    "token_secret",
)  # settings that are fields of the same name


def find(start: Path, config_home: Path) -> Path | None:
    """The site file: upwards from `start`, else in the user's configuration folder."""
    places = [folder / FILE_NAME for folder in (start, *start.parents)]
    places.append(config_home / "vaultprov" / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def load(path: Path) -> Site:
    """Reads a site file. Raises ConfigError that names file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the site file {path} cannot be read: {reason(error)}") from error
    return parsed(text, path)


def parsed(text: str, path: Path) -> Site:
    """The same of a text; path: where it is, or will be."""
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}:{line}: not YAML: {problem}") from error
    reader = _Reader(path)
    if tree is None:
        return Site(path)
    top = reader.mapping(tree, "the file")
    environments: dict[str, dict[str, Sourced]] = {}
    clusters: dict[tuple[str, str], dict[str, Sourced]] = {}
    for name_node, body in reader.members(top.pop("environments", None)):
        env = reader.name(name_node, "environment")
        content = reader.mapping(body, f"environment {env}")
        for cluster_node, cluster_body in reader.members(content.pop("clusters", None)):
            cluster = reader.name(cluster_node, "cluster")
            inner = reader.mapping(cluster_body, f"cluster {cluster}")
            clusters[env, cluster] = dict(reader.settings(inner))
        environments[env] = dict(reader.settings(content))
    return Site(path, dict(reader.settings(top)), environments, clusters)


def onboarding(
    values: Mapping[str, Sourced], env: str, cluster: str, *, exclusive: bool = False
) -> Onboarding:
    """The validated request that the effective settings make."""

    def of(prefix: str, *names: str) -> dict[str, Any]:
        return {name: values[f"{prefix}.{name}"].value for name in names}

    plain = (
        "kv_mount",
        "policy_set",
        "policy_dir",
        "scope",
        "service_accounts",
        "audience",
        "token_ttl",
    )
    oidc = [s.key.removeprefix("oidc.") for s in SETTINGS if s.key.startswith("oidc.")]
    names = [s.key.removeprefix("names.") for s in SETTINGS if s.key.startswith("names.")]
    login = of("oidc", *oidc)
    address = str(values["vault.address"].value).rstrip("/")
    login["redirect_uris"] = tuple(
        uri.replace("{address}", address).replace("{mount}", login["mount"])
        for uri in login["redirect_uris"]
    )
    return Onboarding(
        env,
        cluster,
        oidc=Oidc(**login),
        names=NamePatterns(**of("names", *names)),
        reviewer=Reviewer(
            mode=values["reviewer.mode"].value,
            account=ServiceAccount(
                values["reviewer.namespace"].value, values["reviewer.service_account"].value
            ),
            jwks_url=values["reviewer.jwks_url"].value or "",
            **of("reviewer", "duration", "renew_before", "wait"),
        ),
        store=_store(values, of("store", *_STORE)),
        egress=Egress(**of("egress", "mode", "cidrs")),
        exclusive=exclusive,
        **{key: values[key].value for key in plain},
    )


def _store(values: Mapping[str, Sourced], plain: Mapping[str, Any]) -> Store:
    """What the store is not told of its own is as this machine reaches Vault."""
    provider = plain["ca_provider"]
    return Store(
        server=values["store.server"].value or str(values["vault.address"].value).rstrip("/"),
        vault_namespace=values["vault.namespace"].value or "",
        api_audience=values["store.api_audience"].value or "",
        ca_file=values["store.ca_cert"].value
        or (None if provider else values["vault.ca_cert"].value),
        **plain,
    )


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, Sourced]]:
    for setting in SETTINGS:
        for variable in (setting.variable, *setting.env):
            if environ.get(variable):
                value = _parsed(setting.key, environ[variable], variable)
                yield setting.key, Sourced(value, variable)
                break


def _parsed(key: str, value: Any, where: str) -> Any:
    try:
        return BY_KEY[key].parse(value)
    except ConfigError as error:
        told = f"{key}: {error.message}" if where == "flag" else f"{where}: {key}: {error.message}"
        raise ConfigError(told, hint=error.hint) from error


class _Reader:
    """Walks YAML nodes, which know their lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> (key node, value node); an empty node is an empty mapping."""
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{what} must be a mapping")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if str(key.value) in found:
                raise self._error(key, f"the key {key.value!r} is given twice")
            found[str(key.value)] = (key, value)
        return found

    def members(
        self, pair: tuple[yaml.Node, yaml.Node] | None
    ) -> list[tuple[yaml.Node, yaml.Node]]:
        """The members of a section, none if it is absent."""
        if pair is None:
            return []
        return list(self.mapping(pair[1], str(pair[0].value)).values())

    def name(self, node: yaml.Node, what: str) -> str:
        try:
            return dns_label(str(node.value), what)
        except ConfigError as error:
            raise self._error(node, error.message) from error

    def settings(
        self, content: Mapping[str, tuple[yaml.Node, yaml.Node]], prefix: str = ""
    ) -> Iterator[tuple[str, Sourced]]:
        sections = {s.key.partition(".")[0] for s in SETTINGS if "." in s.key}
        for name, (key_node, node) in content.items():
            key = prefix + name
            if not prefix and name in sections:
                yield from self.settings(self.mapping(node, name), f"{name}.")
            elif key not in BY_KEY:
                raise self._unknown(key_node, key, prefix)
            else:
                yield key, self._value(key, key_node, node)

    def _value(self, key: str, key_node: yaml.Node, node: yaml.Node) -> Sourced:
        try:
            raw = yaml.SafeLoader("").construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            raise self._error(node, f"{key}: this is no value") from error
        if scrub(str(raw)) != str(raw):
            raise self._error(node, f"{key} looks like a token; a site file holds no secret")
        try:
            value = BY_KEY[key].parse(raw)
        except ConfigError as error:
            raise self._error(node, f"{key}: {error.message}") from error
        if isinstance(value, Path) and not value.is_absolute() and str(value) != "-":
            value = self._path.parent / value  # relative to the file, not to wherever we run
        return Sourced(value, f"{self._path}:{key_node.start_mark.line + 1}")

    def _unknown(self, node: yaml.Node, key: str, prefix: str) -> ConfigError:
        if _SECRETIVE.search(key):
            return self._error(
                node,
                f"{key} looks like a secret, and a site file holds none",
                "use VAULT_TOKEN, VAULTPROV_AUTH_SECRET, vault.auth_secret_file, "
                "or oidc.client_secret_env / oidc.client_secret_file, which say where it is",
            )
        known = list(BY_KEY) if prefix else [*BY_KEY, "environments"]
        near = difflib.get_close_matches(key, known, 1, 0.5)
        return self._error(
            node,
            f"unknown key {key!r}",
            f"did you mean {near[0]}?" if near else "vaultprov config show lists every key",
        )

    def _error(self, node: yaml.Node, problem: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{self._path}:{node.start_mark.line + 1}: {problem}", hint=hint)
