"""The embedded API server behaves as kube-apiserver does, wherever vaultprov depends on it.

The expected wordings were taken from a running kube-apiserver. Waiting is done by watches, never
by sleeping.
"""

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from vaultprov.devenv.kube_api import KubeApi, serve
from vaultprov.devenv.kube_api.tokens import LEEWAY_SECONDS, TokenError, Tokens

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SSAR = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
API_AUDIENCE = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Answer:
    code: int
    body: Any

    @property
    def refusal(self) -> tuple[int, str, str]:
        """The parts of a failure Status that clients go by."""
        assert self.body["kind"] == "Status"
        assert self.body["status"] == "Failure"
        assert self.body["code"] == self.code
        return self.code, self.body["reason"], self.body["message"]


class Client:
    """HTTP as a client of the API speaks it."""

    def __init__(self, api: KubeApi, token: str | None = None) -> None:
        self.api = api
        self.token = api.admin_token if token is None else token
        self.pool = urllib3.PoolManager(ca_cert_data=api.ca_pem)

    def request(
        self, method: str, path: str, body: object = None, media_type: str = "application/json"
    ) -> Answer:
        headers = {"Content-Type": media_type, "User-Agent": "tests/1.0"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, str | None) else json.dumps(body)
        raw = self.pool.request(method, self.api.server + path, body=data, headers=headers)
        is_json = raw.headers["Content-Type"].endswith("json")
        return Answer(raw.status, raw.json() if is_json else raw.data.decode())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: object) -> Answer:
        return self.request("POST", path, body)

    def merge(self, path: str, body: object) -> Answer:
        return self.request("PATCH", path, body, MERGE)

    def apply(self, path: str, body: object, manager: str = "one", force: str = "false") -> Answer:
        query = f"?fieldManager={manager}&force={force}"
        return self.request("PATCH", path + query, body, APPLY)

    def watch(self, path: str, query: str) -> Iterator[dict[str, Any]]:
        """The events of a watch; closing the iterator ends it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.api.server}{path}?watch=true&timeoutSeconds=20&{query}"
        response = self.pool.request("GET", url, headers=headers, preload_content=False)
        buffered = b""
        with contextlib.closing(response):
            for chunk in response.stream(65536):
                *lines, buffered = (buffered + chunk).split(b"\n")
                yield from map(json.loads, lines)

    def token_for(self, namespace: str, account: str, *audiences: str) -> str:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.post(path, {"spec": {"audiences": list(audiences)}})
        token: str = answer.body["status"]["token"]
        return token

    def review(self, token: str, *audiences: str) -> dict[str, Any]:
        spec = {"token": token, "audiences": list(audiences)}
        status: dict[str, Any] = self.post(TOKEN_REVIEWS, {"spec": spec}).body["status"]
        return status


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with serve(static_tokens={"dev-token": ("dev", ("devs",))}) as running:
        yield running


@pytest.fixture(scope="module")
def admin(api: KubeApi) -> Client:
    return Client(api)


@pytest.fixture
def namespace(admin: Client) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    assert admin.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    return name


def config_map(name: str = "cm", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def owners(item: dict[str, Any]) -> dict[tuple[str, str], Any]:
    listed = item["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in listed}


def decoded(value: str) -> str:
    return base64.b64decode(value).decode()


class TestServerSideApply:
    @pytest.fixture
    def path(self, namespace: str) -> str:
        return f"/api/v1/namespaces/{namespace}/configmaps/cm"

    def test_creates_what_is_absent_and_records_who_owns_it(self, admin: Client, path: str) -> None:
        created = admin.apply(path, config_map(x="1"))
        assert created.code == 201
        assert owners(created.body) == {("one", "Apply"): {"f:data": {"f:x": {}}}}
        assert admin.apply(path, config_map(x="2")).code == 200

    def test_of_the_same_changes_nothing(self, admin: Client, path: str) -> None:
        first = admin.apply(path, config_map(x="1")).body
        assert admin.apply(path, config_map(x="1")).body == first

    def test_a_field_of_another_manager_is_a_conflict(self, admin: Client, path: str) -> None:
        admin.apply(path, config_map(x="1"))
        refused = admin.apply(path, config_map(x="2"), "two")
        message = 'Apply failed with 1 conflict: conflict with "one": .data.x'
        assert refused.refusal == (409, "Conflict", message)
        assert refused.body["details"]["causes"] == [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "one"',
                "field": ".data.x",
            }
        ]

    def test_conflicts_with_updates_name_their_version(self, admin: Client, path: str) -> None:
        admin.post(path.removesuffix("/cm"), config_map(x="1", y="1"))
        refused = admin.apply(path, config_map(x="2", y="2"))
        assert refused.refusal[2] == (
            'Apply failed with 2 conflicts: conflicts with "tests" using v1:\n- .data.x\n- .data.y'
        )

    def test_force_takes_the_field_over(self, admin: Client, path: str) -> None:
        admin.apply(path, config_map(x="1", y="1"))
        forced = admin.apply(path, config_map(x="2"), "two", force="true")
        assert forced.body["data"] == {"x": "2", "y": "1"}
        assert owners(forced.body) == {
            ("one", "Apply"): {"f:data": {"f:y": {}}},
            ("two", "Apply"): {"f:data": {"f:x": {}}},
        }

    def test_the_same_value_is_shared_not_a_conflict(self, admin: Client, path: str) -> None:
        admin.apply(path, config_map(x="1"))
        shared = admin.apply(path, config_map(x="1"), "two")
        assert shared.code == 200
        assert set(owners(shared.body)) == {("one", "Apply"), ("two", "Apply")}

    def test_what_is_not_sent_any_more_is_removed_unless_shared(
        self, admin: Client, path: str
    ) -> None:
        admin.apply(path, config_map(mine="1", shared="1"))
        admin.apply(path, config_map(shared="1"), "two")
        rest = admin.apply(path, config_map())
        assert rest.body["data"] == {"shared": "1"}

    def test_a_plain_write_takes_the_fields_that_it_changes(self, admin: Client, path: str) -> None:
        admin.apply(path, config_map(x="1", y="1"))
        patched = admin.merge(path, {"data": {"x": "2"}})
        assert owners(patched.body) == {
            ("one", "Apply"): {"f:data": {"f:y": {}}},
            ("tests", "Update"): {"f:data": {"f:x": {}}},
        }

    def test_account_secrets_are_merged_by_name(self, admin: Client, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/sa"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}}
        admin.apply(path, {**account, "secrets": [{"name": "a"}]})
        both = admin.apply(path, {**account, "secrets": [{"name": "b"}]}, "two").body
        assert both["secrets"] == [{"name": "a"}, {"name": "b"}]
        assert admin.apply(path, account, "two").body["secrets"] == [{"name": "a"}]

    def test_dry_run_answers_but_keeps_nothing(self, admin: Client, path: str) -> None:
        url = f"{path}?fieldManager=one&dryRun=All"
        assert admin.request("PATCH", url, config_map(x="1"), APPLY).code == 201
        assert admin.get(path).code == 404

    @pytest.mark.parametrize(
        ("query", "body", "code", "message"),
        [
            (
                "",
                config_map(),
                422,
                (
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value:'
                    " is required for apply patch"
                ),
            ),
            ("?fieldManager=m", "a: [yaml", 400, "error decoding YAML"),
            ("?fieldManager=m", {"kind": "ConfigMap"}, 400, "Incorrect version specified"),
            ("?fieldManager=m", config_map("other"), 400, "the name of the object (other) does"),
        ],
    )
    def test_refuses_what_is_not_a_configuration(
        self, admin: Client, path: str, query: str, body: object, code: int, message: str
    ) -> None:
        refused = admin.request("PATCH", path + query, body, APPLY)
        assert refused.code == code
        assert refused.refusal[2].startswith(message)


class TestTokens:
    @pytest.fixture
    def account(self, admin: Client, namespace: str) -> str:
        """The path of a ServiceAccount called sa."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        admin.post(path, {"metadata": {"name": "sa"}})
        return f"{path}/sa"

    def test_a_token_proves_its_account_to_its_audience(
        self, admin: Client, account: str, namespace: str
    ) -> None:
        status = admin.review(admin.token_for(namespace, "sa", "vault"), "vault", "other")
        assert status == {
            "authenticated": True,
            "audiences": ["vault"],
            "user": {
                "username": f"system:serviceaccount:{namespace}:sa",
                "uid": admin.get(account).body["metadata"]["uid"],
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{namespace}",
                    "system:authenticated",
                ],
            },
        }

    def test_a_token_is_nothing_to_another_audience(
        self, admin: Client, account: str, namespace: str
    ) -> None:
        token = admin.token_for(namespace, "sa", "vault")
        status = admin.review(token)
        assert "authenticated" not in status
        assert status["error"] == (
            '[invalid bearer token, token audiences ["vault"] is invalid for the target audiences'
            f' ["{API_AUDIENCE}"]]'
        )
        assert Client(admin.api, token).get(account).refusal == (
            401,
            "Unauthorized",
            "Unauthorized",
        )

    def test_a_token_dies_with_its_account(
        self, admin: Client, account: str, namespace: str
    ) -> None:
        token = admin.token_for(namespace, "sa")
        assert admin.review(token)["authenticated"]
        admin.request("DELETE", account)
        assert admin.review(token)["error"].endswith('serviceaccounts "sa" not found]')
        admin.post(account.removesuffix("/sa"), {"metadata": {"name": "sa"}})
        assert "does not match claim" in admin.review(token)["error"]

    @pytest.mark.parametrize(
        ("seconds", "why"),
        [
            (599, "may not specify a duration less than 10 minutes"),
            (2**32 + 1, "may not specify a duration larger than 2^32 seconds"),
        ],
    )
    def test_a_duration_has_limits(
        self, admin: Client, account: str, seconds: int, why: str
    ) -> None:
        refused = admin.post(f"{account}/token", {"spec": {"expirationSeconds": seconds}})
        assert refused.refusal == (
            422,
            "Invalid",
            (
                'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid'
                f" value: {seconds}: {why}"
            ),
        )

    def test_a_forged_token_is_refused(self, admin: Client, account: str, namespace: str) -> None:
        head, payload, signature = admin.token_for(namespace, "sa").split(".")
        forged = f"{head}.{payload}.{signature[::-1]}"
        assert "authenticated" not in admin.review(forged)
        assert Client(admin.api, forged).get(account).code == 401

    def test_the_server_may_cap_what_is_asked_for(self) -> None:
        with serve(max_token_seconds=900) as capped:
            path = "/api/v1/namespaces/default/serviceaccounts"
            client = Client(capped)
            client.post(path, {"metadata": {"name": "sa"}})
            body = client.post(f"{path}/sa/token", {"spec": {"expirationSeconds": 7200}}).body
            claims = json.loads(
                base64.urlsafe_b64decode(body["status"]["token"].split(".")[1] + "==")
            )
            assert claims["exp"] - claims["iat"] == body["spec"]["expirationSeconds"] == 900

    def test_a_token_expires_after_the_leeway(self) -> None:
        now = [1_000_000.0]
        tokens = Tokens(clock=lambda: now[0])
        token, expiry = tokens.bound("ns", "sa", "uid", ["a"], 600)
        now[0] = expiry + LEEWAY_SECONDS
        assert tokens.verify(token)
        now[0] += 1
        with pytest.raises(TokenError, match="expired"):
            tokens.verify(token)

    def test_the_published_key_is_the_one_that_signs(
        self, admin: Client, account: str, namespace: str
    ) -> None:
        token = admin.token_for(namespace, "sa")
        header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        published = Client(admin.api, token).get("/openid/v1/jwks").body["keys"][0]
        assert (header["alg"], header["kid"]) == ("RS256", published["kid"])


