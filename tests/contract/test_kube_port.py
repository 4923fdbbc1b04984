"""What every KubePort does: absence, server-side apply, watches, tokens, rights and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import KubeSubject
from tests.fakes.hands import Object
from vaultprov.errors import Denied, NotConverged, Rejected, Unreachable
from vaultprov.jwt import PublicKey, claims, header
from vaultprov.kube import objects
from vaultprov.kube.manifest import FIELD_MANAGER
from vaultprov.model import ServiceAccount
from vaultprov.resource import KubeRight

LABEL = {"app.kubernetes.io/managed-by": "vaultprov"}


@pytest.fixture
def account(cluster: KubeSubject, unique: str) -> ServiceAccount:
    """A ServiceAccount in a namespace of its own."""
    made = ServiceAccount(f"ns-{unique}", "reviewer")
    cluster.port.apply(objects.namespace(made.namespace))
    cluster.port.apply(objects.service_account(made))
    return made


def managers(live: Object | None) -> set[str]:
    assert live is not None
    return {entry["manager"] for entry in live["metadata"]["managedFields"]}


def filled(live: dict[str, Any]) -> bool:
    return "token" in (live.get("data") or {})


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Authorizers see new roles a moment later."""
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        pass
    return true()


def manifests(account: ServiceAccount, unique: str) -> list[Object]:
    return [
        objects.namespace(account.namespace),
        objects.service_account(account),
        objects.token_secret(account, "reviewer-token"),
        objects.reviewer_binding(f"binding-{unique}", account),
    ]


def test_what_is_absent_reads_as_none(cluster: KubeSubject, unique: str) -> None:
    for manifest in manifests(ServiceAccount(f"none-{unique}", "none"), unique):
        assert cluster.port.get(manifest) is None


