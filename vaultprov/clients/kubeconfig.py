"""From a kubeconfig (or the pod that we run in) to a client and what Vault needs to know."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import config
from kubernetes.client import Configuration

from vaultprov.certificates import fingerprints
from vaultprov.clients.kube import KubeClient
from vaultprov.errors import ConfigError, Unreachable
from vaultprov.importing import Context
from vaultprov.redact import scrub


@dataclass(frozen=True, slots=True)
class Cluster:
    """A client, and how it came to be. inside: by the ServiceAccount of the pod that we run in."""

    client: KubeClient
    configuration: Configuration
    inside: bool = False

    def ca_pem(self) -> str:
        """The CA that verifies the API server. Raises ConfigError, or Unreachable without one."""
        file = self.configuration.ssl_ca_cert
        if not file:
            return public_root(str(self.configuration.host))
        pem = Path(file).read_text(encoding="utf-8")
        fingerprints(pem)
        return pem


def connect(context: str | None, kubeconfig: str | None) -> Cluster:
    """The cluster of a context; without any kubeconfig the one that we run in.

    kubeconfig: a path, or several joined as in KUBECONFIG; None is the user's default file.
    Raises ConfigError for a missing or broken kubeconfig or an unknown context.
    """
    configuration = Configuration()
    if kubeconfig and not any(Path(each).is_file() for each in kubeconfig.split(os.pathsep)):
        raise ConfigError(
            f"there is no usable kubeconfig: {kubeconfig} does not exist",
            hint="oc login, or set KUBECONFIG; --only vault works without a cluster",
        )
    try:
        name = context or _current(kubeconfig)
    except ConfigError:
        if kubeconfig is None and _load_inside(configuration):
            return Cluster(KubeClient(configuration, "in-cluster"), configuration, inside=True)
        raise
    try:
        config.load_kube_config(kubeconfig, name, configuration, persist_config=False)
    except Exception as error:
        raise _unusable(error, name, kubeconfig) from error
    return Cluster(KubeClient(configuration, name), configuration)


def contexts(kubeconfig: str | None, home: Path) -> dict[str, tuple[Context, ...]]:
    """The contexts by the URL of their API server. Broken or absent files have none.

    They are read as they are: to connect with each would run each one's credential plugin.
    kubeconfig: as in `connect`; home: where the default file is.
    """
    files = kubeconfig.split(os.pathsep) if kubeconfig else [str(home / ".kube" / "config")]
    clusters: dict[str, tuple[str, str]] = {}
    named: list[tuple[str, str]] = []
    for file in files:
        try:
            content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
            for each in content.get("clusters") or ():
                clusters.setdefault(each["name"], _server(each["cluster"], Path(file).parent))
            named += [(x["name"], x["context"]["cluster"]) for x in content.get("contexts") or ()]
        except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
            continue
    found: dict[str, tuple[Context, ...]] = {}
    for name, cluster in named:
        server, ca = clusters.get(cluster, ("", ""))
        found[server] = (*found.get(server, ()), Context(name, ca))
    return found


def _server(cluster: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """The API server's URL, and its CA as PEM."""
    data, file = cluster.get("certificate-authority-data"), cluster.get("certificate-authority")
    ca = base64.b64decode(data).decode() if data else ""
    if not data and file:
        ca = (folder / str(file)).read_text(encoding="utf-8")
    return str(cluster["server"]).rstrip("/"), ca


def _current(kubeconfig: str | None) -> str:
    try:
        _, current = config.list_kube_config_contexts(kubeconfig)
    except config.ConfigException as error:
        raise ConfigError(
            f"there is no usable kubeconfig: {error}",
            hint="oc login, or set KUBECONFIG; --only vault works without a cluster",
        ) from error
    except Exception as error:  # the loader lets YAML and type errors through
        raise ConfigError(
            f"the kubeconfig cannot be read: {error}", hint="kubectl config view"
        ) from error
    return str(current["name"])


def _load_inside(configuration: Configuration) -> bool:
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException:
        return False
    return True


def _unusable(error: Exception, name: str, kubeconfig: str | None) -> ConfigError:
    """Why a context cannot be used; exec plugins raise whatever they like."""
    try:
        known = [entry["name"] for entry in config.list_kube_config_contexts(kubeconfig)[0]]
    except Exception:  # noqa: BLE001 - only for a better message
        known = None
    if known is not None and name not in known:
        return ConfigError(
            f"the kubeconfig has no context {name!r}; it has {', '.join(known) or 'none'}",
            hint="kubectl config get-contexts, then --context NAME",
        )
    return ConfigError(
        f"context {name} cannot be used: {scrub(str(error))}",
        hint=f"kubectl --context {name} auth can-i --list",
    )


def public_root(server: str, timeout: float = 10.0) -> str:
    """The root certificate (PEM) that verifies a server with a public certificate.

    timeout: seconds. Vault must be sent a CA: OpenBao refuses to do without, and one root is less
    than all the roots of the machine. Raises Unreachable.
    """
    url = urlsplit(server)
    context = ssl.create_default_context()
    address = (url.hostname or "", url.port or 443)
    try:
        with (
            socket.create_connection(address, timeout) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname) as secured,
        ):
            root = _verified_chain(secured)[-1]
    except ssl.SSLError as error:
        raise Unreachable(
            f"the kubeconfig names no CA, and this machine's roots do not verify {server}: {error}",
            hint="add certificate-authority-data to the kubeconfig, or --kubernetes-ca-file",
        ) from error
    except OSError as error:
        raise Unreachable(
            f"{server} is unreachable: {error}", hint="kubectl cluster-info"
        ) from error
    return ssl.DER_cert_to_PEM_cert(root)


def _verified_chain(secured: ssl.SSLSocket) -> list[bytes]:
    """The chain in DER, leaf first. Public since Python 3.13; before, it lies one level below."""
    if hasattr(secured, "get_verified_chain"):
        return list(secured.get_verified_chain())
    chain = secured._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - Python < 3.13
    return [certificate.public_bytes(ssl._ssl.ENCODING_DER) for certificate in chain]  # type: ignore[attr-defined]  # noqa: SLF001
