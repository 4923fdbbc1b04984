"""What a rendered tree depends on besides the objects themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from vaultprov.model import dns_label, object_name


class Layout(StrEnum):
    """How the files are arranged."""

    PLAIN = "plain"
    KUSTOMIZE = "kustomize"
    OPERATE_FIRST = "operate-first"


@dataclass(frozen=True, slots=True)
class ArgoCd:
    """The Application that delivers the tree; fields as Argo CD's Application calls them.

    repo_url: there is no default: an Application that follows another repository is no help.
    destination: the cluster's name in Argo CD, where it has another one there (`moc-infra`).
    overlay: the folder in `argocd/overlays`, one per Argo CD instance.
    """

    repo_url: str = ""
    target_revision: str = "HEAD"
    project: str = "cluster-management"
    destination: str = ""
    namespace: str = "argocd"
    overlay: str = "moc-infra"

    def __post_init__(self) -> None:
        dns_label(self.namespace, "namespace")
        dns_label(self.overlay, "Argo CD overlay")


@dataclass(frozen=True, slots=True)
class Facts:
    """Which cluster the tree is for, and what the layouts need to know of it.

    namespace: the operator's, where the reviewer's ServiceAccount lives too.
    group: the OpenShift group whose members write secrets; "" renders none.
    group_users: its first members; who is in it later on is up to people.
    vault_env, vault_cluster: where Vault runs, as the group belongs to that cluster; "" means here.

    Raises ConfigError on names that are no DNS labels: they become folders.
    """

    env: str
    cluster: str
    layout: Layout = Layout.KUSTOMIZE
    namespace: str = "external-secrets-operator"
    group: str = ""
    group_users: tuple[str, ...] = ()
    vault_env: str = ""
    vault_cluster: str = ""
    argocd: ArgoCd = field(default_factory=ArgoCd)

    def __post_init__(self) -> None:
        dns_label(self.env, "environment")
        dns_label(self.cluster, "cluster")
        dns_label(self.namespace, "namespace")
        if self.group:
            object_name(self.group, "group")
        if self.vault_env:
            dns_label(self.vault_env, "environment")
        if self.vault_cluster:
            dns_label(self.vault_cluster, "cluster")

    @property
    def command(self) -> str:
        """The command that renders this tree; without the folder, which differs by machine."""
        return f"vaultprov render --env {self.env} --cluster {self.cluster} --layout {self.layout}"

    @property
    def shared_command(self) -> str:
        """The same for files that all clusters share: they must not differ by cluster."""
        return f"vaultprov render --env ENV --cluster CLUSTER --layout {self.layout}"
