"""What the tests do behind vaultprov's back: raw APIs, the old runbook, logins."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import Lab
from vaultprov.clients.kubeconfig import connect
from vaultprov.devenv.kube_api import KubeApi, serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.proxy import CountingProxy, Exchange, Fault, counting_proxy

BINDING = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def kubernetes(lab: Lab, method: str, path: str, body: object = None, **headers: str) -> Any:
    """One raw request as the cluster's administrator; the answer's JSON. 404 is None."""
    with urllib3.PoolManager(ca_cert_data=lab.kube.ca_pem) as http:
        answer = http.request(
            method,
            lab.kube.server + path,
            body=None if body is None else json.dumps(body),
            headers={
                "Authorization": f"Bearer {lab.kube.token}",
                "Content-Type": "application/json",
                **headers,
            },
            retries=False,
        )
    if answer.status == 404:
        return None
    assert answer.status < 300, answer.data
    return json.loads(answer.data)


def vault_read(lab: Lab, path: str) -> Any:
    """The `data` of a raw read, None when absent."""
    answer = lab.vault.read(path)
    return None if answer is None else answer["data"]


def workload_token(lab: Lab, account: str | None = None, audience: str = "vault") -> str:
    """A token as External Secrets would ask for it."""
    namespace, _, name = (account or f"{lab.workload_namespace}/vault-secret-fetcher").partition(
        "/"
    )
    client = connect("smaug", lab.env["KUBECONFIG"]).client
    try:
        return client.request_token(namespace, name, (audience,), 600).token.reveal()
    finally:
        client.close()


def login(lab: Lab, jwt: str, mount: str = "smaug-k8s", role: str = "moc-ops") -> dict[str, Any]:
    """The auth block of a workload's login."""
    answer = lab.vault.adapter.post(f"/v1/auth/{mount}/login", json={"role": role, "jwt": jwt})
    auth: dict[str, Any] = answer["auth"]
    return auth


def snapshot(lab: Lab) -> dict[str, Any]:
    """The state that an onboarding leaves, without ids, times and tokens."""
    config = vault_read(lab, "auth/smaug-k8s/config") or {}
    group = vault_read(lab, "identity/group/name/vault-admins-moc") or {}
    alias = group.get("alias") or {}
    mount = vault_read(lab, "sys/auth").get("smaug-k8s/") or {}
    facts = sorted(w.partition("=")[0] for w in mount.get("description", "").split() if "=" in w)
    namespaces = (lab.reviewer_namespace, lab.workload_namespace)
    binding = kubernetes(lab, "GET", f"{BINDING}/{namespaces[0]}-eso-vault-auth-tokenreview") or {}
    return {
        "policies": [
            (vault_read(lab, f"sys/policies/acl/{name}") or {}).get("policy")
            for name in ("moc-kv-r", "moc-kv-rw")
        ],
        "config": config,
        "role": vault_read(lab, "auth/smaug-k8s/role/moc-ops"),
        "group": [group.get(name) for name in ("name", "type", "policies", "metadata")],
        "alias": [
            alias.get("name"),
            alias.get("mount_path"),
            alias.get("canonical_id") == group.get("id"),
        ],
        "marker": facts,
        "binding": [binding.get("roleRef"), binding.get("subjects")],
        "accounts": [
            bool(kubernetes(lab, "GET", f"/api/v1/namespaces/{ns}/serviceaccounts/{name}"))
            for ns, name in zip(namespaces, ("eso-vault-auth", "vault-secret-fetcher"), strict=True)
        ],
        "groups": sorted(lab.vault.list("identity/group/name")["data"]["keys"]) if group else [],
    }


def reviewer_token(lab: Lab) -> str:
    """The reviewer JWT of the token Secret."""
    path = f"/api/v1/namespaces/{lab.reviewer_namespace}/secrets/eso-vault-auth-token"
    return base64.b64decode(kubernetes(lab, "GET", path)["data"]["token"]).decode()


