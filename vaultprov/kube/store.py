"""Stores of External Secrets whose provider is Vault: what onboarding leaves in the cluster.

Fields: external-secrets `apis/externalsecrets/v1/secretstore_types.go` and
`secretstore_vault_types.go`; `v1beta1` has the same ones.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vaultprov.certificates import fingerprints
from vaultprov.errors import ConfigError
from vaultprov.kube.objects import LABELS, Object, service_account
from vaultprov.model import ServiceAccount, dns_label, object_name
from vaultprov.redact import Secret

GROUP = "external-secrets.io"
VERSIONS = ("v1", "v1beta1")
# Argo CD applies ascending waves: the operator in 10, egress in 20, what needs egress in 30.
SYNC_WAVE = {"argocd.argoproj.io/sync-wave": "30"}


class CaSource(StrEnum):
    """The kinds of object that may hold Vault's CA."""

    SECRET = "Secret"
    CONFIG_MAP = "ConfigMap"


@dataclass(frozen=True, slots=True)
class CaProvider:
    """Where in the cluster Vault's CA lies, as PEM.

    namespace: of the object; a namespaced store looks in its own and must not name one.
    """

    kind: CaSource
    name: str
    key: str = "ca.crt"
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class KubernetesLogin:
    """A login with a ServiceAccount's token.

    mount: of the auth method, without `auth/`. audiences: empty asks for the API server's own,
    which a role with another audience refuses.
    """

    mount: str
    role: str
    account: str
    audiences: tuple[str, ...] = ("vault",)
    namespace: str = ""  # of the account; needed for a ClusterSecretStore


@dataclass(frozen=True, slots=True)
class JwtLogin(KubernetesLogin):
    """The same at a JWT auth mount, where audiences are needed."""


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A Vault token in a Secret. namespace: needed for a ClusterSecretStore."""

    secret: str
    key: str = "token"
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Retries:
    """How External Secrets repeats requests to Vault; interval in seconds."""

    most: int = 2
    interval: int = 1


@dataclass(frozen=True, slots=True)
class Conditions:
    """Namespaces that may use a ClusterSecretStore; any of these is enough, nothing means all."""

    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None
    regexes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store, whichever kind it becomes.

    version: the API version that the cluster serves. server: Vault's URL as the cluster reaches
    it. path: the KV version 2 mount. ca_pem, ca: Vault's CA, at most one of them; without either
    the operand trusts its system's CAs. refresh: seconds between two looks at Vault, None: as the
    controller is configured.
    """

    name: str
    server: str
    path: str
    login: KubernetesLogin | TokenLogin
    version: str = "v1"
    vault_namespace: str = ""
    ca_pem: str = ""
    ca: CaProvider | None = None
    conditions: Conditions | None = None
    retries: Retries | None = None
    refresh: int | None = None

    def __post_init__(self) -> None:
        object_name(self.name, "store")
        api_version(self.version)
        if self.ca_pem and self.ca:
            raise ConfigError(
                f"store {self.name} has a CA twice: in the file and in {self.ca.kind} "
                f"{self.ca.name}",
                hint="leave one of them out",
            )
        if self.ca_pem:
            fingerprints(self.ca_pem)
        login = self.login
        if isinstance(login, KubernetesLogin) and login.mount.strip("/").startswith("auth/"):
            raise ConfigError(
                f"store {self.name}: the auth mount {login.mount!r} begins with auth/, which "
                "External Secrets adds itself",
                hint=f"give {login.mount.strip('/').removeprefix('auth/')}",
            )


def api_version(version: str) -> str:
    """`external-secrets.io/VERSION`. Raises ConfigError for a version that we do not write.

    The API server takes only what the CRD serves: v1beta1 until 0.16, v1 since 0.16, and v1 alone
    since 0.17, so the caller says which.
    """
    if version not in VERSIONS:
        raise ConfigError(
            f"{GROUP}/{version} is not supported; {' or '.join(VERSIONS)} has to be served",
            hint="update External Secrets",
        )
    return f"{GROUP}/{version}"


def cluster_store(spec: StoreSpec) -> Object:
    """A ClusterSecretStore.

    Raises ConfigError without a namespace for ServiceAccount, Secret or CA: such a store is never
    logged in and shows Ready all the same (external-secrets issue 2560).
    """
    _needs_namespace(spec.login.namespace, spec.name, _referred(spec.login))
    if spec.ca is not None:
        _needs_namespace(spec.ca.namespace, spec.name, f"{spec.ca.kind} {spec.ca.name}")
    body = _store("ClusterSecretStore", {"name": spec.name}, spec, namespaced=False)
    if spec.conditions is not None:
        body["spec"]["conditions"] = [_condition(spec.conditions, spec.name)]
    return body


