"""Faults of objects in the cluster and in Vault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.doctor.conftest import SECRET, STORE, Clinic
from tests.doctor.fault import Fault
from vaultprov.devenv.eso_install import install


def _role_field(field: str, value: Any) -> Callable[[Clinic], None]:
    return lambda c: c.role(**{field: value})


def _unbind_namespace(c: Clinic) -> None:
    c.role(bound_service_account_namespaces=["elsewhere"])


def _unbind_name(c: Clinic) -> None:
    c.role(bound_service_account_names=["somebody-else"])


def _own_isolation(c: Clinic) -> None:
    c.policy("allow-vault", [{"ports": [{"protocol": "TCP", "port": _vault_port(c)}]}])


DNS = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def _api(c: Clinic) -> dict[str, Any]:
    port = int(c.lab.kube.server.rpartition(":")[2])
    return {"ports": [{"protocol": "TCP", "port": port}, {"protocol": "TCP", "port": 6443}]}


def default_deny(c: Clinic) -> None:
    """As Red Hat's operator leaves it: DNS and the API server, nothing else."""
    c.policy("deny-all-traffic", [])
    c.policy("allow-api-and-dns", [DNS, _api(c)])


def _wrong_port(c: Clinic) -> None:
    default_deny(c)
    block = {"ipBlock": {"cidr": "127.0.0.1/32"}}
    c.policy("allow-vault", [{"to": [block], "ports": [{"protocol": "TCP", "port": 1}]}])


def _wrong_selector(c: Clinic) -> None:
    default_deny(c)
    selector = {"matchLabels": {"app": "somebody-else"}}
    block = {"ipBlock": {"cidr": "127.0.0.1/32"}}
    c.policy("allow-vault", [{"to": [block]}], podSelector=selector)


def _no_api(c: Clinic) -> None:
    c.policy("deny-all-traffic", [])
    block, port = {"ipBlock": {"cidr": "127.0.0.1/32"}}, _vault_port(c)
    vault = {"to": [block], "ports": [{"protocol": "TCP", "port": port}]}
    c.policy("allow-dns", [DNS, vault])


def _no_dns(c: Clinic) -> None:
    c.store(server=f"http://localhost:{_vault_port(c)}")
    c.policy(
        "allow-api-and-vault", [_api(c), {"ports": [{"protocol": "TCP", "port": _vault_port(c)}]}]
    )


def _vault_port(c: Clinic) -> int:
    return int(c.bao.address.rpartition(":")[2])


def _no_such_host(c: Clinic) -> None:
    c.store(server="http://no-such-host.invalid:8200")


def _mount_with_auth(c: Clinic) -> None:
    c.login(mountPath="auth/smaug-k8s")


def _delete_role(c: Clinic) -> None:
    c.vault.delete("auth/smaug-k8s/role/moc-ops")


def _no_such_key(c: Clinic) -> None:
    _key(c, "moc/smaug/none")


def _no_namespace(c: Clinic) -> None:
    c.login(serviceAccountRef={"namespace": None})


def _restore_server(c: Clinic) -> None:
    c.store(server=c.bao.address)


def _proxied(c: Clinic) -> None:
    c.policy("deny-all-traffic", [])
    vault = {"ports": [{"protocol": "TCP", "port": _vault_port(c)}]}
    c.policy("allow-the-rest", [DNS, _api(c), vault])
    deployment = ("apps/v1", "Deployment", "external-secrets", "external-secrets")
    found = c.get(deployment)
    container = found["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [
        {"name": "HTTP_PROXY", "value": "http://192.0.2.1:3128"},
        {"name": "HTTPS_PROXY", "value": "http://192.0.2.1:3128"},
    ]
    c.merge(deployment, {"spec": {"template": {"spec": {"containers": [container]}}}})
    c.store(server=f"http://vault.test:{_vault_port(c)}")


def _seal(c: Clinic) -> None:
    c.write("sys/seal")


def _disable_mount(c: Clinic) -> None:
    c.vault.sys.disable_auth_method("smaug-k8s")


def _remake_mount(c: Clinic) -> None:
    found = c.vault.sys.list_auth_methods()["data"]["smaug-k8s/"]
    c.vault.sys.disable_auth_method("smaug-k8s")
    c.vault.sys.enable_auth_method("kubernetes", found["description"], path="smaug-k8s")
    c.write(
        "auth/smaug-k8s/role/moc-ops",
        bound_service_account_names=["vault-secret-fetcher"],
        bound_service_account_namespaces=["external-secrets"],
        token_policies=["moc-kv-r"],
        audience="vault",
        token_ttl="1h",
    )


def _recreate_reviewer(c: Clinic) -> None:
    account = ("v1", "ServiceAccount", "external-secrets-operator", "eso-vault-auth")
    secret = ("v1", "Secret", "external-secrets-operator", "eso-vault-auth-token")
    c.delete(account)
    c.until("the token Secret is gone", lambda: c.absent(secret))


