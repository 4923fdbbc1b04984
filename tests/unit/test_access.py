"""access: nobody who may read a secret is left out without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.worlds import Clock, MemoryVault
from vaultprov.access import Access, access
from vaultprov.errors import Unreachable
from vaultprov.model import Onboarding
from vaultprov.report import grants
from vaultprov.resource import Io

Answers = Mapping[str, Mapping[str, Any]]
KV = "k8s_secrets/data/moc/smaug"
NAMED = "holders of a root token and of tokens made with `vault token create -policy`"


def policies(**paths: str) -> dict[str, Mapping[str, Any]]:
    """Policies that read one path each."""
    texts = {
        f"sys/policies/acl/{name}": {"policy": f'path "{path}" {{ capabilities = ["read"] }}'}
        for name, path in paths.items()
    }
    return {"sys/policies/acl": {"keys": [*paths, "root"]}, **texts}


def logins(kind: str, *, at: str, **folders: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """An auth mount of a kind. folders: what is in each, by name."""
    listed: dict[str, Mapping[str, Any]] = {"sys/auth": {f"{at}/": {"type": kind}}}
    for folder, content in folders.items():
        root = f"auth/{at}/{folder.replace('_', '/')}"
        listed[root] = {"keys": list(content)}
        listed |= {f"{root}/{name}": each for name, each in content.items() if each is not None}
    return listed


def look(clock: Clock, *answers: Answers, vault: MemoryVault | None = None) -> Access:
    """Who can reach moc/smaug/x."""
    port = vault or MemoryVault()
    port.answers |= {"sys/auth": {}, "sys/policies/acl": {"keys": ["root"]}}
    for each in answers:
        port.answers |= each
    return access(Onboarding("moc", "smaug"), "x", Io(port, None), clock.budget())


def told(found: Access) -> str:
    return "\n".join(grants.lines(found))


READ = policies(reads=f"{KV}/*")


@pytest.mark.parametrize("kind", ["github", "radius", "okta", "plugin-of-theirs"])
def test_logins_of_a_kind_that_is_not_known_are_not_nobody(clock: Clock, kind: str) -> None:
    found = look(clock, READ, logins(kind, at="theirs"))
    assert found.unknown == (
        f"whom auth/theirs lets in: logins of kind {kind} are not looked at",
    )  # fmt: skip


def test_a_program_that_gives_policies_is_told(clock: Clock) -> None:
    """OpenBao's CEL roles are beside the others of a JWT mount."""
    found = look(clock, READ, logins("jwt", at="ci", cel_role={"smart": {}}))
    assert found.unknown == ("auth/ci/cel/role/smart decides at each login, by a CEL program",)


def test_nobody_is_a_fact_only_where_all_was_looked_at(clock: Clock) -> None:
    """And even then there are tokens that nothing tells of."""
    assert told(look(clock, READ)).splitlines()[1] == f"  nobody was found, besides {NAMED}"
    partly = told(look(clock, READ, logins("github", at="theirs")))
    assert "nobody was found where it could be looked" in partly
    assert "root token" not in partly


def test_who_is_found_is_not_all_there_are(clock: Clock) -> None:
    role = {"ci": {"token_policies": ["reads"]}}
    assert f"Also: {NAMED}." in told(look(clock, READ, logins("approle", at="a", role=role)))


@pytest.mark.parametrize(
    ("rule", "may"),
    [
        ({"allowed_policies": ["reads"]}, True),
        ({"allowed_policies_glob": ["re*"]}, True),
        ({"allowed_policies_glob": ["w*"]}, False),
        ({"allowed_policies_glob": ["*"], "disallowed_policies": ["reads"]}, False),
        ({"allowed_policies": ["reads"], "disallowed_policies_glob": ["r*s"]}, False),
        ({"disallowed_policies": ["other"]}, True),
        ({"disallowed_policies_glob": ["r*"]}, False),
        ({"orphan": True}, False),
    ],
)
@pytest.mark.parametrize("kind", ["token", "ns_token"])
def test_a_token_role_gives_what_may_be_asked_for(
    clock: Clock, kind: str, rule: Mapping[str, Any], *, may: bool
) -> None:
    """Without any rule that is what one has already. In a namespace the kind has another name."""
    found = look(clock, READ, logins(kind, at="token", roles={"deploy": rule}))
    assert [h.name for h in found.holders] == (["token/roles/deploy"] if may else [])


