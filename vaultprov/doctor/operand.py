"""The running External Secrets: what its live Deployment and pods say. Nothing is hard-coded.

Labels differ between the Helm chart and Red Hat's operator, so they are read off the Deployment;
`app: external-secrets` is on every component of Red Hat's and selects too much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaultprov.netpol import Pod

if TYPE_CHECKING:
    from vaultprov.doctor.world import World

_NAME = "app.kubernetes.io/name"
# The Helm chart's name, unless nameOverride changes it; Red Hat's operator uses the same.
_USUAL = f"{_NAME}=external-secrets"
_OTHERS = ("webhook", "cert-controller", "certcontroller", "bitwarden")


@dataclass(frozen=True, slots=True)
class Operand:
    """The controller's Deployment. version: of its image tag, empty when that is no version."""

    namespace: str
    name: str
    body: Mapping[str, Any]
    pods: tuple[Mapping[str, Any], ...]

    @property
    def template(self) -> Mapping[str, Any]:
        """The pod template's spec."""
        spec: Mapping[str, Any] = self.body["spec"]["template"].get("spec") or {}
        return spec

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its pods, without the one that makes them the ReplicaSet's."""
        metadata = self.body["spec"]["template"].get("metadata") or {}
        seen = self.pods[0]["metadata"].get("labels") if self.pods else None
        labels = seen or metadata.get("labels") or {}
        return {name: value for name, value in labels.items() if name != "pod-template-hash"}

    @property
    def selector(self) -> dict[str, Any]:
        """The label selector of exactly its pods."""
        return dict(self.body["spec"].get("selector") or {})

    @property
    def container(self) -> Mapping[str, Any]:
        """The controller's container."""
        containers = self.template.get("containers") or [{}]
        return next(
            (c for c in containers if "external-secrets" in str(c.get("name"))), containers[0]
        )

    @property
    def service_account(self) -> str:
        """The name of the ServiceAccount that it runs as."""
        return str(self.template.get("serviceAccountName") or "default")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The controller's command line."""
        words = [*(self.container.get("command") or ()), *(self.container.get("args") or ())]
        return tuple(map(str, words))

    @property
    def environment(self) -> dict[str, str]:
        """Its environment variables, as far as they are given by value."""
        given = self.container.get("env") or ()
        return {str(each["name"]): str(each.get("value") or "") for each in given}

    @property
    def version(self) -> tuple[int, ...]:
        """The version of External Secrets, as far as image or labels tell it; () when not."""
        labels = (self.body["metadata"].get("labels") or {}) | self.labels
        for text in (
            str(self.container.get("image") or ""),
            labels.get("app.kubernetes.io/version", ""),
        ):
            found = re.search(r"[:v](\d+)\.(\d+)(?:\.(\d+))?", text)
            if found:
                return tuple(int(part or 0) for part in found.groups())
        return ()

    @property
    def deployment(self) -> str:
        """As kubectl takes it."""
        return f"-n {self.namespace} deployment/{self.name}"

    def pod(self, namespace_labels: Mapping[str, str]) -> Pod:
        """Its pods, as NetworkPolicies see them."""
        return Pod(
            self.namespace,
            self.labels,
            host_network=bool(self.template.get("hostNetwork")),
            namespace_labels=namespace_labels,
        )


def find_operand(world: World) -> Operand | None:
    """The controller's Deployment; the one with the usual label, else by its image."""
    wanted = world.case.operand_namespace or None
    usual = world.items("apps/v1", "Deployment", wanted, _USUAL)
    found = [body for body in usual if _is_controller(body)]
    if not found:
        found = [b for b in world.items("apps/v1", "Deployment", wanted) if _is_controller(b)]
    if not found:
        return None
    body = found[0]
    namespace = body["metadata"]["namespace"]
    selector = (body["spec"].get("selector") or {}).get("matchLabels") or {}
    labels = ",".join(f"{name}={value}" for name, value in sorted(selector.items()))
    pods = world.items("v1", "Pod", namespace, labels) if labels else []
    return Operand(namespace, body["metadata"]["name"], body, tuple(pods))


def _is_controller(body: Mapping[str, Any]) -> bool:
    """The controller itself: not its webhook, not the operator that installs it."""
    spec = (body["spec"].get("template") or {}).get("spec") or {}
    for container in spec.get("containers") or ():
        image = str(container.get("image") or "").rpartition("@")[0] or str(container.get("image"))
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        if any(word in ("webhook", "certcontroller") for word in words):
            return False
        name = str(body["metadata"]["name"])
        image_name = image.rpartition("/")[2]
        if any(other in name for other in _OTHERS) or "operator" in image_name:
            return False
        if "external-secrets" in image_name or "external-secrets" in str(container.get("name")):
            return True
    return False