def _replace_token_secret(c: Clinic) -> None:
    secret = ("v1", "Secret", "external-secrets-operator", "eso-vault-auth-token")
    c.delete(secret)


def _unbind_reviewer(c: Clinic) -> None:
    kind = ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None)
    c.delete((*kind, "external-secrets-operator-eso-vault-auth-tokenreview"))


def _other_jwt(c: Clinic) -> None:
    """Somebody wrote the config by hand with another ServiceAccount's token."""
    c.config(token_reviewer_jwt=c.cluster.request_token("external-secrets", "default", None, 3600))


def _other_ca(c: Clinic) -> None:
    from vaultprov.devenv.certificates import serving_certificate

    c.config(kubernetes_ca_cert=serving_certificate("other").ca)


def _other_host(c: Clinic) -> None:
    from urllib.parse import urlsplit

    c.config(kubernetes_host=f"https://kubernetes.default.svc:{urlsplit(c.lab.kube.server).port}")


def _no_audience_asked(c: Clinic) -> None:
    c.login(serviceAccountRef={"audiences": None})


def _policy_without_data(c: Clinic) -> None:
    rules = 'path "k8s_secrets/moc/*" { capabilities = ["read"] }'
    c.vault.sys.create_or_update_policy("moc-kv-r", "# managed by vaultprov; edited\n" + rules)


def _second_method(c: Clinic) -> None:
    c.store(auth={"tokenSecretRef": {"name": "x", "namespace": "external-secrets", "key": "token"}})


def _token_store(c: Clinic, token: str) -> None:
    c.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "vault-token", "namespace": "external-secrets"},
            "stringData": {"token": token},
        }
    )
    reference = {"name": "vault-token", "namespace": "external-secrets", "key": "token"}
    c.store(auth={"kubernetes": None, "tokenSecretRef": reference})


def _newline(c: Clinic) -> None:
    _token_store(c, c.bao.root_token + "\n")


def _no_secret(c: Clinic) -> None:
    _newline(c)
    c.delete(("v1", "Secret", "external-secrets", "vault-token"))


def _make_secret(c: Clinic) -> None:
    _token_store(c, c.bao.root_token)


def _wrong_class(c: Clinic) -> None:
    c.merge(STORE, {"spec": {"controller": "other"}})


def _no_token_right(c: Clinic) -> None:
    install(c.cluster, token_requests=False)


def _two_owners(c: Clinic) -> None:
    """A second ExternalSecret fills the same Secret."""
    second = (*SECRET[:3], "db2")
    body = {
        "apiVersion": SECRET[0],
        "kind": SECRET[1],
        "metadata": {"name": second[3], "namespace": SECRET[2]},
        "spec": c.get(SECRET)["spec"],
    }
    c.cluster.apply(body)
    c.watched.append(second)


def _own_target(c: Clinic) -> None:
    c.merge((*SECRET[:3], "db2"), {"spec": {"target": {"name": "db2"}}})


def _conditions(c: Clinic) -> None:
    c.merge(STORE, {"spec": {"conditions": [{"namespaces": ["elsewhere"]}]}})


def _key(c: Clinic, key: str) -> None:
    data = [{"secretKey": "password", "remoteRef": {"key": key, "property": "password"}}]
    c.merge(SECRET, {"spec": {"data": data}})


def _webhook_down(c: Clinic) -> None:
    install(c.cluster, webhook_ready=False, webhook_policy="Ignore")


def _no_pods(c: Clinic) -> None:
    path = f"/api/v1/namespaces/external-secrets/pods/{c.installed.pod}"
    c.cluster.call("DELETE", f"{path}?gracePeriodSeconds=0")  # no kubelet ends it


