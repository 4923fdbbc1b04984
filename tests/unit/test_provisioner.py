"""The provisioner's policy is exactly enough: what no command needs is not in it."""

from __future__ import annotations

import pytest

from vaultprov.model import Oidc, Onboarding
from vaultprov.provisioner import provisioner_policy
from vaultprov.vault.hcl import meaning

SITE = Onboarding("site", "site")
SMAUG = Onboarding("moc", "smaug")
WRITE, ALL = "create, update", "create, read, update"
ALWAYS = {
    "auth/token/revoke-self": WRITE,
    "sys/capabilities-self": WRITE,
}
OF_THE_SITE = {
    "auth/oidc/config": ALL,
    "auth/oidc/role/default": ALL,
    "identity/group": WRITE,
    "identity/group-alias": WRITE,
    "identity/group-alias/id": "list",
    "identity/group-alias/id/+": WRITE,  # ids are the server's
    "sys/auth": "read",
    "sys/auth/oidc": "create, update, sudo",
    "sys/mounts": "read",
    "sys/mounts/auth/oidc/tune": WRITE,
    "sys/mounts/k8s_secrets": WRITE,
    "sys/policies/acl/vaultprov-provisioner": ALL,
    "sys/policies/acl/default": "read",
    "sys/ha-status": "read",
}


def of_a_cluster(env: str, cluster: str, role: str) -> dict[str, str]:
    """Its reviewer mode may be changed, and with it the kind of the mount."""
    both = [of_a_mount(f"{cluster}-{kind}", role) for kind in ("k8s", "jwt")]
    return both[0] | both[1] | of_an_environment(env)


def of_a_mount(mount: str, role: str) -> dict[str, str]:
    return {
        f"auth/{mount}/config": ALL,
        f"auth/{mount}/role/{role}": ALL,
        f"sys/auth/{mount}": "create, update, sudo",
        f"sys/mounts/auth/{mount}/tune": WRITE,
    }


def of_an_environment(env: str) -> dict[str, str]:
    return {
        f"identity/group/name/vault-admins-{env}": "read",
        f"sys/policies/acl/{env}-kv-r": ALL,
        f"sys/policies/acl/{env}-kv-rw": ALL,
    }


def test_with_known_clusters_the_paths_are_exact() -> None:
    assert meaning(provisioner_policy(SITE, [SMAUG])) == (
        ALWAYS | OF_THE_SITE | of_a_cluster("moc", "smaug", "moc-ops")
    )


def test_every_known_cluster_is_in_it() -> None:
    policy = meaning(provisioner_policy(SITE, [SMAUG, Onboarding("osc", "ember")]))
    assert policy == (
        ALWAYS
        | OF_THE_SITE
        | of_a_cluster("moc", "smaug", "moc-ops")
        | of_a_cluster("osc", "ember", "osc-ops")
    )


def test_without_known_clusters_the_segments_that_vary_are_open() -> None:
    policy = meaning(provisioner_policy(SITE, []))
    varying = {
        "auth/+/config": ALL,
        "auth/+/role/+": ALL,
        "identity/group/name/+": "read",
        "sys/auth/+": "create, update, sudo",
        "sys/mounts/auth/+/tune": WRITE,
        "sys/policies/acl/+": ALL,
    }
    assert policy == ALWAYS | OF_THE_SITE | varying


@pytest.mark.parametrize("known", [[], [SMAUG]], ids=["unknown clusters", "known clusters"])
def test_it_never_deletes_and_has_no_wildcard(known: list[Onboarding]) -> None:
    text = provisioner_policy(SITE, known)
    assert "delete" not in text
    assert "*" not in text


def test_no_secret_value_can_be_read() -> None:
    assert not any("k8s_secrets/" in path for path in meaning(provisioner_policy(SITE, [SMAUG])))


def test_without_oidc_nothing_of_people_is_in_it() -> None:
    site = Onboarding("site", "site", oidc=Oidc(enabled=False))
    known = Onboarding("moc", "smaug", oidc=Oidc(enabled=False))
    paths = " ".join(meaning(provisioner_policy(site, [known])))
    assert not any(word in paths for word in ("oidc", "identity", "kv-rw"))


def test_the_text_is_the_same_every_time() -> None:
    assert provisioner_policy(SITE, [SMAUG]) == provisioner_policy(SITE, [SMAUG, SMAUG])
