"""Which objects are in which files, pinned by golden files; and that kustomize builds them.

After an intended change: VAULTPROV_UPDATE_GOLDEN=1 pytest tests/unit/render/test_layouts.py, and
look at the difference before it is committed. The builds run where KUSTOMIZE names the binary of
kustomize (or kubectl, which has it built in).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.render.world import (
    Object,
    changed,
    facts,
    guard_rail,
    namespaced,
    network_policy,
    read,
    secret_store,
    wave,
)
from tests.unit.test_report import golden
from vaultprov.errors import ConfigError, Refused
from vaultprov.kube import objects
from vaultprov.kube.destinations import cidrs
from vaultprov.kube.egress import config_entry, egress_rules
from vaultprov.model import ServiceAccount
from vaultprov.redact import Secret
from vaultprov.render import ArgoCd, Facts, Layout, Tree, compared, render, write
from vaultprov.render.objects import delivered
from vaultprov.render.tree import Text, is_ours

VALUES = {"values/big-bang.yaml": "addons:\n  externalSecrets:\n    enabled: true\n"}
SAMPLES = Path(__file__).parent / "operate-first"
needs_kustomize = pytest.mark.skipif("KUSTOMIZE" not in os.environ, reason="KUSTOMIZE is not set")


def made(layout: Layout, *namespaces: str) -> Tree:
    return render(facts(layout), namespaced(*(namespaces or ("apps", "web"))), VALUES)


def build(folder: Path) -> list[Object]:
    """What kustomize makes of a folder."""
    tool = os.environ["KUSTOMIZE"]
    verb = "kustomize" if Path(tool).name.startswith("kubectl") else "build"
    done = subprocess.run([tool, verb, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def spared(*namespaces: str) -> list[Object]:
    """The objects as Argo CD is to deliver them."""
    return [dict(delivered(body)) for body in namespaced(*namespaces)]


def by_identity(bodies: Iterable[Object]) -> dict[tuple[str, ...], Object]:
    return {
        (body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]): body
        for body in bodies
    }


def rendered(tree: Tree) -> list[Object]:
    """The objects in a tree's files."""
    texts = [entry.text for entry in tree.values() if isinstance(entry, Text)]
    bodies = [body for text in texts for body in yaml.safe_load_all(text)]
    return [body for body in bodies if "metadata" in body]


@pytest.mark.parametrize("layout", Layout)
def test_the_tree_is_the_golden_one(tmp_path: Path, layout: Layout) -> None:
    """Every path and every byte."""
    write(made(layout), tmp_path)
    files = read(tmp_path)
    golden(f"render-{layout}.txt", "".join(f"==> {p}\n{t.decode()}" for p, t in files.items()))


@pytest.mark.parametrize("layout", Layout)
def test_the_order_of_the_objects_does_not_matter(layout: Layout) -> None:
    """Same input, same bytes."""
    bodies = namespaced("apps", "web")
    assert render(facts(layout), reversed(bodies)) == render(facts(layout), bodies)


@pytest.mark.parametrize("layout", Layout)
def test_rendering_twice_changes_nothing(tmp_path: Path, layout: Layout) -> None:
    """Also where another cluster was rendered in between."""
    other = render(facts(layout, "emea", "jerry"), namespaced("apps", cluster="jerry", env="emea"))
    write(made(layout), tmp_path)
    if layout is not Layout.PLAIN:  # that one is one cluster's
        write(other, tmp_path)
        assert changed(compared(other, tmp_path)) == []
    before = read(tmp_path)
    assert changed(compared(made(layout), tmp_path)) == []
    assert changed(write(made(layout), tmp_path)) == []
    assert read(tmp_path) == before


@pytest.mark.parametrize("layout", Layout)
def test_every_file_says_whose_it_is(tmp_path: Path, layout: Layout) -> None:
    """The first line; a group's members are people's, so its file is."""
    write(made(layout), tmp_path)
    others = [path for path, text in read(tmp_path).items() if not is_ours(text.decode())]
    group = "cluster-scope/overlays/prod/moc/smaug/groups/vault-moc-admins.yaml"
    assert others == ([group] if layout is Layout.OPERATE_FIRST else [])