def namespaced_stores(spec: StoreSpec, namespaces: Iterable[str]) -> list[Object]:
    """A SecretStore for each namespace, each after the ServiceAccount that it logs in as.

    namespaces: also the ones that the role has to be bound to. With a token in a Secret there is
    no ServiceAccount. Raises ConfigError for conditions, which only a ClusterSecretStore obeys.
    """
    if spec.conditions is not None:
        raise ConfigError(
            f"store {spec.name} has conditions, which only a ClusterSecretStore obeys",
            hint="leave them out; the list of namespaces says who has a store",
        )
    objects = []
    for namespace in sorted(set(namespaces)):
        dns_label(namespace, "namespace")
        if isinstance(spec.login, KubernetesLogin):
            objects.append(service_account(ServiceAccount(namespace, spec.login.account)))
        where = {"name": spec.name, "namespace": namespace}
        objects.append(_store("SecretStore", where, spec, namespaced=True))
    return objects


def token_secret(login: TokenLogin, namespace: str, token: Secret) -> Object:
    """The Secret that `login` refers to. Its value stays a Secret of ours: only clients reveal it.

    token: without white space around it, or Vault's client refuses it (VP-SA-006).
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": login.secret, "namespace": namespace, "labels": LABELS},
        "type": "Opaque",
        "data": {login.key: token.base64()},
    }


def _store(kind: str, where: Mapping[str, str], spec: StoreSpec, *, namespaced: bool) -> Object:
    vault: dict[str, Any] = {"server": spec.server, "path": spec.path, "version": "v2"}
    if spec.vault_namespace:
        vault["namespace"] = spec.vault_namespace
    if spec.ca_pem:
        vault["caBundle"] = base64.b64encode(spec.ca_pem.encode()).decode()
    if spec.ca is not None:
        vault["caProvider"] = _ca_provider(spec.ca, namespaced=namespaced)
    vault["auth"] = _auth(spec.login, namespaced=namespaced)
    body: dict[str, Any] = {"provider": {"vault": vault}}
    if spec.retries is not None:
        # Always both: retrySettings without maxRetries means no retry (its provider.go).
        body["retrySettings"] = {
            "maxRetries": spec.retries.most,
            "retryInterval": f"{spec.retries.interval}s",
        }
    if spec.refresh is not None:
        body["refreshInterval"] = spec.refresh  # older versions take no duration, only seconds
    return {
        "apiVersion": api_version(spec.version),
        "kind": kind,
        "metadata": {**where, "labels": LABELS, "annotations": SYNC_WAVE},
        "spec": body,
    }


def _auth(login: KubernetesLogin | TokenLogin, *, namespaced: bool) -> Object:
    where = {} if namespaced else {"namespace": login.namespace}
    if isinstance(login, TokenLogin):
        return {"tokenSecretRef": {"name": login.secret, **where, "key": login.key}}
    account: dict[str, Any] = {"name": login.account, **where}
    if isinstance(login, JwtLogin):
        # Here and not at the account: without any, External Secrets adds one of its own.
        token_of = {"serviceAccountRef": account, "audiences": list(login.audiences)}
        jwt = {"path": login.mount, "role": login.role, "kubernetesServiceAccountToken": token_of}
        return {"jwt": jwt}
    if login.audiences:
        account["audiences"] = list(login.audiences)
    kubernetes = {"mountPath": login.mount, "role": login.role, "serviceAccountRef": account}
    return {"kubernetes": kubernetes}


def _ca_provider(ca: CaProvider, *, namespaced: bool) -> Object:
    where = {} if namespaced else {"namespace": ca.namespace}
    return {"type": str(ca.kind), "name": ca.name, **where, "key": ca.key}


def _condition(conditions: Conditions, name: str) -> Object:
    parts: dict[str, Any] = {
        "namespaces": [dns_label(each, "namespace") for each in conditions.namespaces],
        "namespaceSelector": {"matchLabels": dict(conditions.labels)} if conditions.labels else {},
        "namespaceRegexes": list(conditions.regexes),
    }
    given = {key: value for key, value in parts.items() if value}
    if not given:
        raise ConfigError(
            f"the condition of store {name} names no namespace, so nobody could use the store",
            hint="leave it out to let all namespaces use it",
        )
    return given


def _referred(login: KubernetesLogin | TokenLogin) -> str:
    if isinstance(login, TokenLogin):
        return f"Secret {login.secret}"
    return f"ServiceAccount {login.account}"


def _needs_namespace(namespace: str, store: str, what: str) -> None:
    if not namespace:
        raise ConfigError(
            f"ClusterSecretStore {store} needs the namespace of {what}: without one External "
            "Secrets never logs in and calls the store Ready",
            hint="give the namespace",
        )
    dns_label(namespace, "namespace")
