"""What bad input and broken servers get: an exit code, one thing to do, nothing half done."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Lab
from tests.e2e.worlds import kubernetes, snapshot, vault_read, watched
from vaultprov.certificates import fingerprints
from vaultprov.devenv.certificates import serving_certificate
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.openbao import openbao, uninitialised_openbao
from vaultprov.devenv.proxy import Exchange, Fault


def closed_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "name", ["moc/*", "../x", "Moc", "", "a" * 64, "-moc", "mo c", "moc.", "m_c"]
)
@pytest.mark.parametrize("option", ["--env", "--cluster"])
def test_a_bad_name_is_refused_before_any_request(lab: Lab, name: str, option: str) -> None:
    other = "--cluster" if option == "--env" else "--env"
    with watched(lab) as desk:
        done = desk.lab.run("onboard", option, name, other, "good")
        assert done.code == 2
        assert "DNS label" in done.err
        assert "RFC 1123" in done.err
        assert desk.vault.exchanges == desk.kube.exchanges == []


def test_an_unreachable_vault(lab: Lab) -> None:
    done = lab.onboard(VAULT_ADDR=f"http://127.0.0.1:{closed_port()}")
    assert done.code == 3
    assert "unreachable" in done.err
    assert "VAULT_ADDR" in done.err


def test_a_sealed_and_an_uninitialised_vault_are_told_apart(lab: Lab) -> None:
    lab.vault.sys.seal()
    done = lab.onboard()
    assert done.code == 3
    assert "is sealed" in done.err
    assert "unseal" in done.err
    with uninitialised_openbao(lab.folder / "fresh") as fresh:
        done = lab.onboard(VAULT_ADDR=fresh.address)
    assert done.code == 3
    assert "not initialised" in done.err


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (
            '{"initialized":true,"sealed":false,"standby":true}',
            "is a standby and has no active node",
        ),
        ('{"initialized":true,"sealed":true,"standby":true}', "is sealed"),
        ('{"initialized":false,"sealed":true,"standby":true}', "is not initialised"),
        (
            "upstream connect error",
            "is not serving: not an answer of Vault, a proxy or router said",
        ),
    ],
    ids=["standby", "sealed", "uninitialised", "a proxy answers"],
)
def test_what_keeps_vault_from_serving_is_named(lab: Lab, health: str, words: str) -> None:
    def answer(exchange: Exchange) -> Fault:
        if "sys/health" in exchange.path:
            return Fault.status(200, health)
        return Fault.status(503, '{"errors":[]}' if health.startswith("{") else health)

    with watched(lab, vault_fault=answer) as desk:
        done = desk.onboard("--timeout", "1s")
    assert done.code == 3
    assert words in done.err


def test_tls_is_verified_and_the_right_ca_is_enough(lab: Lab) -> None:
    with openbao(lab.folder / "tls", tls=True) as bao:
        desk = lab.having(VAULT_ADDR=bao.address, VAULT_TOKEN=bao.root_token)
        done = desk.onboard(command="status")
        assert done.code == 3
        assert "VAULT_CACERT" in done.err
        assert bao.ca_file
        assert desk.onboard(command="status", VAULT_CACERT=str(bao.ca_file)).code == 6
        folder = lab.folder / "cas"
        folder.mkdir()
        (folder / "any-name.pem").write_text(bao.ca_file.read_text())
        assert desk.onboard(command="status", VAULT_CAPATH=str(folder)).code == 6
        trusted = {"VAULT_CACERT": str(bao.ca_file)}
        named = desk.onboard(command="status", VAULT_TLS_SERVER_NAME="localhost", **trusted)
        assert named.code == 6, named.err
        wrong = desk.onboard(command="status", VAULT_TLS_SERVER_NAME="other.example", **trusted)
        assert wrong.code == 3
        insecure = desk.onboard(command="status", VAULT_SKIP_VERIFY="true")
        assert insecure.code == 6
        assert "warning: Vault's certificate is not verified" in insecure.err


def test_a_wrong_and_a_missing_token(site: Lab) -> None:
    done = site.onboard(VAULT_TOKEN="no-such-token-at-all")
    assert done.code == 3
    assert "permission denied" in done.err or "not valid" in done.err
    assert "vault" in done.err
    without = {k: v for k, v in site.env.items() if k != "VAULT_TOKEN"}
    done = Lab(site.folder, without, site.id, site.vault, site.kube).onboard()
    assert done.code == 2
    assert "vault login" in done.err


def test_a_missing_right_in_vault_is_found_before_the_first_write(site: Lab) -> None:
    policy = vault_read(site, "sys/policies/acl/vaultprov-provisioner")["policy"]
    lesser = policy.replace('path "auth/smaug-k8s/config" {', 'path "auth/elsewhere/config" {')
    lesser += 'path "auth/smaug-k8s/config" { capabilities = ["read"] }\n'
    site.vault.sys.create_or_update_policy("lesser", lesser)
    token = site.vault.auth.token.create(policies=["lesser"])["auth"]["client_token"]
    before = snapshot(site)
    done = site.onboard(VAULT_TOKEN=token)
    assert done.code == 1
    assert "auth/smaug-k8s/config needs write" in done.err
    assert snapshot(site) == before


def restricted(lab: Lab, *rules: dict[str, list[str]]) -> str:
    """A kubeconfig of a ServiceAccount that may do what `rules` say."""
    name = f"limited-{lab.id}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    kubernetes(
        lab, "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}}
    )
    kubernetes(lab, "POST", f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    kubernetes(lab, "POST", f"{rbac}/clusterrolebindings", binding)
    path = f"/api/v1/namespaces/default/serviceaccounts/{name}/token"
    token = kubernetes(lab, "POST", path, {"spec": {}})["status"]["token"]
    return str(
        write_kubeconfig(
            lab.folder / "limited",
            server=lab.kube.server,
            ca_pem=lab.kube.ca_pem,
            token=token,
            context="smaug",
        )
    )


READ_ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}


def test_a_cluster_that_forbids_to_look_leaves_vault_untouched(site: Lab) -> None:
    before = snapshot(site)
    done = site.onboard(KUBECONFIG=restricted(site))
    assert done.code == 3
    assert "cannot get resource" in done.err
    assert snapshot(site) == before


def test_a_cluster_that_forbids_to_write_is_found_before_the_first_write(site: Lab) -> None:
    before = snapshot(site)
    done = site.onboard(KUBECONFIG=restricted(site, READ_ALL))
    assert done.code == 1
    assert (
        "the cluster does not allow create clusterrolebindings.rbac.authorization.k8s.io"
        in done.err
    )
    assert snapshot(site) == before


def broken_file(lab: Lab) -> str:
    file = lab.folder / "broken"
    file.write_text("clusters: [")
    return str(file)


@pytest.mark.parametrize(
    ("break_it", "code", "words"),
    [
        (lambda _: "/nonexistent", 2, "oc login"),
        (broken_file, 2, "kubeconfig"),
        (lambda lab: pointing_at(lab, f"https://127.0.0.1:{closed_port()}"), 3, "unreachable"),
        (lambda lab: pointing_at(lab, lab.kube.server, token="wrong"), 3, "credentials"),
        (lambda lab: pointing_at(lab, lab.kube.server, ca_pem=None), 3, "cluster-info"),
    ],
    ids=["no file", "broken file", "server gone", "wrong token", "wrong CA"],
)
def test_a_wrong_kubeconfig_leaves_vault_untouched(
    site: Lab, break_it: Callable[[Lab], str], code: int, words: str
) -> None:
    before = snapshot(site)
    done = site.onboard(KUBECONFIG=break_it(site))
    assert done.code == code, done.err
    assert words in done.err
    assert snapshot(site) == before


def pointing_at(lab: Lab, server: str, token: str = "", ca_pem: str | None = "") -> str:
    """A kubeconfig with one thing wrong. ca_pem None: the CA of somebody else."""
    if ca_pem is None:
        ca_pem = serving_certificate().ca
    file = lab.folder / "pointing"
    return str(
        write_kubeconfig(
            file,
            server=server,
            ca_pem=ca_pem or lab.kube.ca_pem,
            token=token or lab.kube.token,
            context="smaug",
        )
    )


def test_a_kubeconfig_without_a_ca_sends_vault_the_root_of_the_live_handshake(site: Lab) -> None:
    """As with a public certificate: here the machine's roots are our CA."""
    file = Path(pointing_at(site, site.kube.server))
    content = yaml.safe_load(file.read_text())
    del content["clusters"][0]["cluster"]["certificate-authority-data"]
    file.write_text(yaml.safe_dump(content))
    done = site.onboard(KUBECONFIG=str(file))
    assert done.code == 3
    assert "certificate-authority-data" in done.err
    roots = site.folder / "roots.pem"
    roots.write_text(site.kube.ca_pem)
    done = site.onboard(KUBECONFIG=str(file), SSL_CERT_FILE=str(roots))
    assert done.code == 0, done.err
    sent = vault_read(site, "auth/smaug-k8s/config")["kubernetes_ca_cert"]
    assert fingerprints(sent) == fingerprints(site.kube.ca_pem)