FAULTS: tuple[Fault, ...] = (
    Fault("SA-2 ServiceAccount deleted", "VP-SA-002",
          lambda c: c.delete(("v1", "ServiceAccount", "external-secrets", "vault-secret-fetcher"))),
    Fault("SA-1 operand may not request tokens", "VP-SA-001", _no_token_right),
    Fault("SA-3 reviewer's ServiceAccount deleted", "VP-SA-003", _recreate_reviewer),
    Fault("SA-5 token Secret absent", "VP-SA-005", _no_secret, fix=_make_secret),
    Fault("SA-6 line break in the token", "VP-SA-006", _newline, fix=_make_secret),
    Fault("OP-2 controller class", "VP-OP-002", _wrong_class, seen=False),
    Fault("OP-5 webhook without endpoints", "VP-OP-005", _webhook_down,
          fix=lambda c: void(install(c.cluster, webhook_policy="Ignore"))),
    Fault("no pod of the operand", "VP-OP-006", _no_pods,
          fix=lambda c: void(install(c.cluster))),
    Fault("NET-1 default deny", "VP-NET-001", default_deny),
    Fault("NET-2 a policy of one's own isolates", "VP-NET-002", _own_isolation),
    Fault("NET-3 wrong port", "VP-NET-003", _wrong_port),
    Fault("NET-3 wrong selector", "VP-NET-003", _wrong_selector),
    Fault("NET-5 API server cut off", "VP-NET-005", _no_api),
    Fault("NET-7 proxy not opened", "VP-NET-007", _proxied, fix=_restore_server),
    Fault("DNS-1 DNS cut off", "VP-DNS-001", _no_dns),
    Fault("DNS-2 no such host", "VP-DNS-002", _no_such_host,
          fix=_restore_server),
    Fault("connection refused", "VP-NET-009", lambda c: c.store(server="http://127.0.0.1:1"),
          fix=_restore_server),
    Fault("TLS-4 https on plain HTTP", "VP-TLS-004",
          lambda c: c.store(server=c.bao.address.replace("http:", "https:"))),
    Fault("TLS-3 CA unreadable", "VP-TLS-003", lambda c: c.store(caBundle="bm8gY2VydGlmaWNhdGU="),
          fix=lambda c: c.store(caBundle=None)),
    Fault("Vault sealed", "VP-VLT-001", _seal, fix=lambda c: c.unseal()),
    Fault("namespace of the store", "VP-VLT-004", lambda c: c.store(namespace="elsewhere")),
    Fault("AU-1 mount absent", "VP-AUTH-001", _disable_mount),
    Fault("AU-1 mountPath with auth/", "VP-AUTH-001", _mount_with_auth),
    Fault("AU-2 role absent", "VP-AUTH-002", _delete_role),
    Fault("AU-2 role misspelt", "VP-AUTH-002", lambda c: c.login(role="mock-ops")),
    Fault("AU-3 config never written", "VP-AUTH-003", _remake_mount),
    Fault("AU-4 namespace not bound", "VP-AUTH-004", _unbind_namespace),
    Fault("AU-4 name not bound", "VP-AUTH-004", _unbind_name),
    Fault("AU-4 audience not asked for", "VP-AUTH-009", _no_audience_asked),
    Fault("AU-6 token_bound_cidrs", "VP-AUTH-006",
          _role_field("token_bound_cidrs", ["192.0.2.0/24"])),
    Fault("AU-7 no default policy", "VP-AUTH-007",
          _role_field("token_no_default_policy", value=True)),
    Fault("AU-8 one use", "VP-AUTH-008", _role_field("token_num_uses", 1)),
    Fault("TR-1 token Secret replaced", "VP-REV-001", _replace_token_secret),
    Fault("TR-2 reviewer not bound", "VP-REV-002", _unbind_reviewer),
    Fault("TR-3 address only the cluster knows", "VP-REV-003", _other_host),
    Fault("TR-4 another CA", "VP-REV-004", _other_ca),
    Fault("TR-5 local CA and JWT", "VP-REV-005", lambda c: c.config(disable_local_ca_jwt=False)),
    Fault("TR-6 CA is no certificate", "VP-REV-006", lambda c: c.config(kubernetes_ca_cert="x")),
    Fault("TR-7 issuer checked", "VP-REV-007",
          lambda c: c.config(disable_iss_validation=False, issuer="elsewhere")),
    Fault("reviewer JWT erased", "VP-REV-009", lambda c: c.config(token_reviewer_jwt="")),
    Fault("another reviewer JWT", "VP-REV-009", _other_jwt, ("--probe-login",)),
    Fault("KV-1 policy without data/", "VP-KV-001", _policy_without_data),
    Fault("KV-2 version", "VP-KV-002", lambda c: c.store(version="v1")),
    Fault("KV-3 doubled data/", "VP-KV-003", lambda c: c.store(path="k8s_secrets/data")),
    Fault("KV-3 data/ in the key", "VP-KV-003", lambda c: _key(c, "data/moc/smaug/db")),
    Fault("KV-3 trailing slash", "VP-KV-003", lambda c: c.store(path="k8s_secrets/")),
    Fault("KV mount absent", "VP-KV-006", lambda c: c.store(path="kv")),
    Fault("KV-4 no such secret", "VP-KV-004", _no_such_key, ("--probe-login",),
          fix=lambda c: _key(c, "moc/smaug/db")),
    Fault("ES-1 two auth methods", "VP-ES-001", _second_method),
    Fault("ES-2 no namespace", "VP-ES-002", _no_namespace),
    Fault("ES-3 conditions", "VP-ES-003", _conditions),
    Fault("ES-4 store misspelt", "VP-ES-004",
          lambda c: c.merge(SECRET, {"spec": {"secretStoreRef": {"name": "valt"}}}),
          words=("--external-secret", "external-secrets/db")),
    Fault("ES-6 two owners of a Secret", "VP-ES-006", _two_owners, fix=_own_target),
)  # fmt: skip


def void(_: object) -> None:
    """What was returned does not matter."""
