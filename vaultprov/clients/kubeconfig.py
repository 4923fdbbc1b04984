"""From a kubeconfig (or the pod that we run in) to a client and what Vault needs to know."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kubernetes import config
from kubernetes.client import Configuration

from vaultprov.certificates import fingerprints
from vaultprov.clients.kube import KubeClient
from vaultprov.errors import ConfigError, Unreachable


@dataclass(frozen=True, slots=True)
class Cluster:
    """A client, and the CA (PEM) that verifies the API server."""

    client: KubeClient
    ca_pem: str


def connect(context: str | None, kubeconfig: str | None) -> Cluster:
    """The cluster of a context; without a kubeconfig the one that we run in.

    kubeconfig: a path, or several joined as in KUBECONFIG; None is the user's default file.

    Raises ConfigError for a missing or broken kubeconfig or an unknown context, Unreachable when
    the kubeconfig names no CA and the server cannot be asked for its chain.
    """
    configuration = Configuration()
    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig)
    except config.ConfigException as error:
        return _in_cluster(configuration, context, error)
    except Exception as error:  # the loader lets YAML and type errors through
        raise ConfigError(
            f"the kubeconfig cannot be read: {error}", hint="kubectl config view"
        ) from error
    names = [entry["name"] for entry in contexts]
    name = context or (current or {}).get("name")
    if name not in names:
        raise ConfigError(
            f"the kubeconfig has no context {name!r}; it has {', '.join(names) or 'none'}",
            hint="kubectl config get-contexts, then --context NAME",
        )
    try:
        config.load_kube_config(kubeconfig, name, configuration, persist_config=False)
    except Exception as error:  # exec plugins raise whatever they like
        raise ConfigError(
            f"the credentials of context {name} cannot be loaded: {error}",
            hint=f"kubectl --context {name} auth can-i --list",
        ) from error
    return Cluster(KubeClient(configuration, str(name)), _ca(configuration))


def _in_cluster(configuration: Configuration, context: str | None, cause: Exception) -> Cluster:
    if context is None:
        try:
            config.load_incluster_config(configuration)
        except config.ConfigException:
            pass
        else:
            return Cluster(KubeClient(configuration, "in-cluster"), _ca(configuration))
    raise ConfigError(
        f"there is no usable kubeconfig: {cause}",
        hint="oc login, or set KUBECONFIG; --only vault works without a cluster",
    ) from cause


def _ca(configuration: Configuration) -> str:
    if configuration.ssl_ca_cert:
        pem = Path(configuration.ssl_ca_cert).read_text(encoding="utf-8")
        fingerprints(pem)
        return pem
    return public_root(str(configuration.host))


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