def test_an_unknown_context_is_named_with_the_known_ones(site: Lab) -> None:
    done = site.onboard("--context", "smog")
    assert done.code == 2
    assert "no context 'smog'; it has smaug" in done.err


@pytest.mark.parametrize(
    "host", ["https://kubernetes.default.svc", "https://api-int.smaug.example:6443"]
)
def test_an_address_that_vault_can_never_reach_is_refused(site: Lab, host: str) -> None:
    done = site.onboard(KUBECONFIG=pointing_at(site, host))
    assert done.code == 6
    assert "--kubernetes-host" in done.err


def test_a_loopback_api_server_is_refused_unless_vault_is_loopback_too(site: Lab) -> None:
    done = site.onboard(VAULT_ADDR="https://vault.example.com:8200")
    assert done.code == 6
    assert "loopback address" in done.err


def test_a_missing_site_is_refused_with_the_command_that_makes_it(lab: Lab) -> None:
    done = lab.onboard()
    assert done.code == 6
    assert "vault/mount/k8s_secrets is missing" in done.err
    assert "vaultprov bootstrap" in done.err
    assert lab.onboard("--bootstrap").code == 0


def test_a_mount_of_another_type_is_refused_and_no_flag_helps(site: Lab) -> None:
    site.vault.sys.enable_auth_method("userpass", path="smaug-k8s")
    for words in ([], ["--adopt"]):
        done = site.onboard(*words)
        assert done.code == 6
        assert "is an auth mount of type userpass" in done.err