class TestTokenSecrets:
    TYPE = "kubernetes.io/service-account-token"
    NAME = "kubernetes.io/service-account.name"

    def secret(self, account: str = "sa") -> dict[str, Any]:
        metadata = {"name": "tok", "annotations": {self.NAME: account}}
        return {"metadata": metadata, "type": self.TYPE}

    @pytest.fixture
    def secrets(self, admin: Client, namespace: str) -> str:
        """The path of the Secrets, in a namespace with a ServiceAccount called sa."""
        home = f"/api/v1/namespaces/{namespace}"
        admin.post(f"{home}/serviceaccounts", {"metadata": {"name": "sa"}})
        return f"{home}/secrets"

    def filled(self, admin: Client, secrets: str, version: str) -> dict[str, Any]:
        events = admin.watch(secrets, f"fieldSelector=metadata.name=tok&resourceVersion={version}")
        for event in events:
            if event["object"].get("data", {}).get("token"):
                item: dict[str, Any] = event["object"]
                return item
        raise AssertionError("the watch ended before the token was there")

    def test_is_filled_a_moment_later_and_a_watch_sees_it(
        self, admin: Client, secrets: str, namespace: str
    ) -> None:
        created = admin.post(secrets, self.secret()).body
        assert "data" not in created
        item = self.filled(admin, secrets, created["metadata"]["resourceVersion"])
        assert decoded(item["data"]["namespace"]) == namespace
        assert decoded(item["data"]["ca.crt"]) == admin.api.ca_pem
        status = admin.review(decoded(item["data"]["token"]))
        assert status["user"]["username"] == f"system:serviceaccount:{namespace}:sa"

    def test_a_token_that_is_taken_out_is_filled_in_again(
        self, admin: Client, secrets: str
    ) -> None:
        created = admin.post(secrets, self.secret()).body
        item = self.filled(admin, secrets, created["metadata"]["resourceVersion"])
        emptied = admin.merge(f"{secrets}/tok", {"data": {"token": None}}).body
        again = self.filled(admin, secrets, emptied["metadata"]["resourceVersion"])
        assert again["data"].keys() == item["data"].keys()

    def test_goes_with_its_account(self, admin: Client, secrets: str) -> None:
        created = admin.post(secrets, self.secret()).body
        version = created["metadata"]["resourceVersion"]
        token = decoded(self.filled(admin, secrets, version)["data"]["token"])
        admin.request("DELETE", secrets.replace("/secrets", "/serviceaccounts/sa"))
        events = admin.watch(secrets, f"resourceVersion={version}&fieldSelector=metadata.name=tok")
        assert any(event["type"] == "DELETED" for event in events)
        assert "authenticated" not in admin.review(token)

    def test_is_deleted_if_there_is_no_such_account(self, admin: Client, secrets: str) -> None:
        created = admin.post(secrets, self.secret("nobody")).body
        version = created["metadata"]["resourceVersion"]
        events = admin.watch(secrets, f"resourceVersion={version}&fieldSelector=metadata.name=tok")
        assert next(events)["type"] == "DELETED"

    def test_must_name_an_account(self, admin: Client, secrets: str) -> None:
        refused = admin.post(secrets, {"metadata": {"name": "tok"}, "type": self.TYPE})
        assert refused.refusal[:2] == (422, "Invalid")
        assert refused.body["details"]["causes"][0]["field"] == f"metadata.annotations[{self.NAME}]"


