"""An installation of External Secrets as its Helm chart leaves it in a cluster, without what runs.

Development clusters run no pods, so the pod's status is written here: it says that a controller
runs. What reconciles is `vaultprov.devenv.operand` or `vaultprov.devenv.external_secrets`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vaultprov.devenv.cluster import Cluster, KubeRefusedError
from vaultprov.devenv.crds import GROUP, KINDS

NAME = "external-secrets"
WEBHOOK = f"{NAME}-webhook"

_HASH = "6d4cf56db6"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """What is in the cluster. `operand`: the cluster as the controller's ServiceAccount sees it."""

    namespace: str
    deployment: str
    pod: str
    service_account: str
    operand: Cluster


def install(
    cluster: Cluster,
    *,
    namespace: str = NAME,
    version: str = "v2.9.0",
    args: Sequence[str] = ("--concurrent=1", "--loglevel=info"),
    token_requests: bool = True,
    webhook_ready: bool = True,
    webhook_policy: str = "",
) -> Installation:
    """Install, or bring an installation to this state.

    cluster: as an administrator.
    args: of the controller, as its Deployment shows them.
    token_requests: whether it may request tokens of every ServiceAccount.
    webhook_ready: whether the webhook's Service has a ready endpoint.
    webhook_policy: "Fail" or "Ignore" also registers the webhook. Nothing answers there, so a real
    API server then refuses every change of a store, or makes it wait for a second.
    """
    cluster.apply(_object("v1", "Namespace", namespace, None))
    cluster.apply(_object("v1", "ServiceAccount", NAME, namespace, labels=_labels(version)))
    for manifest in _rights(namespace, version, token_requests=token_requests):
        cluster.apply(manifest)
    pod = _workload(cluster, namespace, version, list(args))
    for manifest in _webhook(namespace, version, ready=webhook_ready):
        _apply_newest(cluster, manifest)
    if webhook_policy:
        cluster.apply(_webhook_configuration(cluster, namespace, version, webhook_policy))
    token = cluster.request_token(namespace, NAME)
    return Installation(namespace, NAME, pod, NAME, cluster.as_user(token))


# --- the parts ------------------------------------------------------------------------------------


def _object(
    version: str, kind: str, name: str, namespace: str | None, **metadata: object
) -> Object:
    known: Object = {"name": name}
    if namespace:
        known["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": known | metadata}


def _selector(name: str = NAME) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": NAME}


def _labels(version: str, name: str = NAME) -> dict[str, str]:
    return {
        **_selector(name),
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": f"{NAME}-{version.removeprefix('v')}",
    }


def _rights(namespace: str, version: str, *, token_requests: bool) -> list[Object]:
    rbac = "rbac.authorization.k8s.io"
    read, write = ["get", "list", "watch"], ["create", "update", "patch", "delete"]
    rules = [
        {"apiGroups": [GROUP], "resources": ["*"], "verbs": [*read, "update", "patch"]},
        {"apiGroups": [f"generators.{GROUP}"], "resources": ["*"], "verbs": [*read, *write]},
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts", "namespaces", "configmaps"],
            "verbs": read,
        },
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [*read, *write]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    if token_requests:
        created = {"resources": ["serviceaccounts/token"], "verbs": ["create"]}
        rules.append({"apiGroups": [""], **created})
    name = f"{NAME}-controller"
    labels = _labels(version)
    role = _object(f"{rbac}/v1", "ClusterRole", name, None, labels=labels)
    binding = _object(f"{rbac}/v1", "ClusterRoleBinding", name, None, labels=labels)
    return [
        {**role, "rules": rules},
        {
            **binding,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        },
    ]


