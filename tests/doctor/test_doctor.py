"""doctor as a command: missing access, two faults, formats, files, the probe pod, watching."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import CANARY
from tests.doctor.conftest import SECRET, STORE, Clinic, dumped
from tests.doctor.faults import FAULTS
from tests.doctor.fronts import black_hole
from vaultprov.devenv.crds import definition, install_crds
from vaultprov.devenv.kubeconfig import write_kubeconfig

BY_NAME = {fault.name: fault for fault in FAULTS}


def without(clinic: Clinic, *names: str) -> dict[str, str]:
    """Variables are emptied, which is as good as unset."""
    return dict.fromkeys(names, "")


def test_of_two_faults_the_upstream_one_is_the_cause(clinic: Clinic) -> None:
    BY_NAME["NET-1 default deny"].inject(clinic)
    BY_NAME["AU-2 role absent"].inject(clinic)
    document = clinic.diagnosed()
    assert document["root"]["id"] == "VP-NET-001"
    failed = {check["id"] for check in document["checks"] if check["status"] == "fail"}
    assert failed == {"VP-NET-001", "VP-AUTH-002"}
    told = clinic.doctor().out
    assert "Also wrong: VP-AUTH-002" in told
    assert "Root cause: VP-NET-001" in told


def test_what_a_premise_keeps_from_being_seen_is_skipped(clinic: Clinic) -> None:
    BY_NAME["AU-1 mount absent"].inject(clinic)
    document = clinic.diagnosed()
    role = next(check for check in document["checks"] if check["id"] == "VP-AUTH-002")
    assert (role["status"], role["blocked_by"]) == ("skipped", "VP-AUTH-001")


def test_without_a_vault_token_the_cluster_is_still_diagnosed(clinic: Clinic) -> None:
    """What cannot be told is unknown, never ok; the exit code says so."""
    done = clinic.doctor(**without(clinic, "VAULT_TOKEN"))
    assert done.code == 3, done.out
    assert "cannot look from vault (there is no Vault token" in done.out
    assert "Could not tell:" in done.out
    assert "Healthy" not in done.out
    BY_NAME["NET-1 default deny"].inject(clinic)
    document = clinic.diagnosed(**without(clinic, "VAULT_TOKEN"))
    assert document["root"]["id"] == "VP-NET-001"
    assert document["missing"] == ["vault"]


def test_without_a_token_the_login_endpoint_tells(clinic: Clinic) -> None:
    clinic.role(bound_service_account_names=["somebody-else"])
    document = clinic.diagnosed("--probe-login", **without(clinic, "VAULT_TOKEN"))
    assert document["root"]["id"] == "VP-AUTH-004", dumped(document)


def test_without_a_cluster_vault_is_still_diagnosed(clinic: Clinic, tmp_path: Path) -> None:
    env = {"KUBECONFIG": "", "HOME": str(tmp_path / "nobody")}
    (tmp_path / "nobody").mkdir()
    clinic.vault.delete("auth/smaug-k8s/role/moc-ops")
    document = clinic.diagnosed(**env)
    assert document["root"]["id"] == "VP-AUTH-002", dumped(document)
    assert document["missing"] == ["cluster"]


def test_the_formats_say_the_same(clinic: Clinic) -> None:
    BY_NAME["AU-2 role absent"].inject(clinic)
    junit = ET.fromstring(clinic.doctor("--output", "junit").out)
    failed = [case.get("name") for case in junit if case.find("failure") is not None]
    assert failed == ["VP-AUTH-002 the role exists"]
    sarif = json.loads(clinic.doctor("--output", "sarif").out)
    errors = [r["ruleId"] for r in sarif["runs"][0]["results"] if r["level"] == "error"]
    assert errors == ["VP-AUTH-002"]
    rules = sarif["runs"][0]["tool"]["driver"]["rules"]
    index = sarif["runs"][0]["results"][0]["ruleIndex"]
    assert rules[index]["id"] == sarif["runs"][0]["results"][0]["ruleId"]


def test_a_check_that_is_suppressed_is_not_judged(clinic: Clinic) -> None:
    BY_NAME["AU-8 one use"].inject(clinic)
    assert clinic.doctor().code == 1
    done = clinic.doctor("--suppress", "VP-AUTH-008")
    assert done.code == 0, done.out
    assert "suppressed: VP-AUTH-008" in done.out
    assert clinic.doctor("--suppress", "VP-NO-001").code == 2


def test_a_warning_fails_only_when_strict(clinic: Clinic) -> None:
    clinic.role(audience="")
    done = clinic.doctor()
    assert done.code == 0, done.out
    assert "Warning: VP-AUTH-009" in done.out
    assert clinic.doctor("--strict").code == 1


def checked(document: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [check for check in document["checks"] if check["id"] == code]


def test_what_is_not_modelled_is_unknown_and_named(clinic: Clinic) -> None:
    """NET-6: a policy that cannot be evaluated here is never taken for an allowance."""
    install_crds(clinic.cluster, [definition("cilium.io", "v2", "CiliumNetworkPolicy")])
    clinic.cluster.apply(
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "lock", "namespace": "external-secrets"},
            "spec": {"endpointSelector": {}, "egress": [{}]},
        }
    )
    document = clinic.diagnosed()
    (told,) = checked(document, "VP-NET-006")
    assert told["status"] == "unknown"
    assert any("external-secrets/lock" in line for line in told["evidence"])
    assert [each["status"] for each in checked(document, "VP-NET-001")] == ["unknown"]
    assert clinic.doctor().code == 3


def test_a_store_that_holds_the_one_worker_is_a_warning(clinic: Clinic) -> None:
    """OP-3: somebody else's Vault does not answer, and the operand has one worker."""
    spec = clinic.get(STORE)["spec"]
    with black_hole() as nowhere:
        spec["provider"]["vault"]["server"] = nowhere.replace("https:", "http:")
        other = (*STORE[:3], "other")
        body = {"apiVersion": STORE[0], "kind": STORE[1], "metadata": {"name": other[3]}}
        clinic.cluster.apply({**body, "spec": spec})
        clinic.until("its failure shows", lambda: clinic.condition(other).get("status") == "False")
        document = clinic.diagnosed("--store", "vault")
    assert document["ok"] is True, dumped(document)
    warned = [each for each in checked(document, "VP-OP-003") if each["status"] == "warn"]
    assert [each["subject"] for each in warned] == ["ClusterSecretStore other"], dumped(document)


