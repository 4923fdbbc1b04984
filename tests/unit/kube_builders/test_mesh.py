"""Istio's policy, and Big Bang's values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vaultprov.kube.big_bang import external_secrets_values, lacking, vault_values
from vaultprov.kube.istio import authorization_policy, is_isolated
from vaultprov.kube.store import KubernetesLogin, Retries, StoreSpec, TokenLogin

LABELS = {"app.kubernetes.io/name": "vault"}
OWN = authorization_policy("vault", "external-secrets", 8200)
LOGIN = KubernetesLogin("kubernetes", "eso-role", "external-secrets", (), "external-secrets")
SPEC = StoreSpec("vault-secrets", "https://vault.example.com:8200", "kv", LOGIN)


def theirs(namespace: str = "vault", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


def test_the_policy() -> None:
    assert OWN["metadata"]["namespace"] == "vault"
    assert OWN["spec"] == {
        "action": "ALLOW",
        "rules": [
            {
                "from": [{"source": {"namespaces": ["external-secrets"]}}],
                "to": [{"operation": {"ports": ["8200"]}}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("policies", "isolated"),
    [
        ([], False),
        ([theirs()], True),
        ([theirs(action="ALLOW", rules=[{}])], True),
        ([theirs("istio-system")], True),
        ([theirs("elsewhere")], False),
        ([theirs(action="DENY")], False),
        ([theirs(selector={"matchLabels": LABELS})], True),
        ([theirs(selector={"matchLabels": {"app": "web"}})], False),
        ([OWN], False),
    ],
    ids=[
        "none",
        "allow nothing",
        "allow everything",
        "of the mesh",
        "of another namespace",
        "only denies",
        "selects Vault",
        "selects others",
        "ours alone",
    ],
)
def test_only_where_another_policy_allows(policies: list[Any], *, isolated: bool) -> None:
    """The first policy that allows anything denies all the rest, as with NetworkPolicies."""
    assert is_isolated(policies, "vault", LABELS, own=OWN["metadata"]["name"]) is isolated


def test_values_for_vault() -> None:
    hardened = vault_values()["addons"]["vault"]["values"]["istio"]["hardened"]
    assert hardened == {
        "customAuthorizationPolicies": [
            {"name": "allow-external-secrets", "enabled": True, "spec": OWN["spec"]}
        ]
    }


def test_values_with_a_kubernetes_login() -> None:
    assert external_secrets_values(SPEC) == {
        "addons": {
            "externalSecrets": {
                "enabled": True,
                "values": {
                    "networkPolicies": {"enabled": True},
                    "upstream": {"podLabels": {"vault-ingress": "true"}},
                    "clusterSecretStoreConfiguration": {
                        "enabled": True,
                        "clusterSecretStoreList": [
                            {
                                "name": "vault-secrets",
                                "source": {
                                    "provider": "vault",
                                    "server": "https://vault.example.com:8200",
                                    "path": "kv",
                                    "version": "v2",
                                    "auth": {
                                        "type": "kubernetes",
                                        "mountPath": "kubernetes",
                                        "role": "eso-role",
                                        "serviceAccountRef": {
                                            "name": "external-secrets",
                                            "namespace": "external-secrets",
                                        },
                                    },
                                },
                            }
                        ],
                    },
                },
            }
        }
    }


def test_values_with_a_token() -> None:
    login = TokenLogin("vault-token", namespace="external-secrets")
    values = external_secrets_values(dataclasses.replace(SPEC, login=login))
    configuration = values["addons"]["externalSecrets"]["values"]["clusterSecretStoreConfiguration"]
    assert configuration["clusterSecretStoreList"][0]["source"]["auth"] == {
        "type": "token",
        "secretName": "vault-token",
        "namespace": "external-secrets",
        "key": "token",
    }


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (dataclasses.replace(SPEC, vault_namespace="a"), "a Vault namespace"),
        (dataclasses.replace(SPEC, retries=Retries()), "retries"),
        (
            dataclasses.replace(SPEC, login=dataclasses.replace(LOGIN, audiences=("v",))),
            "audiences",
        ),
    ],
)
def test_what_the_chart_has_no_field_for(spec: StoreSpec, what: str) -> None:
    """A store that the chart would make without it could not log in, so it makes none."""
    assert lacking(spec) == [what]
    values = external_secrets_values(spec)["addons"]["externalSecrets"]["values"]
    assert "clusterSecretStoreConfiguration" not in values
