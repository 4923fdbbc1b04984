"""The layout of https://github.com/operate-first/apps: one repository for a fleet of clusters.

    external-secrets/base                                  the reviewer's ServiceAccount
    external-secrets/overlays/ENV/CLUSTER                  its namespace, and the token Secret
    cluster-scope/bundles/external-secrets-operator        the operator's namespace
    cluster-scope/overlays/prod/ENV/CLUSTER                everything else, by kind
    cluster-scope/overlays/prod/ENV/CLUSTER/secret-mgmt    a base, and a folder for each namespace
    cluster-scope/overlays/prod/VAULT_ENV/VAULT/groups     who may write, on the cluster of Vault
    argocd/overlays/OVERLAY/applications/envs/ENV/CLUSTER  the Application

That repository is the prerequisite of its runbook: the cluster's `app-of-apps` and its Application
`cluster-resources` are not ours to make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vaultprov.errors import ConfigError
from vaultprov.render.facts import Facts
from vaultprov.render.kustomize import others
from vaultprov.render.objects import (
    file_name,
    folder_name,
    name_in_kind,
    namespace_of,
    short_name,
    without_namespace,
)
from vaultprov.render.text import document
from vaultprov.render.tree import (
    HEADER,
    Edit,
    Entry,
    Object,
    Text,
    Tree,
    Whose,
    added_to,
    header,
    merged,
)

_APP = "external-secrets"
_BUNDLE = "external-secrets-operator"
_TO_SCOPE = "../../../.."  # from an overlay of cluster-scope
_BEGUN = f"# begun by {HEADER.removeprefix('# rendered by ')} render; yours to edit from here on\n"


def operate_first(facts: Facts, manifests: Iterable[Object], files: Mapping[str, str]) -> Tree:
    """The tree of that repository for one cluster.

    Raises ConfigError if the repository's URL is not known.
    """
    bodies = tuple(manifests)
    stores = {namespace_of(body) for body in bodies if body["kind"] == "SecretStore"}
    operator, secret_mgmt, rest = [], [], []
    for body in bodies:
        if namespace_of(body) in stores:
            secret_mgmt.append(body)
        elif namespace_of(body) == facts.namespace and body["kind"] in ("ServiceAccount", "Secret"):
            operator.append(body)
        else:
            rest.append(body)
    return merged(
        _operator(facts, operator),
        _secret_mgmt(facts, secret_mgmt),
        _cluster_scope(facts, rest),
        _application(facts) if operator else {},
        _group(facts),
        others(facts, files, f"{_app_overlay(facts)}/"),
    )


def _list(first: str, resources: Iterable[str], namespace: str = "") -> Edit:
    """A kustomization that lists these, with its `namespace` field."""
    fresh = {"namespace": namespace} if namespace else {}
    return Edit({"resources": tuple(resources)}, fresh, first, frozenset({namespace}))


def _app_overlay(facts: Facts) -> str:
    return f"{_APP}/overlays/{facts.env}/{facts.cluster}"


def _scope(env: str, cluster: str) -> str:
    return f"cluster-scope/overlays/prod/{env}/{cluster}"


def _operator(facts: Facts, bodies: list[Object]) -> Tree:
    """The reviewer: its ServiceAccount is every cluster's, its token Secret one cluster's."""
    if not bodies:  # without a reviewer there is nothing for the Application to deliver
        return {}
    overlay, base = _app_overlay(facts), f"{_APP}/base"
    first, shared = header(facts.command), header(facts.shared_command)
    note, shared_note = added_to(facts.command), added_to(facts.shared_command)
    tree: dict[str, Entry] = {}
    in_base, in_overlay = [], []
    accounts = [body for body in bodies if body["kind"] == "ServiceAccount"]
    for body in bodies:
        if body["kind"] == "ServiceAccount":
            name = "serviceaccount.yaml" if len(accounts) == 1 else file_name(body)
            text = shared + document(without_namespace(body))
            tree[f"{base}/{name}"] = Text(text, Whose.SHARED)
            in_base.append(name)
        else:
            name = short_name(body)
            tree[f"{overlay}/{name}"] = Text(first + document(body))
            in_overlay.append(name)
    tree[f"{base}/kustomization.yaml"] = _list(shared_note, in_base)
    tree[f"{overlay}/kustomization.yaml"] = _list(
        note, ("../../../base", *in_overlay), facts.namespace
    )
    return tree


def _secret_mgmt(facts: Facts, bodies: list[Object]) -> Tree:
    """Stores: what all namespaces have alike is in a base, as each overlay sets the namespace."""
    if not bodies:
        return {}
    scope = _scope(facts.env, facts.cluster)
    top = f"{scope}/secret-mgmt"
    first, note = header(facts.command), added_to(facts.command)
    namespaces = sorted({namespace_of(body) for body in bodies})
    alike = [body for body in bodies if _is_alike(body, bodies, namespaces)]
    tree: dict[str, Entry] = {}
    for body in alike:
        text = Text(first + document(without_namespace(body)))
        tree[f"{top}/base/{short_name(body)}"] = text
    in_base = sorted({short_name(body) for body in alike})
    if in_base:
        tree[f"{top}/base/kustomization.yaml"] = _list(note, in_base)
    for namespace in namespaces:
        own = [body for body in bodies if namespace_of(body) == namespace and body not in alike]
        for body in own:
            tree[f"{top}/{namespace}/{file_name(body)}"] = Text(first + document(body))
        listed = (*(("../base",) if in_base else ()), *map(file_name, own))
        tree[f"{top}/{namespace}/kustomization.yaml"] = _list(note, listed, namespace)
    tree[f"{top}/kustomization.yaml"] = _list(note, namespaces)
    tree[f"{scope}/kustomization.yaml"] = _list(note, ["secret-mgmt"])
    return tree


def _is_alike(body: Object, bodies: list[Object], namespaces: list[str]) -> bool:
    """Whether every namespace has this store or account; samples are a namespace's own."""
    if body["kind"] not in ("SecretStore", "ServiceAccount"):
        return False
    general = without_namespace(body)
    return sum(without_namespace(other) == general for other in bodies) == len(namespaces)