def test_a_secret_that_vanished_in_silence_is_a_warning(clinic: Clinic) -> None:
    """KV-5: with deletionPolicy Delete, a source that is gone looks well."""
    clinic.merge(SECRET, {"spec": {"target": {"deletionPolicy": "Delete"}}})
    clinic.vault.secrets.kv.v2.delete_metadata_and_all_versions(
        "moc/smaug/db", mount_point="k8s_secrets"
    )
    gone = "secret deleted due to DeletionPolicy=Delete"
    clinic.until("it is deleted", lambda: clinic.condition(SECRET).get("message") == gone)
    document = clinic.diagnosed("--external-secret", "external-secrets/db")
    assert [each["status"] for each in checked(document, "VP-KV-005")] == ["warn"]


def test_the_mesh_of_a_vault_in_the_cluster(clinic: Clinic) -> None:
    """NET-8: an AuthorizationPolicy that leaves us out, and the one that lets us in."""
    mesh = "security.istio.io"
    install_crds(clinic.cluster, [definition(mesh, "v1", "AuthorizationPolicy")])
    clinic.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}})
    rule = {"from": [{"source": {"namespaces": ["somebody"]}}]}
    clinic.cluster.apply(
        {
            "apiVersion": f"{mesh}/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "vault", "namespace": "vault"},
            "spec": {"action": "ALLOW", "rules": [rule]},
        }
    )
    clinic.store(server="http://vault.vault.svc:8200")
    root = clinic.diagnosed()["root"]
    assert root["id"] == "VP-NET-008"
    clinic.apply(root["fix"])
    document = clinic.diagnosed()
    assert [each["status"] for each in checked(document, "VP-NET-008")] == ["ok"], dumped(document)


def test_files_instead_of_a_cluster(clinic: Clinic, tmp_path: Path) -> None:
    BY_NAME["NET-1 default deny"].inject(clinic)
    folder = tmp_path / "dump"
    folder.mkdir()
    for path in (
        "/apis/apps/v1/namespaces/external-secrets/deployments",
        "/apis/networking.k8s.io/v1/networkpolicies",
        "/apis/external-secrets.io/v1/clustersecretstores",
    ):
        listed = clinic.cluster.call("GET", path)
        name = path.rpartition("/")[2]
        kind = listed["kind"].removesuffix("List")
        for item in listed["items"]:
            item |= {"apiVersion": listed["apiVersion"], "kind": kind}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(listed))
    document = clinic.diagnosed("--from", str(folder), KUBECONFIG="/nowhere")
    assert document["root"]["id"] == "VP-NET-001", dumped(document)
    assert "cluster" in document["missing"]


