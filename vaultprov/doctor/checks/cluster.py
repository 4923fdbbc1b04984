"""The cluster and the External Secrets that runs in it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from vaultprov.doctor.checks.remedies import manifest, patch
from vaultprov.doctor.model import Confidence, Finding, Fix, Missing, Vantage, fail, ok, warn
from vaultprov.doctor.operand import Operand
from vaultprov.doctor.stores import GROUP, Store
from vaultprov.doctor.world import World
from vaultprov.errors import Denied, Unreachable
from vaultprov.kube.egress import CONFIG
from vaultprov.redact import scrub

_PATIENCE = 120.0  # seconds after which a store without a status is one that nobody looks at
_SLOW = ("context deadline exceeded", "i/o timeout", "Client.Timeout")


def api_server(world: World) -> Iterable[Finding]:
    """VP-CLU-001."""
    try:
        world.get("v1", "Namespace", "kube-system")
    except Unreachable as error:
        yield fail(
            world.kube.context,
            error.message,
            expected="an answer of the API server",
            cause="the API server does not answer this machine",
            fix=Fix(
                "mend the way to it, or the kubeconfig",
                f"kubectl --context {shlex.quote(world.kube.context)} cluster-info",
            ),
            confidence=Confidence.MEDIUM,
        )
    except Denied as error:
        if "credentials" in error.message:
            raise
        yield ok(f"{world.kube.server} answers, with few rights for us")
    else:
        yield ok(f"{world.kube.server}, context {world.kube.context}")


def identity(world: World) -> Iterable[Finding]:
    """VP-CFG-001."""
    mount, onboarding = world.names.auth_mount, world.case.onboarding
    facts = world.marker(mount).facts
    recorded, environment = facts.get("cluster-uid"), facts.get("environment")
    found = world.get("v1", "Namespace", "kube-system")
    live = ((found or {}).get("metadata") or {}).get("uid")
    if environment and environment != onboarding.env:
        yield _misnamed(f"auth/{mount}", environment, facts.get("cluster", onboarding.cluster))
        return
    if live and not facts:
        for path, other in world.markers().items():
            if other.facts.get("cluster-uid") == live and "cluster" in other.facts:
                yield _misnamed(path, other.facts.get("environment", ""), other.facts["cluster"])
                return
    if not recorded or not live:
        return
    if recorded == live:
        yield ok(f"identity {live}")
        return
    yield fail(
        f"auth/{world.names.auth_mount}",
        f"context {world.kube.context} is the cluster with identity {live}",
        expected=f"identity {recorded}, for which the mount was made",
        cause="the kubeconfig's context is another cluster than the mount's",
        fix=Fix("look at the right cluster: give its --context", "kubectl config get-contexts"),
    )


def _misnamed(mount: str, env: str, cluster: str) -> Finding:
    return fail(
        mount,
        f"made for cluster {cluster} of environment {env}",
        expected="the names that the cluster was onboarded with",
        cause=f"the cluster of this context was onboarded as {cluster} of environment {env}",
        fix=Fix("ask by its right name", f"vaultprov doctor --env {env} --cluster {cluster}"),
    )


def installed(world: World) -> Iterable[Finding]:
    """VP-OP-001."""
    operand = world.operand()
    if operand is not None:
        version = ".".join(map(str, operand.version)) or "of unknown version"
        yield ok(f"External Secrets {version} in namespace {operand.namespace}")
        return
    configs = world.known_items(*CONFIG)
    if configs:
        yield fail(
            "ExternalSecretsConfig cluster",
            _conditions(configs[0]) or "there is no Deployment of External Secrets",
            expected="a Deployment external-secrets",
            cause="Red Hat's operator has its configuration and has not deployed the operand",
            fix=Fix("see what it waits for", "kubectl describe externalsecretsconfig cluster"),
        )
    elif configs is not None:
        body = {"apiVersion": CONFIG[0], "kind": CONFIG[1], "metadata": {"name": "cluster"}}
        yield fail(
            "ExternalSecretsConfig cluster",
            "absent",
            expected="the object that makes Red Hat's operator deploy the operand",
            cause="Red Hat's operator deploys nothing until ExternalSecretsConfig cluster exists",
            fix=Fix("create it", "kubectl apply -f -", manifest(body)),
        )
    else:
        world.missed("a Deployment of External Secrets")
        yield fail(
            "the cluster",
            "no Deployment of External Secrets",
            expected="a running External Secrets",
            cause="External Secrets is not installed",
            fix=Fix(
                "install it, with Helm or OperatorHub",
                "helm install external-secrets external-secrets/external-secrets "
                "-n external-secrets --create-namespace",
            ),
        )


def pods_ready(world: World) -> Iterable[Finding]:
    """VP-OP-006."""
    operand = _operand(world)
    ready = [pod for pod in operand.pods if _is_ready(pod)]
    if ready or (not operand.pods and world.is_offline):
        yield ok(f"{len(ready)} of {len(operand.pods)} ready")
        return
    waiting = [reason for pod in operand.pods for reason in _waiting(pod)]
    yield fail(
        f"Deployment {operand.namespace}/{operand.name}",
        f"none of {len(operand.pods)} pods is ready" + (f": {waiting[0]}" if waiting else ""),
        expected="a ready pod",
        cause="the controller does not run, so no store is looked at",
        fix=Fix("see why", f"kubectl describe {operand.deployment}"),
        evidence=tuple(waiting),
    )


def api_version(world: World) -> Iterable[Finding]:
    """VP-OP-004."""
    crd = world.get(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"clustersecretstores.{GROUP}",
    )
    if crd is None:
        if world.is_offline:
            yield from _old_files(world)
            return
        yield fail(
            f"CustomResourceDefinition clustersecretstores.{GROUP}",
            "absent",
            expected="the definitions of External Secrets",
            cause="the definitions (CRDs) of External Secrets are not installed",
            fix=Fix("install External Secrets with installCRDs=true"),
        )
        return
    served = [each["name"] for each in crd["spec"].get("versions") or () if each.get("served")]
    if "v1" in served:
        yield ok(f"{GROUP}/{', '.join(served)}")
        return
    yield fail(
        f"CustomResourceDefinition clustersecretstores.{GROUP}",
        f"serves {', '.join(served) or 'nothing'}",
        expected=f"{GROUP}/v1",
        cause="the cluster does not serve the API version that current stores are written in",
        fix=Fix("install the definitions that belong to the running External Secrets"),
    )


def _old_files(world: World) -> Iterable[Finding]:
    for store in world.all_stores():
        version = str(store.body.get("apiVersion"))
        if version != f"{GROUP}/v1":
            yield fail(
                str(store),
                version,
                expected=f"{GROUP}/v1",
                cause="v1beta1 is not served any more since External Secrets 0.17",
                fix=Fix(f"write apiVersion: {GROUP}/v1"),
            )


def webhook(world: World) -> Iterable[Finding]:
    """VP-OP-005."""
    for configuration in world.items(
        "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
    ):
        for hook in configuration.get("webhooks") or ():
            if not str(hook.get("name")).endswith(GROUP):
                continue
            trouble = _hook_trouble(world, hook.get("clientConfig") or {})
            subject = f"{configuration['metadata']['name']} {hook['name']}"
            if not trouble:
                yield ok("ready", subject)
                continue
            fatal = hook.get("failurePolicy") != "Ignore"
            yield fail(
                subject,
                trouble,
                expected="a ready endpoint and a CA",
                cause="every change of a store is refused while its webhook does not answer"
                if fatal
                else "the webhook does not answer and is passed over",
                fix=Fix("see why the webhook's pods are not ready", _hook_command(hook)),
            )


def _hook_trouble(world: World, client: Mapping[str, Any]) -> str:
    service = client.get("service")
    if not service:
        return ""
    if not client.get("caBundle"):
        return "its configuration has no caBundle"
    slices = world.items(
        "discovery.k8s.io/v1", "EndpointSlice", service["namespace"],
        f"kubernetes.io/service-name={service['name']}",
    ) or world.items(
        "discovery.k8s.io/v1beta1", "EndpointSlice", service["namespace"],
        f"kubernetes.io/service-name={service['name']}",
    )  # fmt: skip
    for each in slices:
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                return ""
    return f"Service {service['namespace']}/{service['name']} has no ready endpoint"


def _hook_command(hook: Mapping[str, Any]) -> str:
    service = (hook.get("clientConfig") or {}).get("service") or {}
    return f"kubectl -n {service.get('namespace')} get pods,endpointslices"


def reconciled(world: World) -> Iterable[Finding]:
    """VP-OP-002."""
    operand = _operand(world)
    flags = _flags(operand)
    for store in world.live_stores():
        mine = flags.get("controller-class", "default")
        if store.controller and store.controller != mine:
            yield fail(
                str(store),
                f"spec.controller is {store.controller}",
                expected=f"{mine}, the class of the operand",
                cause="the operand passes over stores of another controller class, without a word",
                fix=patch(store, {"spec": {"controller": mine}}, "give it the operand's class"),
            )
        elif store.namespace is None and flags.get("enable-cluster-store-reconciler") == "false":
            yield fail(
                str(store),
                "the operand runs with --enable-cluster-store-reconciler=false",
                expected="a reconciler for cluster stores",
                cause="operatingNamespace is set (or the Helm value processClusterStore is false), "
                "so no ClusterSecretStore is ever looked at",
                fix=Fix("unset it, or use a SecretStore in each namespace"),
            )
        elif store.ready is None and _age(store, world.case.now()) > _PATIENCE:
            yield fail(
                str(store),
                f"no status {_age(store, world.case.now()):.0f} s after it was made",
                expected="a Ready condition",
                cause="the operand does not look at the store",
                fix=Fix("read the operand's log", f"kubectl logs {operand.deployment}"),
                confidence=Confidence.MEDIUM,
            )
        else:
            yield ok("", str(store))


def held_up(world: World) -> Iterable[Finding]:
    """VP-OP-003."""
    operand = _operand(world)
    if int(_flags(operand).get("concurrent", "1") or 1) > 1:
        yield ok("it works on several stores at once")
        return
    mine = {(store.kind, store.namespace, store.name) for store in world.live_stores()}
    for store in world.all_stores():
        condition = store.ready
        if (store.kind, store.namespace, store.name) in mine or condition is None:
            continue
        told = world.events(store.body) if condition.get("status") == "False" else ()
        slow = next((text for text in told if any(word in text for word in _SLOW)), None)
        if slow:
            yield warn(
                str(store),
                "its Vault does not answer",
                expected="stores that answer or fail at once",
                cause="the operand has one worker, and this store holds it for about 60 s a time",
                fix=Fix("mend or remove that store first", f"kubectl describe {store.resource}"),
                evidence=(scrub(slow)[:200],),
            )
    yield ok()


def _operand(world: World) -> Operand:
    operand = world.operand()
    if operand is None:
        raise Missing(Vantage.CLUSTER, "External Secrets is not installed")
    return operand


def _flags(operand: Operand) -> dict[str, str]:
    """`--name=value` and `--name value`; a flag alone is true."""
    flags: dict[str, str] = {}
    words = list(operand.arguments)
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flags[name] = value if equals else ("true" if following.startswith("-") else following)
    return flags


def _age(store: Store, now: float) -> float:
    made = str(store.body["metadata"].get("creationTimestamp") or "")
    return now - datetime.fromisoformat(made).timestamp() if made else 0.0


def _is_ready(pod: Mapping[str, Any]) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False  # it still says Ready while it ends
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _waiting(pod: Mapping[str, Any]) -> list[str]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    reasons = [(each.get("state") or {}).get("waiting") or {} for each in statuses]
    return [
        f"{pod['metadata']['name']}: {each['reason']}" for each in reasons if each.get("reason")
    ]


def _conditions(body: Mapping[str, Any]) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return "; ".join(
        f"{c.get('type')}={c.get('status')} {c.get('message') or ''}".strip() for c in conditions
    )