def test_another_clusters_mount_is_refused(onboarded: Lab) -> None:
    """Somebody forgot to switch contexts."""
    mark = "managed by vaultprov: environment=moc cluster=smaug cluster-uid=another"
    onboarded.vault.sys.tune_auth_method("smaug-k8s", description=mark)
    before = snapshot(onboarded)
    for words in ([], ["--adopt"]):
        done = onboarded.onboard(*words)
        assert done.code == 6
        assert "--replace-cluster" in done.err
    assert snapshot(onboarded) == before
    assert onboarded.onboard("--replace-cluster").code == 0


def test_an_alias_on_another_login_method_is_refused_until_adopted(onboarded: Lab) -> None:
    onboarded.vault.sys.enable_auth_method("userpass")
    accessor = vault_read(onboarded, "sys/auth")["userpass/"]["accessor"]
    group = vault_read(onboarded, "identity/group/name/vault-admins-moc")
    alias = {"name": "vault-admins-moc", "mount_accessor": accessor, "canonical_id": group["id"]}
    onboarded.vault.adapter.post(f"/v1/identity/group-alias/id/{group['alias']['id']}", json=alias)
    refused = onboarded.onboard()
    assert refused.code == 6
    assert "another login method" in refused.err
    assert onboarded.onboard("--adopt").code == 0


def test_a_dangling_alias_is_repaired(onboarded: Lab) -> None:
    onboarded.vault.sys.disable_auth_method("oidc")
    assert onboarded.onboard("--bootstrap").code == 0
    alias = vault_read(onboarded, "identity/group/name/vault-admins-moc")["alias"]
    assert alias["mount_path"] == "auth/oidc/"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('path "x" {\n  capabilities = ["reed"]\n}\n', "read.hcl:1: unknown capability 'reed'"),
        ('path "x" {\n  capabilities = ["read"\n}\n', "read.hcl:3: expected ','"),
        ('path "$kv/x" {\n  capabilities = ["read"]\n}\n', "read.hcl:1: unknown placeholder"),
    ],
)
def test_a_broken_template_is_reported_with_file_and_line(lab: Lab, text: str, where: str) -> None:
    folder = lab.folder / "templates"
    folder.mkdir()
    (folder / "read.hcl").write_text(text)
    (folder / "write.hcl").write_text(text)
    with watched(lab) as desk:
        done = desk.onboard("--policy-dir", str(folder))
        assert done.code == 2
        assert where in done.err
        assert desk.vault.exchanges == []


def test_a_site_file_with_a_mistake_names_file_line_and_nearest_key(lab: Lab) -> None:
    file: Path = lab.folder / "vaultprov.yaml"
    file.write_text("kv_mount: kv\noidc:\n  discoveri_url: https://x\n")
    done = lab.onboard()
    assert done.code == 2
    assert f"{file}:3: unknown key 'oidc.discoveri_url'" in done.err
    assert "oidc.discovery_url" in done.err


def test_an_error_is_part_of_the_document_too(lab: Lab) -> None:
    done = lab.run("onboard", "--env", "Moc", "--cluster", "smaug", "--output", "json")
    assert done.code == 2
    assert done.document["error"]["exit_code"] == 2
    done = lab.onboard("--output", "json", VAULT_ADDR=f"http://127.0.0.1:{closed_port()}")
    assert done.document["error"]["exit_code"] == done.code == 3


def test_nothing_is_tried_past_the_time_out(lab: Lab) -> None:
    """A Vault that always answers 500 ends the run when --timeout says so."""
    with watched(lab, vault_fault=lambda _: Fault.status(500, '{"errors":["busy"]}')) as desk:
        done = desk.onboard("--timeout", "1s")
        assert done.code == 3
        assert "busy" in done.err
