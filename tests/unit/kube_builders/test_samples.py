"""Samples of ExternalSecrets, in both forms."""

from __future__ import annotations

import pytest

from vaultprov.errors import ConfigError
from vaultprov.kube.samples import from_all, from_properties

STORE = ("ClusterSecretStore", "vault-secrets")


def test_the_form_with_properties() -> None:
    assert from_properties("my-app", "shop", STORE, "my-app/config", ["username", "password"]) == {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "my-app", "namespace": "shop"},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault-secrets"},
            "target": {"name": "my-app", "creationPolicy": "Owner"},
            "data": [
                {"secretKey": name, "remoteRef": {"key": "my-app/config", "property": name}}
                for name in ("username", "password")
            ],
        },
    }


def test_the_form_with_everything() -> None:
    spec = from_all("my-app", "shop", STORE, "my-app/config")["spec"]
    assert spec["dataFrom"] == [{"extract": {"key": "my-app/config"}}]
    assert "data" not in spec


def test_the_version_that_the_cluster_serves() -> None:
    body = from_all("my-app", "shop", STORE, "x", version="v1beta1")
    assert body["apiVersion"] == "external-secrets.io/v1beta1"


@pytest.mark.parametrize(("name", "namespace"), [("My_App", "shop"), ("my-app", "a.b")])
def test_names_are_checked(name: str, namespace: str) -> None:
    with pytest.raises(ConfigError):
        from_all(name, namespace, STORE, "x")
