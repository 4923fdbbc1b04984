"""As much of kubectl as fixes use, for machines without it: apply -f -, patch, delete."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from vaultprov.clients.kubeconfig import connect
from vaultprov.devenv.cluster import Cluster, collection_of

_KINDS = {
    "clustersecretstore": ("external-secrets.io/v1", "ClusterSecretStore"),
    "secretstore": ("external-secrets.io/v1", "SecretStore"),
    "externalsecret": ("external-secrets.io/v1", "ExternalSecret"),
    "networkpolicy": ("networking.k8s.io/v1", "NetworkPolicy"),
    "serviceaccount": ("v1", "ServiceAccount"),
    "deployment": ("apps/v1", "Deployment"),
    "secret": ("v1", "Secret"),
}


def main(words: list[str]) -> int:
    client = connect(None, os.environ["KUBECONFIG"])
    kubeconfig = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    token = kubeconfig["users"][0]["user"]["token"]
    cluster = Cluster(client.client.server, client.ca_pem(), token)
    namespace = None
    if words[0] == "-n":
        namespace, words = words[1], words[2:]
    verb, words = words[0], words[1:]
    if words and words[0] == "-n":
        namespace, words = words[1], words[2:]
    if verb == "apply":
        for body in yaml.safe_load_all(sys.stdin.read()):
            cluster.apply(body)
        return 0
    kind, _, name = words[0].partition("/")
    rest = words[1:]
    if not name:
        name, rest = rest[0], rest[1:]
    version, kind = _KINDS[kind]
    path = f"{collection_of(version, kind, namespace)}/{name}"
    if verb == "patch":
        change: Any = json.loads(rest[rest.index("-p") + 1])
        if "json" in rest:
            change = _as_merge(cluster.get(path) or {}, change)
        cluster.merge(path, change)
    elif verb == "delete":
        cluster.call("DELETE", path)
    elif verb == "get":
        print(json.dumps(cluster.get(path)))
    else:
        return 1
    return 0


def _as_merge(body: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """What `replace` operations of a JSON patch come to."""
    for operation in operations:
        *parents, last = operation["path"].strip("/").split("/")
        target: Any = body
        for part in parents:
            target = target[int(part) if isinstance(target, list) else part]
        target[last] = operation["value"]
    return {"spec": body["spec"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
