"""Every setting: its key in the site file, its type, its default, what it means. One table.

The site file, the environment, the flags, `config show` and the README all read this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.model import (
    CaObject,
    EgressMode,
    ReviewerMode,
    Scope,
    ServiceAccount,
    StoreKind,
    duration,
    seconds,
    vault_path,
)
from vaultprov.reach import hostname

# The secret of a login of our own: no setting, since a site file holds none.
SECRET_VARIABLE = "VAULTPROV_AUTH_SECRET"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. parse: what a value of file or environment becomes; raises ConfigError."""

    key: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    env: tuple[str, ...] = ()  # variables besides VAULTPROV_..., strongest first

    @property
    def variable(self) -> str:
        """The environment variable of our own for this setting."""
        return "VAULTPROV_" + self.key.upper().replace(".", "_")

    def written(self, value: Any) -> Any:
        """A parsed value as people write it: `365d`, `app=external-secrets`; others as they are."""
        if self.parse is _duration and value is not None:
            return duration(value)
        if self.parse is _labels:
            return tuple(f"{name}={each}" for name, each in value)
        return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"expected text, found {value!r}")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    lowered = str(value).lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ConfigError(f"expected true or false, found {value!r}")


def _url(value: Any) -> str:
    url = _text(value).rstrip("/")
    if "@" in url:
        raise ConfigError("the URL holds a user name or password; leave them out")
    if not hostname(url) or not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"expected an http(s):// URL, found {url!r}", hint="write it as https://HOST:PORT"
        )
    return url


def _vault_path(value: Any) -> str:
    return vault_path(_text(value), "this")


def _role(value: Any) -> str:
    return _text(value).lower()  # as Vault stores it


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _texts(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"expected a list of texts, found {value!r}")
    return tuple(item.strip() for item in items)


def _labels(value: Any) -> tuple[tuple[str, str], ...]:
    """KEY=VALUE, or a mapping in the site file."""
    if isinstance(value, dict):
        return tuple((str(name), str(each)) for name, each in value.items())
    pairs = [item.partition("=") for item in _texts(value)]
    if not all(name and equals for name, equals, _ in pairs):
        raise ConfigError(f"expected labels such as app=external-secrets, found {value!r}")
    return tuple((name, each) for name, _, each in pairs)


def _account(value: Any) -> ServiceAccount:
    """NAMESPACE/NAME: what a Secret is written as, too."""
    return ServiceAccount.parse(_text(value))


def _accounts(value: Any) -> tuple[ServiceAccount, ...]:
    return tuple(ServiceAccount.parse(item) for item in _texts(value))


def _duration(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"expected a duration such as 1h, found {value!r}")
    return seconds(value, "duration")


def _count(value: Any) -> int:
    if isinstance(value, bool) or not str(value).isdigit():
        raise ConfigError(f"expected a number, found {value!r}")
    return int(value)


def _one_of(kind: type[StrEnum], value: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"expected one of {', '.join(kind)}, found {value!r}") from None


def _reviewer_mode(value: Any) -> ReviewerMode:
    return ReviewerMode(_one_of(ReviewerMode, value))


def _scope(value: Any) -> Scope:
    return Scope(_one_of(Scope, value))


def _store_kind(value: Any) -> StoreKind:
    return StoreKind(_one_of(StoreKind, value))


def _egress_mode(value: Any) -> EgressMode:
    return EgressMode(_one_of(EgressMode, value))


