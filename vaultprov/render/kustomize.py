"""The layouts `plain` and `kustomize`: objects -> files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vaultprov.errors import ConfigError
from vaultprov.render.facts import Facts
from vaultprov.render.objects import delivered, file_name, label, namespace_of, rank, refuse_secrets
from vaultprov.render.text import document
from vaultprov.render.tree import Edit, Object, Text, Tree, Whose, added_to, header, is_ours

_GUARD_RAIL = {
    "ConstraintTemplate",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_GATEKEEPER = "constraints.gatekeeper.sh/"


def plain(facts: Facts, manifests: Iterable[Object], files: Mapping[str, str]) -> Tree:
    """One file per object, named so that `kubectl apply -f` takes them in a working order."""
    first = header(facts.command)
    tree = {f"{rank(b)}-{file_name(b)}": Text(first + document(delivered(b))) for b in manifests}
    return tree | others(facts, files, "")


def kustomize(facts: Facts, manifests: Iterable[Object], files: Mapping[str, str]) -> Tree:
    """`base/PART` with what clusters have in common, `overlays/ENV/CLUSTER` with the rest.

    The parts are folders of their own, so that a cluster which needs no reviewer (it is no part of
    its objects) does not get one because another cluster does.
    """
    overlay = f"overlays/{facts.env}/{facts.cluster}"
    first, shared = header(facts.command), header(facts.shared_command)
    tree: dict[str, Text | Edit] = {}
    resources: list[str] = []
    parts: dict[str, list[str]] = {}
    for body in manifests:
        part, name, content = _part(body, facts), file_name(body), document(delivered(body))
        if part:
            tree[f"base/{part}/{name}"] = Text(shared + content, Whose.SHARED)
            parts.setdefault(part, []).append(name)
        else:
            tree[f"{overlay}/{name}"] = Text(first + content)
            resources.append(name)
    for part, names in parts.items():
        listed = kustomization(names)
        tree[f"base/{part}/kustomization.yaml"] = Text(shared + document(listed), Whose.SHARED)
    bases = [f"../../../base/{part}" for part in parts]
    tree[f"{overlay}/kustomization.yaml"] = Edit(
        {"resources": (*bases, *resources)}, header=added_to(facts.command)
    )
    return tree | others(facts, files, f"{overlay}/")


def kustomization(resources: Iterable[str], **fields: str) -> dict[str, object]:
    """A kustomization of our own."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **fields,
        "resources": list(resources),
    }


def others(facts: Facts, files: Mapping[str, str], folder: str) -> dict[str, Text]:
    """Texts that are no objects (Helm values, Vault's side), in `folder`.

    Raises ConfigError for one at the top, where `kubectl apply -f` would take it for an object;
    Refused if one holds something that looks like a token.
    """
    made = {}
    for path, text in files.items():
        if "/" not in path:
            raise ConfigError(f"{path} is no object: it belongs into a folder, such as values/")
        refuse_secrets(text, path)
        made[folder + path] = Text(text if is_ours(text) else header(facts.command) + text)
    return made


def _part(body: Object, facts: Facts) -> str:
    """Which part of the base an object belongs to; "" if it is the cluster's own."""
    kind, version = str(body["kind"]), str(body["apiVersion"])
    if kind in _GUARD_RAIL or version.startswith(_GATEKEEPER):
        return "guard-rail"
    if label(body) == f"Namespace {facts.namespace}":
        return "reviewer"
    if kind in ("ServiceAccount", "Secret") and namespace_of(body) == facts.namespace:
        return "reviewer"
    if kind == "ClusterRoleBinding":
        subjects = {subject.get("namespace") for subject in body.get("subjects") or ()}
        return "reviewer" if subjects == {facts.namespace} else ""
    return ""