def _cluster_scope(facts: Facts, bodies: list[Object]) -> Tree:
    """Everything else, in folders by kind; namespaces are in a base that clusters share."""
    scope = _scope(facts.env, facts.cluster)
    first, shared = header(facts.command), header(facts.shared_command)
    note, shared_note = added_to(facts.command), added_to(facts.shared_command)
    tree: dict[str, Entry] = {}
    listed = []
    for body in bodies:
        name = body["metadata"]["name"]
        if body["kind"] != "Namespace":
            path = f"{folder_name(body)}/{name_in_kind(body)}"
            tree[f"{scope}/{path}"] = Text(first + document(body))
            listed.append(path)
            continue
        base = f"base/core/namespaces/{name}"
        text = Text(shared + document(body), Whose.SHARED)
        tree[f"cluster-scope/{base}/namespace.yaml"] = text
        # That repository sets `namespace` there, for the role bindings that it adds.
        tree[f"cluster-scope/{base}/kustomization.yaml"] = Edit(
            {"resources": ("namespace.yaml",)}, {}, shared_note, frozenset({"", name})
        )
        if name == facts.namespace:
            # The bundle has it; listed again it would be there twice, which kustomize refuses.
            tree[f"cluster-scope/bundles/{_BUNDLE}/kustomization.yaml"] = _list(
                shared_note, [f"../../{base}"]
            )
            listed.append(f"{_TO_SCOPE}/bundles/{_BUNDLE}")
        else:
            listed.append(f"{_TO_SCOPE}/{base}")
    if listed:
        tree[f"{scope}/kustomization.yaml"] = _list(note, listed)
    return tree


def _application(facts: Facts) -> Tree:
    """What makes Argo CD deliver `external-secrets/overlays/ENV/CLUSTER`."""
    argocd = facts.argocd
    if not argocd.repo_url:
        raise ConfigError(
            "the operate-first layout needs the URL of the repository that Argo CD follows",
            hint="--set argocd.repo_url=URL, from which the folder was cloned; or in the site file",
        )
    body: Object = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": _APP},
        "spec": {
            "destination": {
                "name": argocd.destination or facts.cluster,
                "namespace": facts.namespace,
            },
            "project": argocd.project,
            "source": {
                "path": _app_overlay(facts),
                "repoURL": argocd.repo_url,
                "targetRevision": argocd.target_revision,
            },
        },
    }
    top = f"argocd/overlays/{argocd.overlay}/applications/envs/{facts.env}/{facts.cluster}"
    first, note = header(facts.command), added_to(facts.command)
    # All clusters' Applications are in one namespace: there the suffix tells them apart. In a file
    # of others it may be on either level, and is left as it is.
    suffix = {"namespace": argocd.namespace, "nameSuffix": f"-{facts.cluster}"}
    folder = f"{top}/cluster-management"
    return {
        f"{folder}/external-secrets.yaml": Text(first + document(body)),
        f"{folder}/kustomization.yaml": Edit(
            {"resources": ("external-secrets.yaml",)}, header=note, namespaces=None
        ),
        f"{top}/kustomization.yaml": Edit(
            {"resources": ("cluster-management",)}, suffix, note, namespaces=None
        ),
    }


def _group(facts: Facts) -> Tree:
    """The OpenShift group on the cluster where Vault runs: its members log in to Vault there."""
    if not facts.group:
        return {}
    env = facts.env
    # That repository calls the file of the group vault-admins-moc vault-moc-admins.yaml.
    usual = facts.group == f"vault-admins-{env}"
    name = f"vault-{env}-admins.yaml" if usual else f"{facts.group}.yaml"
    body: Object = {
        "apiVersion": "user.openshift.io/v1",
        "kind": "Group",
        "metadata": {"name": facts.group},
        "users": list(facts.group_users),
    }
    scope = _scope(facts.vault_env or facts.env, facts.vault_cluster or facts.cluster)
    note = added_to(facts.shared_command)
    return {
        f"{scope}/groups/{name}": Text(_BEGUN + document(body), Whose.PEOPLE),
        f"{scope}/groups/kustomization.yaml": _list(note, [name]),
        f"{scope}/kustomization.yaml": _list(note, ["groups"]),
    }
