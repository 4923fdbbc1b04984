"""What External Secrets does to its objects; the stand-in is held to what the real one does.

Everything here runs against the stand-in, and against the real controller too when
VAULTPROV_TEST_ESO names the folder that `scripts/external-secrets assets` prints. The cluster is
the embedded API, or the one that VAULTPROV_TEST_KUBE says if no other controller can be there.
"""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from vaultprov.devenv.cluster import Cluster, KubeRefusedError
from vaultprov.devenv.control_plane import control_plane
from vaultprov.devenv.eso_install import Installation, install
from vaultprov.devenv.external_secrets import external_secrets, find_assets, install_crds
from vaultprov.devenv.kube_api import serve
from vaultprov.devenv.kubeconfig import write_kubeconfig
from vaultprov.devenv.openbao import OpenBao, openbao
from vaultprov.devenv.operand import operand
from vaultprov.devenv.process import DevenvError, wait_until

GROUP = "/apis/external-secrets.io/v1"
ACCOUNT = "fetcher"
LOGIN = "unable to log in to auth method: unable to log in with Kubernetes auth: "
READS = 'path "secret/*" { capabilities = ["read", "list"] }'
Object = dict[str, Any]
KUBE = os.environ.get("VAULTPROV_TEST_KUBE", "embedded")
# The real one checks schemas, and its controller manager, if old, gives accounts Secrets.
embedded = pytest.mark.skipif(KUBE != "embedded", reason="needs a simpler API server")


def real() -> Path | None:
    given = os.environ.get("VAULTPROV_TEST_ESO")
    return Path(given) if given else None


@dataclass(frozen=True)
class Vault:
    """An OpenBao and its API as root."""

    server: OpenBao
    http: urllib3.PoolManager

    def call(self, method: str, path: str, body: object = None) -> Object:
        headers = {"X-Vault-Token": self.server.root_token}
        url = f"{self.server.address}/v1/{path}"
        answer = self.http.request(method, url, json=body, headers=headers)
        assert answer.status < 300, answer.data
        found: Object = json.loads(answer.data or b"{}")
        return found

    def role(self, name: str, **settings: object) -> None:
        bound = {
            "bound_service_account_names": ACCOUNT,
            "bound_service_account_namespaces": "*",
            "audience": "vault",
            "policies": ["reads"],
        }
        self.call("POST", f"auth/kubernetes/role/{name}", {**bound, **settings})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of our own: where External Secrets is installed, other tests find another world."""
    if KUBE == "embedded":
        with serve() as api:
            yield Cluster(api.server, api.ca_pem, api.admin_token)
    elif KUBE == "control-plane":
        with control_plane(tmp_path_factory.mktemp("control-plane")) as real_one:
            yield Cluster(real_one.server, real_one.ca_pem, real_one.admin_token)
    else:
        pytest.skip("somebody else may run a controller in that cluster")


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Installation:
    if assets := real():  # before the stand-in's, which have no defaults
        install_crds(cluster, assets)
    return install(cluster)


@pytest.fixture(scope="module", params=["stand-in", "real"] if real() else ["stand-in"])
def running(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A controller, with no more rights than its ServiceAccount has."""
    identity = installation.operand
    if request.param == "stand-in":
        with operand(cluster, identity=identity):
            yield
        return
    assets = real()
    folder = tmp_path_factory.mktemp("eso")
    kubeconfig = write_kubeconfig(
        folder / "kubeconfig",
        server=identity.server,
        ca_pem=identity.ca_pem,
        token=identity.token,
    )
    with external_secrets(folder, kubeconfig, assets=assets):
        yield


@pytest.fixture(scope="module")
def vault(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """An OpenBao where the account `fetcher` of any namespace can log in with the role `good`."""
    with openbao(tmp_path_factory.mktemp("bao")) as server, urllib3.PoolManager() as http:
        vault = Vault(server, http)
        vault.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        config = {
            "kubernetes_host": cluster.server,
            "kubernetes_ca_cert": cluster.ca_pem,
            "token_reviewer_jwt": reviewer_token(cluster),
            "disable_local_ca_jwt": True,
        }
        vault.call("POST", "auth/kubernetes/config", config)
        vault.call("POST", "sys/policies/acl/reads", {"policy": READS})
        vault.role("good")
        vault.call("POST", "secret/data/apps/db", {"data": {"user": "u", "port": 5432}})
        vault.call("POST", "secret/data/apps/web", {"data": {"tls": {"key": "<k>"}}})
        yield vault


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("tls"), tls=True) as server:
        yield server


