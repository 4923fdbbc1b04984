"""A stand-in for External Secrets' controller: what it does to its objects, without Go.

It reconciles stores of Vault (Kubernetes auth, JWT auth of ServiceAccounts, static tokens) and
ExternalSecrets that read KV secrets, and writes the conditions and Events of the real one;
tests/devenv/test_operand.py holds both to the same behaviour. Unlike the real one it tries again
each second, whatever failed.

Not done: other providers and auth methods, generators, templates, rewriting, tags in `find`,
decoding strategies, PushSecrets, finalizers, and writing a Secret again that somebody deleted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import urllib3

from vaultprov.devenv.cluster import Cluster, KubeRefusedError, collection_of, path_of
from vaultprov.devenv.crds import GROUP, install_minimal_crds
from vaultprov.devenv.operand.references import Home, is_referent
from vaultprov.devenv.operand.vault import Keys, NoSecretError, ProviderError, Vault, told

Object = dict[str, Any]

_VERSION = f"{GROUP}/v1"
_KINDS = ("ClusterSecretStore", "SecretStore", "ExternalSecret")
_SOURCES = dict(
    zip(_KINDS, ("cluster-secret-store", "secret-store", "external-secrets"), strict=True)
)
_GONE = str(NoSecretError())
_POLL = 0.2  # seconds between two looks at the cluster
_RETRY = 1.0
_STORE_INTERVAL = 300.0
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@contextmanager
def operand(
    cluster: Cluster,
    *,
    identity: Cluster | None = None,
    cluster_stores: bool = True,
    controller_class: str = "default",
    timeout: float = 60.0,
) -> Iterator[Operand]:
    """Run a controller until the end of the block.

    cluster: as an administrator; gets the CustomResourceDefinitions unless it has some.
    identity: as whom it works, such as `Installation.operand`; None: as the administrator.
    cluster_stores: False as with --enable-cluster-store-reconciler=false.
    timeout: seconds until a Vault that does not answer is given up.
    """
    install_minimal_crds(cluster)
    kinds = _KINDS if cluster_stores else _KINDS[1:]
    running = Operand(identity or cluster, kinds, controller_class, timeout)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="devenv-operand") as pool:
        ended = pool.submit(running.run)
        try:
            yield running
        finally:
            running.stopping.set()
            ended.result()  # or the bug that ended it


class Operand:
    """One worker that goes over all objects; `log` has errors as the real log words them."""

    def __init__(
        self, cluster: Cluster, kinds: tuple[str, ...], controller_class: str, timeout: float
    ) -> None:
        self.log: list[str] = []
        self.stopping = threading.Event()
        self._cluster = cluster
        self._kinds = kinds
        self._class = controller_class
        self._timeout = timeout
        self._seen: dict[str, tuple[str, float]] = {}
        self._counts: dict[str, int] = {}

    def run(self) -> None:
        """Reconcile until `stopping` is set."""
        while not self.stopping.wait(_POLL):
            # The API server may be away, or may not let us: then it is tried again.
            for kind in self._kinds:
                items: list[Object] = []
                with suppress(KubeRefusedError, urllib3.exceptions.HTTPError):
                    items = self._cluster.call("GET", collection_of(_VERSION, kind))["items"]
                for item in items:
                    with suppress(KubeRefusedError, urllib3.exceptions.HTTPError):
                        self._look_at({"spec": {}, **item, "kind": kind, "apiVersion": _VERSION})

    def _look_at(self, item: Object) -> None:
        metadata = item["metadata"]
        state = [item.get("spec"), metadata.get("labels"), metadata.get("annotations")]
        shown = json.dumps(state, sort_keys=True)
        before, due = self._seen.get(metadata["uid"], ("", 0.0))
        if (shown == before and time.monotonic() < due) or self.stopping.is_set():
            return
        is_store = item["kind"] != "ExternalSecret"
        if is_store and not self._is_ours(item):
            return
        error = self._reconcile_store(item) if is_store else self._reconcile_secret(item)
        wait = _RETRY if error else _STORE_INTERVAL if is_store else _interval(item["spec"])
        self._seen[metadata["uid"]] = shown, time.monotonic() + wait

    def _is_ours(self, store: Object) -> bool:
        vault = store["spec"].get("provider", {}).get("vault")
        return bool(vault) and store["spec"].get("controller", self._class) in ("", self._class)

    # --- stores -----------------------------------------------------------------------------------

    def _reconcile_store(self, store: Object) -> bool:
        """Returns whether it failed."""
        message, log = "unable to create client", "could not get provider client"
        try:
            vault = self._connect(store, store["metadata"].get("namespace", ""))
            try:
                message, log = "unable to validate store", "could not validate provider"
                if not (is_referent(store) and store["kind"] == "ClusterSecretStore"):
                    vault.check_token()
            finally:
                self._done(store, vault)
        except ProviderError as error:
            self.log.append(f"unable to validate store: {log}: {error}")
            self._set(store, "False", "InvalidProviderConfig", message)
            self._event(store, "Warning", "InvalidProviderConfig", str(error))
            return True
        valid = {"capabilities": "ReadWrite"}
        self._set(store, "True", "Valid", "store validated", valid)
        self._event(store, "Normal", "Valid", "store validated")
        return False

    def _connect(self, store: Object, namespace: str) -> Vault:
        """Logged in, except where whose ServiceAccount it would be is not known yet."""
        spec = store["spec"]["provider"]["vault"]
        home = Home(self._cluster, store["kind"] == "ClusterSecretStore", namespace)
        try:
            ca_pem = home.ca_of(spec)
            vault = Vault(spec.get("server", ""), ca_pem, spec.get("namespace", ""), self._timeout)
        except ssl.SSLError:
            why = "failed to parse certificates from CertPool"
            raise ProviderError(f"cannot set Vault CA certificate: {why}") from None
        auth = spec.get("auth")
        if auth is None or (home.is_cluster_wide and not namespace and is_referent(store)):
            return vault
        if token := auth.get("tokenSecretRef"):
            vault.token = home.secret(token)
        elif kubernetes := auth.get("kubernetes"):
            jwt = home.jwt(kubernetes)
            # Only this way of logging in is named in its errors (auth.go, auth_jwt.go).
            with told("unable to log in to auth method: unable to log in with Kubernetes auth: "):
                mount = kubernetes.get("mountPath", "kubernetes")
                vault.login(mount, kubernetes.get("role", ""), jwt)
        elif jwt_auth := auth.get("jwt"):
            jwt = home.requested(jwt_auth["kubernetesServiceAccountToken"])
            vault.login(jwt_auth.get("path", "jwt"), jwt_auth.get("role", ""), jwt)
        else:
            raise ProviderError("cannot initialize Vault client: no valid auth method specified")
        return vault

    def _done(self, store: Object, vault: Vault) -> None:
        """Tokens from a login are given back."""
        auth = store["spec"]["provider"]["vault"].get("auth") or {}
        if vault.token and not auth.get("tokenSecretRef"):
            with suppress(ProviderError):
                vault.revoke()
        vault.close()

    # --- ExternalSecrets --------------------------------------------------------------------------

    def _reconcile_secret(self, wanted: Object) -> bool:
        message = "could not get secret data from provider"
        try:
            values = self._values(wanted)
            message = "target is owned by another ExternalSecret"
            self._require_free(wanted)
            message = "could not update secret"
            self._write(wanted, values)
        except (ProviderError, KubeRefusedError) as error:
            target = wanted["spec"].get("target") or {}
            if str(error).endswith(_GONE) and target.get("deletionPolicy") == "Delete":
                self._delete(wanted)
                return False
            self.log.append(f"Reconciler error: {error}")
            self._set(wanted, "False", "SecretSyncedError", message)
            self._event(wanted, "Warning", "UpdateFailed", str(error))
            return True
        return False

    def _delete(self, wanted: Object) -> None:
        with suppress(KubeRefusedError):
            self._cluster.call("DELETE", _target(wanted))
        message = "secret deleted due to DeletionPolicy=Delete"
        self._set(wanted, "True", "SecretDeleted", message)

    def _require_free(self, wanted: Object) -> None:
        found = self._cluster.get(_target(wanted)) or {"metadata": {}}
        for owner in found["metadata"].get("ownerReferences") or ():
            if owner["kind"] == "ExternalSecret" and owner["uid"] != wanted["metadata"]["uid"]:
                name = found["metadata"]["name"]
                why = f"secret is owned by another ExternalSecret: {owner['name']}"
                raise ProviderError(f"unable to mutate secret {name}: {why}")

    def _write(self, wanted: Object, values: dict[str, str]) -> None:
        metadata = wanted["metadata"]
        name = _target(wanted).rpartition("/")[2]
        owner = {
            "apiVersion": _VERSION,
            "kind": "ExternalSecret",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {"reconcile.external-secrets.io/managed": "true"},
                "ownerReferences": [owner],
            },
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
        }
        existed = self._cluster.get(path_of(secret)) is not None
        self._cluster.apply(secret)
        synced = {"binding": {"name": name}, "refreshTime": _now()}
        self._set(wanted, "True", "SecretSynced", "secret synced", synced)
        if not existed:
            self._event(wanted, "Normal", "Created", "secret created")

    def _values(self, wanted: Object) -> dict[str, str]:
        spec = wanted["spec"]
        values: dict[str, str] = {}
        for number, source in enumerate(spec.get("dataFrom") or ()):
            how = "find" if "find" in source else "extract"
            with told(f"error processing spec.dataFrom[{number}].{how}, err: "):
                if how == "find":
                    with self._keys(wanted, source) as keys, told("error getting all secrets: "):
                        found = keys.find(source["find"])
                else:
                    with self._keys(wanted, source) as keys:
                        found = keys.all_values(source["extract"])
            values |= {re.sub(r"[^-\w.]", "_", name): value for name, value in found.items()}
        for number, source in enumerate(spec.get("data") or ()):
            remote = source["remoteRef"]
            with (
                told(f"error processing spec.data[{number}] (key: {remote['key']}), err: "),
                self._keys(wanted, source) as keys,
            ):
                values[source["secretKey"]] = keys.value(remote)
        return values

    @contextmanager
    def _keys(self, wanted: Object, source: Object) -> Iterator[Keys]:
        """What the store that a part of an ExternalSecret names lets it read."""
        own = wanted["spec"].get("secretStoreRef") or {}
        reference = (source.get("sourceRef") or {}).get("storeRef") or own
        namespace = wanted["metadata"]["namespace"]
        store = self._usable_store(reference, namespace)
        vault = self._connect(store, namespace)
        spec = store["spec"]["provider"]["vault"]
        try:
            yield Keys(vault, spec.get("path"), spec.get("version", "v2"))
        finally:
            self._done(store, vault)

    def _usable_store(self, reference: Object, namespace: str) -> Object:
        kind, name = reference.get("kind", "SecretStore"), reference.get("name", "")
        home = None if kind == "ClusterSecretStore" else namespace
        store = self._cluster.get(f"{collection_of(_VERSION, kind, home)}/{name}")
        if store is None:
            why = f'{kind}.{GROUP} "{name}" not found'
            raise ProviderError(f'could not get {kind} "{name}", {why}')
        if not self._is_allowed(store, namespace):
            raise ProviderError(
                f'using cluster store "{name}" is not allowed from namespace "{namespace}": denied'
                " by spec.condition"
            )
        if (_ready(store) or {}).get("status") != "True":
            raise ProviderError(f'{kind} "{name}" is not ready')
        return {**store, "kind": kind}

    def _is_allowed(self, store: Object, name: str) -> bool:
        conditions = store["spec"].get("conditions") or ()
        namespace = (self._cluster.get(f"/api/v1/namespaces/{name}") or {}) if conditions else {}
        labels = namespace.get("metadata", {}).get("labels") or {}
        return not conditions or any(_admits(each, name, labels) for each in conditions)

    # --- what is written --------------------------------------------------------------------------

    def _set(
        self, item: Object, status: str, reason: str, message: str, more: Object | None = None
    ) -> None:
        """The Ready condition, and more of the status; not if that changes nothing."""
        new: Object = {"type": "Ready", "status": status, "reason": reason, "message": message}
        old = _ready(item)
        if old and more is None and {**old, **new} == old:
            return
        since = old["lastTransitionTime"] if old and old["status"] == status else _now()
        patch = {"conditions": [{**new, "lastTransitionTime": since}], **(more or {})}
        self._cluster.merge(f"{path_of(item)}/status", {"status": patch})

    def _event(self, item: Object, kind: str, reason: str, message: str) -> None:
        """An Event; the same one again is counted."""
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "default")
        digest = hashlib.sha256(f"{metadata['uid']} {reason} {message}".encode()).hexdigest()[:16]
        name, now = f"{metadata['name']}.{digest}", _now()
        path = collection_of("v1", "Event", namespace)
        self._counts[name] = self._counts.get(name, 0) + 1
        source = _SOURCES[item["kind"]]
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "type": kind,
            "reason": reason,
            "message": message,
            "involvedObject": {
                "apiVersion": _VERSION,
                "kind": item["kind"],
                **{k: metadata[k] for k in ("name", "namespace", "uid") if k in metadata},
            },
            "source": {"component": source},
            "reportingComponent": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": self._counts[name],
        }
        if self._counts[name] > 1:
            again = {"count": self._counts[name], "lastTimestamp": now}
            with suppress(KubeRefusedError):
                self._cluster.merge(f"{path}/{name}", again)
                return
        self._cluster.call("POST", path, event)


def _target(wanted: Object) -> str:
    """The path of the Secret that an ExternalSecret fills."""
    metadata = wanted["metadata"]
    name = (wanted["spec"].get("target") or {}).get("name") or metadata["name"]
    return f"/api/v1/namespaces/{metadata['namespace']}/secrets/{name}"


def _admits(condition: Object, namespace: str, labels: Object) -> bool:
    """Whether a condition of a ClusterSecretStore lets a namespace use it."""
    if namespace in (condition.get("namespaces") or ()):
        return True
    if any(re.search(regex, namespace) for regex in condition.get("namespaceRegexes") or ()):
        return True
    selector = condition.get("namespaceSelector")
    return selector is not None and (selector.get("matchLabels") or {}).items() <= labels.items()


def _ready(item: Object) -> Object | None:
    conditions: list[Object] = (item.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "Ready"), None)


def _interval(spec: Object) -> float:
    """Seconds until an ExternalSecret is refreshed: an hour unless it says so; "0" is never."""
    given = re.findall(r"([\d.]+)(ms|h|m|s)", str(spec.get("refreshInterval", "1h")))
    return sum(float(number) * _UNITS[unit] for number, unit in given) or float("inf")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
