"""Every derived name, and the one place where paths are joined."""

from __future__ import annotations

from vaultprov.model import NamePatterns, Onboarding, Scope, ServiceAccount
from vaultprov.names import Names, reviewer_binding


def test_the_names_are_those_of_the_runbook() -> None:
    assert Names.of(Onboarding("moc", "smaug")) == Names(
        auth_mount="smaug-k8s",
        role="moc-ops",
        read_policy="moc-kv-r",
        write_policy="moc-kv-rw",
        group="vault-admins-moc",
        provisioner_policy="vaultprov-provisioner",
        reviewer_secret="eso-vault-auth-token",
        retired_read_policy="moc-smaug-kv-r",
    )


def test_patterns_are_filled_everywhere() -> None:
    patterns = NamePatterns(auth_mount="k8s/{env}/{cluster}", group="{cluster}-{env}-{env}")
    names = Names.of(Onboarding("moc", "smaug", names=patterns))
    assert (names.auth_mount, names.group) == ("k8s/moc/smaug", "smaug-moc-moc")


def test_roles_and_policies_are_lower_case_as_vault_makes_them() -> None:
    patterns = NamePatterns(role="OPS-{env}", read_policy="R", write_policy="RW", group="Admins")
    names = Names.of(Onboarding("moc", "smaug", names=patterns))
    assert (names.role, names.read_policy, names.write_policy) == ("ops-moc", "r", "rw")
    assert names.group == "Admins", "the identity provider's spelling"


def test_the_scope_chooses_the_read_policy_alone() -> None:
    wide = Names.of(Onboarding("moc", "smaug"))
    narrow = Names.of(Onboarding("moc", "smaug", scope=Scope.CLUSTER))
    assert narrow.read_policy == "moc-smaug-kv-r"
    assert (narrow.write_policy, narrow.role) == (wide.write_policy, wide.role)


def test_cluster_wide_objects_of_two_reviewers_do_not_collide() -> None:
    assert reviewer_binding(ServiceAccount("one", "r")) == "one-r-tokenreview"
    assert reviewer_binding(ServiceAccount("two", "r")) == "two-r-tokenreview"