def reviewer_token(cluster: Cluster) -> str:
    name = "operand-test-reviewer"
    account = {"name": name, "namespace": "default"}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        }
    )
    return cluster.request_token("default", name)


@dataclass(frozen=True)
class Desk:
    """A user with a namespace of their own."""

    cluster: Cluster
    vault: Vault
    namespace: str

    def store(self, kind: str = "ClusterSecretStore", name: str = "", **provider: Any) -> Object:
        """A store with the role `good`; `provider` replaces parts of spec.provider.vault."""
        account = {"name": ACCOUNT, "audiences": ["vault"]}
        if kind == "ClusterSecretStore":
            account["namespace"] = self.namespace
        known = {
            "server": self.vault.server.address,
            "path": "secret",
            "version": "v2",
            "auth": kubernetes(account),
        }
        name = name or f"store-{uuid.uuid4().hex[:8]}"
        return self.created(kind, name, {"provider": {"vault": {**known, **provider}}})

    def secret(self, store: Object, **spec: Any) -> Object:
        """An ExternalSecret; `spec` says what it reads."""
        reference = {"kind": store["kind"], "name": store["metadata"]["name"]}
        known = {"refreshInterval": "1h", "secretStoreRef": reference}
        return self.created("ExternalSecret", f"es-{uuid.uuid4().hex[:8]}", {**known, **spec})

    def created(self, kind: str, name: str, spec: Object) -> Object:
        metadata = {"name": name}
        if not kind.startswith("Cluster"):
            metadata["namespace"] = self.namespace
        item = {
            "apiVersion": "external-secrets.io/v1",
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }
        self.cluster.call("POST", self.path(item).rpartition("/")[0], item)
        return item

    def path(self, item: Object) -> str:
        metadata = item["metadata"]
        where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{GROUP}{where}/{item['kind'].lower()}s/{metadata['name']}"

    def status(self, item: Object) -> Object:
        status: Object = (self.cluster.get(self.path(item)) or {}).get("status") or {}
        return status

    def ready(self, item: Object, status: str = "True") -> tuple[str, str]:
        """Reason and message of the Ready condition, once it has this status."""

        def condition() -> Object:
            conditions = self.status(item).get("conditions") or [{}]
            assert len(conditions) == 1
            found: Object = conditions[0]
            return found

        name = item["metadata"]["name"]
        wait_until(lambda: condition().get("status") == status, 30, f"{name} is {status}")
        found = condition()
        assert found["type"] == "Ready"
        assert found["lastTransitionTime"].endswith("Z")
        return found["reason"], found["message"]

    def events(self, item: Object, kind: str = "Warning") -> list[Object]:
        """The Events about an object, once there is one."""
        metadata = item["metadata"]
        path = f"/api/v1/namespaces/{metadata.get('namespace', 'default')}/events"

        def found() -> list[Object]:
            return [
                event
                for event in self.cluster.call("GET", path)["items"]
                if event["involvedObject"].get("name") == metadata["name"]
                and event["involvedObject"].get("kind") == item["kind"]
                and event["type"] == kind
            ]

        wait_until(lambda: bool(found()), 30, f"there is an Event about {metadata['name']}")
        return found()

    def failure(self, item: Object) -> str:
        """The message of the one kind of warning that there is about an object."""
        [message] = {event["message"] for event in self.events(item)}
        return str(message)

    def values(self, item: Object) -> dict[str, str]:
        """What the Secret of an ExternalSecret holds."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{item['metadata']['name']}"
        data = self.cluster.call("GET", path).get("data") or {}
        return {name: base64.b64decode(value).decode() for name, value in data.items()}

    def refusal(self, code: int, text: str, path: str, method: str = "PUT") -> str:
        return (
            f"Error making API request.\n\nURL: {method} {self.vault.server.address}/v1/{path}"
            f"\nCode: {code}. Errors:\n\n* {text}"
        )


def kubernetes(account: Object, role: str = "good") -> Object:
    return {"kubernetes": {"mountPath": "kubernetes", "role": role, "serviceAccountRef": account}}


@pytest.fixture
def desk(running: None, cluster: Cluster, vault: Vault) -> Desk:
    namespace = f"team-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    account = {"name": ACCOUNT, "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    return Desk(cluster, vault, namespace)


class TestStores:
    @pytest.mark.parametrize("kind", ["ClusterSecretStore", "SecretStore"])
    def test_one_that_logs_in_is_valid(self, desk: Desk, kind: str) -> None:
        store = desk.store(kind)
        assert desk.ready(store) == ("Valid", "store validated")
        assert desk.status(store)["capabilities"] == "ReadWrite"
        assert {e["reason"] for e in desk.events(store, "Normal")} == {"Valid"}

    def test_a_refused_login_is_told_by_an_event(self, desk: Desk) -> None:
        account = {"name": ACCOUNT, "namespace": desk.namespace, "audiences": ["vault"]}
        store = desk.store(auth=kubernetes(account, role="absent"))
        assert desk.ready(store, "False") == ("InvalidProviderConfig", "unable to create client")
        refusal = desk.refusal(400, 'invalid role name "absent"', "auth/kubernetes/login")
        assert desk.failure(store) == LOGIN + refusal
        event = desk.events(store)[0]
        assert event["reason"] == "InvalidProviderConfig"
        assert event["source"]["component"] == "cluster-secret-store"
        assert "capabilities" not in desk.status(store)

    def test_the_same_event_again_is_counted(self, desk: Desk) -> None:
        store = desk.store(server="http://127.0.0.1:1", auth={})
        desk.ready(store, "False")
        wait_until(lambda: max(e["count"] for e in desk.events(store)) > 1, 30, "it is counted")
        assert desk.failure(store) == (
            "cannot initialize Vault client: no valid auth method specified"
        )

    def test_a_token_that_may_not_look_itself_up_is_invalid(self, desk: Desk) -> None:
        desk.vault.role("blind", token_no_default_policy=True)
        account = {"name": ACCOUNT, "namespace": desk.namespace, "audiences": ["vault"]}
        store = desk.store(auth=kubernetes(account, role="blind"))
        assert desk.ready(store, "False") == ("InvalidProviderConfig", "unable to validate store")
        told = desk.failure(store)
        denial = "1 error occurred:\n\t* permission denied\n\n"
        refusal = desk.refusal(403, denial, "auth/token/lookup-self", "GET")
        assert told == f"invalid vault credentials: {refusal}"

    def test_who_it_would_be_depends_on_the_namespace_so_nobody_logs_in(self, desk: Desk) -> None:
        store = desk.store(auth=kubernetes({"name": ACCOUNT}, role="absent"))
        assert desk.ready(store) == ("Valid", "store validated")
        wanted = desk.secret(store, dataFrom=[{"extract": {"key": "apps/db"}}])
        desk.ready(wanted, "False")
        refusal = desk.refusal(400, 'invalid role name "absent"', "auth/kubernetes/login")
        prefix = "error processing spec.dataFrom[0].extract, err: "
        assert desk.failure(wanted) == prefix + LOGIN + refusal

    def test_a_missing_account_is_named(self, desk: Desk) -> None:
        store = desk.store(auth=kubernetes({"name": "absent", "namespace": desk.namespace}))
        desk.ready(store, "False")
        assert desk.failure(store) == (
            'cannot request Kubernetes service account token for service account "absent": cannot'
            ' get Kubernetes service account "absent": ServiceAccount "absent" not found'
        )

    @embedded
    def test_a_refused_token_request_is_told_as_a_missing_secret(
        self, desk: Desk, cluster: Cluster
    ) -> None:
        install(cluster, token_requests=False)
        try:
            store = desk.store()
            desk.ready(store, "False")
            assert desk.failure(store) == (
                f'cannot request Kubernetes service account token for service account "{ACCOUNT}":'
                f' cannot find secrets bound to service account: "{ACCOUNT}"'
            )
        finally:
            install(cluster)
        assert desk.ready(store) == ("Valid", "store validated")

    def test_an_audience_that_vault_does_not_expect(self, desk: Desk) -> None:
        account = {"name": ACCOUNT, "namespace": desk.namespace, "audiences": ["other"]}
        store = desk.store(auth=kubernetes(account))
        desk.ready(store, "False")
        why = "invalid audience (aud) claim: audience claim does not match any expected audience"
        assert desk.failure(store) == LOGIN + desk.refusal(403, why, "auth/kubernetes/login")

    def test_a_static_token_is_read_from_a_secret(self, desk: Desk) -> None:
        reference = {"name": "token", "key": "token", "namespace": desk.namespace}
        store = desk.store(auth={"tokenSecretRef": reference})
        desk.ready(store, "False")
        assert desk.failure(store) == (
            f'cannot get Kubernetes secret "token" from namespace "{desk.namespace}": secrets'
            ' "token" not found'
        )
        token = {"token": desk.vault.server.root_token}
        metadata = {"name": "token", "namespace": desk.namespace}
        desk.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": token}
        )
        assert desk.ready(store) == ("Valid", "store validated")

    def test_a_server_that_is_not_there(self, desk: Desk) -> None:
        store = desk.store(server="http://127.0.0.1:1")
        desk.ready(store, "False")
        assert desk.failure(store) == (
            f'{LOGIN}Put "http://127.0.0.1:1/v1/auth/kubernetes/login": dial tcp 127.0.0.1:1:'
            " connect: connection refused"
        )

    def test_a_certificate_must_be_signed_by_a_known_authority(
        self, desk: Desk, tls: OpenBao
    ) -> None:
        store = desk.store(server=tls.address)
        desk.ready(store, "False")
        assert desk.failure(store) == (
            f'{LOGIN}Put "{tls.address}/v1/auth/kubernetes/login": tls: failed to verify'
            " certificate: x509: certificate signed by unknown authority"
        )

    def test_a_server_without_tls(self, desk: Desk) -> None:
        server = desk.vault.server.address.replace("http:", "https:")
        store = desk.store(server=server)
        desk.ready(store, "False")
        assert desk.failure(store) == (
            f'{LOGIN}Put "{server}/v1/auth/kubernetes/login": http: server gave HTTP response to'
            " HTTPS client"
        )

    @pytest.mark.parametrize("kind", ["", "Secret", "ConfigMap"])
    def test_the_authority_is_given_inline_or_by_reference(
        self, desk: Desk, tls: OpenBao, kind: str
    ) -> None:
        assert tls.ca_file is not None
        pem = tls.ca_file.read_text()
        metadata = {"name": "ca", "namespace": desk.namespace}
        where = {"type": kind, "key": "ca.crt", **metadata}
        trust: Object = {"caProvider": where}
        if kind:
            data = {"stringData" if kind == "Secret" else "data": {"ca.crt": pem}}
            desk.cluster.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata, **data})
        else:
            trust = {"caBundle": base64.b64encode(pem.encode()).decode()}
        store = desk.store(server=tls.address, **trust)
        desk.ready(store, "False")
        # TLS is done, and the server has no such mount.
        assert desk.failure(store).endswith("Code: 403. Errors:\n\n* permission denied")

    def test_one_of_another_controller_is_passed_over(self, desk: Desk) -> None:
        name = f"store-{uuid.uuid4().hex[:8]}"
        vault = {"server": "http://127.0.0.1:1", "path": "secret", "auth": {}}
        spec = {"controller": "other", "provider": {"vault": vault}}
        other = desk.created("ClusterSecretStore", name, spec)
        desk.ready(desk.store())
        assert desk.status(other) == {}

    def test_a_touch_has_it_looked_at_again_at_once(self, desk: Desk) -> None:
        store = desk.store()
        desk.ready(store)
        desk.cluster.call(
            "DELETE", f"/api/v1/namespaces/{desk.namespace}/serviceaccounts/{ACCOUNT}"
        )
        touch = {"metadata": {"annotations": {"touched": "now"}}}
        desk.cluster.merge(desk.path(store), touch)
        assert desk.ready(store, "False")[0] == "InvalidProviderConfig"
        account = {"name": ACCOUNT, "namespace": desk.namespace}
        desk.cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        assert desk.ready(store) == ("Valid", "store validated")  # without a touch


class TestExternalSecrets:
    def test_values_come_by_key_by_extract_and_by_find(self, desk: Desk) -> None:
        store = desk.store()
        desk.ready(store)
        wanted = desk.secret(
            store,
            dataFrom=[
                {"extract": {"key": "apps/db"}},
                {"find": {"path": "apps", "name": {"regexp": "web$"}}},
            ],
            data=[
                {"secretKey": "name", "remoteRef": {"key": "apps/db", "property": "user"}},
                {"secretKey": "nested", "remoteRef": {"key": "apps/web", "property": "tls.key"}},
                {"secretKey": "whole", "remoteRef": {"key": "secret/data/apps/db"}},
            ],
        )
        assert desk.ready(wanted) == ("SecretSynced", "secret synced")
        assert desk.values(wanted) == {
            "user": "u",
            "port": "5432",
            "apps_web": '{"tls":{"key":"\\u003ck\\u003e"}}',
            "name": "u",
            "nested": "<k>",
            "whole": '{"port":5432,"user":"u"}',
        }
        status = desk.status(wanted)
        assert status["binding"] == {"name": wanted["metadata"]["name"]}
        assert status["refreshTime"].endswith("Z")
        assert {event["reason"] for event in desk.events(wanted, "Normal")} == {"Created"}

    def test_the_secret_belongs_to_it_under_the_name_of_the_target(self, desk: Desk) -> None:
        store = desk.store("SecretStore")
        desk.ready(store)
        data = [{"secretKey": "k", "remoteRef": {"key": "apps/db", "property": "user"}}]
        wanted = desk.secret(store, target={"name": "mine"}, data=data)
        desk.ready(wanted)
        path = f"/api/v1/namespaces/{desk.namespace}/secrets/mine"
        metadata = desk.cluster.call("GET", path)["metadata"]
        [owner] = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("ExternalSecret", wanted["metadata"]["name"])
        assert owner["controller"]
        assert metadata["labels"]["reconcile.external-secrets.io/managed"] == "true"

    def test_a_change_is_synced_at_once(self, desk: Desk) -> None:
        store = desk.store()
        desk.ready(store)
        data = [{"secretKey": "k", "remoteRef": {"key": "apps/db", "property": "user"}}]
        wanted = desk.secret(store, data=data)
        desk.ready(wanted)
        data[0]["secretKey"] = "other"
        desk.cluster.merge(desk.path(wanted), {"spec": {"data": data}})
        wait_until(lambda: desk.values(wanted) == {"other": "u"}, 30, "it is synced again")

    @pytest.mark.parametrize(
        ("reference", "why"),
        [
            ({"key": "apps/none"}, "Secret does not exist"),
            ({"key": "apps/db", "property": "x"}, 'cannot find secret data for key: "x"'),
        ],
    )
    def test_what_is_not_in_vault_is_told_by_an_event(
        self, desk: Desk, reference: Object, why: str
    ) -> None:
        store = desk.store()
        desk.ready(store)
        wanted = desk.secret(store, data=[{"secretKey": "k", "remoteRef": reference}])
        failed = ("SecretSyncedError", "could not get secret data from provider")
        assert desk.ready(wanted, "False") == failed
        prefix = f"error processing spec.data[0] (key: {reference['key']}), err: "
        assert desk.failure(wanted) == prefix + why
        assert {event["reason"] for event in desk.events(wanted)} == {"UpdateFailed"}
        assert not desk.status(wanted).get("refreshTime")

    def test_a_missing_right_is_told_as_vault_tells_it(self, desk: Desk) -> None:
        desk.vault.role("bare", policies=[])
        account = {"name": ACCOUNT, "namespace": desk.namespace, "audiences": ["vault"]}
        store = desk.store(auth=kubernetes(account, role="bare"))
        desk.ready(store)
        wanted = desk.secret(store, dataFrom=[{"extract": {"key": "apps/db"}}])
        desk.ready(wanted, "False")
        denial = "1 error occurred:\n\t* permission denied\n\n"
        refusal = desk.refusal(403, denial, "secret/data/apps/db", "GET")
        assert desk.failure(wanted) == (
            "error processing spec.dataFrom[0].extract, err: cannot read secret data from Vault: "
            + refusal
        )

    @embedded
    def test_a_name_that_no_secret_can_have_stops_nobody_else(self, desk: Desk) -> None:
        store = desk.store()
        desk.ready(store)
        data = [{"secretKey": "k", "remoteRef": {"key": "apps/db", "property": "user"}}]
        broken = desk.secret(store, target={"name": "-"}, data=data)
        assert desk.ready(broken, "False") == ("SecretSyncedError", "could not update secret")
        assert {event["reason"] for event in desk.events(broken)} == {"UpdateFailed"}
        desk.ready(desk.secret(store, data=data))

    def test_a_store_must_exist_be_ready_and_allow_the_namespace(self, desk: Desk) -> None:
        name = f"absent-{desk.namespace}"
        absent: Object = {"kind": "ClusterSecretStore", "metadata": {"name": name}}
        missing = f'ClusterSecretStore.external-secrets.io "{name}" not found'
        broken = desk.store(server="http://127.0.0.1:1", auth={})
        desk.ready(broken, "False")
        guarded = desk.store()
        conditions = {"spec": {"conditions": [{"namespaces": ["elsewhere"]}]}}
        desk.cluster.merge(desk.path(guarded), conditions)
        desk.ready(guarded)
        denied = f'from namespace "{desk.namespace}": denied by spec.condition'
        named, other = (store["metadata"]["name"] for store in (guarded, broken))
        expected = [
            (absent, f'could not get ClusterSecretStore "{name}", {missing}'),
            (broken, f'ClusterSecretStore "{other}" is not ready'),
            (guarded, f'using cluster store "{named}" is not allowed {denied}'),
        ]
        for store, why in expected:
            wanted = desk.secret(store, dataFrom=[{"extract": {"key": "apps/db"}}])
            desk.ready(wanted, "False")
            prefix = "error processing spec.dataFrom[0].extract, err: "
            assert desk.failure(wanted) == prefix + why

    def test_it_syncs_by_itself_when_the_cause_is_gone(self, desk: Desk) -> None:
        store = desk.store()
        desk.ready(store)
        key = f"apps/{desk.namespace}"
        data = [{"secretKey": "k", "remoteRef": {"key": key, "property": "p"}}]
        wanted = desk.secret(store, data=data)
        desk.ready(wanted, "False")
        desk.vault.call("POST", f"secret/data/{key}", {"data": {"p": "late"}})
        desk.ready(wanted)
        assert desk.values(wanted) == {"k": "late"}


class TestInstallation:
    def rights(self, cluster: Cluster, verb: str, resource: str, group: str = "") -> bool:
        plain, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb,
            "resource": plain,
            "subresource": subresource,
            "group": group,
            "namespace": "default",
        }
        user = "system:serviceaccount:external-secrets:external-secrets"
        review = {"spec": {"user": user, "resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(cluster.call("POST", path, review)["status"]["allowed"])

    def test_the_pod_belongs_to_the_deployment_and_runs(
        self, cluster: Cluster, installation: Installation
    ) -> None:
        assert install(cluster).pod == installation.pod  # again changes nothing
        apps = f"/apis/apps/v1/namespaces/{installation.namespace}"
        deployment = cluster.call("GET", f"{apps}/deployments/{installation.deployment}")
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector == {
            "app.kubernetes.io/name": "external-secrets",
            "app.kubernetes.io/instance": "external-secrets",
        }
        template = deployment["spec"]["template"]["spec"]
        assert template["serviceAccountName"] == installation.service_account
        assert template["containers"][0]["image"] == "external-secrets/external-secrets:v2.9.0"
        labels = ",".join(f"{name}={value}" for name, value in selector.items())
        pods = f"/api/v1/namespaces/{installation.namespace}/pods"
        [pod] = cluster.call("GET", f"{pods}?labelSelector={labels}")["items"]
        assert pod["metadata"]["name"] == installation.pod
        assert pod["status"]["phase"] == "Running"
        assert {"type": "Ready", "status": "True"}.items() <= pod["status"]["conditions"][0].items()
        [owner] = pod["metadata"]["ownerReferences"]
        replicas = cluster.call("GET", f"{apps}/replicasets/{owner['name']}")
        assert owner["uid"] == replicas["metadata"]["uid"]
        [owner] = replicas["metadata"]["ownerReferences"]
        assert owner["uid"] == deployment["metadata"]["uid"]
        assert deployment["status"]["readyReplicas"] == 1

    def test_the_controller_has_its_rights_and_no_more(
        self, cluster: Cluster, installation: Installation
    ) -> None:
        assert self.rights(cluster, "create", "serviceaccounts/token")
        assert self.rights(cluster, "list", "externalsecrets", "external-secrets.io")
        assert not self.rights(cluster, "create", "pods")
        with pytest.raises(KubeRefusedError, match="cannot list resource"):
            installation.operand.call("GET", "/api/v1/pods")
        try:
            install(cluster, token_requests=False)
            assert not self.rights(cluster, "create", "serviceaccounts/token")
        finally:
            install(cluster)

    @pytest.mark.parametrize("ready", [True, False])
    def test_the_webhook_has_a_ready_endpoint_or_not(
        self, cluster: Cluster, installation: Installation, ready: bool
    ) -> None:
        install(cluster, webhook_ready=ready)
        try:
            name, namespace = "external-secrets-webhook", installation.namespace
            endpoints = cluster.call("GET", f"/api/v1/namespaces/{namespace}/endpoints/{name}")
            assert ("addresses" in endpoints["subsets"][0]) == ready
            newest, older = "/apis/discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1beta1"
            discovery = newest if cluster.get(newest) else older
            label = f"labelSelector=kubernetes.io/service-name={name}"
            path = f"{discovery}/namespaces/{namespace}/endpointslices?{label}"
            [each] = cluster.call("GET", path)["items"]
            assert each["endpoints"][0]["conditions"]["ready"] is ready
        finally:
            install(cluster)

    def test_the_webhook_is_registered_on_demand(
        self, cluster: Cluster, installation: Installation
    ) -> None:
        path = (
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
            "/secretstore-validate"
        )
        assert cluster.get(path) is None
        install(cluster, webhook_policy="Ignore")
        try:
            registered = cluster.call("GET", path)
            assert [hook["name"] for hook in registered["webhooks"]] == [
                "validate.secretstore.external-secrets.io",
                "validate.clustersecretstore.external-secrets.io",
            ]
        finally:
            cluster.call("DELETE", path)


def test_the_stand_in_may_leave_cluster_stores_alone() -> None:
    with serve() as api:
        cluster = Cluster(api.server, api.ca_pem, api.admin_token)
        with operand(cluster, cluster_stores=False) as running:
            vault = {"server": "http://127.0.0.1:1", "path": "secret", "auth": {}}
            paths = (f"{GROUP}/clustersecretstores", f"{GROUP}/namespaces/default/secretstores")
            for path in paths:
                store = {"metadata": {"name": "s"}, "spec": {"provider": {"vault": vault}}}
                cluster.call("POST", path, store)
            wait_until(lambda: "status" in cluster.call("GET", f"{paths[1]}/s"), 30, "it is seen")
            assert "status" not in cluster.call("GET", f"{paths[0]}/s")
            why = "cannot initialize Vault client: no valid auth method specified"
            prefix = "unable to validate store: could not get provider client: "
            assert running.log[0] == prefix + why


def test_a_controller_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DevenvError, match=r"no External Secrets in .*set VAULTPROV_ESO_ASSETS"):
        find_assets(tmp_path)
