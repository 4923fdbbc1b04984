"""How one cluster's workloads log in: auth mount, config, role and policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.kinds.kind import ByHand, Edit, Kind, Other, Removal, Stranger
from tests.kinds.world import Resources, World
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import Reviewer, ReviewerMode, ServiceAccount
from vaultprov.resource import Key, Ref
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.policy import Policy

HOST = "https://api.smaug:6443"
_NOTE = "Smaug's own words"


def auth_mount(w: World) -> AuthMount:
    return AuthMount(w.mount, "moc", "smaug", "uid-1")


def described(old: str, new: str) -> ByHand:
    return lambda w: w.describe(w.mount, old, new)


def _mounted_by_hand(w: World) -> None:
    w.send(f"sys/auth/{w.mount}", {"type": "kubernetes", "description": _NOTE})


AUTH_MOUNT = Kind(
    "auth-mount",
    AuthMount,
    lambda w: [auth_mount(w)],
    stranger=Stranger(
        _mounted_by_hand, kept=lambda w: w.description(w.mount).endswith(f" | {_NOTE}")
    ),
    twin="without the marker it never has what we want",
    edits=(
        Edit("cluster_uid", described(" cluster-uid=uid-1", ""), how="lost"),
        Edit(
            "cluster_uid",
            described("cluster-uid=uid-1", "cluster-uid=uid-2"),
            "--replace-cluster",
        ),
        Edit("cluster", described("cluster=smaug", "cluster=balrog"), "--replace-cluster"),
        Edit("environment", described("environment=moc", "environment=emea"), "--adopt"),
        Edit("environment", described("environment=moc ", ""), how="lost"),
    ),
    fixed={"type": "Vault has no way to change it; see test_a_mount_of_another_type"},
    others=(
        Other(
            "a note behind the marker",
            described("cluster-uid=uid-1", f"cluster-uid=uid-1 | {_NOTE}"),
            lambda w: w.description(w.mount).endswith(f" | {_NOTE}"),
        ),
        Other(
            "a fact in the marker",
            described("cluster=smaug", "cluster=smaug colour=gold"),
            lambda w: " colour=gold" in w.description(w.mount),
        ),
    ),
)


def service_reviewer(w: World, mode: ReviewerMode) -> Reviewer:
    """A reviewer whose tokens are granted whole by every server."""
    return Reviewer(mode, w.account, duration=3600, renew_before=600)


def _config(w: World, mode: ReviewerMode) -> AuthConfig:
    account = w.account
    needs = [Key("vault/auth", w.mount)]
    jwt = uid = None
    if mode is ReviewerMode.SECRET:
        jwt = Ref(Key("cluster/secret", f"{account.namespace}/reviewer-token"), "token")
    if mode is ReviewerMode.TOKEN:
        uid = Ref(Key("cluster/serviceaccount", str(account)), "uid")
    reviewer = service_reviewer(w, mode)
    return AuthConfig(w.mount, HOST, w.facts.ca_pem, reviewer, jwt, uid, after=tuple(needs))


def account_manifests(account: ServiceAccount) -> list[Manifest]:
    """A ServiceAccount and what it needs."""
    namespace = Manifest(objects.namespace(account.namespace))
    return [namespace, Manifest(objects.service_account(account), after=(namespace.key,))]


def with_secret(w: World) -> Resources:
    manifests = account_manifests(w.account)
    secret = objects.token_secret(w.account, "reviewer-token")
    manifests.append(Manifest(secret, ("type",), wait=30, after=(manifests[-1].key,)))
    return [*manifests, auth_mount(w), _config(w, ReviewerMode.SECRET)]


def with_token(w: World) -> Resources:
    return [*account_manifests(w.account), auth_mount(w), _config(w, ReviewerMode.TOKEN)]


def with_client(w: World) -> Resources:
    return [auth_mount(w), _config(w, ReviewerMode.CLIENT)]


def config_by_hand(w: World, **change: Any) -> None:
    """Somebody writes the whole config, with a JWT of their own unless told otherwise."""
    found = w.find(f"auth/{w.mount}/config")
    has_jwt = found.pop("token_reviewer_jwt_set")
    jwt = {"token_reviewer_jwt": "their.own.token"} if has_jwt else {}
    w.send(f"auth/{w.mount}/config", {**found, **jwt, **change})


def configured(**change: Any) -> ByHand:
    return lambda w: config_by_hand(w, **change)


def _config_kept(**wanted: Any) -> Any:
    return lambda w: w.find(f"auth/{w.mount}/config").items() >= wanted.items()


_CONFIG_EDITS = (
    Edit("kubernetes_host", configured(kubernetes_host="https://api.balrog:6443")),
    Edit(
        "kubernetes_ca_cert", lambda w: config_by_hand(w, kubernetes_ca_cert=w.facts.other_ca_pem)
    ),
    Edit("kubernetes_ca_cert", configured(kubernetes_ca_cert="x"), how="not a certificate"),
    Edit("disable_local_ca_jwt", configured(disable_local_ca_jwt=False)),
)
_CONFIG_OTHERS = (
    Other("an issuer", configured(issuer="https://theirs"), _config_kept(issuer="https://theirs")),
    Other(
        "the issuer check",
        configured(disable_iss_validation=False),
        _config_kept(disable_iss_validation=False),
    ),
    Other(
        "pem keys",
        lambda w: config_by_hand(w, pem_keys=[w.facts.public_key]),
        lambda w: w.find(f"auth/{w.mount}/config")["pem_keys"] == [w.facts.public_key],
    ),
    Other("a slash behind the host", configured(kubernetes_host=f"{HOST}/")),
    Other(
        "words around the certificate",
        lambda w: config_by_hand(w, kubernetes_ca_cert=f"# Smaug\n{w.facts.ca_pem}\n\n"),
    ),
    Other(
        "a note behind the marker",
        lambda w: w.describe(w.mount, w.description(w.mount), f"{w.description(w.mount)} | note"),
        lambda w: w.description(w.mount).endswith(" | note"),
    ),
)
NO_MARKER = "it has no marker of its own: its mount's is asked"


def _config_kind(
    name: str,
    make: Any,
    edits: Sequence[Edit],
    others: Sequence[Other] = _CONFIG_OTHERS,
) -> Kind:
    return Kind(
        name,
        AuthConfig,
        make,
        stranger=NO_MARKER,
        twin=NO_MARKER,
        edits=(*_CONFIG_EDITS, *edits),
        others=tuple(others),
        removal=Removal.NOTHING_TO_DO,
    )


CONFIG_WITH_SECRET = _config_kind(
    "config-secret",
    with_secret,
    (
        Edit("token_reviewer_jwt", configured(token_reviewer_jwt=""), how="erased"),
        Edit("token_reviewer_jwt", described("reviewer=sha256:", "reviewer=sha256:0")),
    ),
    # A JWT that somebody replaced cannot be seen: Vault never tells. The proof finds it.
    (*_CONFIG_OTHERS, Other("a reviewer JWT of their own", configured())),
)
CONFIG_WITH_TOKEN = _config_kind(
    "config-token",
    with_token,
    (
        Edit("reviewer_valid", configured(token_reviewer_jwt=""), how="erased"),
        Edit("reviewer_valid", described("reviewer-expires=2", "reviewer-expires=1"), how="ended"),
        Edit("reviewer_account_uid", described("reviewer-account=", "reviewer-account=0")),
    ),
)
CONFIG_WITH_CLIENT = _config_kind(
    "config-client",
    with_client,
    (Edit("token_reviewer_jwt", configured(token_reviewer_jwt="their.own.token")),),
)


def role_path(w: World) -> str:
    return f"auth/{w.mount}/role/moc-ops"


def _role(w: World, *, exclusive: bool) -> Resources:
    accounts = (ServiceAccount("external-secrets", "fetcher"), ServiceAccount("web", "reader"))
    mount = auth_mount(w)
    fixed = (w.mount, "moc-ops", accounts, ("moc-kv-r",), 3600, "vault", exclusive)
    return [mount, Role(*fixed, after=(mount.key,))]


def role(w: World) -> Resources:
    return _role(w, exclusive=False)


def exclusive_role(w: World) -> Resources:
    return _role(w, exclusive=True)


def role_by_hand(w: World, **change: Any) -> None:
    """Somebody writes some fields of the role, and the selector, which would be lost."""
    kept = w.find(role_path(w))[_SELECTOR]
    w.send(role_path(w), {_SELECTOR: kept, **change})


def bound(**change: Any) -> ByHand:
    return lambda w: role_by_hand(w, **change)


def _role_has(field: str, member: str) -> Any:
    return lambda w: member in w.find(role_path(w))[field]


_NAMES = "bound_service_account_names"
_NAMESPACES = "bound_service_account_namespaces"
_SELECTOR = "bound_service_account_namespace_selector"
_TEAM = '{"matchLabels":{"team":"dragons"}}'
_ROLE_EDITS = (
    Edit("alias_name_source", bound(alias_name_source="serviceaccount_name")),
    Edit(_NAMES, bound(**{_NAMES: ["fetcher", "theirs"]})),
    Edit(_NAMESPACES, bound(**{_NAMESPACES: ["theirs"]})),
    Edit("token_policies", bound(token_policies=["theirs"])),
    Edit("token_policies", bound(policies="theirs"), how="legacy"),
    Edit("token_ttl", bound(token_ttl="2h")),
    Edit("token_ttl", bound(ttl="2h"), how="legacy"),
)
_ROLE_OTHERS = (
    Other(
        "a namespace selector",
        bound(**{_SELECTOR: _TEAM}),
        lambda w: w.find(role_path(w))[_SELECTOR] == _TEAM,
    ),
    Other(
        "a longest lifetime",
        bound(token_max_ttl=7200),
        lambda w: w.find(role_path(w))["token_max_ttl"] == 7200,
    ),
    Other("no audience", bound(audience=""), lambda w: not w.find(role_path(w)).get("audience")),
    Other(
        "another audience",
        bound(audience="api"),
        lambda w: w.find(role_path(w))["audience"] == "api",
    ),
    Other("the ttl spelled as a duration", bound(token_ttl="60m")),
    Other("legacy ttl and policies", bound(ttl="1h", policies="moc-kv-r")),
    Other("upper-case policies", bound(token_policies=["MOC-kv-r"])),
)
ROLE_STRANGER = "a role has no place for a marker: its mount's is asked"

ROLE = Kind(
    "role",
    Role,
    role,
    stranger=ROLE_STRANGER,
    twin=lambda w: w.send(
        role_path(w),
        {
            _NAMES: "reader,fetcher",
            _NAMESPACES: "web,external-secrets",
            "policies": "moc-kv-r",
            "ttl": "1h",
        },
    ),
    edits=_ROLE_EDITS,
    fixed={"audience": "set on what we create, never on what exists: see `others`"},
    others=(
        *_ROLE_OTHERS,
        Other("a name", bound(**{_NAMES: ["x", "fetcher", "reader"]}), _role_has(_NAMES, "x")),
        Other(
            "a namespace",
            bound(**{_NAMESPACES: ["external-secrets", "web", "x"]}),
            _role_has(_NAMESPACES, "x"),
        ),
        Other(
            "a policy", bound(token_policies=["x", "moc-kv-r"]), _role_has("token_policies", "x")
        ),
        Other("every namespace", bound(**{_NAMESPACES: ["*"]}), _role_has(_NAMESPACES, "*")),
        Other("every name", bound(**{_NAMES: ["*"]}), _role_has(_NAMES, "*")),
        Other(
            "namespaces by prefix",
            bound(**{_NAMESPACES: ["ext*", "we*"]}),
            _role_has(_NAMESPACES, "ext*"),
        ),
        Other(
            "namespaces by suffix",
            bound(**{_NAMESPACES: ["*-secrets", "web"]}),
            _role_has(_NAMESPACES, "*-secrets"),
        ),
    ),
)
EXCLUSIVE_ROLE = Kind(
    "role-exclusive",
    Role,
    exclusive_role,
    stranger=ROLE_STRANGER,
    twin=ROLE.twin,
    edits=(
        *_ROLE_EDITS,
        Edit(_NAMES, bound(**{_NAMES: ["fetcher", "reader", "x"]}), how="added"),
        Edit(_NAMESPACES, bound(**{_NAMESPACES: ["*"]}), how="glob"),
        Edit("token_policies", bound(token_policies=["moc-kv-r", "x"]), how="added"),
    ),
    fixed=ROLE.fixed,
    others=_ROLE_OTHERS,
)

RULES = 'path "k8s_secrets/data/moc/*" {\n  capabilities = ["read", "list"]\n}\n'
_SAME_RULES = '# theirs\npath "k8s_secrets/data/moc/*" { capabilities = ["list","read"] }'


def policy_path(w: World) -> str:
    return f"sys/policies/acl/moc-{w.id}-kv-r"


def policy_by_hand(text: str) -> ByHand:
    return lambda w: w.send(policy_path(w), {"policy": text})


def _rewritten(old: str, new: str) -> ByHand:
    def edit(w: World) -> None:
        text = w.find(policy_path(w))["policy"]
        assert old in text
        w.send(policy_path(w), {"policy": text.replace(old, new)})

    return edit


POLICY = Kind(
    "policy",
    Policy,
    lambda w: [Policy(f"moc-{w.id}-kv-r", RULES)],
    stranger=Stranger(policy_by_hand('path "theirs/*" { capabilities = ["read"] }')),
    twin=policy_by_hand(_SAME_RULES),
    edits=(
        Edit("path", _rewritten('"read", ', ""), how="narrowed"),
        Edit("path", _rewritten("path", 'path "more" { capabilities = ["sudo"] }\npath')),
        Edit("path", policy_by_hand('path "theirs" { capabilities = ["read"] }'), "--adopt"),
    ),
    others=(
        Other("a comment", _rewritten("path", "# why\npath")),
        Other("another spelling", _rewritten('["read", "list"]', '[ "list","read" ]')),
        Other(
            "a spelling without our marker",
            policy_by_hand(_SAME_RULES),
        ),
    ),
)
