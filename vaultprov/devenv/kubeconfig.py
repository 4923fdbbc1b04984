"""Kubeconfig files for the development clusters."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca_pem: str | None,
    token: str,
    context: str = "smaug",
    namespace: str | None = None,
    merge: bool = False,
) -> Path:
    """Write a kubeconfig, readable by its owner only, and return `path`.

    server: the API's URL. ca_pem: its CA; None trusts the system's. token: a bearer token.
    context: also names the cluster and the user.
    namespace: the default namespace of the context.
    merge: keep the contexts that the file has, and its current one; without, they are replaced.
    """
    cluster = {"server": server}
    if ca_pem is not None:
        cluster["certificate-authority-data"] = base64.b64encode(ca_pem.encode()).decode()
    pointers = {"cluster": context, "user": context}
    if namespace is not None:
        pointers["namespace"] = namespace
    old = (yaml.safe_load(path.read_text("utf-8")) or {}) if merge and path.exists() else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        **old,
        "clusters": _with(old.get("clusters"), {"name": context, "cluster": cluster}),
        "users": _with(old.get("users"), {"name": context, "user": {"token": token}}),
        "contexts": _with(old.get("contexts"), {"name": context, "context": pointers}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that a reader never sees half a file; temporary files have mode 0600.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as new:
        yaml.safe_dump(config, new, sort_keys=False)
    return Path(new.name).replace(path)


def _with(entries: list[dict[str, Any]] | None, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries with this one in place of its namesake."""
    return [other for other in entries or [] if other["name"] != entry["name"]] + [entry]
