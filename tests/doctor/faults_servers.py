"""Faults of servers and of the way to them: TLS, silence, quotas, the wrong cluster."""

from __future__ import annotations

import base64
import ssl
import tempfile

from tests.doctor.conftest import STORE, Clinic
from tests.doctor.fault import Fault
from tests.doctor.faults import void
from tests.doctor.fronts import black_hole, tls_front
from vaultprov.devenv.certificates import ServingCertificate, serving_certificate
from vaultprov.devenv.crds import definition, install_crds
from vaultprov.devenv.eso_install import install
from vaultprov.devenv.kube_api import serve
from vaultprov.devenv.kubeconfig import write_kubeconfig


def _fronted(c: Clinic, certificate: ServingCertificate, *, clients: bool = False) -> str:
    """Vault behind TLS, and this machine configured for it; the store's server is the front."""
    context = certificate.server_context()
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=certificate.ca)
    address = c.stack.enter_context(tls_front(c.bao.address, lambda: context))
    c.store(server=address)
    return address


def _unknown_authority(c: Clinic) -> None:
    certificate = serving_certificate()
    c.extra["VAULT_ADDR"] = _fronted(c, certificate)
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False, dir=c.lab.folder) as file:
        file.write(certificate.ca)
    c.extra["VAULT_CACERT"] = file.name


def _other_authority(c: Clinic) -> None:
    _unknown_authority(c)
    bundle = base64.b64encode(serving_certificate("other").ca.encode()).decode()
    c.store(caBundle=bundle)


def _other_name(c: Clinic) -> None:
    certificate = serving_certificate("vault.example.org", address="192.0.2.10")
    bundle = base64.b64encode(certificate.ca.encode()).decode()
    _fronted(c, certificate)
    c.store(caBundle=bundle)


def _asks_for_clients(c: Clinic) -> None:
    certificate = serving_certificate()
    _fronted(c, certificate, clients=True)
    c.store(caBundle=base64.b64encode(certificate.ca.encode()).decode())


def _plain_again(c: Clinic) -> None:
    c.store(server=c.bao.address, caBundle=None)


def _silent_vault(c: Clinic) -> None:
    c.store(server=c.stack.enter_context(black_hole()).replace("https:", "http:"))


def black_hole_vault(c: Clinic) -> None:
    """An address of Vault that nobody answers at; told as the variable HOLE."""
    c.extra["HOLE"] = c.stack.enter_context(black_hole()).replace("https:", "http:")


def _silent_api(c: Clinic) -> None:
    c.config(kubernetes_host=c.stack.enter_context(black_hole()))


def _quota(c: Clinic) -> None:
    """For this API path alone, so that the rest of the world goes on."""
    quota = {"path": "auth/smaug-k8s", "rate": 0.001, "interval": "600s"}
    c.vault.write_data("sys/quotas/rate-limit/tight", data=quota)
    for _ in range(3):
        c.vault.adapter.post(
            "/v1/auth/smaug-k8s/login", json={"role": "x", "jwt": "x"}, raise_exception=False
        )


def _no_quota(c: Clinic) -> None:
    c.vault.delete("sys/quotas/rate-limit/tight")


def _other_cluster(c: Clinic) -> None:
    """The mount was made for a cluster with another identity."""
    found = c.vault.sys.list_auth_methods()["data"]["smaug-k8s/"]["description"]
    before = c.get(("v1", "Namespace", None, "kube-system"))["metadata"]["uid"]
    changed = found.replace(before, "00000000-0000-4000-8000-000000000000")
    assert changed != found
    c.vault.sys.tune_auth_method("smaug-k8s", description=changed)


def _this_cluster(c: Clinic) -> None:
    assert c.run("onboard", "--replace-cluster", "--no-verify").code == 0


def _api_down(c: Clinic) -> None:
    gone = c.lab.folder / "gone.kubeconfig"
    with serve() as api:
        write_kubeconfig(gone, server=api.server, ca_pem=api.ca_pem, token="x", context="smaug")
    c.extra["KUBECONFIG"] = str(gone)


def _api_back(c: Clinic) -> None:
    del c.extra["KUBECONFIG"]