@pytest.mark.parametrize("layout", [Layout.PLAIN, Layout.KUSTOMIZE])
def test_what_is_rendered_is_what_is_applied(layout: Layout) -> None:
    """Object by object, with annotations and labels; added is how Argo CD is to deliver them."""
    tree = made(layout)
    assert by_identity(rendered(tree)) == by_identity(spared("apps", "web"))


@pytest.mark.parametrize("layout", [Layout.PLAIN, Layout.KUSTOMIZE])
def test_argo_cd_takes_nothing_away_that_others_use_too(layout: Layout) -> None:
    """Namespaces, with all that is in them, and the operator's object with an entry of ours."""
    entry = config_entry(egress_rules(cidrs(["10.0.0.1/32"], 8200)))
    for body in rendered(render(facts(layout), [*namespaced("apps", "web"), entry])):
        told = (body["metadata"].get("annotations") or {}).get("argocd.argoproj.io/sync-options")
        options = set((told or "").split(","))
        shared = body["kind"] in {"Namespace", "ExternalSecretsConfig"}
        assert ({"Prune=false", "Delete=false"} <= options) is shared, body
        # A list of an object that is not ours is merged by the server, or others' entries are lost.
        assert ("ServerSideApply=true" in options) is (body["kind"] == "ExternalSecretsConfig")


@needs_kustomize
@pytest.mark.parametrize("layout", [Layout.KUSTOMIZE, Layout.OPERATE_FIRST])
def test_kustomize_builds_what_is_applied(tmp_path: Path, layout: Layout) -> None:
    """Bases and overlays put together are the very objects, namespaces and all."""
    write(made(layout), tmp_path)
    if layout is Layout.KUSTOMIZE:
        built = build(tmp_path / "overlays/moc/smaug")
    else:
        built = build(tmp_path / "external-secrets/overlays/moc/smaug")
        built += build(tmp_path / "cluster-scope/overlays/prod/moc/smaug")
    found = by_identity([body for body in built if body["kind"] != "Group"])
    assert found == by_identity(
        spared("apps", "web") if layout is Layout.KUSTOMIZE else namespaced("apps", "web")
    )


@needs_kustomize
@pytest.mark.parametrize("layout", [Layout.KUSTOMIZE, Layout.OPERATE_FIRST])
def test_every_folder_builds(tmp_path: Path, layout: Layout) -> None:
    """No kustomization names a file that is not there, or a thing twice."""
    write(made(layout), tmp_path)
    write(render(facts(layout, "moc", "curator"), namespaced("a", cluster="curator")), tmp_path)
    for file in sorted(tmp_path.rglob("kustomization.yaml")):
        assert build(file.parent)


@needs_kustomize
def test_applications_of_two_clusters_do_not_share_a_name(tmp_path: Path) -> None:
    """They are all in Argo CD's own namespace."""
    top = tmp_path / "argocd/overlays/moc-infra/applications/envs/moc"
    names = []
    for cluster in ("smaug", "curator"):
        asked = facts(Layout.OPERATE_FIRST, "moc", cluster)
        write(render(asked, namespaced("a", cluster=cluster)), tmp_path)
        [application] = build(top / cluster)
        names.append((application["metadata"]["namespace"], application["metadata"]["name"]))
    assert names == [("argocd", "external-secrets-smaug"), ("argocd", "external-secrets-curator")]


def test_a_namespace_comes_first_and_an_account_before_its_token() -> None:
    """`kubectl apply -f` goes by the name; a token Secret without an account is deleted."""
    kinds = [path.partition(".")[0] for path in made(Layout.PLAIN) if "/" not in path]
    assert kinds[:3] == ["1-namespace"] * 3
    assert kinds.index("3-secret") > max(i for i, k in enumerate(kinds) if "serviceaccount" in k)
    listed = made(Layout.KUSTOMIZE)["base/reviewer/kustomization.yaml"]
    assert isinstance(listed, Text)
    kinds = [name.partition(".")[0] for name in yaml.safe_load(listed.text)["resources"]]
    assert kinds == ["namespace", "serviceaccount", "clusterrolebinding", "secret"]