class TestAccess:
    def may(self, client: Client, **attributes: str) -> bool:
        answer = client.post(SSAR, {"spec": {"resourceAttributes": attributes}})
        allowed: bool = answer.body["status"]["allowed"]
        return allowed

    def test_without_or_with_a_wrong_token_nothing_but_health_and_version(
        self, api: KubeApi
    ) -> None:
        for token in ("", "wrong"):
            assert Client(api, token).get("/api/v1/namespaces").refusal[:2] == (401, "Unauthorized")
        assert Client(api, "").get("/readyz") == Answer(200, "ok")
        assert Client(api, "").get("/version").body["major"] == "1"

    def test_a_refusal_says_who_may_not_do_what(self, api: KubeApi, namespace: str) -> None:
        dev = Client(api, "dev-token")
        listed = dev.get(f"/api/v1/namespaces/{namespace}/serviceaccounts")
        assert listed.refusal == (
            403,
            "Forbidden",
            (
                'serviceaccounts is forbidden: User "dev" cannot list resource "serviceaccounts"'
                f' in API group "" in the namespace "{namespace}"'
            ),
        )
        assert dev.get(f"{RBAC}/clusterroles/x").refusal[2] == (
            'clusterroles.rbac.authorization.k8s.io "x" is forbidden: User "dev" cannot get'
            ' resource "clusterroles" in API group "rbac.authorization.k8s.io"'
            " at the cluster scope"
        )
        assert dev.get("/metrics").refusal[2] == 'forbidden: User "dev" cannot get path "/metrics"'

    def test_a_role_grants_what_it_lists_and_where_it_is_bound(
        self, admin: Client, namespace: str
    ) -> None:
        rule = {
            "apiGroups": [""],
            "resources": ["configmaps", "*/token"],
            "resourceNames": ["cm"],
            "verbs": ["get", "create"],
        }
        role = {"metadata": {"name": "r"}, "rules": [rule]}
        admin.post(f"{RBAC}/namespaces/{namespace}/roles", role)
        binding = {
            "metadata": {"name": "b"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "Group", "name": "devs"}],
        }
        assert admin.post(f"{RBAC}/namespaces/{namespace}/rolebindings", binding).code == 201
        dev = Client(admin.api, "dev-token")
        cm = {"resource": "configmaps", "verb": "get", "name": "cm", "namespace": namespace}
        assert self.may(dev, **cm)
        assert self.may(dev, **{**cm, "resource": "serviceaccounts", "subresource": "token"})
        for other in ({"verb": "list"}, {"name": "x"}, {"namespace": "default"}, {"group": "g"}):
            assert not self.may(dev, **{**cm, **other})
        assert dev.get(f"/api/v1/namespaces/{namespace}/configmaps/cm").code == 404

    def test_the_auth_delegator_may_review_tokens(self, admin: Client, namespace: str) -> None:
        admin.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reviewer"}}
        )
        reviewer = Client(admin.api, admin.token_for(namespace, "reviewer"))
        assert reviewer.post(TOKEN_REVIEWS, {"spec": {"token": "x"}}).code == 403
        bind_delegator(admin, namespace, "reviewer")
        assert reviewer.review("x")["error"] == "invalid bearer token"


