"""The cluster's kinds: a Manifest for every builder."""

from __future__ import annotations

from typing import Any

from tests.fakes.hands import Object
from tests.kinds.kind import ByHand, Edit, Kind, Other, Removal, Stranger
from tests.kinds.login_kinds import account_manifests
from tests.kinds.world import Resources, World
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import ServiceAccount

_LABELS = "metadata.labels"
_TAKEN_OVER = "our only field: who takes it over takes over the object, and it stays as it is"
_THEIR_LABELS = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "helm"}}}


def namespace(w: World) -> Object:
    return objects.namespace(w.account.namespace)


def service_account(w: World) -> Object:
    return objects.service_account(w.account)


def token_secret(w: World) -> Object:
    return objects.token_secret(w.account, "reviewer-token")


def binding(w: World) -> Object:
    return objects.reviewer_binding(f"reviewer-{w.id}", ServiceAccount("web", "reader"))


def bare(manifest: Object, **change: Any) -> Object:
    """A manifest as somebody else would write it: without our labels."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "labels"}
    return {**manifest, **change, "metadata": metadata}


def _has(manifest: Any, *way: str) -> Any:
    """Whether the live object has something at the end of that way."""

    def still(w: World) -> bool:
        place: Any = w.hands.live(manifest(w))
        for name in way:
            place = (place or {}).get(name)
        return bool(place)

    return still


def _labelled(manifest: Any) -> tuple[Other, ...]:
    added = {"metadata": {"labels": {"team": "dragons"}, "annotations": {"note": "hoard"}}}
    return (
        Other(
            "a label and an annotation",
            lambda w: w.hands.patch(manifest(w), added),
            lambda w: (
                _has(manifest, "metadata", "labels", "team")(w)
                and _has(manifest, "metadata", "annotations", "note")(w)
            ),
        ),
    )


def _unlabelled_twin(manifest: Any) -> ByHand:
    return lambda w: w.hands.create(bare(manifest(w)))


def _patched(manifest: Any, patch: Object) -> ByHand:
    return lambda w: w.hands.patch(manifest(w), patch)


def _made_anew(manifest: Any, **change: Any) -> ByHand:
    def edit(w: World) -> None:
        w.hands.delete(manifest(w))
        w.hands.create(bare(manifest(w), **change))

    return edit


BARE_NAMESPACE = Kind(
    "bare-namespace",
    objects.bare_namespace,
    lambda _: [Manifest(objects.bare_namespace("kube-system"))],
    stranger="nothing of it is ours",
    twin=lambda _: None,  # every cluster has it
    removal=Removal.NEVER_TRIED,
)

NAMESPACE = Kind(
    "namespace",
    objects.namespace,
    lambda w: [Manifest(namespace(w))],
    stranger="nothing is asked of a namespace that exists",
    twin=_unlabelled_twin(namespace),
    fixed={_LABELS: _TAKEN_OVER},
    others=(
        Other("our label taken over", _patched(namespace, _THEIR_LABELS)),
        Other("a label", _patched(namespace, {"metadata": {"labels": {"team": "dragons"}}})),
    ),
)

SERVICE_ACCOUNT = Kind(
    "service-account",
    objects.service_account,
    lambda w: account_manifests(w.account),
    stranger="nothing is asked of a ServiceAccount that exists",
    twin=_unlabelled_twin(service_account),
    fixed={_LABELS: _TAKEN_OVER},
    others=(
        Other("our label taken over", _patched(service_account, _THEIR_LABELS)),
        Other("pull secrets", _patched(service_account, {"imagePullSecrets": [{"name": "x"}]})),
    ),
)

_VIEW = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_SOMEBODY = [{"kind": "ServiceAccount", "name": "somebody", "namespace": "web"}]


def _other_role(w: World) -> None:
    """As an older vaultprov would have made it."""
    w.hands.delete(binding(w))
    w.kube.port.apply({**binding(w), "roleRef": _VIEW})


def _bound_by_hand(w: World) -> None:
    w.hands.create(bare(binding(w), subjects=_SOMEBODY))
    w.hands.patch(binding(w), {"metadata": {"labels": {"team": "dragons"}}})


REVIEWER_BINDING = Kind(
    "reviewer-binding",
    objects.reviewer_binding,
    lambda w: [Manifest(binding(w), immutable=("roleRef",))],
    stranger=Stranger(_bound_by_hand, kept=_has(binding, "metadata", "labels", "team")),
    twin=_unlabelled_twin(binding),
    edits=(
        Edit("subjects", _patched(binding, {"subjects": _SOMEBODY})),
        Edit("subjects", _patched(binding, {"subjects": None}), how="removed"),
        Edit(_LABELS, _patched(binding, _THEIR_LABELS)),
        Edit("roleRef", _other_role),
        Edit("roleRef", _made_anew(binding, roleRef=_VIEW), "--adopt", how="made anew"),
    ),
    others=_labelled(binding),
)


def _secret(w: World) -> Resources:
    needs = account_manifests(w.account)
    return [*needs, Manifest(token_secret(w), ("type",), wait=30, after=(needs[-1].key,))]


def _filled_by_hand(w: World) -> None:
    w.hands.create(bare(token_secret(w)))
    w.kube.port.wait(token_secret(w), lambda live: "token" in (live.get("data") or {}), 30)


TOKEN_SECRET = Kind(
    "token-secret",
    objects.token_secret,
    _secret,
    stranger=Stranger(lambda w: w.hands.create(bare(token_secret(w), type="Opaque"))),
    twin=_filled_by_hand,
    edits=(
        Edit(_LABELS, _patched(token_secret, _THEIR_LABELS)),
        Edit("type", _made_anew(token_secret, type="Opaque"), "--adopt", also=("data.token",)),
    ),
    fixed={
        "metadata.annotations": "the API demands it, and the token controller removes a Secret "
        "whose ServiceAccount is another",
        "data.token": "the token controller fills it in again; see the edit of `type`",
    },
    others=_labelled(token_secret),
)