@pytest.mark.parametrize("layout", Layout)
def test_sync_waves_are_the_builders(layout: Layout) -> None:
    """What has none gets none here: what is rendered must be what is applied."""
    store = secret_store("apps")
    store["metadata"]["annotations"] = wave(30)
    tree = render(facts(layout), [network_policy(), guard_rail(), store])
    annotated = {
        body["kind"]: body["metadata"]["annotations"]
        for body in rendered(tree)
        if "annotations" in body["metadata"]
    }
    assert annotated == {"NetworkPolicy": wave(20), "SecretStore": wave(30)}


TOKEN = objects.token_secret(ServiceAccount("a", "b"), "t")


@pytest.mark.parametrize(
    "body",
    [
        TOKEN | {"data": {"token": "eA=="}},
        TOKEN | {"stringData": {"token": "x"}},
        {"apiVersion": "v1", "kind": "List", "metadata": {"name": "l"}, "items": [
            TOKEN | {"data": {"token": "eA=="}}]},
        guard_rail() | {"spec": {"x": Secret("x")}},
        guard_rail() | {"spec": {"x": ["hvs." + "a" * 24]}},
    ],
    ids=["data", "stringData", "in a list", "a secret value", "a token"],
)  # fmt: skip
@pytest.mark.parametrize("layout", Layout)
def test_a_secret_is_never_written_to_a_file(layout: Layout, body: Object) -> None:
    """Git never forgets."""
    with pytest.raises(Refused, match="a secret is never written to a file") as caught:
        render(facts(layout), [body])
    assert "eA==" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("layout", Layout)
def test_a_token_in_a_values_file_is_refused(layout: Layout) -> None:
    """The same for texts that are no objects."""
    with pytest.raises(Refused):
        render(facts(layout), [], {"values/a.yaml": "token: hvs." + "a" * 24})


def test_a_token_secret_without_data_is_no_secret() -> None:
    """The controller fills it in; an empty mapping is no data."""
    assert len(render(facts(Layout.PLAIN), [TOKEN | {"data": {}}])) == 1


def test_two_forms_of_one_object_are_an_error() -> None:
    """The same object twice is one; two different ones cannot both be right."""
    store = secret_store("apps")
    assert len(render(facts(Layout.PLAIN), [store, secret_store("apps")])) == 1
    with pytest.raises(ConfigError, match="SecretStore apps/opf-vault-store is wanted twice"):
        render(facts(Layout.PLAIN), [store, secret_store("apps", "other")])


def test_a_name_that_is_no_file_name_is_an_error() -> None:
    """RBAC objects may be called system:x, or worse."""
    body = guard_rail()
    body["metadata"]["name"] = "../x"
    with pytest.raises(ConfigError, match="cannot be a file's name"):
        render(facts(Layout.PLAIN), [body])


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": "../x"},
        {"cluster": "A"},
        {"namespace": "a/b"},
        {"group": "a/b"},
        {"vault_env": ".."},
    ],
)
def test_facts_are_names(wrong: dict[str, Any]) -> None:
    """They become folders."""
    with pytest.raises(ConfigError):
        replace(Facts("moc", "smaug"), **wrong)


def test_clusters_that_need_different_parts_share_a_folder(tmp_path: Path) -> None:
    """A cluster without a reviewer does not get one, and does not take the other's."""
    write(made(Layout.KUSTOMIZE), tmp_path)
    before = read(tmp_path)
    stores = [secret_store("apps", "curator")]
    files = write(render(facts(Layout.KUSTOMIZE, "moc", "curator"), stores), tmp_path)
    assert all(path.startswith("overlays/moc/curator/") for path in changed(files))
    assert before.items() <= read(tmp_path).items()
    text = (tmp_path / "overlays/moc/curator/kustomization.yaml").read_text()
    assert "base" not in text


