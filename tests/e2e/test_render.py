"""render as a command: the objects of onboard as files, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import Lab, Result
from vaultprov.devenv.cluster import Cluster, path_of
from vaultprov.kube.manifest import project

NOWHERE = {"VAULT_ADDR": "", "VAULT_TOKEN": "", "KUBECONFIG": ""}


def render(lab: Lab, folder: Path, *words: str) -> Result:
    about = ("render", "--env", "moc", "--cluster", "smaug", "--dir", str(folder))
    return lab.run(*about, *words, **NOWHERE)


def documents(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.yaml"))
    found = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in found if each["kind"] != "Kustomization"]


def test_what_is_rendered_is_what_onboard_applied(lab: Lab, tmp_path: Path) -> None:
    """Object by object, labels and the other annotations included; and nothing is missing."""
    assert lab.run("bootstrap").code == 0
    done = lab.onboard("--output", "json")
    assert done.code == 0, done.err
    only = ("--layout", "plain", "--include", "cluster")
    assert render(lab, tmp_path / "out", *only).code == 0
    cluster = Cluster(lab.kube.server, lab.kube.ca_pem, lab.kube.token)
    rendered = documents(tmp_path / "out")
    for body in rendered:
        if body["kind"] == "Namespace":
            del body["metadata"]["annotations"]  # how Argo CD is to deliver it
        live = cluster.get(path_of(body))
        assert live is not None, body
        assert project(live, body) == body
    applied = {key for key in done.actions(keep=True) if key.startswith("cluster/")}
    names = {
        "cluster/"
        + "/".join(
            filter(
                None,
                (
                    body["kind"].lower(),
                    body["metadata"].get("namespace"),
                    body["metadata"]["name"],
                ),
            )
        )
        for body in rendered
    }
    assert names == applied - {"cluster/namespace/kube-system"}


def test_twice_is_once(lab: Lab, tmp_path: Path) -> None:
    first = render(lab, tmp_path / "out")
    assert first.code == 0, first.err
    again = render(lab, tmp_path / "out")
    assert again.out.startswith("0 files written")
    assert render(lab, tmp_path / "out", "--check").code == 0


def test_a_difference_is_shown_and_not_written(lab: Lab, tmp_path: Path) -> None:
    render(lab, tmp_path / "out")
    file = next((tmp_path / "out").rglob("serviceaccount.*fetcher.yaml"))
    edited = file.read_text().replace("managed-by: vaultprov", "managed-by: somebody")
    file.write_text(edited)
    done = render(lab, tmp_path / "out", "--check")
    assert done.code == 5
    assert "-    app.kubernetes.io/managed-by: somebody" in done.out
    assert file.read_text() == edited


def test_a_file_of_others_is_kept_until_it_is_adopted(lab: Lab, tmp_path: Path) -> None:
    render(lab, tmp_path / "out")
    file = next((tmp_path / "out").rglob("serviceaccount.*fetcher.yaml"))
    file.write_text("kind: SomethingElse\n")
    refused = render(lab, tmp_path / "out")
    assert refused.code == 6
    assert "--adopt" in refused.err
    assert render(lab, tmp_path / "out", "--adopt").code == 0
    assert render(lab, tmp_path / "out", "--check").code == 0


def test_vaults_side_says_what_it_needs(lab: Lab, tmp_path: Path) -> None:
    done = render(lab, tmp_path / "out", "--include", "vault")
    assert done.code == 2
    assert "--kubernetes-host URL" in done.err
    ca = tmp_path / "ca.pem"
    ca.write_text(lab.kube.ca_pem)
    given = ("--kubernetes-host", lab.kube.server, "--kubernetes-ca-file", str(ca))
    done = render(lab, tmp_path / "out", "--include", "vault", *given)
    assert done.code == 0, done.err
    script = next((tmp_path / "out").rglob("commands.sh")).read_text()
    assert "vault write auth/smaug-k8s/role/moc-ops" in script


def test_addresses_are_not_looked_up(lab: Lab, tmp_path: Path) -> None:
    """A missing fact is an error that says which flag tells it."""
    done = render(lab, tmp_path / "out", "--include", "egress")
    assert done.code == 2
    assert "--vault-cidr ADDRESS/32" in done.err


def test_the_mesh_is_for_a_vault_in_the_cluster(lab: Lab, tmp_path: Path) -> None:
    done = render(lab, tmp_path / "out", "--include", "istio")
    assert done.code == 2
    assert "store.server" in done.err
    inside = ("--set", "store.server=http://vault.vault.svc:8200")
    done = render(lab, tmp_path / "out", "--include", "istio", *inside)
    assert done.code == 0
    assert "denies all the rest" in done.err, "who has no such policy yet locks everybody else out"
    (policy,) = documents(tmp_path / "out")
    assert (policy["kind"], policy["metadata"]["namespace"]) == ("AuthorizationPolicy", "vault")


def test_values_for_big_bang(lab: Lab, tmp_path: Path) -> None:
    """Its list of stores has no field for audiences: a store that asks for one is left out."""
    assert render(lab, tmp_path / "out", "--include", "big-bang").code == 0
    file = next((tmp_path / "out").rglob("values/external-secrets.yaml"))
    values = yaml.safe_load(file.read_text())["addons"]["externalSecrets"]["values"]
    assert values["upstream"]["podLabels"] == {"vault-ingress": "true"}
    assert "clusterSecretStoreConfiguration" not in values
    assert not list((tmp_path / "out").rglob("values/vault.yaml")), "Vault is no part of the mesh"
    token = ("--set", "store.token_secret=external-secrets/vault-token")
    assert render(lab, tmp_path / "out", "--include", "big-bang", *token).code == 0
    values = yaml.safe_load(file.read_text())["addons"]["externalSecrets"]["values"]
    (store,) = values["clusterSecretStoreConfiguration"]["clusterSecretStoreList"]
    assert store["source"]["auth"]["type"] == "token"
    inside = ("--set", "store.server=http://vault.vault.svc:8200")
    assert render(lab, tmp_path / "out", "--include", "big-bang", *inside).code == 0
    (vault,) = (tmp_path / "out").rglob("values/vault.yaml")
    assert "8200" in vault.read_text()


def test_every_part_can_be_rendered(lab: Lab, tmp_path: Path) -> None:
    parts = ("cluster", "store", "egress", "guardrail", "gatekeeper", "examples")
    words = [word for part in parts for word in ("--include", part)]
    done = render(lab, tmp_path / "out", *words, "--vault-cidr", "192.0.2.10/32")
    assert done.code == 0, done.err
    kinds = {each["kind"] for each in documents(tmp_path / "out")}
    assert {
        "ClusterSecretStore",
        "NetworkPolicy",
        "ValidatingAdmissionPolicy",
        "ConstraintTemplate",
        "ExternalSecret",
    } <= kinds


def test_the_operate_first_layout_needs_its_repository(lab: Lab, tmp_path: Path) -> None:
    done = render(lab, tmp_path / "out", "--layout", "operate-first")
    assert done.code == 2
    assert "argocd.repo_url" in done.err
    url = "argocd.repo_url=https://github.com/example/apps.git"
    done = render(lab, tmp_path / "out", "--layout", "operate-first", "--set", url)
    assert done.code == 0, done.err
    assert (tmp_path / "out/external-secrets/overlays/moc/smaug/kustomization.yaml").is_file()
