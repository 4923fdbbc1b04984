"""The world as the checks see it: what may be asked of Vault, the network and the cluster."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vaultprov.doctor.external_secrets import stores_named
from vaultprov.doctor.facts import Facts
from vaultprov.doctor.model import Missing
from vaultprov.doctor.network import Attempt, Reached, Url, in_cluster
from vaultprov.doctor.operand import Operand, find_operand
from vaultprov.doctor.stores import GROUP, KINDS, Reference, Store, store_of
from vaultprov.errors import ConfigError, Denied, Error
from vaultprov.kube.destinations import NAMESPACE_LABEL
from vaultprov.model import ReviewerMode
from vaultprov.names import joined
from vaultprov.resource import Fields
from vaultprov.vault.hcl import meaning
from vaultprov.vault.marker import Marker, marker_of

TOKEN_SECONDS = 600  # what External Secrets asks for


class World(Facts):
    """Everything that checks may look at. Threads share it."""

    # Vault.

    def read(self, path: str) -> Mapping[str, Any] | None:
        """GET of Vault's API; None when absent."""
        return self.once(
            ("vault", path), lambda: self._asked("vault", lambda: self.vault.read(path))
        )

    def auth_mount(self, mount: str) -> Mapping[str, Any] | None:
        """The entry of an auth mount in the listing; None when there is none.

        Who may not list them all still sees those below which the token may do something; that
        another one is not among those says nothing, so then Denied is raised.
        """
        name = mount.strip("/") + "/"
        try:
            entry = (self.read("sys/auth") or {}).get(name)
        except Denied:
            own = (self.read("sys/internal/ui/mounts") or {}).get("auth") or {}
            if name not in own:
                raise
            entry = own[name]
        return entry if isinstance(entry, Mapping) else None

    def marker(self, mount: str) -> Marker:
        """Whose the mount is."""
        return marker_of(self.auth_mount(mount) or {})

    def markers(self) -> dict[str, Marker]:
        """Whose each auth mount is, by `auth/MOUNT`."""
        listed = self.read("sys/auth") or {}
        entries = {path: each for path, each in listed.items() if isinstance(each, Mapping)}
        return {f"auth/{path.strip('/')}": marker_of(each) for path, each in entries.items()}

    def config(self, mount: str) -> Mapping[str, Any] | None:
        """The auth config; None when it was never written."""
        return self.read(joined("auth", mount, "config"))

    def role(self, mount: str, role: str) -> Mapping[str, Any] | None:
        """A role of an auth mount."""
        return self.read(joined("auth", mount, "role", role))

    def policy(self, name: str) -> Mapping[str, str] | None:
        """What a policy means; None when there is none."""
        found = self.read(joined("sys/policies/acl", name.lower()))
        return None if found is None else meaning(str(found.get("policy") or ""))

    def health(self, url: Url, address: str) -> Attempt:
        """What a node says of itself; no token goes along."""
        return self._spoken("health", url, address)

    def leader(self, url: Url, address: str) -> Attempt:
        """Who leads, as a node says it without a token."""
        return self._spoken("leader", url, address)

    def _spoken(self, what: str, url: Url, address: str) -> Attempt:
        def ask() -> Attempt:
            return self.network.get(url, address, f"/v1/sys/{what}")

        return self.once((what, url, address), lambda: self._unless_silent(address, url.port, ask))

    def _unless_silent(self, address: str, port: int, ask: Callable[[], Attempt]) -> Attempt:
        """`ask()`, but of an address that lets a connection run into its time-out only once."""
        tried = self.connect(address, port)
        return tried if tried.reached is Reached.TIMEOUT else ask()

    # The network as this machine sees it.

    def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a name; empty when there are none."""
        return self.once(("dns", host), lambda: self.network.resolve(host))

    def connect(self, address: str, port: int) -> Attempt:
        """A TCP connection."""
        return self.once(("tcp", address, port), lambda: self.network.connect(address, port))

    def connects(self, addresses: Sequence[str], port: int) -> dict[str, Attempt]:
        """The same to several addresses at once."""
        with ThreadPoolExecutor(max(1, len(addresses))) as pool:
            tried = pool.map(lambda address: self.connect(address, port), addresses)
            return dict(zip(addresses, tried, strict=True))

    def handshake(self, url: Url, address: str, ca_pem: str | None) -> Attempt:
        """TLS with exactly these CAs."""

        def ask() -> Attempt:
            return self.network.handshake(url, address, ca_pem)

        key = ("tls", url, address, ca_pem)
        return self.once(key, lambda: self._unless_silent(address, url.port, ask))

    # The cluster.

    def get(
        self, version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """One object; None when absent."""
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        manifest = {"apiVersion": version, "kind": kind, "metadata": metadata}
        key = ("get", version, kind, namespace, name)
        return self.once(key, lambda: self._asked("cluster", lambda: self.kube.get(manifest)))

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind; none when the API does not know the kind."""
        return self.known_items(version, kind, namespace, labels) or []

    def known_items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        """The same; None when the API does not know the kind."""
        return self.once(
            ("items", version, kind, namespace, labels),
            lambda: self._asked(
                "cluster", lambda: self.kube.items(version, kind, namespace, labels)
            ),
        )

    def ask(self, review: Fields) -> dict[str, Any]:
        """A review of the API server (it stores nothing)."""
        return self.once(("ask", _frozen(review)), lambda: self.live.create(review))

    def account(self, account: Reference) -> dict[str, Any] | None:
        """A ServiceAccount; None when absent."""
        return self.get("v1", "ServiceAccount", account.name, account.namespace)

    def token(self, account: Reference, audiences: tuple[str, ...]) -> Any:
        """A short-lived token as External Secrets asks for it (a GrantedToken)."""
        return self.once(
            ("token", account, audiences),
            lambda: self.live.request_token(
                account.namespace or "", account.name, audiences, TOKEN_SECONDS
            ),
        )

    def reviewer_secret(self) -> dict[str, Any] | None:
        """The Secret with the reviewer's token; None when absent."""
        namespace = self.case.onboarding.reviewer.account.namespace
        return self.get("v1", "Secret", self.names.reviewer_secret, namespace)

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Labels of a namespace.

        The API server sets its name as one of them, since Kubernetes 1.21; a file need not show it.
        """
        found = self.get("v1", "Namespace", name)
        if found is None or self.is_offline:
            return {NAMESPACE_LABEL: name, **_labels(found or {})}
        return _labels(found)

    def service_of(self, host: str) -> tuple[str, str] | None:
        """Namespace and name of the Service that a name of the store's server stands for.

        Pods complete short names by their search domains, so `vault.vault` may be a Service's name
        or a public one: it is the former if there is such a Service.
        """
        told = in_cluster(host)
        parts = host.split(".")
        if told is not None or len(parts) != 2:
            return told
        try:
            found = self.get("v1", "Service", parts[0], parts[1])
        except Error:
            return None
        return (parts[1], parts[0]) if found is not None else None

    def operand(self) -> Operand | None:
        """The running External Secrets; None when there is none."""
        return self.once("operand", lambda: find_operand(self))

    def store_version(self) -> str | None:
        """The API version of External Secrets that the cluster serves; None without it."""
        served = self.once(
            ("versions", GROUP), lambda: self._asked("cluster", lambda: self.kube.versions(GROUP))
        )
        for version in ("v1", "v1beta1", "v1alpha1"):
            if version in served:
                return f"{GROUP}/{version}"
        return None

    def all_stores(self) -> tuple[Store, ...]:
        """Every store of the cluster whose provider is Vault."""
        version = self.store_version()
        if version is None:
            return ()
        bodies = [body for kind in KINDS for body in self.items(version, kind)]
        return tuple(filter(None, map(store_of, bodies)))

    def live_stores(self) -> tuple[Store, ...]:
        """The stores of this case: the named one, else all that have to do with this onboarding."""
        return self.once("stores", self._live_stores)

    def _live_stores(self) -> tuple[Store, ...]:
        stores = self.all_stores()
        if self.case.store:
            namespace, _, name = self.case.store.rpartition("/")
            named = tuple(
                store
                for store in stores
                if store.name == name and (not namespace or store.namespace == namespace)
            )
            if not named:
                raise ConfigError(
                    f"there is no Vault store {self.case.store} in the cluster",
                    hint="kubectl get clustersecretstores,secretstores -A",
                )
            return named
        return tuple(store for store in stores if self._concerns(store))

    def known_stores(self) -> tuple[Store, ...]:
        """The stores of this case, as far as the cluster can be looked at; else none."""
        try:
            return self.live_stores()
        except Error:
            return ()

    def stores(self) -> tuple[Store, ...]:
        """The stores of this case; where there is none, what onboarding prepared for one.

        Without access to the cluster that is all there is to go by, too; VP-ES-009 then says that
        it could not look. Raises ConfigError for a named store that does not exist.
        """
        try:
            return self.live_stores() or (self.planned(),)
        except ConfigError:
            raise
        except Error:
            return (self.planned(),)

    def servers(self) -> tuple[Store, ...]:
        """One store for each server: what is wrong with a server is wrong for all its stores."""
        return tuple({store.server: store for store in reversed(self.stores())}.values())

    def external_secrets(self) -> tuple[dict[str, Any], ...]:
        """The ExternalSecrets of this case: the named one, else all that use one of its stores."""
        return self.once("external secrets", self._external_secrets)

    def _external_secrets(self) -> tuple[dict[str, Any], ...]:
        version = self.store_version()
        if version is None:
            return ()
        found = self.items(version, "ExternalSecret")
        wanted = self.case.external_secret
        if wanted is not None:
            coordinates = {"namespace": wanted.namespace, "name": wanted.name}
            named = tuple(each for each in found if coordinates.items() <= each["metadata"].items())
            if not named:
                raise ConfigError(
                    f"there is no ExternalSecret {wanted}", hint="kubectl get externalsecrets -A"
                )
            return named
        return tuple(each for each in found if self.stores_for(each))

    def stores_for(self, external_secret: Mapping[str, Any]) -> tuple[Store, ...]:
        """The stores of this case that an ExternalSecret refers to."""
        named = stores_named(external_secret)
        namespace = external_secret["metadata"].get("namespace")
        return tuple(
            store
            for store in self.live_stores()
            if (store.kind, store.name) in named and store.namespace in (None, namespace)
        )

    def is_outdated(self, body: Mapping[str, Any], store: Store | None) -> bool:
        """Whether what the newest warning event says is older than the last change of the store."""
        said = max(map(_when, self._warnings(body)), default="")
        fields = ((store.body.get("metadata") or {}).get("managedFields") or ()) if store else ()
        changed = max((str(f.get("time") or "") for f in fields if _of_spec(f)), default="")[:19]
        return bool(said and changed) and said < changed

    def events(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """What warning events say of an object, newest first; they end after an hour."""
        found = sorted(self._warnings(body), key=_when)
        return tuple(str(event.get("message") or "") for event in reversed(found))

    def _warnings(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        metadata = body["metadata"]
        found = self.items("v1", "Event", metadata.get("namespace") or "default")
        return [
            event
            for event in found
            if event.get("type") == "Warning"
            and (event.get("involvedObject") or {}).get("name") == metadata["name"]
            and (event.get("involvedObject") or {}).get("kind") == body["kind"]
        ]

    def _concerns(self, store: Store) -> bool:
        """Same Vault, or a login at our mount: a typo in one of them leaves the other."""
        if store.mount == self.names.auth_mount or store.role == self.names.role:
            return True
        try:
            return store.url.host == Url.parse(self.case.vault_address).host
        except ConfigError:
            return False

    def _api_audience(self, mode: ReviewerMode) -> tuple[str, ...]:
        """The issuer is the API server's audience by default; asked for where it is needed."""
        if mode is not ReviewerMode.CLIENT:
            return ()
        try:
            return (self.once("issuer", self.live.token_issuer),)
        except (Error, Missing):
            return ()

    def planned(self) -> Store:
        """The store that onboarding prepared."""
        onboarding = self.case.onboarding
        account, mode = onboarding.service_accounts[0], onboarding.reviewer.mode
        return Store(
            kind="ClusterSecretStore",
            name="(none yet)",
            namespace=None,
            server=self.case.vault_address,
            path=onboarding.kv_mount,
            version="v2",
            methods=("jwt" if mode is ReviewerMode.JWT else "kubernetes",),
            mount=self.names.auth_mount,
            role=self.names.role,
            account=Reference(account.name, account.namespace),
            audiences=(onboarding.audience, *self._api_audience(mode)),
            vault_namespace=self.case.vault_namespace,
            planned=True,
        )


def _when(event: Mapping[str, Any]) -> str:
    """When it was said last (RFC 3339, UTC, seconds: such texts sort by time)."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")[:19]


def _of_spec(managed: Mapping[str, Any]) -> bool:
    """Whether an entry of managedFields is of somebody who changed what is wanted."""
    return "f:spec" in (managed.get("fieldsV1") or {})


def _labels(body: Mapping[str, Any]) -> dict[str, str]:
    return dict((body.get("metadata") or {}).get("labels") or {})


def _frozen(value: Any) -> Hashable:
    """A value of JSON as something that can be a key."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, _frozen(each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(each) for each in value)
    return str(value)
