"""What to do about a policy of ours, and why; and the policies themselves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.kube.objects import LABELS, Object
from vaultprov.netpol import Direction, Pod, selects

MANAGED_BY = "app.kubernetes.io/managed-by"
# After the operator (10), before the stores (30).
SYNC_WAVE = {"argocd.argoproj.io/sync-wave": "20"}


class Action(StrEnum):
    """What becomes of the policy."""

    NOTHING = "nothing"
    NETWORK_POLICY = "networkpolicy"
    CONFIG_ENTRY = "externalsecretsconfig"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and why, as a sentence.

    objects: to be applied server-side. obsolete: objects of ours that do harm and have to go.
    warnings: what the reader has to know, a sentence each.
    """

    action: Action
    why: str
    objects: tuple[Object, ...] = ()
    obsolete: tuple[Object, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods as a policy selects them. selector: the whole label selector of what makes them."""

    pod: Pod
    selector: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not any(self.selector.values()):
            raise ConfigError(
                f"the selector of the pods of {self.pod.namespace} is empty: it selects every pod"
            )
        if not selects(self.selector, self.pod.labels):
            raise ConfigError(
                f"the selector of the pods of {self.pod.namespace} does not select their own labels"
            )

    @classmethod
    def of_deployment(
        cls, body: Mapping[str, Any], namespace_labels: Mapping[str, str]
    ) -> Workload:
        """The pods of a live Deployment: labels and selector differ between installations."""
        template = body["spec"]["template"]
        pod = Pod(
            body["metadata"]["namespace"],
            (template.get("metadata") or {}).get("labels") or {},
            host_network=bool((template.get("spec") or {}).get("hostNetwork")),
            namespace_labels=namespace_labels,
        )
        return cls(pod, body["spec"]["selector"])


def network_policy(
    name: str,
    namespace: str,
    selector: Mapping[str, Any],
    rules: list[dict[str, Any]],
    direction: Direction = Direction.EGRESS,
) -> Object:
    """A NetworkPolicy of ours.

    Never with the label `part-of: external-secrets-operator`: by it and `managed-by` Red Hat's
    operator recognises, from 1.2 on, the policies that it deletes.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": LABELS,
            "annotations": SYNC_WAVE,
        },
        "spec": {
            "podSelector": dict(selector),
            "policyTypes": [direction.policy_type],
            direction.value: rules,
        },
    }


def bare(policy: Mapping[str, Any], namespace: str) -> Object:
    """Just enough of a NetworkPolicy to delete it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy["metadata"]["name"], "namespace": namespace},
    }
