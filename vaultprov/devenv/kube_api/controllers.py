"""What the controller manager does: fills token Secrets, equips namespaces, cleans up.

It is a thread that follows the store as any watcher does, so clients see the same intermediate
states as on a real cluster: a token Secret is there before its token is.
"""

import base64
import contextlib
import threading

from vaultprov.devenv.kube_api.objects import Objects, Target, Writer
from vaultprov.devenv.kube_api.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from vaultprov.devenv.kube_api.status import ApiError, Object
from vaultprov.devenv.kube_api.store import Event
from vaultprov.devenv.kube_api.strategy import ACCOUNT_NAME, ACCOUNT_UID, TOKEN_SECRET
from vaultprov.devenv.kube_api.tokens import Tokens

_WRITER = Writer("kube-controller-manager")


class Controllers(threading.Thread):
    """Runs until the store is closed."""

    def __init__(self, objects: Objects, tokens: Tokens, ca_pem: str) -> None:
        super().__init__(name="kube-api-controllers", daemon=True)
        self._objects = objects
        self._store = objects.store
        self._tokens = tokens
        self._ca_pem = ca_pem

    def run(self) -> None:
        version = 0
        while not self._store.closed:
            for event in self._store.events_after(version):
                version = event.version
                # What the event is about may be gone or taken by now; then there is a later event.
                with contextlib.suppress(ApiError):
                    self._reconcile(event)

    def _reconcile(self, event: Event) -> None:
        item = event.after or event.before or {}
        metadata = item["metadata"]
        if event.collection == NAMESPACES.collection and event.before is None:
            self._equip(metadata["name"])
        elif event.collection == SERVICE_ACCOUNTS.collection and event.after is None:
            self._revoke(metadata["namespace"], metadata["name"])
        elif event.collection == SECRETS.collection and event.after:
            with self._store.lock:
                self._sync_secret(metadata["namespace"], metadata["name"])

    def _equip(self, namespace: str) -> None:
        self._create(SERVICE_ACCOUNTS, namespace, {"metadata": {"name": "default"}})
        root = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self._ca_pem}}
        self._create(CONFIG_MAPS, namespace, root)

    def _create(self, resource: Resource, namespace: str, item: Object) -> None:
        with contextlib.suppress(ApiError):
            self._objects.create(Target(resource, namespace), item, _WRITER)

    def _revoke(self, namespace: str, account: str) -> None:
        for secret in self._store.items(SECRETS.collection, namespace):
            if secret["metadata"].get("annotations", {}).get(ACCOUNT_NAME) == account:
                with self._store.lock:
                    self._sync_secret(namespace, secret["metadata"]["name"])

    def _sync_secret(self, namespace: str, name: str) -> None:
        """Bring one token Secret to what it must be: filled, or gone with its account."""
        target = Target(SECRETS, namespace, name)
        secret = self._objects.get(target)
        if secret["type"] != TOKEN_SECRET:
            return
        annotations = secret["metadata"]["annotations"]
        account = self._store.get(SERVICE_ACCOUNTS.collection, namespace, annotations[ACCOUNT_NAME])
        uid = account["metadata"]["uid"] if account else ""
        if annotations.get(ACCOUNT_UID, uid) != uid or not account:
            self._objects.delete(target, secret["metadata"]["uid"], _WRITER)
            return
        self._objects.update(target, lambda live: self._filled(live, uid), _WRITER)

    def _filled(self, secret: Object, uid: str) -> Object:
        metadata, data = secret["metadata"], dict(secret.get("data", {}))
        metadata["annotations"][ACCOUNT_UID] = uid
        namespace, account = metadata["namespace"], metadata["annotations"][ACCOUNT_NAME]
        data["ca.crt"] = _encoded(self._ca_pem)
        data["namespace"] = _encoded(namespace)
        if not data.get("token"):
            token = self._tokens.legacy(namespace, metadata["name"], account, uid)
            data["token"] = _encoded(token)
        return {**secret, "data": data}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
