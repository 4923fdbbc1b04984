"""The auth mount of one cluster, `{cluster}-k8s` or `{cluster}-jwt`, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from vaultprov.names import joined
from vaultprov.resource import Fields, Foreign, Io, Key, Ref, Right, State, VaultRight
from vaultprov.vault.marker import Marker, find_mount, mark, mark_rights, marker_of


@dataclass(frozen=True, slots=True)
class AuthMount:
    """An auth mount of type kubernetes (or jwt) that carries our marker.

    cluster_uid: identity of the cluster (uid of its namespace kube-system), a Ref to it, or None
    when this run cannot know it (then what the marker says is left alone).
    """

    mount: str
    env: str
    cluster: str
    cluster_uid: str | Ref | None
    method: str = "kubernetes"
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def key(self) -> Key:
        return Key("vault/auth", self.mount)

    def wanted(self) -> State:
        fields = {"type": self.method, "environment": self.env, "cluster": self.cluster}
        if self.cluster_uid is None:
            return State(fields)
        return State({**fields, "cluster_uid": self.cluster_uid})

    def read(self, io: Io) -> State | None:
        entry = find_mount(io, self.mount)
        if entry is None:
            return None
        marker = marker_of(entry)
        fields = {
            "type": entry.get("type"),
            "environment": marker.facts.get("environment"),
            "cluster": marker.facts.get("cluster"),
            "cluster_uid": marker.facts.get("cluster-uid"),
        }
        attrs = {"accessor": entry.get("accessor"), "marker": marker.facts}
        foreign = None if marker.ours else Foreign("exists without vaultprov's marker")
        return State(fields, attrs, foreign, self._guards(fields))

    def _guards(self, fields: Fields) -> dict[str, Foreign]:
        """Fields whose change means that this is somebody else's mount."""
        setting = "names.jwt_auth_mount" if self.method == "jwt" else "names.auth_mount"
        guards = {
            "type": Foreign(
                f"is an auth mount of type {fields['type']}",
                "",
                f"choose another {setting}, or `vault auth disable {self.mount}`",
            )
        }
        if fields["environment"]:
            guards["environment"] = Foreign(
                f"is of environment {fields['environment']}",
                hint="a cluster belongs to one environment; to move it, add --adopt",
            )
        if fields["cluster_uid"]:
            # Somebody forgot to switch contexts, or the cluster was rebuilt: only a person knows.
            guards["cluster"] = guards["cluster_uid"] = Foreign(
                f"belongs to cluster {fields['cluster']} with identity {fields['cluster_uid']}",
                "--replace-cluster",
                "check the kubeconfig context; if this cluster takes the other's place, "
                "add --replace-cluster",
            )
        return guards

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        facts = {
            "environment": target["environment"],
            "cluster": target["cluster"],
            "cluster_uid": target.get("cluster_uid")
            or (found.fields["cluster_uid"] if found else None),
        }
        if found is None:
            io.vault.write(
                joined("sys/auth", self.mount),
                {"type": self.method, "description": str(Marker().having(**facts))},
            )
        else:
            mark(io, self.mount, **facts)

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(joined("sys/auth", self.mount))

    def rights(self, action: str) -> tuple[Right, ...]:
        path = joined("sys/auth", self.mount)
        return {
            "read": (VaultRight("sys/auth", ("read",)),),
            "create": (VaultRight(path, ("write", "sudo")),),
            "delete": (VaultRight(path, ("delete", "sudo")),),
        }.get(action, mark_rights(self.mount))
