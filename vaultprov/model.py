"""What the user asks for, validated on construction: nothing below trusts a string again."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path

from vaultprov.errors import ConfigError

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VAULT_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DURATION = re.compile(r"(\d+)(s|m|h|d|)")
_EXAMPLES = {"environment": "moc", "cluster": "smaug", "policy set": "operate-first"}
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


class ReviewerMode(StrEnum):
    """Who tells Vault that a workload's token is genuine."""

    SECRET = "secret"  # a Secret of type service-account-token: never expires, revocable
    TOKEN = "token"  # a TokenRequest: expires, must be renewed
    CLIENT = "client"  # none stored: the client's own token reviews itself
    JWT = "jwt"  # nobody is asked: Vault checks the signature with the cluster's public keys


class Scope(StrEnum):
    """How much of the key-value store a cluster's read policy opens."""

    ENVIRONMENT = "environment"
    CLUSTER = "cluster"


class StoreKind(StrEnum):
    """Kinds of store of External Secrets."""

    CLUSTER = "ClusterSecretStore"
    NAMESPACED = "SecretStore"


class EgressMode(StrEnum):
    """How the operand's way to Vault is opened where policies close it."""

    AUTO = "auto"  # a NetworkPolicy, unless an entry of ours is there and cannot go away
    NETWORK_POLICY = "networkpolicy"
    CONFIG_ENTRY = "externalsecretsconfig"
    NONE = "none"


class Only(StrEnum):
    """Which half of the work to do."""

    BOTH = "both"
    VAULT = "vault"
    CLUSTER = "cluster"


def dns_label(value: str, what: str) -> str:
    """`value` if it is a DNS label (RFC 1123). Raises ConfigError naming the rule."""
    if not _LABEL.fullmatch(value):
        raise ConfigError(
            f"{what} {value!r} is not a DNS label: 1 to 63 characters, lower-case letters, digits "
            "and '-', beginning and ending with a letter or digit (RFC 1123)",
            hint=f"give a plain {what} name, such as {_EXAMPLES.get(what, 'external-secrets')}",
        )
    return value


def is_dns_label(value: str) -> bool:
    """Whether it is a DNS label (RFC 1123), as names of namespaces are."""
    return _LABEL.fullmatch(value) is not None


def object_name(value: str, what: str) -> str:
    """`value` if Kubernetes takes it as an object's name. Raises ConfigError."""
    if not _SUBDOMAIN.fullmatch(value) or ".." in value:
        raise ConfigError(f"{what} {value!r} is not a valid Kubernetes object name (RFC 1123)")
    return value


def vault_path(value: str, what: str) -> str:
    """`value` without surrounding slashes if it is a plain Vault path. Raises ConfigError."""
    path = value.strip("/")
    if not path or not all(_VAULT_SEGMENT.fullmatch(part) for part in path.split("/")):
        raise ConfigError(
            f"{what} {value!r} is not a plain Vault path: segments of letters, digits, '_', '-' "
            "and '.', joined by '/', no wildcards"
        )
    return path