@pytest.mark.parametrize("words", [("--env", "mox"), ("--cluster", "smog")])
def test_another_name_than_it_was_onboarded_with_is_not_healthy(
    clinic: Clinic, words: tuple[str, str]
) -> None:
    root = clinic.diagnosed(*words)["root"]
    assert root["id"] == "VP-CFG-001"
    assert root["fix"]["command"] == "vaultprov doctor --env moc --cluster smaug"


def test_without_the_cluster_vaults_half_is_looked_at(clinic: Clinic) -> None:
    """An API server that refuses is said to refuse; its absence does not hide what Vault tells."""
    gone = write_kubeconfig(
        clinic.lab.folder / "gone.kubeconfig",
        server="https://127.0.0.1:1",
        ca_pem=clinic.lab.kube.ca_pem,
        token="x",
        context="smaug",
    )
    document = clinic.diagnosed(KUBECONFIG=str(gone))
    assert document["root"]["id"] == "VP-CLU-001"
    assert "refused" in document["root"]["observed"]
    states = {check["id"]: check["status"] for check in document["checks"]}
    assert {states[code] for code in ("VP-AUTH-001", "VP-AUTH-002", "VP-KV-006")} == {"ok"}
    assert states["VP-TLS-003"] == "skipped", "there was no store to read it from"


def test_touching_a_store_makes_it_nobodys(clinic: Clinic) -> None:
    """Who delivers the store through git must not find it drifted after a proof."""
    before = clinic.run("plan", "--output", "json").document["steps"]
    assert clinic.run("verify", "--touch-store", "vault").code == 0
    assert clinic.run("plan", "--output", "json").document["steps"] == before


def test_what_is_named_and_does_not_exist_is_wrong_usage(clinic: Clinic) -> None:
    for words, told in (
        (("--store", "valt"), "there is no Vault store valt"),
        (("--external-secret", "external-secrets/bd"), "no ExternalSecret external-secrets/bd"),
    ):
        done = clinic.doctor(*words)
        assert done.code == 2
        assert told in done.err


def test_a_resolver_that_nobody_knows_is_not_denied(clinic: Clinic) -> None:
    """DNS is opened to pods by their labels, and there is no Service to find the pods by."""
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "node-local-dns"}}}
    ports = [{"protocol": "UDP", "port": 53}]
    clinic.policy("deny-all-traffic", [])
    clinic.policy("allow-dns", [{"to": [peer], "ports": ports}])
    every = {"protocol": "TCP"}  # any port
    clinic.policy("allow-all-but-dns", [{"ports": [every]}])
    clinic.store(server="http://vault.example.com:8200")
    (answer,) = checked(clinic.diagnosed(), "VP-DNS-001")
    assert answer["status"] == "unknown"
    clinic.policy("allow-dns", [{"to": [peer], "ports": [{"protocol": "UDP", "port": 54}]}])
    (answer,) = checked(clinic.diagnosed(), "VP-DNS-001")
    assert answer["status"] == "fail"


def test_a_folder_without_objects_is_wrong_usage(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert clinic.doctor("--from", str(tmp_path / "empty")).code == 2
    assert clinic.doctor("--from", str(tmp_path / "none")).code == 2


def test_doctor_writes_nothing(clinic: Clinic) -> None:
    before = clinic.vault.list("auth/token/accessors")["data"]["keys"]
    version = clinic.get(STORE)["metadata"]["resourceVersion"]
    assert clinic.doctor().code == 0
    assert clinic.get(STORE)["metadata"]["resourceVersion"] == version
    assert len(clinic.vault.list("auth/token/accessors")["data"]["keys"]) <= len(before) + 5


def test_no_secret_in_any_format(clinic: Clinic) -> None:
    """The desk's own check covers tokens; this one the reviewer's and the stored secret."""
    reviewer = clinic.secret("external-secrets-operator", "eso-vault-auth-token", "token")
    BY_NAME["another reviewer JWT"].inject(clinic)
    for form in ("text", "json", "junit", "sarif"):
        done = clinic.doctor("--probe-login", "--output", form)
        for secret in (reviewer, CANARY, clinic.bao.root_token):
            assert secret not in done.out + done.err


def pods(clinic: Clinic) -> list[str]:
    found = clinic.cluster.call("GET", "/api/v1/namespaces/external-secrets/pods")
    return [each["metadata"]["name"] for each in found["items"]]


@contextmanager
def kubelet(clinic: Clinic) -> Iterator[None]:
    """Runs the probe's script on this machine, as no kubelet runs here, and reports as one does."""
    stop = threading.Event()

    def work() -> None:
        done: set[str] = set()
        while not stop.wait(0.1):
            found = clinic.cluster.call("GET", "/api/v1/namespaces/external-secrets/pods")
            for pod in found["items"]:
                name = pod["metadata"]["name"]
                if name.startswith("vaultprov-probe-") and name not in done:
                    done.add(name)
                    _run_pod(clinic, pod)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _run_pod(clinic: Clinic, pod: dict) -> None:  # type: ignore[type-arg]  # the API's JSON
    container = pod["spec"]["containers"][0]
    log = clinic.lab.folder / pod["metadata"]["name"]
    subprocess.run(
        [*container["command"], *container["args"], str(log)], check=False, capture_output=True
    )
    state = {"terminated": {"exitCode": 0, "message": log.read_text()}}
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "probe", "state": state}]}
    path = f"/api/v1/namespaces/external-secrets/pods/{pod['metadata']['name']}"
    clinic.cluster.merge(f"{path}/status", {"status": status})


