"""Stores of External Secrets, read off their objects: what they say, and what is wrong with it.

Field names: external-secrets `apis/externalsecrets/v1/secretstore_vault_types.go`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vaultprov.doctor.network import Url
from vaultprov.errors import ConfigError

GROUP = "external-secrets.io"
KINDS = ("ClusterSecretStore", "SecretStore")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to an object and, for a Secret or ConfigMap, the key in it.

    namespace None: not given.
    """

    name: str
    namespace: str | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """A store whose provider is Vault.

    methods: the auth methods that are given; right is exactly one. account: the ServiceAccount
    whose token is used; its namespace is None for a cluster store that leaves it to the
    ExternalSecret. secret: where a static token lies. planned: there is no such store yet; this is
    what onboarding prepared.
    """

    kind: str
    name: str
    namespace: str | None
    server: str
    path: str
    version: str
    methods: tuple[str, ...]
    mount: str = ""
    role: str = ""
    account: Reference | None = None
    audiences: tuple[str, ...] = ()
    secret: Reference | None = None
    ca_bundle: str = ""
    ca_provider: Mapping[str, Any] | None = None
    vault_namespace: str = ""
    login_namespace: str = ""  # where it logs in, if that is another one
    controller: str = ""
    retries: Mapping[str, Any] | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    planned: bool = False

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"

    @property
    def url(self) -> Url:
        """Raises ConfigError if the server is no URL."""
        return Url.parse(self.server)

    @property
    def logs_in(self) -> bool:
        """Whether it logs in with a ServiceAccount at an auth mount."""
        return self.methods in (("kubernetes",), ("jwt",))

    @property
    def resource(self) -> str:
        """As kubectl takes it."""
        where = f"-n {self.namespace} " if self.namespace else ""
        return f"{where}{self.kind.lower()}/{self.name}"

    @property
    def ready(self) -> Mapping[str, Any] | None:
        """The Ready condition; None while there is none."""
        conditions = (self.body.get("status") or {}).get("conditions") or ()
        return next((each for each in conditions if each.get("type") == "Ready"), None)

    def ca_pem(self) -> str | None:
        """The inline bundle as PEM text; None when none is given. Raises ConfigError."""
        if not self.ca_bundle:
            return None
        try:
            return base64.b64decode(self.ca_bundle, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"the caBundle of {self} is not base64") from error


def store_of(body: Mapping[str, Any]) -> Store | None:
    """The store that an object describes; None if its provider is not Vault."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    vault = (spec.get("provider") or {}).get("vault")
    if not isinstance(vault, Mapping):
        return None
    metadata = body["metadata"]
    namespaced = body["kind"] == "SecretStore"
    auth = {name: value for name, value in (vault.get("auth") or {}).items() if name != "namespace"}
    namespace = metadata.get("namespace") if namespaced else None
    return Store(
        kind=body["kind"],
        name=metadata["name"],
        namespace=namespace,
        server=str(vault.get("server") or ""),
        path=str(vault.get("path") or ""),
        version=str(vault.get("version") or "v2"),
        methods=tuple(sorted(name for name, value in auth.items() if value)),
        ca_bundle=str(vault.get("caBundle") or ""),
        ca_provider=vault.get("caProvider"),
        vault_namespace=str(vault.get("namespace") or ""),
        login_namespace=str((vault.get("auth") or {}).get("namespace") or ""),
        controller=str(spec.get("controller") or ""),
        retries=spec.get("retrySettings"),
        conditions=tuple(spec.get("conditions") or ()),
        body=body,
        **_login(auth, namespace),
    )


def _login(auth: Mapping[str, Any], own: str | None) -> dict[str, Any]:
    """Mount, role, account, audiences and secret of the auth method."""
    kubernetes, jwt, token = (
        auth.get("kubernetes") or {},
        auth.get("jwt") or {},
        auth.get("tokenSecretRef") or {},
    )
    if kubernetes:
        account = kubernetes.get("serviceAccountRef") or {}
        return {
            "mount": str(kubernetes.get("mountPath") or "kubernetes"),
            "role": str(kubernetes.get("role") or ""),
            "account": _reference(account, own),
            "audiences": tuple(account.get("audiences") or ()),
            "secret": _reference(kubernetes.get("secretRef") or {}, own),
        }
    if jwt:
        token_of = jwt.get("kubernetesServiceAccountToken") or {}
        account = token_of.get("serviceAccountRef") or {}
        # Nothing given here, External Secrets adds `vault` to what the reference asks for.
        given = token_of.get("audiences")
        extra = tuple(given) if given else ("vault",)
        return {
            "mount": str(jwt.get("path") or "jwt"),
            "role": str(jwt.get("role") or ""),
            "account": _reference(account, own),
            "audiences": tuple(dict.fromkeys((*(account.get("audiences") or ()), *extra))),
            "secret": _reference(jwt.get("secretRef") or {}, own),
        }
    return {"secret": _reference(token, own)}


def _reference(given: Mapping[str, Any], own: str | None) -> Reference | None:
    if not given.get("name"):
        return None
    namespace = given.get("namespace") or own
    return Reference(str(given["name"]), namespace, str(given.get("key") or "token"))