def runbook(lab: Lab, *, audience: str = "") -> None:
    """Sets Vault up as Operate First's runbook does, with the fixes that it needs to run at all."""
    vault = lab.vault
    vault.sys.enable_secrets_engine("kv", "k8s_secrets", options={"version": "2"})
    vault.sys.enable_auth_method("oidc", path="oidc")
    vault.sys.create_or_update_policy(
        "moc-kv-r", 'path "k8s_secrets/data/moc/*" {\n capabilities = ["read", "list"]\n}\n'
    )
    vault.sys.create_or_update_policy(
        "moc-kv-rw",
        'path "k8s_secrets/data/moc/*" {\n'
        ' capabilities = ["create", "read", "update", "delete", "list", "sudo"]\n}\n'
        'path "k8s_secrets/*" {\n capabilities = ["list"]\n}\n'
        'path "k8s_secrets/metadata/moc/*" {\n'
        ' capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]\n}\n',
    )
    vault.adapter.post(
        "/v1/identity/group",
        json={
            "name": "vault-admins-moc",
            "type": "external",
            "policies": ["moc-kv-rw", "people-added-this"],
            "metadata": {"responsibility": "Vault moc Admin"},
        },
    )
    group = vault_read(lab, "identity/group/name/vault-admins-moc")
    accessor = vault_read(lab, "sys/auth")["oidc/"]["accessor"]
    vault.adapter.post(
        "/v1/identity/group-alias",
        json={"name": "vault-admins-moc", "mount_accessor": accessor, "canonical_id": group["id"]},
    )
    vault.sys.enable_auth_method("kubernetes", path="smaug-k8s", description="by hand")
    vault.adapter.post(
        "/v1/auth/smaug-k8s/config",
        json={
            "kubernetes_host": lab.kube.server,
            "disable_local_ca_jwt": True,
            "kubernetes_ca_cert": lab.kube.ca_pem,
            "token_reviewer_jwt": "of-the-runbook",
        },
    )
    vault.adapter.post(
        "/v1/auth/smaug-k8s/role/moc-ops",
        json={
            "alias_name_source": "serviceaccount_uid",
            "bound_service_account_names": "vault-secret-fetcher",
            "bound_service_account_namespaces": "opf-observatorium,team-a",
            "policies": "moc-kv-r",
            "audience": audience,
        },
    )


def prepared(lab: Lab, method: str) -> dict[str, str]:
    """A login method with a role that has the provisioner's policy; the variables to use it."""
    vault = lab.vault
    if method == "approle":
        vault.sys.enable_auth_method("approle")
        vault.auth.approle.create_or_update_approle("ci", token_policies=["vaultprov-provisioner"])
        role = vault.auth.approle.read_role_id("ci")["data"]["role_id"]
        secret = vault.auth.approle.generate_secret_id("ci")["data"]["secret_id"]
        return {"VAULTPROV_VAULT_AUTH_ROLE": role, "VAULTPROV_AUTH_SECRET": secret}
    account = f"ci-{lab.id}"
    path = "/api/v1/namespaces/default/serviceaccounts"
    kubernetes(lab, "POST", path, {"metadata": {"name": account}})
    jwt = workload_token(lab, f"default/{account}")
    if method == "kubernetes":
        assert lab.onboard().code == 0
        vault.sys.enable_auth_method("kubernetes", path="ci")
        config: dict[str, object] = {
            "kubernetes_host": lab.kube.server,
            "kubernetes_ca_cert": lab.kube.ca_pem,
        }
        config |= {"disable_local_ca_jwt": True, "token_reviewer_jwt": reviewer_token(lab)}
        vault.adapter.post("/v1/auth/ci/config", json=config)
        bound = {
            "bound_service_account_names": account,
            "bound_service_account_namespaces": "default",
        }
        role = {**bound, "token_policies": ["vaultprov-provisioner"]}
        vault.adapter.post("/v1/auth/ci/role/ci", json=role)
        assert login(lab, jwt, "ci", "ci")["client_token"]
    else:
        vault.sys.enable_auth_method("jwt", path="ci")
        keys = kubernetes(lab, "GET", "/openid/v1/jwks")
        vault.adapter.post("/v1/auth/ci/config", json={"jwt_validation_pubkeys": [pem(keys)]})
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
        role |= {"token_policies": ["vaultprov-provisioner"]}
        vault.adapter.post("/v1/auth/ci/role/ci", json=role)
    return {
        "VAULTPROV_VAULT_AUTH_MOUNT": "ci",
        "VAULTPROV_VAULT_AUTH_ROLE": "ci",
        "VAULTPROV_AUTH_SECRET": jwt,
    }


