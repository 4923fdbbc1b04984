"""The people: an external group and its alias."""

from __future__ import annotations

from typing import Any

from tests.kinds.kind import ByHand, Edit, Kind, Other, Stranger
from tests.kinds.world import Resources, World
from vaultprov.resource import Key, Ref
from vaultprov.vault.identity import Group, GroupAlias
from vaultprov.vault.oidc import OidcMount


def group_name(w: World) -> str:
    return f"vault-admins-{w.id}"


def group(w: World) -> Group:
    return Group(group_name(w), ("moc-kv-rw",), {"responsibility": "Vault moc Admin"})


def find_group(w: World, name: str = "") -> dict[str, Any]:
    return w.find(f"identity/group/name/{name or group_name(w)}")


def grouped(policies: list[str] | None = None, **metadata: str) -> ByHand:
    """Somebody sets the group's policies, or some of its metadata."""

    def edit(w: World) -> None:
        found = find_group(w)
        fields = {
            "name": group_name(w),
            "policies": found["policies"] if policies is None else policies,
            "metadata": {**found["metadata"], **metadata},
        }
        w.send("identity/group", fields)

    return edit


def _group_by_hand(metadata: dict[str, str], *policies: str) -> ByHand:
    fields = {"type": "external", "policies": list(policies), "metadata": metadata}
    return lambda w: w.send("identity/group", {"name": group_name(w), **fields})


def _stripped(w: World) -> None:
    w.send("identity/group", {"name": group_name(w), "metadata": {"responsibility": "Nobody"}})


GROUP = Kind(
    "group",
    Group,
    lambda w: [group(w)],
    stranger=Stranger(
        _group_by_hand({"team": "dragons"}, "theirs"),
        kept=lambda w: (
            find_group(w)["metadata"]["team"] == "dragons" and "theirs" in find_group(w)["policies"]
        ),
    ),
    twin=_group_by_hand({"responsibility": "Vault moc Admin"}, "moc-kv-rw", "theirs"),
    edits=(
        Edit("policies", grouped(["theirs"])),
        Edit("metadata", grouped(responsibility="Nobody")),
        Edit("metadata", _stripped, "--adopt", how="replaced whole"),
    ),
    fixed={"type": "Vault refuses to change it; see test_an_internal_group"},
    others=(
        Other(
            "a policy",
            lambda w: w.send(
                "identity/group", {"name": group_name(w), "policies": ["moc-kv-rw", "theirs"]}
            ),
            lambda w: "theirs" in find_group(w)["policies"] or not find_group(w)["policies"],
        ),
        Other(
            "metadata",
            grouped(team="dragons"),
            lambda w: find_group(w)["metadata"]["team"] == "dragons",
        ),
    ),
)


def alias_resources(w: World) -> Resources:
    login, ours = OidcMount(w.oidc), group(w)
    accessor = Ref(Key("vault/auth", w.oidc), "accessor")
    return [login, ours, GroupAlias(ours.name, w.oidc, accessor, Ref(ours.key, "id"))]


def alias_of(w: World, name: str = "") -> dict[str, Any]:
    alias: dict[str, Any] = find_group(w, name)["alias"]
    return alias


def move_alias(w: World, **change: str) -> None:
    """Somebody changes the alias of our group."""
    alias = alias_of(w)
    fields = {name: alias[name] for name in ("name", "mount_accessor", "canonical_id")}
    w.send(f"identity/group-alias/id/{alias['id']}", {**fields, **change})


def other_login(w: World) -> str:
    """Another login method's accessor."""
    w.send(f"sys/auth/other-{w.id}", {"type": "oidc"})
    return w.accessor(f"other-{w.id}")


def other_group(w: World) -> str:
    """Another group's id."""
    answer = w.send("identity/group", {"name": f"other-{w.id}", "type": "external"})
    return str(answer["id"])


def make_alias(w: World, group_id: str) -> None:
    """Somebody makes an alias of our name on our login mount."""
    accessor = w.accessor(w.oidc)
    payload = {"name": group_name(w), "mount_accessor": accessor, "canonical_id": group_id}
    w.send("identity/group-alias", payload)


GROUP_ALIAS = Kind(
    "group-alias",
    GroupAlias,
    alias_resources,
    stranger=Stranger(lambda w: make_alias(w, other_group(w))),
    twin=lambda w: make_alias(w, find_group(w)["id"]),
    edits=(
        Edit("name", lambda w: move_alias(w, name="theirs")),
        Edit("mount_accessor", lambda w: move_alias(w, mount_accessor=other_login(w)), "--adopt"),
        Edit("canonical_id", lambda w: move_alias(w, canonical_id=other_group(w)), "--adopt"),
    ),
)