def _auth_method(value: Any) -> str:
    methods = ("token", "approle", "jwt", "kubernetes")
    if value not in methods:
        raise ConfigError(f"expected one of {', '.join(methods)}, found {value!r}")
    return str(value)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "vault.address", _url, "https://127.0.0.1:8200", "Vault's URL", ("BAO_ADDR", "VAULT_ADDR")
    ),
    Setting(
        "vault.namespace", _text, None, "Vault namespace", ("BAO_NAMESPACE", "VAULT_NAMESPACE")
    ),
    Setting(
        "vault.ca_cert",
        _path,
        None,
        "CA of Vault's certificate (PEM file)",
        ("BAO_CACERT", "VAULT_CACERT"),
    ),
    Setting("vault.ca_path", _path, None, "folder of such files", ("BAO_CAPATH", "VAULT_CAPATH")),
    Setting(
        "vault.client_cert",
        _path,
        None,
        "client certificate (PEM file)",
        ("BAO_CLIENT_CERT", "VAULT_CLIENT_CERT"),
    ),
    Setting(
        "vault.client_key",
        _path,
        None,
        "its key (PEM file)",
        ("BAO_CLIENT_KEY", "VAULT_CLIENT_KEY"),
    ),
    Setting(
        "vault.tls_server_name",
        _text,
        None,
        "name to expect in Vault's certificate",
        ("BAO_TLS_SERVER_NAME", "VAULT_TLS_SERVER_NAME"),
    ),
    Setting(
        "vault.skip_verify",
        _flag,
        default=False,
        help="do not verify Vault's certificate (warns)",
        env=("BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"),
    ),
    Setting("vault.auth", _auth_method, "token", "how to log in: token, approle, jwt, kubernetes"),
    Setting(
        "vault.auth_mount", _text, None, "auth mount to log in at (default: the method's name)"
    ),
    Setting("vault.auth_role", _text, None, "role to log in with (approle: the role id)"),
    Setting("vault.auth_role_file", _path, None, "file with that role, - for standard input"),
    Setting(
        "vault.auth_secret_file",
        _path,
        None,
        "file with the secret id or JWT, - for standard input; or VAULTPROV_AUTH_SECRET",
    ),
    Setting(
        "kubernetes.context",
        _text,
        None,
        "kubeconfig context of the cluster (default: the current one)",
    ),
    Setting(
        "kubernetes.host",
        _text,
        None,
        "API server's URL as Vault reaches it (default: the kubeconfig's)",
    ),
    Setting(
        "kubernetes.ca_file",
        _path,
        None,
        "CA of the API server (PEM file; default: the kubeconfig's)",
    ),
    Setting("kv_mount", _vault_path, "k8s_secrets", "the KV version 2 mount"),
    Setting(
        "policy_set", _text, "default", "policy templates that we ship: default, operate-first"
    ),
    Setting("policy_dir", _path, None, "folder with your own read.hcl and write.hcl"),
    Setting("scope", _scope, Scope.ENVIRONMENT, "what workloads may read: environment or cluster"),
    Setting(
        "service_accounts",
        _accounts,
        (ServiceAccount("external-secrets", "vault-secret-fetcher"),),
        "workload ServiceAccounts, NAMESPACE/NAME",
    ),
    Setting("audience", _text, "vault", "audience of roles that we create"),
    Setting("token_ttl", _duration, 3600, "life of a workload's Vault token"),
    Setting("timeout", _duration, 120, "no step is begun or tried again after this"),
    Setting(
        "reviewer.mode",
        _reviewer_mode,
        ReviewerMode.SECRET,
        "who reviews tokens: secret, token, client, jwt",
    ),
    Setting(
        "reviewer.namespace",
        _text,
        "external-secrets-operator",
        "namespace of the reviewer's ServiceAccount",
    ),
    Setting("reviewer.service_account", _text, "eso-vault-auth", "its name"),
    Setting("reviewer.duration", _duration, 365 * 86400, "life to ask for in mode token"),
    Setting(
        "reviewer.renew_before", _duration, 30 * 86400, "renew in mode token when less is left"
    ),
    Setting(
        "reviewer.wait", _duration, 30, "how long to wait for the token Secret to be filled in"
    ),
    Setting(
        "reviewer.jwks_url",
        _url,
        None,
        "in mode jwt, where Vault fetches the cluster's keys (default: they are copied)",
    ),
    Setting("store.enabled", _flag, default=True, help="whether onboard makes a store"),
    Setting("store.name", _text, "vault", "name of the store"),
    Setting(
        "store.kind",
        _store_kind,
        StoreKind.CLUSTER,
        "ClusterSecretStore, or SecretStore: one for each workload ServiceAccount",
    ),
    Setting("store.server", _url, None, "Vault's URL as the cluster reaches it (default: ours)"),
    Setting(
        "store.ca_cert",
        _path,
        None,
        "Vault's CA for the store (PEM file; default: vault.ca_cert)",
    ),
    Setting(
        "store.ca_provider",
        lambda value: CaObject.parse(_text(value)),
        None,
        "the same in the cluster: ConfigMap/NAMESPACE/NAME/KEY or Secret/...",
    ),
    Setting(
        "store.token_secret",
        _account,
        None,
        "Secret NAMESPACE/NAME, key token: a Vault token for the store instead of a login",
    ),
    Setting("store.api_version", _text, "v1", "of stores that render writes: v1, v1beta1"),
    Setting(
        "store.api_audience",
        _text,
        None,
        "the API server's audience, for reviewer mode client (default: asked of the cluster)",
    ),
    Setting("store.namespaces", _texts, (), "namespaces that may use it (default: all)"),
    Setting("store.namespace_regexes", _texts, (), "the same by regular expressions"),
    Setting("store.namespace_labels", _labels, (), "the same by labels of the namespaces"),
    Setting("store.refresh", _duration, None, "how often it is checked (default: the operand's)"),
    Setting("store.max_retries", _count, None, "how often a request is tried again"),
    Setting("store.retry_interval", _duration, None, "how long it waits before that"),
    Setting(
        "egress.mode",
        _egress_mode,
        EgressMode.AUTO,
        "how a closed way to Vault is opened: auto, networkpolicy, externalsecretsconfig, none",
    ),
    Setting("egress.cidrs", _texts, (), "address ranges of Vault instead of its name's addresses"),
    Setting(
        "egress.operand_namespace",
        _text,
        "external-secrets",
        "where External Secrets runs, for render, which cannot look",
    ),
    Setting(
        "egress.operand_labels",
        _labels,
        (("app.kubernetes.io/name", "external-secrets"),),
        "labels of its pods, for render",
    ),
    Setting("oidc.enabled", _flag, default=True, help="whether people log in through OIDC"),
    Setting("oidc.mount", _vault_path, "oidc", "the OIDC mount"),
    Setting("oidc.discovery_url", _text, None, "the provider's issuer URL"),
    Setting("oidc.client_id", _text, None, "Vault's client id at the provider"),
    Setting(
        "oidc.client_secret_env", _text, None, "name of the variable that holds the client secret"
    ),
    Setting("oidc.client_secret_file", _path, None, "file that holds the client secret"),
    Setting("oidc.role", _role, "default", "role that people log in with"),
    Setting("oidc.user_claim", _text, "sub", "claim that names the user"),
    Setting("oidc.groups_claim", _text, "groups", "claim that lists the user's groups"),
    Setting("oidc.scopes", _texts, ("openid",), "scopes to ask the provider for"),
    Setting(
        "oidc.redirect_uris",
        _texts,
        ("http://localhost:8250/oidc/callback", "{address}/ui/vault/auth/{mount}/oidc/callback"),
        "redirect URIs of the command line and of the UI, at Vault's address",
    ),
    Setting("names.auth_mount", _text, "{cluster}-k8s", "auth mount of a cluster"),
    Setting("names.jwt_auth_mount", _text, "{cluster}-jwt", "the same in reviewer mode jwt"),
    Setting("names.role", _text, "{env}-ops", "role on it"),
    Setting("names.read_policy", _text, "{env}-kv-r", "policy of workloads"),
    Setting(
        "names.cluster_read_policy", _text, "{env}-{cluster}-kv-r", "the same with scope cluster"
    ),
    Setting("names.write_policy", _text, "{env}-kv-rw", "policy of people"),
    Setting(
        "names.group",
        _text,
        "vault-admins-{env}",
        "identity group, as the provider's claim calls it",
    ),
    Setting(
        "names.provisioner_policy",
        _text,
        "vaultprov-provisioner",
        "policy that is enough to run vaultprov",
    ),
    Setting("names.team_role", _text, "{team}", "role of a team's workloads"),
    Setting(
        "names.team_read_policy",
        _text,
        "{env}-{cluster}-{team}-kv-r",
        "policy of a team's workloads",
    ),
    Setting(
        "names.team_write_policy", _text, "{env}-{cluster}-{team}-kv-rw", "policy of its people"
    ),
    Setting("argocd.repo_url", _text, None, "repository that Argo CD follows"),
    Setting("argocd.target_revision", _text, "HEAD", "its branch or revision"),
    Setting("argocd.project", _text, "cluster-management", "Argo CD's project"),
    Setting("argocd.destination", _text, None, "the cluster's name in Argo CD (default: its own)"),
    Setting("argocd.namespace", _text, "argocd", "namespace of Argo CD's Applications"),
    Setting("argocd.overlay", _text, "moc-infra", "folder of the Argo CD instance"),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}