def test_a_deny_that_one_need_not_ask_for_keeps_nobody_out(clock: Clock) -> None:
    shut = {"sys/policies/acl/shut": {"policy": f'path "{KV}/*" {{ capabilities = ["deny"] }}'}}
    both = {**READ, "sys/policies/acl": {"keys": ["reads", "shut"]}, **shut}
    role = {"deploy": {"allowed_policies": ["reads", "shut"]}}
    (holder,) = look(clock, both, logins("token", at="token", roles=role)).holders
    assert holder.policies == ("reads",)


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("k8s_secrets/data/{{identity.entity.metadata.env}}*", True),
        ("k8s_secrets/data/{{identity.entity.metadata.env}}/*", True),
        ("k8s_secrets/data/m{{identity.entity.name}}/+/x", True),
        ("k8s_secrets/data/{{identity.groups.names.a/b.id}}/smaug/x", True),
        ("k8s_secrets/data/moc/smaug/{{identity.entity.name}}", True),
        ("k8s_secrets/data/moc/{{identity.entity.name}}", True),
        ("k8s_secrets/data/osc/{{identity.entity.name}}*", False),
        ("k8s_secrets/data/{{identity.entity.name}}/y", False),
    ],
)
def test_a_path_that_depends_on_who_logs_in_may_be_this_one(
    clock: Clock, path: str, *, may: bool
) -> None:
    """A name stands for anything, slashes too, and a final star for any rest."""
    assert bool(look(clock, policies(own=path)).unknown) is may


def test_what_everybody_of_a_directory_is_given_counts(clock: Clock) -> None:
    """LDAP's config may hold policies, apart from those of groups and users."""
    config = {"auth/ldap/config": {"token_policies": ["reads"]}}
    (holder,) = look(clock, READ, logins("ldap", at="ldap"), config).holders
    assert (holder.kind, holder.who) == ("ldap config", "everybody who logs in there")
    assert not look(clock, READ, logins("ldap", at="ldap")).unknown


def test_what_is_listed_and_not_there_is_a_riddle(clock: Clock) -> None:
    found = look(clock, READ, logins("ldap", at="ldap", groups={"a/": None}))
    assert found.unknown == ("auth/ldap/groups/a is listed, but nothing is there",)


def test_the_members_of_a_group_are_those_of_its_groups_too(clock: Clock) -> None:
    outer = {"name": "outer", "type": "internal", "policies": ["reads"]}
    groups: Answers = {
        "identity/group/id": {"keys": ["1", "2"]},
        "identity/group/id/1": {**outer, "member_group_ids": ["2", "3"]},
        "identity/group/id/2": {"name": "inner", "member_entity_ids": ["e"]},
    }
    (holder,) = look(clock, READ, groups).holders
    assert holder.who == "whoever is in group 3, inner"
    both: Answers = {
        "identity/group/id/1": {**outer, "member_group_ids": ["2"], "member_entity_ids": ["e"]}
    }
    (holder,) = look(clock, READ, groups, both).holders
    assert holder.who == "1 members and whoever is in group inner"


def test_a_server_that_stumbles_is_asked_again(clock: Clock) -> None:
    """Hundreds of reads must not be lost for one of them."""
    vault = MemoryVault()
    stumbles = iter([Unreachable("429", transient=True)])

    def stumble() -> None:
        for error in stumbles:
            raise error

    vault.on_read = stumble
    role = {"ci": {"token_policies": ["reads"]}}
    assert look(clock, READ, logins("approle", at="a", role=role), vault=vault).holders