def test_items_are_those_of_a_namespace_and_a_selector(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    """Each says of what kind it is; a selector that nothing has selects nothing."""
    other = ServiceAccount(account.namespace, "other")
    cluster.port.apply(objects.service_account(other))
    label = "app.kubernetes.io/managed-by=vaultprov"
    found = cluster.port.items("v1", "ServiceAccount", account.namespace, label)
    assert found is not None
    assert {each["metadata"]["name"] for each in found} == {"reviewer", "other"}
    assert {(each["apiVersion"], each["kind"]) for each in found} == {("v1", "ServiceAccount")}
    assert cluster.port.items("v1", "ServiceAccount", account.namespace, "app=none") == []
    everywhere = cluster.port.items("v1", "ServiceAccount") or []
    assert {account.namespace} <= {each["metadata"]["namespace"] for each in everywhere}


def test_items_of_a_kind_that_the_api_does_not_know_are_none(cluster: KubeSubject) -> None:
    assert cluster.port.items("no-such-group.test/v1", "Thing") is None


def test_an_annotation_leaves_the_rest_as_it_is(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    cluster.port.annotate(objects.service_account(account), {"vaultprov/touched": "now"})
    live = cluster.port.get(objects.service_account(account))
    assert live is not None
    assert live["metadata"]["annotations"]["vaultprov/touched"] == "now"
    assert live["metadata"]["labels"].items() >= LABEL.items()


def test_only_what_exists_is_annotated(cluster: KubeSubject, account: ServiceAccount) -> None:
    absent = objects.service_account(ServiceAccount(account.namespace, "absent"))
    with pytest.raises(Rejected):
        cluster.port.annotate(absent, {"a": "b"})
    assert cluster.port.get(absent) is None


def test_what_exists_is_not_created_again(cluster: KubeSubject, account: ServiceAccount) -> None:
    made = objects.service_account(ServiceAccount(account.namespace, "made"))
    assert cluster.port.create(made)["metadata"]["name"] == "made"
    with pytest.raises((Rejected, Unreachable)):
        cluster.port.create(made)


def test_deleting_what_is_absent_is_fine(cluster: KubeSubject, unique: str) -> None:
    for manifest in manifests(ServiceAccount(f"none-{unique}", "none"), unique):
        cluster.port.delete(manifest)


def test_what_is_applied_reads_back(
    cluster: KubeSubject, account: ServiceAccount, unique: str
) -> None:
    """With everything the manifest sets, a uid, and our name among the managers."""
    for manifest in manifests(account, unique):
        applied = cluster.port.apply(manifest)
        live = cluster.port.get(manifest)
        assert live is not None
        assert live["metadata"]["uid"] == applied["metadata"]["uid"]
        assert FIELD_MANAGER in managers(live)
        assert live["metadata"]["labels"].items() >= LABEL.items()
        rest = {k: v for k, v in manifest.items() if k != "metadata"}
        assert {name: live[name] for name in rest} == rest


def test_the_namespace_of_the_system_is_there(cluster: KubeSubject) -> None:
    """Its uid identifies the cluster."""
    found = cluster.port.get(objects.bare_namespace("kube-system"))
    assert found is not None
    assert found["metadata"]["uid"]


def test_applying_again_changes_nothing(cluster: KubeSubject, account: ServiceAccount) -> None:
    manifest = objects.service_account(account)
    before = cluster.port.get(manifest)
    cluster.port.apply(manifest)
    after = cluster.port.get(manifest)
    assert before is not None
    assert after is not None
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert managers(before) - {"kube-controller-manager"} == {FIELD_MANAGER}
    assert managers(after) - {"kube-controller-manager"} == {FIELD_MANAGER}


def test_foreign_labels_and_fields_survive_an_apply(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    manifest = objects.service_account(account)
    theirs = {
        "metadata": {"labels": {"team": "dragons"}, "annotations": {"note": "hoard"}},
        "imagePullSecrets": [{"name": "pull"}],
    }
    cluster.hands.patch(manifest, theirs)
    cluster.port.apply(manifest)
    live = cluster.port.get(manifest)
    assert live is not None
    assert live["metadata"]["labels"] == {**LABEL, "team": "dragons"}
    assert live["metadata"]["annotations"] == {"note": "hoard"}
    assert live["imagePullSecrets"] == [{"name": "pull"}]
    assert managers(live) >= {FIELD_MANAGER, "kubectl-edit"}


def test_applying_takes_over_what_somebody_else_set(
    cluster: KubeSubject, account: ServiceAccount, unique: str
) -> None:
    manifest = objects.reviewer_binding(f"binding-{unique}", account)
    cluster.port.apply(manifest)
    theirs = {"subjects": [], "metadata": {"labels": {"app.kubernetes.io/managed-by": "helm"}}}
    cluster.hands.patch(manifest, theirs)
    cluster.port.apply(manifest)
    live = cluster.port.get(manifest)
    assert live is not None
    assert live["subjects"] == manifest["subjects"]
    assert live["metadata"]["labels"] == LABEL
    assert managers(live) == {FIELD_MANAGER}


def test_what_somebody_created_has_not_our_manager_until_we_apply(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    theirs = ServiceAccount(account.namespace, "theirs")
    bare = objects.service_account(theirs)
    bare["metadata"] = {k: v for k, v in bare["metadata"].items() if k != "labels"}
    cluster.hands.create({**bare, "imagePullSecrets": [{"name": "pull"}]})
    assert FIELD_MANAGER not in managers(cluster.port.get(bare))
    cluster.port.apply(objects.service_account(theirs))
    live = cluster.port.get(bare)
    assert FIELD_MANAGER in managers(live)
    assert live is not None
    assert live["imagePullSecrets"] == [{"name": "pull"}]


def test_somebody_who_takes_our_only_field_drops_our_manager(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    manifest = objects.service_account(account)
    label = {"app.kubernetes.io/managed-by": "helm"}
    cluster.hands.patch(manifest, {"metadata": {"labels": label}})
    assert FIELD_MANAGER not in managers(cluster.port.get(manifest))


def test_what_we_do_not_apply_any_more_goes(cluster: KubeSubject, account: ServiceAccount) -> None:
    manifest = objects.service_account(account)
    labelled = {**manifest["metadata"], "labels": {**LABEL, "more": "label"}}
    cluster.port.apply({**manifest, "metadata": labelled})
    cluster.port.apply(manifest)
    live = cluster.port.get(manifest)
    assert live is not None
    assert live["metadata"]["labels"] == LABEL


def test_immutable_fields_are_rejected(
    cluster: KubeSubject, account: ServiceAccount, unique: str
) -> None:
    binding = objects.reviewer_binding(f"binding-{unique}", account)
    secret = objects.token_secret(account, "reviewer-token")
    other = {**binding, "roleRef": {**binding["roleRef"], "name": "view"}}
    for manifest, changed in ((binding, other), (secret, {**secret, "type": "Opaque"})):
        cluster.port.apply(manifest)
        with pytest.raises(Rejected):
            cluster.port.apply(changed)


def test_deleting_makes_it_absent(
    cluster: KubeSubject, account: ServiceAccount, unique: str
) -> None:
    for manifest in reversed(manifests(account, unique)[1:]):
        cluster.port.apply(manifest)
        cluster.port.delete(manifest)
        assert cluster.port.get(manifest) is None


def test_a_deleted_namespace_is_gone_or_going(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    manifest = objects.namespace(account.namespace)
    cluster.port.delete(manifest)
    live = cluster.port.get(manifest)
    assert live is None or live["metadata"]["deletionTimestamp"]


def test_waiting_ends_when_the_token_is_filled_in(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    manifest = objects.token_secret(account, "reviewer-token")
    cluster.port.apply(manifest)
    live = cluster.port.wait(manifest, filled, 30)
    assert filled(live)
    assert (live["apiVersion"], live["kind"]) == ("v1", "Secret")
    assert live["metadata"]["name"] == "reviewer-token"


def test_waiting_returns_at_once_when_it_is_ready_already(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    manifest = objects.service_account(account)
    live = cluster.port.wait(manifest, lambda _: True, 30)
    assert live["metadata"]["name"] == account.name


def test_waiting_gives_up_after_its_time(cluster: KubeSubject, account: ServiceAccount) -> None:
    """The token controller fills nothing for a ServiceAccount that does not exist."""
    manifest = objects.token_secret(ServiceAccount(account.namespace, "ghost"), "ghost-token")
    cluster.port.apply(manifest)
    started = time.monotonic()
    with pytest.raises(NotConverged, match="did not become ready within 1 s"):
        cluster.port.wait(manifest, filled, 1)
    assert 1 <= time.monotonic() - started < 10


def test_a_token_is_for_its_account_and_the_api_by_default(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    granted = cluster.port.request_token(account.namespace, account.name, (), 3600)
    said = claims(granted.token)
    assert said["sub"] == f"system:serviceaccount:{account.namespace}:{account.name}"
    assert said["aud"] == ["https://kubernetes.default.svc"]


def test_a_token_ends_when_it_says(cluster: KubeSubject, account: ServiceAccount) -> None:
    before = time.time()
    granted = cluster.port.request_token(account.namespace, account.name, (), 3600)
    assert before + 3590 <= granted.expires <= time.time() + 3600
    assert abs(claims(granted.token)["exp"] - granted.expires) <= 1


def test_a_token_has_the_audiences_asked_for(cluster: KubeSubject, account: ServiceAccount) -> None:
    granted = cluster.port.request_token(account.namespace, account.name, ("vault", "b"), 600)
    assert claims(granted.token)["aud"] == ["vault", "b"]


def test_two_tokens_differ(cluster: KubeSubject, account: ServiceAccount) -> None:
    """In value; at the same second the API may grant the same one, hence the audience."""
    tokens = {
        cluster.port.request_token(account.namespace, account.name, (audience,), 600).token
        for audience in ("a", "b")
    }
    assert len(tokens) == 2


def test_a_token_of_less_than_ten_minutes_is_rejected(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    with pytest.raises(Rejected, match="10 minutes"):
        cluster.port.request_token(account.namespace, account.name, (), 60)


@pytest.mark.parametrize("where", ["{ns}", "none-{ns}"])
def test_a_token_for_an_unknown_account_is_rejected(
    cluster: KubeSubject, account: ServiceAccount, where: str
) -> None:
    namespace = where.format(ns=account.namespace)
    with pytest.raises(Rejected, match=f"no ServiceAccount {namespace}/ghost"):
        cluster.port.request_token(namespace, "ghost", (), 600)


def test_an_administrator_is_allowed_everything(cluster: KubeSubject) -> None:
    assert cluster.port.allowed(KubeRight("patch", "", "namespaces", None, "x"))
    assert cluster.port.allowed(KubeRight("create", "", "serviceaccounts/token", "ns", "x"))
    assert cluster.port.allowed(
        KubeRight("delete", "rbac.authorization.k8s.io", "clusterrolebindings", None, "x")
    )


def test_others_are_allowed_what_their_roles_say(
    cluster: KubeSubject, account: ServiceAccount
) -> None:
    """Verb, resource, namespace and name all count, and a subresource is not its resource."""
    right = KubeRight("get", "", "serviceaccounts", account.namespace, account.name)
    port = cluster.limited(right)
    assert eventually(lambda: port.allowed(right))
    for other in (
        KubeRight("patch", "", "serviceaccounts", account.namespace, account.name),
        KubeRight("get", "", "secrets", account.namespace, account.name),
        KubeRight("get", "", "serviceaccounts", "default", account.name),
        KubeRight("get", "", "serviceaccounts", account.namespace, "other"),
        KubeRight("get", "", "serviceaccounts/token", account.namespace, account.name),
        KubeRight("get", "", "serviceaccounts", None, account.name),
    ):
        assert not port.allowed(other), other


def test_a_subresource_is_a_right_of_its_own(cluster: KubeSubject, account: ServiceAccount) -> None:
    right = KubeRight("create", "", "serviceaccounts/token", account.namespace, account.name)
    port = cluster.limited(right)
    assert eventually(lambda: port.allowed(right))
    whole = KubeRight("create", "", "serviceaccounts", account.namespace, account.name)
    assert not port.allowed(whole)
    assert port.request_token(account.namespace, account.name, (), 600).expires > time.time()


def test_what_is_not_allowed_is_denied(cluster: KubeSubject, account: ServiceAccount) -> None:
    """403 is never "absent"."""
    right = KubeRight("get", "", "serviceaccounts", account.namespace, account.name)
    port = cluster.limited(right)
    assert eventually(lambda: port.allowed(right))
    assert port.get(objects.service_account(account))
    secret = objects.token_secret(account, "none")
    attempts: tuple[Callable[[], object], ...] = (
        lambda: port.get(secret),
        lambda: port.apply(objects.service_account(account)),
        lambda: port.delete(objects.service_account(account)),
        lambda: port.wait(secret, filled, 1),
        lambda: port.request_token(account.namespace, account.name, (), 600),
    )
    for attempt in attempts:
        with pytest.raises(Denied):
            attempt()


def test_a_wrong_token_is_denied(cluster: KubeSubject) -> None:
    with pytest.raises(Denied, match="credentials are not valid"):
        cluster.wrong_token().get(objects.bare_namespace("kube-system"))


def test_a_server_that_is_not_there_is_unreachable(cluster: KubeSubject) -> None:
    with pytest.raises(Unreachable) as caught:
        cluster.unreachable().get(objects.bare_namespace("kube-system"))
    assert not caught.value.transient


def test_applying_into_a_namespace_that_does_not_exist_is_rejected(
    cluster: KubeSubject, unique: str
) -> None:
    """The API answers 404; nothing was written, so that must not look like success."""
    manifest = objects.service_account(ServiceAccount(f"none-{unique}", "none"))
    with pytest.raises(Rejected, match="not found"):
        cluster.port.apply(manifest)


def test_the_signing_keys_check_a_token(cluster: KubeSubject, account: ServiceAccount) -> None:
    """The key that a token names is among them, and can be written as PEM."""
    cluster.port.apply(objects.namespace(account.namespace))
    cluster.port.apply(objects.service_account(account))
    granted = cluster.port.request_token(account.namespace, account.name, (), 600)
    named = header(granted.token)["kid"]
    (key,) = [key for key in cluster.port.signing_keys() if key["kid"] == named]
    public = PublicKey.of_jwk(key)
    assert public is not None
    assert PublicKey.of_pem(public.pem) == public
    assert claims(granted.token)["iss"] == cluster.port.token_issuer()


def test_the_versions_of_a_group(cluster: KubeSubject) -> None:
    """Those that are served; none of a group that nobody knows."""
    assert "v1" in cluster.port.versions("rbac.authorization.k8s.io")
    assert cluster.port.versions("nobody.example.org") == ()