def seconds(value: str | int, what: str) -> int:
    """A duration such as `1h`, `30m`, `8760h`, `7d` or a number of seconds, in seconds."""
    match = _DURATION.fullmatch(str(value))
    if not match:
        raise ConfigError(f"{what} {value!r} is not a duration such as 30s, 15m, 1h or 365d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def duration(seconds: int) -> str:
    """Seconds as people write them, in the largest unit that leaves no rest: `365d`, `90m`."""
    units = [(unit, size) for unit, size in reversed(_UNIT_SECONDS.items()) if unit]
    unit, size = next((u, s) for u, s in units if seconds % s == 0 and (seconds or s == 1))
    return f"{seconds // size}{unit}"


@dataclass(frozen=True, order=True, slots=True)
class ServiceAccount:
    """A ServiceAccount's coordinates, written NAMESPACE/NAME."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        dns_label(self.namespace, "namespace")
        object_name(self.name, "service account")

    @classmethod
    def parse(cls, text: str) -> ServiceAccount:
        """Reads NAMESPACE/NAME. Raises ConfigError."""
        namespace, slash, name = text.partition("/")
        if not slash:
            raise ConfigError(
                f"service account {text!r} has no namespace", hint="write it as NAMESPACE/NAME"
            )
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Oidc:
    """How people log in to Vault. The client secret itself is never here, only where it is."""

    enabled: bool = True
    mount: str = "oidc"
    discovery_url: str | None = None
    client_id: str | None = None
    client_secret_env: str | None = None
    client_secret_file: Path | None = None
    role: str = "default"
    user_claim: str = "sub"
    groups_claim: str = "groups"
    scopes: tuple[str, ...] = ("openid",)
    redirect_uris: tuple[str, ...] = ("http://localhost:8250/oidc/callback",)

    def __post_init__(self) -> None:
        vault_path(self.mount, "OIDC mount")

    @property
    def configurable(self) -> bool:
        """Whether there is enough here to configure the mount."""
        return bool(self.discovery_url and self.client_id)


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """How Vault's objects are called; `names` fills in `{env}`, `{cluster}` and `{team}`."""

    auth_mount: str = "{cluster}-k8s"
    jwt_auth_mount: str = "{cluster}-jwt"
    role: str = "{env}-ops"
    read_policy: str = "{env}-kv-r"
    cluster_read_policy: str = "{env}-{cluster}-kv-r"
    write_policy: str = "{env}-kv-rw"
    group: str = "vault-admins-{env}"
    provisioner_policy: str = "vaultprov-provisioner"
    team_role: str = "{team}"
    team_read_policy: str = "{env}-{cluster}-{team}-kv-r"
    team_write_policy: str = "{env}-{cluster}-{team}-kv-rw"

    def __post_init__(self) -> None:
        for pattern in fields(self):
            value: str = getattr(self, pattern.name)
            rest = value.replace("{env}", "e").replace("{cluster}", "c")
            if pattern.name.startswith("team_"):
                if "{team}" not in value:
                    raise ConfigError(f"names.{pattern.name} {value!r} must hold {{team}}")
                rest = rest.replace("{team}", "t")
            vault_path(rest, f"names.{pattern.name}")
            if "/" in rest and pattern.name not in ("auth_mount", "jwt_auth_mount"):
                raise ConfigError(f"names.{pattern.name} {value!r} must not hold a slash")


@dataclass(frozen=True, slots=True)
class Reviewer:
    """The ServiceAccount whose token Vault reviews logins with.

    jwks_url: in mode `jwt`, where Vault fetches the cluster's public keys; "" copies them to Vault.
    """

    mode: ReviewerMode = ReviewerMode.SECRET
    account: ServiceAccount = ServiceAccount("external-secrets-operator", "eso-vault-auth")
    duration: int = 365 * 86400  # seconds asked for in mode `token`; the server may grant less
    renew_before: int = 30 * 86400  # seconds of life left below which mode `token` renews
    wait: int = 30  # seconds to wait for the token Secret to be filled in
    jwks_url: str = ""

    @property
    def has_account(self) -> bool:
        """Whether there is a ServiceAccount that does nothing but review."""
        return self.mode in (ReviewerMode.SECRET, ReviewerMode.TOKEN)


@dataclass(frozen=True, slots=True)
class CaObject:
    """Where in the cluster Vault's CA lies, written KIND/NAMESPACE/NAME/KEY."""

    kind: str
    namespace: str
    name: str
    key: str

    @classmethod
    def parse(cls, text: str) -> CaObject:
        """Reads `ConfigMap/NAMESPACE/NAME/KEY` or `Secret/...`. Raises ConfigError."""
        parts = text.split("/")
        if len(parts) != len(fields(cls)) or parts[0] not in ("ConfigMap", "Secret") or "" in parts:
            raise ConfigError(
                f"{text!r} names no CA",
                hint="write it as ConfigMap/NAMESPACE/NAME/KEY or Secret/...",
            )
        dns_label(parts[1], "namespace")
        object_name(parts[2], parts[0])
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Store:
    """The store of External Secrets that onboarding leaves in the cluster.

    server: Vault's URL as the cluster reaches it. vault_namespace: Vault's, "" for the root.
    ca_file, ca_provider: Vault's CA, None: one that the operand's image trusts. namespaces and
    their regexes and labels: who may use a ClusterSecretStore, all empty: everybody. refresh:
    seconds between two looks, None: as the controller is configured. max_retries, retry_interval
    (seconds): of requests to Vault, None: as the controller does. token_secret: the Secret, written
    as NAMESPACE/NAME, with a Vault token to use instead of logging in. api_audience: the API
    server's, which a token that reviews itself (reviewer mode `client`) has to be for as well.
    """

    enabled: bool = True
    name: str = "vault"
    kind: StoreKind = StoreKind.CLUSTER
    server: str = "https://127.0.0.1:8200"
    vault_namespace: str = ""
    ca_file: Path | None = None
    ca_provider: CaObject | None = None
    namespaces: tuple[str, ...] = ()
    namespace_regexes: tuple[str, ...] = ()
    namespace_labels: tuple[tuple[str, str], ...] = ()
    refresh: int | None = None
    max_retries: int | None = None
    retry_interval: int | None = None
    token_secret: ServiceAccount | None = None
    api_audience: str = ""

    def __post_init__(self) -> None:
        object_name(self.name, "store")
        for namespace in self.namespaces:
            dns_label(namespace, "namespace")
        for regex in self.namespace_regexes:
            try:
                re.compile(regex)
            except re.error as error:
                raise ConfigError(f"{regex!r} is no regular expression: {error}") from error


@dataclass(frozen=True, slots=True)
class Egress:
    """How the operand gets to Vault. cidrs: instead of the addresses that Vault's name has."""

    mode: EgressMode = EgressMode.AUTO
    cidrs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for cidr in self.cidrs:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                raise ConfigError(
                    f"{cidr!r} is no address range ({error})",
                    hint="write it as 192.0.2.10/32 or 2001:db8::/64",
                ) from None


@dataclass(frozen=True, slots=True)
class Onboarding:
    """One cluster's connection to Vault: everything the plan is made from."""

    env: str
    cluster: str
    kv_mount: str = "k8s_secrets"
    oidc: Oidc = field(default_factory=Oidc)
    names: NamePatterns = field(default_factory=NamePatterns)
    policy_set: str = "default"
    policy_dir: Path | None = None
    scope: Scope = Scope.ENVIRONMENT
    reviewer: Reviewer = field(default_factory=Reviewer)
    service_accounts: tuple[ServiceAccount, ...] = (
        ServiceAccount("external-secrets", "vault-secret-fetcher"),
    )
    audience: str = "vault"
    token_ttl: int = 3600  # seconds
    store: Store = field(default_factory=Store)
    egress: Egress = field(default_factory=Egress)
    exclusive: bool = False  # own the role's bound names and namespaces instead of adding to them
    team: str = ""  # the OIDC group of a team, whose part of the cluster this is; "" for the whole

    def __post_init__(self) -> None:
        if self.team and not _VAULT_SEGMENT.fullmatch(self.team):
            raise ConfigError(
                f"the group {self.team!r} cannot be part of a policy's name: letters, digits, "
                "'_', '-' and '.' only",
                hint="give the group another name at the OIDC provider",
            )
        dns_label(self.env, "environment")
        dns_label(self.cluster, "cluster")
        vault_path(self.kv_mount, "KV mount")
        dns_label(self.policy_set, "policy set")
        if not self.service_accounts:
            raise ConfigError(
                "no workload service account is given",
                hint="give --service-account NAMESPACE/NAME",
            )
        if not 60 <= self.token_ttl <= 32 * 86400:
            raise ConfigError(f"token_ttl {self.token_ttl} s is not between 60 s and 32 days")