def pem(keys: dict[str, list[dict[str, str]]]) -> str:
    """The first key of a JWKS as PEM."""

    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")

    key = keys["keys"][0]
    public = RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def accessors(lab: Lab) -> set[str]:
    """The accessors of all living tokens."""
    keys: list[str] = lab.vault.list("auth/token/accessors")["data"]["keys"]
    return set(keys)


@contextmanager
def api_servers(lab: Lab, clusters: Iterable[str]) -> Iterator[dict[str, KubeApi]]:
    """An API server for each cluster, and a kubeconfig with a context CLUSTER/admin for each.

    Embedded ones, always: one control plane is one cluster.
    """
    with ExitStack() as stack:
        running = {cluster: stack.enter_context(serve()) for cluster in clusters}
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
        for cluster, server in running.items():
            name = f"{cluster}/admin"
            file = write_kubeconfig(
                lab.folder / f"kubeconfig-{cluster}",
                server=server.server,
                ca_pem=server.ca_pem,
                token=server.admin_token,
                context=name,
            )
            one = yaml.safe_load(file.read_text())
            for kind in ("clusters", "contexts", "users"):
                one[kind][0]["name"] = name
                merged[kind] = [*merged.get(kind, ()), *one[kind]]
            merged["contexts"][-1]["context"] = {"cluster": name, "user": name}
        merged["current-context"] = merged["contexts"][0]["name"]
        (lab.folder / "kubeconfig").write_text(yaml.safe_dump(merged))
        yield running


@dataclass(frozen=True)
class Watched:
    """A desk whose requests to both servers are seen."""

    lab: Lab
    vault: CountingProxy
    kube: CountingProxy
    flags: tuple[str, ...]  # Vault still reaches the API server directly

    def onboard(self, *words: str) -> Any:
        return self.lab.onboard(*self.flags, *words)

    def writes(self) -> list[Exchange]:
        return [*self.vault.writes(), *self.kube.writes()]

    def reset(self) -> None:
        self.vault.reset()
        self.kube.reset()


@contextmanager
def watched(
    lab: Lab, vault_fault: Any = None, kube_fault: Any = None, delay: float = 0.0
) -> Iterator[Watched]:
    """`lab` with a counting proxy before each server; faults and delay as in `counting_proxy`."""
    with ExitStack() as stack:
        vault = stack.enter_context(
            counting_proxy(lab.env["VAULT_ADDR"], fault=vault_fault, delay=delay)
        )
        kube = stack.enter_context(
            counting_proxy(
                lab.kube.server, upstream_ca_pem=lab.kube.ca_pem, fault=kube_fault, delay=delay
            )
        )
        kubeconfig = write_kubeconfig(
            lab.folder / "proxied",
            server=kube.address,
            ca_pem=kube.ca_pem or "",
            token=lab.kube.token,
            context="smaug",
        )
        ca_file = lab.folder / "api-server.crt"
        ca_file.write_text(lab.kube.ca_pem)
        flags = ("--kubernetes-host", lab.kube.server, "--kubernetes-ca-file", str(ca_file))
        desk = lab.having(VAULT_ADDR=vault.address, KUBECONFIG=str(kubeconfig))
        yield Watched(desk, vault, kube, flags)


__all__ = ["Fault", "Watched", "kubernetes", "login", "runbook", "snapshot", "watched"]
