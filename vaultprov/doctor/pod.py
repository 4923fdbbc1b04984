"""A short-lived pod beside the operand: the one way to see what its network sees.

It carries the operand's labels, so that the same policies select it, but not `pod-template-hash`:
with that the ReplicaSet would take it for its own. What it saw comes back as its termination
message, so that nobody has to read logs. It is removed on every way out.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from vaultprov.doctor.model import Missing, NotAsked, Vantage
from vaultprov.doctor.network import Url
from vaultprov.doctor.operand import Operand
from vaultprov.doctor.proxy import proxy_for
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged

_SECONDS = 60  # from its creation to its end; pulling the image is part of it
_SLICE = 2.0  # seconds between two looks at whether we were interrupted
_NAME = "vaultprov-probe-"
_ANNOTATION = "vaultprov/probe"
_HOPELESS = ("ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# Vault answers 200 in whatever state it is; who answers otherwise is not Vault.
_HEALTH = "v1/sys/health?standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200"
# POSIX shell, with whatever the image has: bash or nc for TCP, curl or wget for HTTP. That packets
# are dropped shows by the time that passed: nc ends alike for that and for a refusal.
_SCRIPT = """
host=$1 port=$2 url=$3 log=${4:-/dev/termination-log}
say() { printf '%s\\n' "$*" >>"$log"; }
if found=$(getent hosts "$host" 2>/dev/null || nslookup "$host" 2>/dev/null); then
  say dns ok "$(printf '%s' "$found" | tail -n 1)"
else
  say dns fail
fi
began=$(date +%s)
if command -v bash >/dev/null; then
  timeout 5 bash -c "exec 3<>/dev/tcp/$host/$port" 2>/dev/null
elif command -v nc >/dev/null; then
  nc -z -w 5 "$host" "$port" 2>/dev/null
else
  (exit 125)
fi
ended=$? took=$(($(date +%s) - began))
case $ended in
  0) say tcp ok ;;
  125) say tcp unknown the image has neither bash nor nc ;;
  *) if [ "$took" -ge 4 ]; then say tcp timeout; else say tcp refused; fi ;;
esac
who() { case $1 in *'"sealed"'*) echo vault ;; *) echo other ;; esac; }
if command -v curl >/dev/null; then
  told=$(curl -sk -m 10 -w ' %{http_code}' "$url")
  say http "${told##* }" "$(who "$told")"
elif command -v wget >/dev/null; then
  told=$(wget -S --no-check-certificate -T 10 -O - "$url" 2>&1)
  code=$(printf '%s' "$told" | awk '/HTTP\\// {print $2; exit}')
  say http "${code:-000}" "$(who "$told")"
else
  say http unknown the image has neither curl nor wget
fi
"""


def probed(world: World, url: Url) -> Mapping[str, str]:
    """What the pod saw: `dns`, `tcp`, `http` -> its words.

    Raises NotAsked, Missing, NotConverged (it did not end in time) or what the API server says.
    """
    if not world.case.probe:
        raise NotAsked("--probe")
    operand = world.operand()
    if operand is None:
        raise Missing(Vantage.OPERAND, "there is no operand to stand beside")
    return world.once(("probe", url), lambda: _run(world, operand, url))


def _run(world: World, operand: Operand, url: Url) -> Mapping[str, str]:
    body = pod_body(operand, url, world.case.probe_image)
    metadata = body["metadata"]
    try:
        world.live.create(body)
        ended = _ended(world, body)
    finally:
        # Also where the answer to the creation was lost.
        _remove(world, body)
    state = _state(ended)
    terminated = state.get("terminated") or {}
    lines = [line.partition(" ") for line in str(terminated.get("message") or "").splitlines()]
    told = {name: words for name, _, words in lines}
    if not told:
        raise NotConverged(
            f"pod {metadata['name']} ended without a word: {_reason(state)}",
            hint="give an image with a shell: --probe-image IMAGE",
        )
    return told


def _ended(world: World, body: Mapping[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + _SECONDS
    while not world.stopped.is_set():
        try:
            return world.live.wait(body, _is_over, _SLICE)
        except NotConverged:
            if time.monotonic() > deadline:
                raise NotConverged(
                    f"pod {body['metadata']['name']} did not end within {_SECONDS} s",
                    hint="its image may not be pullable: --probe-image IMAGE",
                ) from None
    raise NotConverged("interrupted")


def _is_over(live: Mapping[str, Any]) -> bool:
    phase = (live.get("status") or {}).get("phase")
    state = _state(live)
    over = "terminated" in state or phase in ("Succeeded", "Failed")
    return over or (state.get("waiting") or {}).get("reason") in _HOPELESS


def _reason(state: Mapping[str, Any]) -> str:
    why = (state.get("terminated") or state.get("waiting") or {}).get("reason")
    return str(why or "for no reason that the API tells")


def _state(live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of the one container."""
    statuses = (live.get("status") or {}).get("containerStatuses") or []
    return (statuses[0].get("state") or {}) if statuses else {}


def _remove(world: World, body: Mapping[str, Any]) -> None:
    for _ in range(3):
        with contextlib.suppress(Error):
            world.live.delete(body)
            return
        time.sleep(0.5)


def first_hop(operand: Operand, url: Url) -> Url:
    """Where the operand's connection goes: its proxy, if it has one for this, else the server."""
    return proxy_for(url, operand.environment) or url


def pod_body(operand: Operand, url: Url, image: str) -> dict[str, Any]:
    """The pod: the operand's labels, namespace and proxies, none of its rights."""
    where, hop = operand.template, first_hop(operand, url)
    proxies = {k: v for k, v in operand.environment.items() if k.lower() in _PROXIES and v}
    optional = {
        name: where[name]
        for name in ("dnsPolicy", "dnsConfig", "imagePullSecrets")
        if name in where
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": _NAME + secrets.token_hex(4),
            "namespace": operand.namespace,
            "labels": operand.labels,
            "annotations": {_ANNOTATION: "removed by vaultprov doctor when it is done"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            **optional,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image or str(operand.container.get("image")),
                    "command": ["sh", "-c", _SCRIPT, "probe"],
                    "args": [hop.host, str(hop.port), f"{url}/{_HEALTH}"],
                    "env": [{"name": k, "value": v} for k, v in sorted(proxies.items())],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "16Mi"},
                        "limits": {"cpu": "100m", "memory": "64Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