def _not_deployed(c: Clinic) -> None:
    """Red Hat's operator before its ExternalSecretsConfig: no operand."""
    install_crds(
        c.cluster, [definition("operator.openshift.io", "v1alpha1", "ExternalSecretsConfig")]
    )
    c.delete(("apps/v1", "Deployment", "external-secrets", "external-secrets"))


def _deploy(c: Clinic) -> None:
    """The printed manifest, and then what the operator would do."""
    root = c.diagnosed()["root"]
    c.apply(root["fix"])
    install(c.cluster)


def _old_definitions(c: Clinic) -> None:
    """Only v1beta1 is served, as before External Secrets 0.16."""
    _served(c, old=True)


def _served(c: Clinic, *, old: bool) -> None:
    name = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None)
    for plural in ("clustersecretstores", "secretstores", "externalsecrets"):
        what = (*name, f"{plural}.external-secrets.io")
        versions = [v for v in c.get(what)["spec"]["versions"] if v["name"] == "v1"]
        versions[0]["served"] = not old
        versions.append({**versions[0], "name": "v1beta1", "storage": False, "served": old})
        c.merge(what, {"spec": {"versions": versions if old else versions[:1]}})


def _old_operand(c: Clinic) -> None:
    """A version that takes a legacy token, which has no audience, before a fresh one."""
    install(c.cluster, version="v0.14.3")
    account = ("v1", "ServiceAccount", "external-secrets", "vault-secret-fetcher")
    c.merge(account, {"secrets": [{"name": "vault-secret-fetcher-token"}]})


def _foreign_namespace(c: Clinic) -> None:
    spec = c.get(STORE)["spec"]
    account = spec["provider"]["vault"]["auth"]["kubernetes"]["serviceAccountRef"]
    account["namespace"] = "elsewhere"
    own = (STORE[0], "SecretStore", "external-secrets", "own")
    metadata = {"name": own[3], "namespace": own[2]}
    c.cluster.apply({"apiVersion": own[0], "kind": own[1], "metadata": metadata, "spec": spec})
    c.watched.append(own)


def _namespace_selector(c: Clinic) -> None:
    """The namespace is found by a label that it does not have."""
    selector = '{"matchLabels": {"team": "somebody"}}'
    c.role(bound_service_account_namespaces=[], bound_service_account_namespace_selector=selector)


def _client_mode(c: Clinic) -> None:
    """The workload's token reviews itself, but was made for Vault alone."""
    c.extra["VAULTPROV_REVIEWER_MODE"] = "client"
    assert c.run("onboard", "--no-verify", "--no-store").code == 0


SERVER_FAULTS: tuple[Fault, ...] = (
    Fault("CLU API server away", "VP-CLU-001", _api_down, seen=False, fix=_api_back),
    Fault("another cluster's context", "VP-CFG-001", _other_cluster, fix=_this_cluster),
    Fault("OP-1 operand not deployed", "VP-OP-001", _not_deployed, fix=_deploy),
    Fault("OP-4 v1 not served", "VP-OP-004", _old_definitions, seen=False,
          fix=lambda c: _served(c, old=False)),
    Fault("SA-4 legacy token first", "VP-SA-004", _old_operand,
          fix=lambda c: void(install(c.cluster))),
    Fault("ES-5 another namespace's account", "VP-ES-005", _foreign_namespace),
    Fault("NET black hole", "VP-NET-009", _silent_vault, fix=_plain_again),
    Fault("TLS-1 unknown authority", "VP-TLS-001", _unknown_authority),
    Fault("TLS-1 another authority", "VP-TLS-001", _other_authority),
    Fault("TLS-2 another name", "VP-TLS-002", _other_name, fix=_plain_again),
    Fault("TLS-4 client certificate", "VP-TLS-004", _asks_for_clients, fix=_plain_again),
    Fault("rate limit quota", "VP-VLT-003", _quota, fix=_no_quota),
    Fault("AU-5 namespace selector", "VP-AUTH-005", _namespace_selector),
    Fault("TR-3 black hole", "VP-REV-003", _silent_api, words=("--probe-login",)),
    Fault("TR-8 audience of Vault alone", "VP-REV-008", _client_mode),
)  # fmt: skip
