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
from vaultprov.doctor.world import World
from vaultprov.errors import Error, NotConverged

_SECONDS = 60  # from its creation to its end; pulling the image is part of it
_SLICE = 2.0  # seconds between two looks at whether we were interrupted
_NAME = "vaultprov-probe-"
_ANNOTATION = "vaultprov/probe"
# POSIX shell, with whatever the image has: bash or nc for TCP, curl or wget for HTTP.
_SCRIPT = """
host=$1 port=$2 url=$3 log=${4:-/dev/termination-log}
say() { printf '%s\\n' "$*" >>"$log"; }
found=$(getent hosts "$host" 2>/dev/null || nslookup "$host" 2>/dev/null)
if [ -n "$found" ]; then say dns ok "$(printf '%s' "$found" | head -n 1)"; else say dns fail; fi
if command -v bash >/dev/null; then
  timeout 5 bash -c "exec 3<>/dev/tcp/$host/$port" 2>/dev/null
elif command -v nc >/dev/null; then
  nc -z -w 5 "$host" "$port" 2>/dev/null
else
  (exit 125)
fi
case $? in
  0) say tcp ok ;;
  124) say tcp timeout ;;
  125) say tcp unknown the image has neither bash nor nc ;;
  *) say tcp refused ;;
esac
if command -v curl >/dev/null; then
  code=$(curl -sk -m 10 -o /dev/null -w '%{http_code}' "$url")
  say http "${code:-000}"
elif command -v wget >/dev/null; then
  code=$(wget -S --no-check-certificate -T 10 -O /dev/null "$url" 2>&1 |
    awk '/HTTP\\// {print $2; exit}')
  say http "${code:-000}"
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
    terminated = _state(ended).get("terminated") or {}
    lines = [line.partition(" ") for line in str(terminated.get("message") or "").splitlines()]
    told = {name: words for name, _, words in lines}
    if not told:
        raise NotConverged(
            f"pod {metadata['name']} ended without a word: {terminated.get('reason', 'unknown')}",
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
    return "terminated" in _state(live) or phase in ("Succeeded", "Failed")


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


def pod_body(operand: Operand, url: Url, image: str) -> dict[str, Any]:
    """The pod: the operand's labels and namespace, none of its rights."""
    where = operand.template
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
                    "args": [url.host, str(url.port), f"{url}/v1/sys/health?standbyok=true"],
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
