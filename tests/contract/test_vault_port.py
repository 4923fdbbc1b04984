"""What every VaultPort does: absence, canonical reads, mounts, policies, rights and errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.conftest import VaultSubject
from vaultprov.errors import Denied, LoginFailed, Rejected, Sealed, Unreachable
from vaultprov.resource import VaultPort

READ_ALL = 'path "*" { capabilities = ["read"] }'


def auth_entry(vault: VaultSubject, mount: str) -> dict[str, object] | None:
    listing = vault.port.read("sys/auth") or {}
    return listing.get(f"{mount}/")


@pytest.mark.parametrize(
    "path",
    [
        "auth/{id}/config",
        "auth/{id}/role/r",
        "sys/policies/acl/{id}",
        "identity/group/name/{id}",
        "identity/group-alias/id/{id}",
        "{id}/data/x",
    ],
)
def test_what_is_absent_reads_as_none(vault: VaultSubject, unique: str, path: str) -> None:
    assert vault.port.read(path.format(id=unique)) is None


def test_a_mount_without_config_reads_as_none(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
    assert vault.port.read(f"auth/{unique}/config") is None
    assert vault.port.read(f"auth/{unique}/role/r") is None


def test_a_listing_of_nothing_is_none(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
    assert vault.port.list(f"auth/{unique}/role") is None


@pytest.mark.parametrize("path", ["sys/auth", "sys/mounts", "sys/policies/acl", "auth/{id}/role"])
def test_deleting_what_is_absent_is_fine(vault: VaultSubject, unique: str, path: str) -> None:
    vault.port.delete(f"{path.format(id=unique)}/{unique}")


def test_a_new_mount_is_listed_with_type_description_and_accessor(
    vault: VaultSubject, unique: str
) -> None:
    answer = vault.port.write(
        f"sys/auth/{unique}", {"type": "kubernetes", "description": "Smaug's logins"}
    )
    assert answer == {}
    entry = auth_entry(vault, unique)
    assert entry is not None
    assert (entry["type"], entry["description"]) == ("kubernetes", "Smaug's logins")
    assert str(entry["accessor"]).startswith("auth_kubernetes_")


@pytest.mark.parametrize("where", ["{id}", "{id}/below"])
def test_mounting_on_a_taken_path_is_rejected(vault: VaultSubject, unique: str, where: str) -> None:
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
    with pytest.raises(Rejected, match=f"path is already in use at {unique}/"):
        vault.port.write(f"sys/auth/{where.format(id=unique)}", {"type": "kubernetes"})


def test_an_unknown_type_of_mount_is_rejected(vault: VaultSubject, unique: str) -> None:
    with pytest.raises(Rejected, match="plugin not found in the catalog"):
        vault.port.write(f"sys/auth/{unique}", {"type": "no-such-plugin"})


def test_tuning_sets_the_description_and_only_that(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes", "description": "old"})
    before = auth_entry(vault, unique) or {}
    vault.port.write(f"sys/mounts/auth/{unique}/tune", {"description": "new"})
    assert auth_entry(vault, unique) == {**before, "description": "new"}


def test_tuning_what_is_not_mounted_is_rejected(vault: VaultSubject, unique: str) -> None:
    with pytest.raises(Rejected, match="no mount entry found"):
        vault.port.write(f"sys/mounts/auth/{unique}/tune", {"description": "new"})


def test_the_single_mount_path_is_rejected_and_never_reads_as_absent(
    vault: VaultSubject, unique: str
) -> None:
    """Which is why the listing is read."""
    with pytest.raises(Rejected, match="No auth engine"):
        vault.port.read(f"sys/auth/{unique}")


def test_mounting_again_gives_another_accessor(vault: VaultSubject, unique: str) -> None:
    accessors = set()
    for _ in range(2):
        vault.port.write(f"sys/auth/{unique}", {"type": "oidc"})
        accessors.add((auth_entry(vault, unique) or {})["accessor"])
        vault.port.delete(f"sys/auth/{unique}")
        assert auth_entry(vault, unique) is None
    assert len(accessors) == 2


def test_a_mount_takes_its_config_and_roles_with_it(vault: VaultSubject, unique: str) -> None:
    for _ in range(2):
        vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
        assert vault.port.read(f"auth/{unique}/config") is None
        vault.port.write(
            f"auth/{unique}/config", {"kubernetes_host": "https://x", "kubernetes_ca_cert": "CA"}
        )
        vault.port.delete(f"sys/auth/{unique}")


def test_a_kv_mount_is_listed_with_its_version(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/mounts/{unique}", {"type": "kv", "options": {"version": "2"}})
    vault.port.write(f"sys/mounts/{unique}-old", {"type": "kv"})
    listing = vault.port.read("sys/mounts") or {}
    assert listing[f"{unique}/"]["options"] == {"version": "2"}
    assert not listing[f"{unique}-old/"]["options"]
    with pytest.raises(Rejected, match="already in use"):
        vault.port.write(f"sys/mounts/{unique}", {"type": "kv"})
    vault.port.delete(f"sys/mounts/{unique}")
    assert f"{unique}/" not in (vault.port.read("sys/mounts") or {})


def test_a_policy_is_kept_verbatim(vault: VaultSubject, unique: str) -> None:
    text = '# a comment\n\npath   "a/*" { capabilities=["read"] }\n'
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": text})
    found = vault.port.read(f"sys/policies/acl/{unique}") or {}
    assert (found["name"], found["policy"]) == (unique, text)
    vault.port.delete(f"sys/policies/acl/{unique}")
    assert vault.port.read(f"sys/policies/acl/{unique}") is None


def test_policy_names_are_lower_cased(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/policies/acl/UP-{unique}", {"policy": READ_ALL})
    for spelling in ("up", "UP"):
        found = vault.port.read(f"sys/policies/acl/{spelling}-{unique}") or {}
        assert found["name"] == f"up-{unique}"
    keys = (vault.port.list("sys/policies/acl") or {})["keys"]
    assert f"up-{unique}" in keys
    assert f"UP-{unique}" not in keys


@pytest.mark.parametrize("text", ["path {", 'path "a" { capabilities = ["fly"] }'])
def test_invalid_hcl_is_rejected_and_the_old_policy_stays(
    vault: VaultSubject, unique: str, text: str
) -> None:
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": READ_ALL})
    with pytest.raises(Rejected, match="failed to parse policy"):
        vault.port.write(f"sys/policies/acl/{unique}", {"policy": text})
    assert (vault.port.read(f"sys/policies/acl/{unique}") or {})["policy"] == READ_ALL


def test_root_may_do_everything(vault: VaultSubject) -> None:
    answer = vault.port.write("sys/capabilities-self", {"paths": ["a/b", "sys/auth"]})
    assert (answer["a/b"], answer["sys/auth"]) == (["root"], ["root"])


def test_capabilities_are_those_of_the_policies(vault: VaultSubject, unique: str) -> None:
    """The longest matching path decides; `*` ends a path, `+` is one segment of it."""
    text = f"""
    path "{unique}/*" {{ capabilities = ["read"] }}
    path "{unique}/role/r" {{ capabilities = ["create", "update"] }}
    path "other-{unique}/+/x" {{ capabilities = ["list"] }}
    """
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": text})
    paths = [f"{unique}/config", f"{unique}/role/r", f"other-{unique}/a/x", f"other-{unique}/x"]
    port = vault.limited(unique)
    answer = port.write("sys/capabilities-self", {"paths": paths})
    assert [answer[path] for path in paths] == [["read"], ["create", "update"], ["list"], ["deny"]]


def test_what_the_policies_do_not_allow_is_denied(vault: VaultSubject, unique: str) -> None:
    """403 is never "absent", not even where there is nothing."""
    vault.port.write(
        f"sys/policies/acl/{unique}", {"policy": f'path "{unique}/x" {{ capabilities=["read"] }}'}
    )
    port = vault.limited(unique)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: port.read("sys/auth"),
        lambda: port.list("identity/group-alias/id"),
        lambda: port.write("identity/group", {"name": unique}),
        lambda: port.delete(f"sys/policies/acl/{unique}"),
    )
    for attempt in attempts:
        with pytest.raises(Denied, match="permission denied"):
            attempt()
    assert vault.port.read(f"identity/group/name/{unique}") is None


def test_mounting_needs_sudo(vault: VaultSubject, unique: str) -> None:
    path = f"sys/auth/{unique}"
    policy = f'path "{path}" {{ capabilities = ["create", "update"] }}'
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": policy})
    with pytest.raises(Denied):
        vault.limited(unique).write(path, {"type": "kubernetes"})
    policy = policy.replace('"update"', '"update", "sudo"')
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": policy})
    vault.limited(unique).write(path, {"type": "kubernetes"})
    assert auth_entry(vault, unique)


def test_a_wrong_token_is_denied(vault: VaultSubject) -> None:
    port = vault.wrong_token()
    with pytest.raises(Denied):
        port.read("sys/auth")
    with pytest.raises(Denied):
        port.write("sys/policies/acl/x", {"policy": READ_ALL})


def test_a_revoked_token_is_denied(vault: VaultSubject, unique: str) -> None:
    vault.port.write(f"sys/policies/acl/{unique}", {"policy": READ_ALL})
    port = vault.limited(unique)
    assert port.read("sys/auth")
    port.revoke_self()
    with pytest.raises(Denied):
        port.read("sys/auth")


def test_a_server_that_is_not_there_is_unreachable(vault: VaultSubject) -> None:
    """And it is not worth trying again: nobody listens."""
    with pytest.raises(Unreachable) as caught:
        vault.unreachable().read("sys/auth")
    assert not caught.value.transient


def test_a_server_that_cannot_work_is_sealed(out_of_service: VaultPort) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: out_of_service.read("sys/auth"),
        lambda: out_of_service.write("sys/policies/acl/x", {"policy": READ_ALL}),
    )
    for attempt in attempts:
        with pytest.raises(Sealed):
            attempt()


@pytest.mark.parametrize("path", ["auth/{id}/role/r", "auth/{id}/config", "{id}/data/x"])
def test_a_write_to_what_is_not_mounted_is_rejected(
    vault: VaultSubject, unique: str, path: str
) -> None:
    """Vault answers 404; nothing was written, so that must not look like success."""
    with pytest.raises(Rejected):
        vault.port.write(path.format(id=unique), {"x": "y"})


def test_a_login_says_why_it_was_refused(vault: VaultSubject, unique: str) -> None:
    payload = {"role": "absent", "jwt": "x.y.z"}
    with pytest.raises(LoginFailed, match="permission denied"):
        vault.port.login(unique, payload)
    vault.port.write(f"sys/auth/{unique}", {"type": "kubernetes"})
    with pytest.raises(LoginFailed, match='invalid role name "absent"'):
        vault.port.login(unique, payload)


def test_a_token_has_the_policies_that_it_was_made_with_and_default(
    vault: VaultSubject, unique: str
) -> None:
    name = f"lean-{unique}"
    vault.port.write(f"sys/policies/acl/{name}", {"policy": f'path "secret/{unique}/*" {{\n'
                     '  capabilities = ["read"]\n}\n'})  # fmt: skip
    session = vault.port.token_with((name,), 60)
    assert set(session.policies) == {"default", name}
    asked = [f"secret/{unique}/x", "secret/elsewhere"]
    told = session.write("sys/capabilities-self", {"paths": asked})
    assert told[asked[0]] == ["read"]
    assert told[asked[1]] == ["deny"]
    session.revoke_self()
    with pytest.raises(Denied):
        session.read(asked[0])
