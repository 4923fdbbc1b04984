"""What a store refers to: Secrets, ServiceAccounts and CAs, resolved as External Secrets does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vaultprov.devenv.cluster import Cluster, KubeRefusedError
from vaultprov.devenv.operand.vault import ProviderError, told


@dataclass(frozen=True)
class Home:
    """Where references without a namespace point to."""

    cluster: Cluster
    is_cluster_wide: bool
    namespace: str

    def of(self, reference: Mapping[str, Any]) -> str:
        given = reference.get("namespace") if self.is_cluster_wide else None
        return str(given or self.namespace)

    def secret(self, reference: Mapping[str, Any], default_key: str = "") -> str:
        """A value in a Secret."""
        name, key = reference["name"], reference.get("key") or default_key
        namespace = self.of(reference)
        found = self.cluster.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            why = f'secrets "{name}" not found'
            raise ProviderError(
                f'cannot get Kubernetes secret "{name}" from namespace "{namespace}": {why}'
            )
        if key not in (found.get("data") or {}):
            raise ProviderError(f'cannot find secret data for key: "{key}"')
        return base64.b64decode(found["data"][key]).decode()

    def jwt(self, kubernetes: Mapping[str, Any]) -> str:
        """What Kubernetes auth logs in with."""
        account = kubernetes.get("serviceAccountRef")
        if not account and kubernetes.get("secretRef"):
            return self.secret(kubernetes["secretRef"], "token")
        if not account:
            token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
            why = f"stat {token}: no such file or directory"
            raise ProviderError(
                f"cannot read Kubernetes service account token from file system: {why}"
            )
        name, namespace = account["name"], self.of(account)
        with suppress(KubeRefusedError):
            return self.cluster.request_token(namespace, name, account.get("audiences"), 600)
        # The reason is not told: what is told is how this older way fails.
        found = self.cluster.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
        secrets = (found or {}).get("secrets") or ()
        for secret in secrets:
            with suppress(ProviderError):
                return self.secret({"name": secret["name"], "namespace": namespace}, "token")
        if found is None:
            missing = f'ServiceAccount "{name}" not found'
            why = f'cannot get Kubernetes service account "{name}": {missing}'
        else:
            what = "token in secrets" if secrets else "secrets"
            why = f'cannot find {what} bound to service account: "{name}"'
        prefix = "cannot request Kubernetes service account token for service account"
        raise ProviderError(f'{prefix} "{name}": {why}')

    def requested(self, wanted: Mapping[str, Any]) -> str:
        """What JWT auth logs in with: a token of a ServiceAccount, made for `vault` by default."""
        account = wanted["serviceAccountRef"]
        asked = [*(account.get("audiences") or ()), *(wanted.get("audiences") or ("vault",))]
        try:
            return self.cluster.request_token(self.of(account), account["name"], asked, 600)
        except KubeRefusedError as error:
            raise ProviderError(str(error)) from None

    def ca_of(self, spec: Mapping[str, Any]) -> str:
        """The CA that a store trusts, as PEM; "" for those of the system."""
        if bundle := spec.get("caBundle"):
            try:
                return base64.b64decode(bundle).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ProviderError(f"failed to decode ca bundle: {error}") from None
        provider = spec.get("caProvider")
        if not provider:
            return ""
        if self.is_cluster_wide and not provider.get("namespace"):
            raise ProviderError("missing namespace on caProvider secret")
        if provider["type"] == "Secret":
            with told("failed to get cert from secret: failed to resolve secret key ref: "):
                return self.secret(provider)
        name, namespace = provider["name"], self.of(provider)
        found = self.cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}") or {}
        try:
            return str((found.get("data") or {})[provider["key"]])
        except KeyError:
            why = "failed to get caProvider configMap" if not found else "failed to get caProvider"
            raise ProviderError(f"failed to get cert from configmap: {why} {name}") from None


def is_referent(store: Mapping[str, Any]) -> bool:
    """Whether each namespace would use its own account or token: the store itself has none."""
    auth = store["spec"]["provider"]["vault"].get("auth") or {}
    kubernetes = auth.get("kubernetes") or {}
    references = (
        auth.get("tokenSecretRef"),
        kubernetes.get("serviceAccountRef"),
        kubernetes.get("secretRef"),
    )
    return any(each is not None and not each.get("namespace") for each in references)