def _workload(cluster: Cluster, namespace: str, version: str, args: list[str]) -> str:
    """Deployment, ReplicaSet and pod; returns the pod's name."""
    labels = _labels(version)
    container = {"name": NAME, "image": f"{NAME}/{NAME}:{version}", "args": args}
    spec = {"serviceAccountName": NAME, "containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    hashed = {"pod-template-hash": _HASH}
    counts = {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    deployment = cluster.apply(
        {
            **_object("apps/v1", "Deployment", NAME, namespace, labels=labels),
            "spec": {"replicas": 1, "selector": {"matchLabels": _selector()}, "template": template},
            "status": {
                **counts,
                "updatedReplicas": 1,
                "conditions": [
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
                ],
            },
        }
    )
    replicas = cluster.apply(
        {
            **_object(
                *("apps/v1", "ReplicaSet", f"{NAME}-{_HASH}", namespace),
                labels=labels | hashed,
                ownerReferences=[_owner(deployment)],
            ),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": _selector() | hashed},
                "template": {"metadata": {"labels": labels | hashed}, "spec": spec},
            },
            "status": counts,
        }
    )
    name = f"{NAME}-{_HASH}-x7k2p"
    cluster.apply(
        {
            **_object(
                *("v1", "Pod", name, namespace),
                labels=labels | hashed,
                ownerReferences=[_owner(replicas)],
            ),
            "spec": {**spec, "nodeName": "node-1"},
            "status": {
                "phase": "Running",
                "podIP": "10.1.0.10",
                "conditions": [
                    {"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")
                ],
                "containerStatuses": [
                    {
                        "name": NAME,
                        "image": container["image"],
                        "imageID": "",
                        "ready": True,
                        "restartCount": 0,
                        "started": True,
                        "state": {"running": {}},
                    }
                ],
            },
        }
    )
    return name


def _owner(item: Object) -> Object:
    metadata = item["metadata"]
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _webhook(namespace: str, version: str, *, ready: bool) -> list[Object]:
    labels = _labels(version, WEBHOOK) | {f"{GROUP}/component": "webhook"}
    port = {"name": "webhook", "port": 443, "targetPort": 10250, "protocol": "TCP"}
    serving = {"name": "webhook", "port": 10250, "protocol": "TCP"}
    address = "10.1.0.11"
    which = "addresses" if ready else "notReadyAddresses"
    owned = {"kubernetes.io/service-name": WEBHOOK}
    return [
        {
            **_object("v1", "Service", WEBHOOK, namespace, labels=labels),
            "spec": {"ports": [port], "selector": _selector(WEBHOOK)},
        },
        {
            **_object("v1", "Endpoints", WEBHOOK, namespace, labels=labels),
            "subsets": [{which: [{"ip": address}], "ports": [serving]}],
        },
        {
            **_object(
                "discovery.k8s.io/v1", "EndpointSlice", f"{WEBHOOK}-1", namespace, labels=owned
            ),
            "addressType": "IPv4",
            "ports": [serving],
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}],
        },
    ]


def _apply_newest(cluster: Cluster, manifest: Object) -> None:
    """Apply; an EndpointSlice in the version before v1 where the API is as old as that."""
    try:
        cluster.apply(manifest)
    except KubeRefusedError as refused:
        if refused.status != 404 or manifest["kind"] != "EndpointSlice":
            raise
        cluster.apply({**manifest, "apiVersion": "discovery.k8s.io/v1beta1"})


def _webhook_configuration(cluster: Cluster, namespace: str, version: str, policy: str) -> Object:
    # Any CA will do: what matters is that there is one.
    ca_bundle = base64.b64encode(cluster.ca_pem.encode()).decode()
    service = {"namespace": namespace, "name": WEBHOOK, "path": "/validate"}
    hooks = [
        {
            "name": f"validate.{kind.lower()}.{GROUP}",
            "rules": [
                {
                    "apiGroups": [GROUP],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": [KINDS[kind]],
                    "scope": "Cluster" if kind.startswith("Cluster") else "Namespaced",
                }
            ],
            "clientConfig": {"service": service, "caBundle": ca_bundle},
            "failurePolicy": policy,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
        }
        for kind in ("SecretStore", "ClusterSecretStore")
    ]
    labels = _labels(version, WEBHOOK)
    configuration = _object(
        *("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        *("secretstore-validate", None),
        labels=labels,
    )
    return {**configuration, "webhooks": hooks}
