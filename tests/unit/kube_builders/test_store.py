"""Stores as External Secrets takes them."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from vaultprov.doctor.stores import store_of
from vaultprov.errors import ConfigError
from vaultprov.kube.store import (
    CaProvider,
    CaSource,
    Conditions,
    KubernetesLogin,
    Retries,
    StoreSpec,
    TokenLogin,
    cluster_store,
    namespaced_stores,
)

LOGIN = KubernetesLogin("smaug-k8s", "moc-ops", "vault-secret-fetcher")
SPEC = StoreSpec("opf-vault-store", "https://vault.example.com", "k8s_secrets", LOGIN)
WIDE = dataclasses.replace(SPEC, login=dataclasses.replace(LOGIN, namespace="external-secrets"))
CONFIG_MAP = CaProvider(CaSource.CONFIG_MAP, "vault-ca")


def spec_of(body: Any) -> Any:
    return body["spec"]


def vault_of(body: Any) -> Any:
    return body["spec"]["provider"]["vault"]


def test_a_cluster_store() -> None:
    assert cluster_store(WIDE) == {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ClusterSecretStore",
        "metadata": {
            "name": "opf-vault-store",
            "labels": {"app.kubernetes.io/managed-by": "vaultprov"},
            "annotations": {"argocd.argoproj.io/sync-wave": "30"},
        },
        "spec": {
            "provider": {
                "vault": {
                    "server": "https://vault.example.com",
                    "path": "k8s_secrets",
                    "version": "v2",
                    "auth": {
                        "kubernetes": {
                            "mountPath": "smaug-k8s",
                            "role": "moc-ops",
                            "serviceAccountRef": {
                                "name": "vault-secret-fetcher",
                                "namespace": "external-secrets",
                                "audiences": ["vault"],
                            },
                        }
                    },
                }
            }
        },
    }


def test_namespaced_stores() -> None:
    """A ServiceAccount and a store for each namespace, sorted, and no namespace in references."""
    bodies = namespaced_stores(WIDE, ["web", "shop", "web"])
    told = [(each["kind"], each["metadata"]["namespace"]) for each in bodies]
    assert told == [
        ("ServiceAccount", "shop"),
        ("SecretStore", "shop"),
        ("ServiceAccount", "web"),
        ("SecretStore", "web"),
    ]
    reference = vault_of(bodies[1])["auth"]["kubernetes"]["serviceAccountRef"]
    assert reference == {"name": "vault-secret-fetcher", "audiences": ["vault"]}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_version_that_the_cluster_serves(version: str) -> None:
    body = cluster_store(dataclasses.replace(WIDE, version=version))
    assert body["apiVersion"] == f"external-secrets.io/{version}"


def test_an_old_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="v1alpha1"):
        dataclasses.replace(SPEC, version="v1alpha1")


def test_doctor_reads_what_we_write() -> None:
    store = store_of(cluster_store(WIDE))
    assert store is not None
    assert (store.mount, store.role, store.audiences) == ("smaug-k8s", "moc-ops", ("vault",))
    assert str(store.account and store.account.namespace) == "external-secrets"


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        dataclasses.replace(SPEC, login=TokenLogin("vault-token")),
        dataclasses.replace(WIDE, ca=CONFIG_MAP),
    ],
    ids=["account", "token", "CA"],
)
def test_a_cluster_store_needs_namespaces(spec: StoreSpec) -> None:
    """Without one nobody logs in, and the store is Ready all the same."""
    with pytest.raises(ConfigError, match="needs the namespace"):
        cluster_store(spec)


def test_a_token() -> None:
    login = TokenLogin("vault-token", namespace="external-secrets")
    wide = vault_of(cluster_store(dataclasses.replace(SPEC, login=login)))["auth"]
    (store,) = namespaced_stores(dataclasses.replace(SPEC, login=login), ["shop"])
    reference = {"name": "vault-token", "namespace": "external-secrets", "key": "token"}
    assert wide == {"tokenSecretRef": reference}
    assert vault_of(store)["auth"] == {"tokenSecretRef": {"name": "vault-token", "key": "token"}}


def test_a_ca_in_the_store_is_base64_of_pem(ca_pem: str) -> None:
    bundle = vault_of(cluster_store(dataclasses.replace(WIDE, ca_pem=ca_pem)))["caBundle"]
    assert base64.b64decode(bundle).decode() == ca_pem


@pytest.mark.parametrize("bad", ["no PEM", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_ca_that_is_none(bad: str) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(WIDE, ca_pem=bad)


def test_a_ca_in_an_object() -> None:
    """A namespaced store looks in its own namespace and must not name one."""
    ca = dataclasses.replace(CONFIG_MAP, namespace="external-secrets")
    spec = dataclasses.replace(WIDE, ca=ca)
    expected = {"type": "ConfigMap", "name": "vault-ca", "key": "ca.crt"}
    assert vault_of(cluster_store(spec))["caProvider"] == expected | {
        "namespace": "external-secrets"
    }
    assert vault_of(namespaced_stores(spec, ["shop"])[1])["caProvider"] == expected


def test_one_ca_is_enough(ca_pem: str) -> None:
    with pytest.raises(ConfigError, match="twice"):
        dataclasses.replace(WIDE, ca_pem=ca_pem, ca=CONFIG_MAP)


def test_a_mount_with_auth_before_it() -> None:
    """External Secrets adds it, and the login would go to auth/auth/smaug-k8s: 403."""
    with pytest.raises(ConfigError) as told:
        dataclasses.replace(SPEC, login=KubernetesLogin("auth/smaug-k8s", "moc-ops", "x"))
    assert told.value.hint == "give smaug-k8s"


def test_retries_have_both_fields() -> None:
    """Without maxRetries, retrySettings means no retry at all."""
    body = cluster_store(dataclasses.replace(WIDE, retries=Retries(interval=10)))
    assert spec_of(body)["retrySettings"] == {"maxRetries": 2, "retryInterval": "10s"}


def test_refresh_is_seconds() -> None:
    """Versions before 1 take nothing else."""
    assert spec_of(cluster_store(dataclasses.replace(WIDE, refresh=300)))["refreshInterval"] == 300


def test_vault_namespace() -> None:
    body = cluster_store(dataclasses.replace(WIDE, vault_namespace="team-a"))
    assert vault_of(body)["namespace"] == "team-a"


def test_conditions() -> None:
    given = Conditions(("shop",), {"team": "a"}, ("^web-.*$",))
    body = cluster_store(dataclasses.replace(WIDE, conditions=given))
    assert spec_of(body)["conditions"] == [
        {
            "namespaces": ["shop"],
            "namespaceSelector": {"matchLabels": {"team": "a"}},
            "namespaceRegexes": ["^web-.*$"],
        }
    ]


def test_conditions_of_nobody() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        cluster_store(dataclasses.replace(WIDE, conditions=Conditions()))


def test_a_namespaced_store_has_no_conditions() -> None:
    with pytest.raises(ConfigError, match="conditions"):
        namespaced_stores(dataclasses.replace(SPEC, conditions=Conditions(("a",))), ["a"])
