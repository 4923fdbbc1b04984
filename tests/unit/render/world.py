"""One cluster's objects, and a tree on disk, for the tests of `vaultprov render`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaultprov.kube import objects
from vaultprov.model import ServiceAccount
from vaultprov.render import ArgoCd, Facts, File, Layout

Object = dict[str, Any]
REVIEWER = ServiceAccount("external-secrets-operator", "eso-vault-auth")
ARGOCD = ArgoCd("https://git.example.com/apps.git")


def facts(layout: Layout, env: str = "moc", cluster: str = "smaug") -> Facts:
    """The facts of a cluster of the environment whose Vault runs on smaug."""
    return Facts(
        env,
        cluster,
        layout,
        group=f"vault-admins-{env}",
        vault_env="moc",
        vault_cluster="smaug",
        argocd=ARGOCD,
    )


def wave(number: int) -> dict[str, str]:
    return {"argocd.argoproj.io/sync-wave": str(number)}


def secret_store(namespace: str, cluster: str = "smaug", env: str = "moc") -> Object:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {
            "name": "opf-vault-store",
            "namespace": namespace,
            "labels": objects.LABELS,
        },
        "spec": {
            "provider": {
                "vault": {
                    "server": "https://vault.apps.example.com",
                    "path": "k8s_secrets",
                    "version": "v2",
                    "auth": {
                        "kubernetes": {
                            "mountPath": f"{cluster}-k8s",
                            "role": f"{env}-ops",
                            "serviceAccountRef": {"name": "vault-secret-fetcher"},
                        }
                    },
                }
            }
        },
    }


def network_policy() -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "vaultprov-egress",
            "namespace": "external-secrets",
            "labels": objects.LABELS,
            "annotations": wave(20),
        },
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "external-secrets"}},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}],
                    "ports": [{"protocol": "TCP", "port": 443}],
                }
            ],
        },
    }


def guard_rail() -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "vaultprov-stores", "labels": objects.LABELS},
        "spec": {
            "validations": [
                {"expression": "object.spec.x != 'http'\n&& object.spec.y", "message": "no: http"}
            ]
        },
    }


def namespaced(
    *namespaces: str, cluster: str = "smaug", env: str = "moc", egress: bool = True
) -> list[Object]:
    """What a cluster with namespaced stores gets, as Operate First has them."""
    made = [
        objects.namespace(REVIEWER.namespace),
        objects.service_account(REVIEWER),
        objects.token_secret(REVIEWER, "eso-vault-auth-token"),
        objects.reviewer_binding("external-secrets-operator-eso-vault-auth-tokenreview", REVIEWER),
        guard_rail(),
    ]
    if egress:
        made.append(network_policy())
    for namespace in namespaces:
        account = ServiceAccount(namespace, "vault-secret-fetcher")
        made += [
            objects.namespace(namespace),
            objects.service_account(account),
            secret_store(namespace, cluster, env),
        ]
    return made


def read(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def changed(files: list[File]) -> list[str]:
    return [file.path for file in files if file.differs]