class TestOperateFirst:
    """The tree of operate-first/apps; the samples are its files for moc/smaug in short."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        for file in SAMPLES.rglob("*.yaml"):
            copy = tmp_path / file.relative_to(SAMPLES)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        return tmp_path

    def bodies(self, *namespaces: str, cluster: str = "smaug") -> list[Object]:
        """As that repository has them: its API version, no guard rail, its namespaces."""
        made = [b for b in namespaced(*namespaces, cluster=cluster, egress=False)
                if b["kind"] != "ValidatingAdmissionPolicy"]  # fmt: skip
        for body in made:
            if body["kind"] == "SecretStore":
                body["apiVersion"] = "external-secrets.io/v1beta1"
        return made

    def asked(self, cluster: str = "smaug") -> Facts:
        return facts(Layout.OPERATE_FIRST, "moc", cluster)

    def test_its_files_mean_what_ours_do(self, tree: Path) -> None:
        """Where we render a file that it has, the file is kept; only what it lacks is new."""
        files = write(render(self.asked(), self.bodies("openshift-config")), tree)
        scope = "cluster-scope/overlays/prod/moc/smaug"
        binding = "external-secrets-operator-eso-vault-auth-tokenreview"
        assert changed(files) == [
            f"{scope}/clusterrolebindings/{binding}.yaml",
            f"{scope}/kustomization.yaml",
            "external-secrets/overlays/moc/smaug/eso-vault-auth-token.yaml",
            "external-secrets/overlays/moc/smaug/kustomization.yaml",
        ]

    def test_another_cluster_changes_no_file_of_the_first(self, tree: Path) -> None:
        """Adding a cluster to an existing tree changes only what it must."""
        before = read(tree)
        write(render(self.asked("curator"), self.bodies("apps", cluster="curator")), tree)
        after = read(tree)
        assert {path for path in before if before[path] != after[path]} == set()
        new = {path for path in after if path not in before}
        assert all("/moc/curator/" in path or "/namespaces/apps/" in path for path in new)

    def test_another_namespace_is_one_folder_and_one_line(self, tree: Path) -> None:
        """The base stays; what people wrote around the list stays, too."""
        write(render(self.asked(), self.bodies("openshift-config")), tree)
        before = read(tree)
        both = render(self.asked(), self.bodies("openshift-config", "opf-monitoring"))
        mgmt = "cluster-scope/overlays/prod/moc/smaug/secret-mgmt"
        assert [p for p in changed(write(both, tree)) if "namespaces" not in p] == [
            "cluster-scope/overlays/prod/moc/smaug/kustomization.yaml",
            f"{mgmt}/kustomization.yaml",
            f"{mgmt}/opf-monitoring/kustomization.yaml",
        ]
        path = f"{mgmt}/kustomization.yaml"
        assert read(tree)[path] == before[path] + b"- opf-monitoring\n"

    def test_a_newer_store_needs_adopt(self, tree: Path) -> None:
        """Its store is v1beta1; replacing somebody's file is never silent."""
        bodies = [secret_store("openshift-config")]
        with pytest.raises(Refused, match=r"secret-mgmt/base/opf-vault-store\.yaml exists"):
            write(render(self.asked(), bodies), tree)

    def test_the_members_of_a_group_are_peoples(self, tree: Path) -> None:
        """The group is there with its users; rendering a cluster resets nobody."""
        path = tree / "cluster-scope/overlays/prod/moc/smaug/groups/vault-moc-admins.yaml"
        before = path.read_bytes()
        asked = replace(self.asked(), group_users=("somebody",))
        write(render(asked, self.bodies("openshift-config")), tree)
        assert path.read_bytes() == before

    def test_a_store_that_differs_by_namespace_is_not_in_the_base(self) -> None:
        """The base is what all namespaces have alike."""
        one, two = secret_store("one"), secret_store("two", env="emea")
        tree = render(self.asked(), [one, two])
        files = [path for path in tree if "secretstore" in path]
        top = "cluster-scope/overlays/prod/moc/smaug/secret-mgmt"
        assert files == [
            f"{top}/{name}/secretstore.{name}.opf-vault-store.yaml" for name in ("one", "two")
        ]

    def test_the_repository_has_to_be_known(self) -> None:
        """An Application that follows another repository is no help."""
        asked = replace(self.asked(), argocd=ArgoCd())
        with pytest.raises(ConfigError, match="URL of the repository"):
            render(asked, self.bodies("apps"))

    @needs_kustomize
    def test_the_changed_tree_builds(self, tree: Path) -> None:
        """The operator's namespace comes through the bundle: listed again it would clash."""
        write(render(self.asked(), self.bodies("openshift-config")), tree)
        built = build(tree / "cluster-scope/overlays/prod/moc/smaug")
        names = [body["metadata"]["name"] for body in built if body["kind"] == "Namespace"]
        assert names == ["external-secrets-operator", "openshift-config"]
        assert build(tree / "external-secrets/overlays/moc/smaug")