class TestObjects:
    @pytest.fixture
    def maps(self, namespace: str) -> str:
        return f"/api/v1/namespaces/{namespace}/configmaps"

    def test_each_refusal_has_its_reason(self, admin: Client, maps: str) -> None:
        created = admin.post(maps, config_map(x="1")).body
        stale = {**created, "metadata": {**created["metadata"], "resourceVersion": "1"}}
        other_uid = {"preconditions": {"uid": "other"}}
        found = [
            answer.refusal[:2]
            for answer in (
                admin.get(f"{maps}/none"),
                admin.post(maps, config_map()),
                admin.request("PUT", f"{maps}/cm", stale),
                admin.request("DELETE", f"{maps}/cm", other_uid),
                admin.post(maps, config_map("Bad_Name")),
                admin.post(maps, "{no json"),
                admin.request("PUT", f"{maps}/cm", config_map("other")),
                admin.request("PUT", maps, config_map()),
                admin.request("PATCH", f"{maps}/cm", [], "application/json-patch+json"),
                admin.get(maps.replace("configmaps", "nothings")),
            )
        ]
        assert found == [
            (404, "NotFound"),
            (409, "AlreadyExists"),
            (409, "Conflict"),
            (409, "Conflict"),
            (422, "Invalid"),
            (400, "BadRequest"),
            (400, "BadRequest"),
            (405, "MethodNotAllowed"),
            (415, "UnsupportedMediaType"),
            (404, "NotFound"),
        ]

    def test_a_missing_namespace_is_named(self, admin: Client) -> None:
        refused = admin.post("/api/v1/namespaces/none/configmaps", config_map())
        assert refused.refusal == (404, "NotFound", 'namespaces "none" not found')

    def test_unknown_groups_are_not_answered_with_a_status(self, admin: Client) -> None:
        """As on the real server, so clients must not count on JSON."""
        answer = admin.get("/apis/none.example/v1/things")
        assert answer == Answer(404, "404 page not found\n")

    def test_a_write_that_changes_nothing_keeps_the_version(self, admin: Client, maps: str) -> None:
        created = admin.post(maps, config_map(x="1")).body
        assert admin.merge(f"{maps}/cm", {"data": {"x": "1"}}).body == created

    def test_generate_name_makes_a_name(self, admin: Client, maps: str) -> None:
        created = admin.post(maps, {"metadata": {"generateName": "gen-"}}).body
        assert created["metadata"]["name"].startswith("gen-")

    def test_lists_are_selected_by_label_and_name(self, admin: Client, maps: str) -> None:
        for name in ("a", "b"):
            admin.post(maps, {"metadata": {"name": name, "labels": {"is": name}}})

        def names(query: str) -> list[str]:
            items = admin.get(f"{maps}?{query}").body["items"]
            return [item["metadata"]["name"] for item in items]

        assert names("labelSelector=is%3Da") == names("fieldSelector=metadata.name%3Da") == ["a"]
        assert names("labelSelector=is") == names("labelSelector=is+in+(a,b)") == ["a", "b"]
        assert names("labelSelector=is,is!%3Da") == ["b"]

    def test_secret_strings_are_folded_and_the_type_is_fixed(
        self, admin: Client, namespace: str
    ) -> None:
        path = f"/api/v1/namespaces/{namespace}/secrets"
        created = admin.post(path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}).body
        assert created["data"] == {"a": "Yg=="}
        assert "stringData" not in created
        assert admin.merge(f"{path}/s", {"type": "x"}).refusal == (
            422,
            "Invalid",
            'Secret "s" is invalid: type: Invalid value: "x": field is immutable',
        )

    def test_a_role_ref_cannot_be_changed(self, admin: Client, namespace: str) -> None:
        path = f"{RBAC}/namespaces/{namespace}/rolebindings"
        admin.post(path, {"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}})
        assert admin.merge(f"{path}/b", {"roleRef": {"name": "s"}}).refusal == (
            422,
            "Invalid",
            (
                'RoleBinding.rbac.authorization.k8s.io "b" is invalid: roleRef: Invalid value:'
                ' rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"Role", Name:"s"}:'
                " cannot change roleRef"
            ),
        )

    def test_finalizers_hold_an_object_back(self, admin: Client, maps: str) -> None:
        admin.post(maps, {"metadata": {"name": "cm", "finalizers": ["example.com/hold"]}})
        marked = admin.request("DELETE", f"{maps}/cm").body
        assert marked["metadata"]["deletionTimestamp"]
        admin.merge(f"{maps}/cm", {"metadata": {"finalizers": None}})
        assert admin.get(f"{maps}/cm").code == 404

    def test_a_namespace_is_equipped_and_takes_its_contents_along(
        self, admin: Client, namespace: str
    ) -> None:
        home = f"/api/v1/namespaces/{namespace}"
        for what in ("serviceaccounts", "configmaps"):
            assert next(admin.watch(f"{home}/{what}", ""))["type"] == "ADDED"
        root = admin.get(f"{home}/configmaps/kube-root-ca.crt").body
        assert root["data"]["ca.crt"] == admin.api.ca_pem
        admin.request("DELETE", home)
        assert admin.get(f"{home}/configmaps/kube-root-ca.crt").code == 404

    def test_custom_resources_are_served_in_all_versions_of_their_definition(
        self, admin: Client, namespace: str
    ) -> None:
        group = f"{namespace}.example"
        versions: list[dict[str, Any]] = [
            {"name": name, "served": True, "storage": name == "v1", "subresources": {"status": {}}}
            for name in ("v1", "v1beta1")
        ]
        names = {"plural": "things", "kind": "Thing"}
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
        path = f"/apis/{group}/v1/namespaces/{namespace}/things"
        assert admin.get(path).code == 404
        admin.post(CRDS, {"metadata": {"name": f"things.{group}"}, "spec": spec})
        thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}}
        assert admin.apply(f"{path}/t", {**thing, "spec": {"n": 1}}).code == 201
        admin.merge(f"{path}/t/status", {"status": {"ready": True}})
        beta = admin.get(f"{path}/t".replace("/v1/", "/v1beta1/")).body
        assert (beta["apiVersion"], beta["spec"]) == (f"{group}/v1beta1", {"n": 1})
        assert beta["status"] == {"ready": True}
        discovered = admin.get(f"/apis/{group}/v1").body["resources"]
        assert [entry["name"] for entry in discovered] == ["things", "things/status"]
        admin.request("DELETE", f"{CRDS}/things.{group}")
        assert admin.get(path).code == 404

    def test_custom_resources_get_the_defaults_of_their_schema(
        self, admin: Client, namespace: str
    ) -> None:
        group = f"{namespace}.example"
        part = {"type": "object", "properties": {"mode": {"type": "string", "default": "Owner"}}}
        spec = {
            "type": "object",
            "properties": {
                "target": {**part, "default": {}},
                "absent": part,
                "list": {"type": "array", "items": part},
                "map": {"type": "object", "additionalProperties": part},
            },
        }
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        }
        names = {"plural": "things", "kind": "Thing"}
        definition = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
        admin.post(CRDS, {"metadata": {"name": f"things.{group}"}, "spec": definition})
        path = f"/apis/{group}/v1/namespaces/{namespace}/things"
        thing = {
            "apiVersion": f"{group}/v1",
            "kind": "Thing",
            "metadata": {"name": "t"},
            "spec": {"list": [{}, {"mode": "None"}], "map": {"a": {}}},
        }
        defaulted = {
            "target": {"mode": "Owner"},
            "list": [{"mode": "Owner"}, {"mode": "None"}],
            "map": {"a": {"mode": "Owner"}},
        }
        assert admin.apply(f"{path}/t", thing).body["spec"] == defaulted
        again = admin.apply(f"{path}/t", thing).body
        assert again["spec"] == defaulted
        assert again["metadata"]["generation"] == 1

    def test_the_generation_counts_changes_of_the_content(
        self, admin: Client, namespace: str
    ) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        created = admin.post(path, {"metadata": {"name": "d", "generation": 7}, "spec": {"n": 1}})
        assert created.body["metadata"]["generation"] == 1
        changes = (
            ("", {"metadata": {"labels": {"a": "b"}}}, 1),
            ("/status", {"status": {"replicas": 1}}, 1),
            ("", {"spec": {"n": 2}}, 2),
            ("", {"spec": {"n": 2}, "metadata": {"generation": 9}}, 2),
        )
        for endpoint, patch, generation in changes:
            patched = admin.merge(f"{path}/d{endpoint}", patch).body
            assert patched["metadata"]["generation"] == generation
        maps = admin.post(f"/api/v1/namespaces/{namespace}/configmaps", config_map())
        assert "generation" not in maps.body["metadata"]

    def test_clients_may_ask_for_metadata_alone(self, admin: Client, maps: str) -> None:
        admin.post(maps, config_map(x="1"))
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        headers = {"Authorization": f"Bearer {admin.token}", "Accept": accept}

        def get(path: str) -> Any:
            return admin.pool.request("GET", admin.api.server + path, headers=headers).json()

        one = get(f"{maps}/cm")
        stamp = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        assert one == {**stamp, "metadata": admin.get(f"{maps}/cm").body["metadata"]}
        listed = get(maps)
        assert listed["kind"] == "PartialObjectMetadataList"
        assert one in listed["items"]
        assert get(f"{maps}/absent")["kind"] == "Status"
        url = (
            f"{admin.api.server}{maps}?watch=true&timeoutSeconds=20&fieldSelector=metadata.name=cm"
        )
        watched = admin.pool.request("GET", url, headers=headers, preload_content=False)
        with contextlib.closing(watched):
            assert json.loads(watched.readline()) == {"type": "ADDED", "object": one}

    def test_a_pods_log_says_what_the_test_wants(self, admin: Client, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        assert admin.get(f"{path}/p/log").refusal[1] == "NotFound"
        admin.post(path, {"metadata": {"name": "p"}})
        assert admin.get(f"{path}/p/log").body == ""
        admin.api.logs[f"{namespace}/p"] = "a line\n"
        assert admin.get(f"{path}/p/log?tailLines=10").body == "a line\n"
        assert admin.merge(f"{path}/p/log", {}).code == 405

    @pytest.mark.parametrize(
        ("group", "kind", "namespaced"),
        [
            ("api/v1", "endpoints", True),
            ("apis/discovery.k8s.io/v1", "endpointslices", True),
            ("apis/apps/v1", "replicasets", True),
            ("apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False),
        ],
    )
    def test_kinds_that_an_installation_consists_of_are_stored(
        self, admin: Client, namespace: str, group: str, kind: str, namespaced: bool
    ) -> None:
        where = f"/namespaces/{namespace}" if namespaced else ""
        path = f"/{group}{where}/{kind}"
        assert admin.post(path, {"metadata": {"name": namespace}}).code == 201
        items = admin.get(path).body["items"]
        assert [item["metadata"]["name"] for item in items] == [namespace]

    def test_a_watch_from_a_list_misses_nothing(self, admin: Client, maps: str) -> None:
        version = admin.get(maps).body["metadata"]["resourceVersion"]
        admin.post(maps, config_map(x="1"))
        admin.merge(f"{maps}/cm", {"data": {"x": "2"}})
        admin.request("DELETE", f"{maps}/cm")
        query = f"resourceVersion={version}&fieldSelector=metadata.name=cm"
        events = admin.watch(maps, query)
        assert [next(events)["type"] for _ in range(3)] == ["ADDED", "MODIFIED", "DELETED"]

    def test_requests_are_counted(self, admin: Client, maps: str) -> None:
        admin.post(maps, config_map())
        admin.apply(f"{maps}/cm", config_map())
        made = [tuple(r) for r in admin.api.requests if r.path.startswith(maps)]
        assert made == [("create", maps, 201), ("patch", f"{maps}/cm", 200)]


def test_a_watch_from_a_forgotten_version_is_told_that_it_is_too_old() -> None:
    """The history is bounded, and 410 makes clients list again."""
    from vaultprov.devenv.kube_api import watch
    from vaultprov.devenv.kube_api.selectors import selector
    from vaultprov.devenv.kube_api.store import Store

    store = Store(history=2)
    for name in ("a", "b", "c"):
        store.put(("", "things"), {"metadata": {"name": name}})
    scope = watch.Scope(("", "things"), "", selector("", ""))
    [(kind, status)] = watch.follow(store, scope, 1, 1.0)
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")


def test_no_thread_outlives_the_server() -> None:
    """Not even those of idle connections and open watches."""
    before = set(threading.enumerate())
    with serve() as api:
        client = Client(api)
        assert next(client.watch("/api/v1/namespaces", ""))["type"] == "ADDED"
        idle = socket.create_connection(("127.0.0.1", int(api.server.rpartition(":")[2])))
    assert set(threading.enumerate()) <= before
    idle.close()


def test_the_module_runs_in_the_foreground_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "vaultprov.devenv.kube_api"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        api = KubeApi(ready["server"], ready["ca_pem"], ready["token"], [])
        assert Client(api).get("/api/v1/namespaces/default").code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def bind_delegator(admin: Client, namespace: str, account: str) -> None:
    binding = {
        "metadata": {"name": f"{namespace}-delegator"},
        "roleRef": {"kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    assert admin.post(f"{RBAC}/clusterrolebindings", binding).code == 201


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_works_with_it(api: KubeApi, namespace: str, tmp_path: Path) -> None:
    """Discovery, protobuf bodies, patches, apply and waiting deletion, as kubectl does them."""
    cluster = {"server": api.server, "certificate-authority-data": _b64(api.ca_pem)}
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": api.admin_token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig, manifest = tmp_path / "config", tmp_path / "cm.json"
    kubeconfig.write_text(json.dumps(config))
    manifest.write_text(json.dumps(config_map(x="1")))

    def kubectl(command: str, *more: str) -> str:
        arguments = ["kubectl", "--kubeconfig", str(kubeconfig), "-n", namespace]
        arguments += ["--cache-dir", str(tmp_path / "cache"), *command.split(), *more]
        return subprocess.run(
            arguments, check=True, text=True, capture_output=True, timeout=60
        ).stdout

    other = f"{namespace}-other"
    assert kubectl(f"create ns {other}") == f"namespace/{other} created\n"
    assert other in kubectl("get ns -o name")
    kubectl("create sa sa")
    assert kubectl("create token sa --audience=vault").count(".") == 2
    role = "create clusterrolebinding --clusterrole=system:auth-delegator"
    kubectl(f"{role} {namespace} --serviceaccount={namespace}:sa")
    assert kubectl("auth can-i create serviceaccounts/token") == "yes\n"
    kubectl("create secret generic s --from-literal=a=b")
    kubectl("patch secret s -p", '{"stringData": {"c": "d"}}')
    secret = json.loads(kubectl("get secret s -o json"))
    assert {key: decoded(value) for key, value in secret["data"].items()} == {"a": "b", "c": "d"}
    applied = kubectl(f"apply --server-side --validate=false -f {manifest}")
    assert applied == "configmap/cm serverside-applied\n"
    kubectl(f"delete ns {other}")
    assert other not in kubectl("get ns -o name")


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BAO = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")


@pytest.fixture
def bao() -> Iterator[urllib3.HTTPConnectionPool]:
    """A real OpenBao in development mode."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-dev-root-token-id=root", "-dev-no-store-token"]
    command = [str(BAO), "server", "-dev", *options, f"-dev-listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        retries = urllib3.Retry(total=8, backoff_factor=0.1, status_forcelist=(503,))
        headers = {"X-Vault-Token": "root"}
        pool = urllib3.HTTPConnectionPool("127.0.0.1", port, headers=headers)
        try:
            pool.request("GET", "/v1/sys/health", retries=retries)
            yield pool
        finally:
            process.terminate()


@pytest.mark.skipif(not BAO, reason="OpenBao is not installed")
def test_openbao_logs_an_account_in_until_it_is_deleted(
    admin: Client, namespace: str, bao: urllib3.HTTPConnectionPool
) -> None:
    """The chain that all of this is for: CA, reviewer JWT, TokenReview, login."""
    home = f"/api/v1/namespaces/{namespace}"
    for account in ("reviewer", "app"):
        admin.post(f"{home}/serviceaccounts", {"metadata": {"name": account}})
    bind_delegator(admin, namespace, "reviewer")
    helper = TestTokenSecrets()
    created = admin.post(f"{home}/secrets", helper.secret("reviewer")).body
    version = created["metadata"]["resourceVersion"]
    secret = helper.filled(admin, f"{home}/secrets", version)

    def write(path: str, **body: object) -> urllib3.BaseHTTPResponse:
        return bao.request("POST", f"/v1/{path}", json=body)

    assert write("sys/auth/kubernetes", type="kubernetes").status == 204
    config = write(
        "auth/kubernetes/config",
        kubernetes_host=admin.api.server,
        kubernetes_ca_cert=admin.api.ca_pem,
        token_reviewer_jwt=decoded(secret["data"]["token"]),
        disable_local_ca_jwt=True,
    )
    assert config.status == 204
    role = write(
        "auth/kubernetes/role/app",
        bound_service_account_names=["app"],
        bound_service_account_namespaces=[namespace],
        audience="vault",
    )
    assert role.status in (200, 204)
    jwt = admin.token_for(namespace, "app", "vault")
    login = write("auth/kubernetes/login", role="app", jwt=jwt)
    assert login.json()["auth"]["metadata"]["service_account_name"] == "app"
    admin.request("DELETE", f"{home}/serviceaccounts/app")
    assert write("auth/kubernetes/login", role="app", jwt=jwt).status == 403
