"""What the site has once: the key-value store, and how people log in."""

from __future__ import annotations

from typing import Any

from tests.kinds.kind import NO_FLAG_HELPS, ByHand, Edit, Kind, Other, Removal, Stranger
from tests.kinds.world import Resources, World
from vaultprov.model import Oidc
from vaultprov.redact import Secret
from vaultprov.vault.oidc import OidcConfig, OidcMount, OidcRole
from vaultprov.vault.secrets_mount import SecretsMount

_SECRET = "generated-by-the-provider"
_REDIRECT = "http://localhost:8250/oidc/callback"


def _store(w: World) -> str:
    return f"kv-{w.id}"


def _remounted(**fields: Any) -> ByHand:
    def edit(w: World) -> None:
        w.drop(f"sys/mounts/{_store(w)}")
        w.send(f"sys/mounts/{_store(w)}", fields)

    return edit


SECRETS_MOUNT = Kind(
    "secrets-mount",
    SecretsMount,
    lambda w: [SecretsMount(_store(w))],
    stranger=Stranger(
        lambda w: w.send(f"sys/mounts/{_store(w)}", {"type": "kv"}), flag=NO_FLAG_HELPS
    ),
    twin=lambda w: w.send(
        f"sys/mounts/{_store(w)}",
        {"type": "kv", "options": {"version": "2"}, "description": "theirs"},
    ),
    edits=(
        Edit("version", _remounted(type="kv"), NO_FLAG_HELPS),
        Edit("type", _remounted(type="transit"), NO_FLAG_HELPS, also=("version",)),
    ),
    removal=Removal.REFUSED,
)


def _oidc_remounted(w: World) -> None:
    w.drop(f"sys/auth/{w.oidc}")
    w.send(f"sys/auth/{w.oidc}", {"type": "kubernetes"})


OIDC_MOUNT = Kind(
    "oidc-mount",
    OidcMount,
    lambda w: [OidcMount(w.oidc)],
    stranger=Stranger(
        lambda w: w.send(f"sys/auth/{w.oidc}", {"type": "kubernetes"}), flag=NO_FLAG_HELPS
    ),
    twin=lambda w: w.send(f"sys/auth/{w.oidc}", {"type": "oidc", "description": "theirs"}),
    edits=(Edit("type", _oidc_remounted, NO_FLAG_HELPS),),
    removal=Removal.REFUSED,
)


def _settings(w: World) -> Oidc:
    return Oidc(
        mount=w.oidc,
        discovery_url=f"{w.facts.issuer}/",
        client_id="vaultprov",
        scopes=("openid", "groups"),
        redirect_uris=(_REDIRECT, "https://vault/ui/callback"),
    )


def oidc_config(w: World) -> Resources:
    mount = OidcMount(w.oidc)
    return [mount, OidcConfig(_settings(w), Secret(_SECRET), after=(mount.key,))]


def _config_by_hand(w: World, **change: Any) -> None:
    """Somebody writes the whole config."""
    found = w.vault.port.read(f"auth/{w.oidc}/config") or {}
    blank = {
        "oidc_discovery_url": w.facts.issuer,
        "oidc_client_id": "vaultprov",
        "oidc_client_secret": _SECRET,
    }
    kept = {k: v for k, v in found.items() if v not in (None, "", [], {})}
    w.send(f"auth/{w.oidc}/config", {**blank, **kept, **change})


def _configured(**change: Any) -> ByHand:
    return lambda w: _config_by_hand(w, **change)


def _unmark(w: World) -> None:
    """The mount is somebody else's."""
    w.describe(w.oidc, w.description(w.oidc), "by hand")


def _stranger_config(w: World) -> None:
    _unmark(w)
    _config_by_hand(w, bound_issuer=w.facts.issuer)


OIDC_CONFIG = Kind(
    "oidc-config",
    OidcConfig,
    oidc_config,
    stranger=Stranger(
        _stranger_config,
        kept=lambda w: w.find(f"auth/{w.oidc}/config")["bound_issuer"] == w.facts.issuer,
    ),
    twin="its client secret cannot be read, so without a marker it never is known to be right",
    edits=(
        Edit("oidc_client_id", _configured(oidc_client_id="theirs")),
        Edit("default_role", _configured(default_role="theirs")),
        Edit(
            "oidc_discovery_url",
            lambda w: _config_by_hand(w, oidc_discovery_url=w.facts.other_issuer),
        ),
        Edit(
            "oidc_client_secret",
            lambda w: w.describe(w.oidc, "client-secret=sha256:", "client-secret=sha256:0"),
        ),
    ),
    others=(
        Other(
            "a bound issuer",
            lambda w: _config_by_hand(w, bound_issuer=w.facts.issuer),
            lambda w: w.find(f"auth/{w.oidc}/config")["bound_issuer"] == w.facts.issuer,
        ),
        Other(
            "the namespace in the state",
            _configured(namespace_in_state=True),
            lambda w: w.find(f"auth/{w.oidc}/config")["namespace_in_state"] is True,
        ),
        Other(
            "a note behind the marker",
            lambda w: w.describe(w.oidc, w.description(w.oidc), f"{w.description(w.oidc)} | note"),
            lambda w: w.description(w.oidc).endswith(" | note"),
        ),
    ),
    removal=Removal.NOTHING_TO_DO,
)


_THEIR_ROLE = {
    "role_type": "oidc",
    "user_claim": "email",
    "allowed_redirect_uris": ["https://vault/theirs"],
}


def _stranger_role(w: World) -> None:
    _unmark(w)
    w.send(role_path(w), {**_THEIR_ROLE, "bound_audiences": "x"})


def role_path(w: World) -> str:
    return f"auth/{w.oidc}/role/default"


def _changed(**change: Any) -> ByHand:
    return lambda w: w.send(role_path(w), change)


def _oidc_role(w: World) -> Resources:
    mount = OidcMount(w.oidc)
    return [mount, OidcRole(_settings(w), after=(mount.key,))]


OIDC_ROLE = Kind(
    "oidc-role",
    OidcRole,
    _oidc_role,
    stranger=Stranger(
        _stranger_role,
        kept=lambda w: w.find(role_path(w))["bound_audiences"] == ["x"],
    ),
    twin=lambda w: w.send(
        role_path(w),
        {
            "user_claim": "sub",
            "groups_claim": "groups",
            "oidc_scopes": "groups,openid",
            "allowed_redirect_uris": ["https://vault/ui/callback", _REDIRECT],
            "policies": "theirs",
        },
    ),
    edits=(
        Edit("user_claim", _changed(user_claim="email")),
        Edit("groups_claim", _changed(groups_claim="roles")),
        Edit("oidc_scopes", _changed(oidc_scopes=["openid"])),
        Edit("allowed_redirect_uris", _changed(allowed_redirect_uris=[_REDIRECT])),
        Edit("role_type", _changed(role_type="jwt", bound_audiences=["a"], user_claim="sub")),
    ),
    others=(
        Other(
            "bound claims",
            _changed(bound_claims={"team": "dragons"}),
            lambda w: w.find(role_path(w))["bound_claims"] == {"team": "dragons"},
        ),
        Other(
            "a ttl and policies",
            _changed(token_ttl=60, token_policies=["Theirs"]),
            lambda w: (
                w.find(role_path(w))["token_ttl"] == 60
                and w.find(role_path(w))["token_policies"] == ["Theirs"]
            ),
        ),
        Other("the scopes in another order", _changed(oidc_scopes=["groups", "openid"])),
    ),
)