def test_the_probe_pod_sees_vault_and_is_removed(clinic: Clinic) -> None:
    before = pods(clinic)
    with kubelet(clinic):
        document = clinic.diagnosed("--probe")
    seen = {c["id"]: c["status"] for c in document["checks"] if c["vantage"] == "operand"}
    assert seen == {"VP-POD-001": "ok", "VP-POD-002": "ok", "VP-POD-003": "ok"}, dumped(document)
    assert pods(clinic) == before


def test_the_probe_pod_names_a_refused_connection(clinic: Clinic) -> None:
    clinic.store(server="http://127.0.0.1:1")
    with kubelet(clinic):
        document = clinic.diagnosed("--probe")
    assert document["root"]["id"] == "VP-POD-002", dumped(document)


def test_the_probe_pod_is_restricted(clinic: Clinic) -> None:
    """The operand's labels but the ReplicaSet's, none of its rights, a deadline."""
    from vaultprov.doctor.network import Url
    from vaultprov.doctor.operand import Operand
    from vaultprov.doctor.pod import pod_body

    deployment = clinic.get(("apps/v1", "Deployment", "external-secrets", "external-secrets"))
    pod = clinic.get(("v1", "Pod", "external-secrets", clinic.installed.pod))
    operand = Operand("external-secrets", "external-secrets", deployment, (pod,))
    body = pod_body(operand, Url.parse("http://127.0.0.1:8200"), "")
    assert "pod-template-hash" in pod["metadata"]["labels"]
    expected = {k: v for k, v in pod["metadata"]["labels"].items() if k != "pod-template-hash"}
    assert body["metadata"]["labels"] == expected
    assert body["spec"]["automountServiceAccountToken"] is False
    assert body["spec"]["activeDeadlineSeconds"] == 60
    context = body["spec"]["containers"][0]["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_an_interrupted_probe_leaves_no_pod(clinic: Clinic) -> None:
    before = pods(clinic)
    for sent in (signal.SIGINT, signal.SIGTERM):
        child = clinic.lab.start("doctor", "--env", "moc", "--cluster", "smaug", "--probe")
        clinic.until("a probe pod", lambda: pods(clinic) != before)
        child.send_signal(sent)
        assert child.wait(timeout=30) == 130
        assert pods(clinic) == before


def test_watching_prints_on_change_and_writes_metrics(clinic: Clinic) -> None:
    metrics = clinic.lab.folder / "vaultprov.prom"
    words = ["doctor", "--env", "moc", "--cluster", "smaug", "--watch", "1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "vaultprov", *words, "--metrics-file", str(metrics)],
        cwd=clinic.lab.folder,
        env=dict(clinic.lab.env),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        clinic.until("metrics", metrics.exists)
        assert 'vaultprov_healthy{env="moc",cluster="smaug"} 1' in metrics.read_text()
        assert "vaultprov_last_success_timestamp_seconds" in metrics.read_text()
        clinic.role(token_num_uses=1)
        clinic.until(
            "the fault",
            lambda: 'cluster="smaug"} 0' in metrics.read_text().partition("healthy{")[2],
        )
        line = 'code="VP-AUTH-008",vantage="vault",state="fail"} 1'
        clinic.until("its check", lambda: line in metrics.read_text())
    finally:
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30)
    assert child.returncode == 130
    assert out.count("Diagnosis of moc/smaug") == 2
