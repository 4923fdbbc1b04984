"""What is made of a request: reads from top to bottom like the runbook."""

from __future__ import annotations

from dataclasses import replace
from graphlib import TopologicalSorter
from itertools import product
from pathlib import Path

import pytest

from vaultprov import site
from vaultprov.cluster_side import stores
from vaultprov.desired import Target, bootstrap_resources, onboarding_resources
from vaultprov.errors import ConfigError
from vaultprov.model import (
    Oidc,
    Onboarding,
    Only,
    Reviewer,
    ReviewerMode,
    Scope,
    ServiceAccount,
)
from vaultprov.plan import order
from vaultprov.redact import Secret
from vaultprov.resource import AtLeast, OnCreate, Ref, Resource, VaultRight
from vaultprov.vault.kubernetes import AuthConfig, Role

SMAUG = Onboarding("moc", "smaug")
NO_OIDC = replace(SMAUG, oidc=Oidc(enabled=False))
UID = "4b1f0c9e"


def asked(mode: ReviewerMode) -> Onboarding:
    return replace(SMAUG, reviewer=Reviewer(mode))


def keys(resources: tuple[Resource, ...]) -> list[str]:
    return [str(resource.key) for resource in resources]


REQUIRED = ["vault/mount/k8s_secrets", "vault/auth/oidc"]
POLICIES = ["vault/policy/moc-kv-r", "vault/policy/moc-kv-rw"]
PEOPLE = ["vault/group/vault-admins-moc", "vault/group-alias/vault-admins-moc"]
IDENTITY = ["cluster/namespace/kube-system"]
CLUSTER = [
    "cluster/namespace/external-secrets-operator",
    "cluster/namespace/external-secrets",
    "cluster/serviceaccount/external-secrets-operator/eso-vault-auth",
    "cluster/serviceaccount/external-secrets/vault-secret-fetcher",
    "cluster/clusterrolebinding/external-secrets-operator-eso-vault-auth-tokenreview",
]
SECRET = ["cluster/secret/external-secrets-operator/eso-vault-auth-token"]
CLIENT = [
    "cluster/namespace/external-secrets",
    "cluster/serviceaccount/external-secrets/vault-secret-fetcher",
    "cluster/clusterrolebinding/external-secrets-vault-secret-fetcher-tokenreview",
]
LOGINS = ["vault/auth/smaug-k8s", "vault/auth-config/smaug-k8s", "vault/role/smaug-k8s/moc-ops"]
VAULT = [*REQUIRED, *POLICIES, *PEOPLE]

GOLDEN: dict[str, tuple[Onboarding, Only, bool, list[str]]] = {
    # (request, half, bootstrapped in the same run, keys in the order of the runbook)
    "secret": (SMAUG, Only.BOTH, False, [*VAULT, *IDENTITY, *CLUSTER, *SECRET, *LOGINS]),
    "token": (
        asked(ReviewerMode.TOKEN),
        Only.BOTH,
        False,
        [*VAULT, *IDENTITY, *CLUSTER, *LOGINS],
    ),
    "client": (
        asked(ReviewerMode.CLIENT),
        Only.BOTH,
        False,
        [*VAULT, *IDENTITY, *CLIENT, *LOGINS],
    ),
    "bootstrapped": (
        SMAUG,
        Only.BOTH,
        True,
        [*POLICIES, *PEOPLE, *IDENTITY, *CLUSTER, *SECRET, *LOGINS],
    ),
    "Vault's half": (SMAUG, Only.VAULT, False, [*VAULT, *LOGINS]),
    "Vault's half, token": (asked(ReviewerMode.TOKEN), Only.VAULT, False, [*VAULT, *LOGINS]),
    "the cluster's half": (SMAUG, Only.CLUSTER, False, [*IDENTITY, *CLUSTER, *SECRET]),
    "no OIDC": (
        NO_OIDC,
        Only.BOTH,
        False,
        [REQUIRED[0], POLICIES[0], *IDENTITY, *CLUSTER, *SECRET, *LOGINS],
    ),
}


@pytest.mark.parametrize(
    ("request_", "only", "bootstrapped", "golden"), GOLDEN.values(), ids=GOLDEN
)
def test_keys_in_order(
    request_: Onboarding, only: Only, bootstrapped: bool, golden: list[str]
) -> None:
    made = onboarding_resources(request_, Target(), only, bootstrapped=bootstrapped)
    assert keys(made) == golden


def test_the_keys_of_bootstrap() -> None:
    made = bootstrap_resources(SMAUG, Secret("x"), "")
    assert keys(made) == [
        "vault/mount/k8s_secrets",
        "vault/auth/oidc",
        "vault/oidc-config/oidc",
        "vault/oidc-role/oidc/default",
        "vault/policy/vaultprov-provisioner",
    ]


def test_bootstrap_without_a_client_secret_leaves_the_oidc_mount_unconfigured() -> None:
    made = bootstrap_resources(SMAUG, None, "")
    assert keys(made) == [*REQUIRED, "vault/policy/vaultprov-provisioner"]


def test_bootstrap_without_oidc() -> None:
    made = bootstrap_resources(NO_OIDC, None, "")
    assert keys(made) == ["vault/mount/k8s_secrets", "vault/policy/vaultprov-provisioner"]


def test_what_belongs_to_the_site_is_required_and_never_made_for_one_cluster() -> None:
    made = onboarding_resources(SMAUG, Target())
    assert [str(r.key) for r in made if r.required] == [*REQUIRED, *IDENTITY]
    assert all("vaultprov bootstrap" in r.required for r in made[:2])


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose certificate counts as one."""
    monkeypatch.setattr("vaultprov.vault.kubernetes.fingerprints", lambda pem: frozenset({pem}))
    return Target("https://api.smaug.example.com:6443", "a CA", UID)


COMBINATIONS = list(product(ReviewerMode, Only, (True, False), Scope))


@pytest.mark.parametrize("bootstrapped", [False, True], ids=["site exists", "bootstrapped"])
@pytest.mark.parametrize(("mode", "only", "oidc", "scope"), COMBINATIONS)
def test_every_run_is_whole(
    target: Target, mode: ReviewerMode, only: Only, oidc: bool, scope: Scope, bootstrapped: bool
) -> None:
    """Keys are unique; what is referred to is part of the same run; there is no cycle."""
    request = replace(asked(mode), oidc=Oidc(enabled=oidc), scope=scope)
    made = onboarding_resources(request, target, only, bootstrapped=bootstrapped)
    if bootstrapped and only is not Only.CLUSTER:
        made = bootstrap_resources(request, Secret("x"), "") + made
    assert len({r.key for r in made}) == len(made)
    states = [state for r in made if (state := r.wanted())]
    assert len(states) == len(made), "an onboarding removes nothing"
    referred = {v.key for s in states for v in s.fields.values() if isinstance(v, Ref)}
    after = {key for r in made for key in r.after}
    assert referred | after <= {r.key for r in made}
    TopologicalSorter(order(made)).prepare()
    vault = {r.key for r in made if r.key.kind.startswith("vault/")}
    assert bool(vault) == (only is not Only.CLUSTER)
    assert (len(vault) < len(made)) == (only is not Only.VAULT)


@pytest.mark.parametrize(
    "request_",
    [
        replace(SMAUG, service_accounts=(ServiceAccount("kube-system", "eso"),)),
        replace(SMAUG, reviewer=Reviewer(account=ServiceAccount("kube-system", "reviewer"))),
    ],
    ids=["workload", "reviewer"],
)
def test_keys_are_unique_whatever_the_namespaces(request_: Onboarding) -> None:
    made = keys(onboarding_resources(request_, Target()))
    assert len(set(made)) == len(made)


def test_accounts_given_twice_and_namespaces_shared_are_made_once() -> None:
    one, two = ServiceAccount("ns", "a"), ServiceAccount("ns", "b")
    made = keys(onboarding_resources(replace(SMAUG, service_accounts=(one, two, one)), Target()))
    assert len(set(made)) == len(made)
    assert [key for key in made if "/ns" in key] == [
        "cluster/namespace/ns",
        "cluster/serviceaccount/ns/a",
        "cluster/serviceaccount/ns/b",
    ]


def by_key(made: tuple[Resource, ...], start: str) -> Resource:
    [found] = [r for r in made if str(r.key).startswith(start)]
    return found


def config(made: tuple[Resource, ...]) -> AuthConfig:
    found = by_key(made, "vault/auth-config/")
    assert isinstance(found, AuthConfig)
    return found


class TestReviewer:
    """Where Vault's reviewer token comes from."""

    JWT = Secret("given by hand")

    def test_secret_takes_the_token_of_the_secret(self, target: Target) -> None:
        state = config(onboarding_resources(SMAUG, target)).wanted()
        jwt = state.fields["token_reviewer_jwt"]
        assert (str(jwt.key), jwt.attr) == (SECRET[0], "token")

    def test_token_is_minted_again_when_the_account_was_made_anew(self, target: Target) -> None:
        fields = config(onboarding_resources(asked(ReviewerMode.TOKEN), target)).wanted().fields
        assert fields["reviewer_account_uid"].attr == "uid"
        assert fields["reviewer_valid"] is True
        assert "token_reviewer_jwt" not in fields

    def test_client_stores_none(self, target: Target) -> None:
        fields = config(onboarding_resources(asked(ReviewerMode.CLIENT), target)).wanted().fields
        assert fields["token_reviewer_jwt"] is None

    @pytest.mark.parametrize("mode", [ReviewerMode.SECRET, ReviewerMode.TOKEN])
    def test_vaults_half_stores_what_is_given(self, target: Target, mode: ReviewerMode) -> None:
        given = replace(target, reviewer_jwt=self.JWT)
        fields = config(onboarding_resources(asked(mode), given, Only.VAULT)).wanted().fields
        assert fields["token_reviewer_jwt"] == self.JWT

    @pytest.mark.parametrize("mode", [ReviewerMode.SECRET, ReviewerMode.TOKEN])
    def test_vaults_half_leaves_alone_what_it_cannot_know(
        self, target: Target, mode: ReviewerMode
    ) -> None:
        made = onboarding_resources(asked(mode), replace(target, cluster_uid=None), Only.VAULT)
        fields = config(made).wanted().fields
        assert not {"token_reviewer_jwt", "reviewer_account_uid"} & set(fields)
        mount = by_key(made, "vault/auth/smaug").wanted()
        assert mount is not None
        assert "cluster_uid" not in mount.fields

    def test_a_token_can_be_reviewed_before_it_is_stored(self, target: Target) -> None:
        """The binding comes first: Vault's first login must not fail."""
        made = onboarding_resources(SMAUG, target)
        assert by_key(made, "cluster/clusterrolebinding/").key in config(made).after


def test_vault_never_falls_back_to_its_own_pod(target: Target) -> None:
    """It would send its own token to a remote API server."""
    for mode in set(ReviewerMode) - {ReviewerMode.JWT}:  # which asks nobody
        fields = config(onboarding_resources(asked(mode), target)).wanted().fields
        assert fields["disable_local_ca_jwt"] is True


class TestRole:
    def role(self, **changes: object) -> dict[str, object]:
        onboarding = replace(SMAUG, **changes)  # type: ignore[arg-type]  # any field
        found = by_key(onboarding_resources(onboarding, Target()), "vault/role/")
        assert isinstance(found, Role)
        return dict(found.wanted().fields)

    def test_keeps_what_people_added(self) -> None:
        role = self.role()
        for name in ("bound_service_account_names", "bound_service_account_namespaces"):
            assert isinstance(role[name], AtLeast)
        assert role["token_policies"] == AtLeast(
            frozenset({"moc-kv-r"}), without=frozenset({"moc-smaug-kv-r"})
        )

    def test_exclusive_owns_the_lists(self) -> None:
        role = self.role(exclusive=True)
        assert role["bound_service_account_namespaces"] == frozenset({"external-secrets"})
        assert role["token_policies"] == frozenset({"moc-kv-r"})

    def test_never_tightens_the_audience_of_a_role_that_exists(self) -> None:
        assert self.role(audience="me")["audience"] == OnCreate("me")

    def test_reads_what_the_scope_opens(self) -> None:
        role = self.role(scope=Scope.CLUSTER)
        assert role["token_policies"] == AtLeast(
            frozenset({"moc-smaug-kv-r"}), without=frozenset({"moc-kv-r"})
        )


def test_a_role_comes_after_its_mount_and_its_policy(target: Target) -> None:
    """A login in between would get a token without rights, which External Secrets keeps."""
    made = onboarding_resources(SMAUG, target)
    needs = {str(key) for key in order(made)[by_key(made, "vault/role/").key]}
    assert needs == {"vault/auth/smaug-k8s", "vault/policy/moc-kv-r"}


@pytest.mark.parametrize(
    ("scope", "start"),
    [(Scope.ENVIRONMENT, "kv/data/moc/*"), (Scope.CLUSTER, "kv/data/moc/smaug/*")],
)
def test_the_read_policy_opens_what_the_scope_says(scope: Scope, start: str) -> None:
    request = replace(SMAUG, scope=scope, kv_mount="kv")
    names = {Scope.ENVIRONMENT: "moc-kv-r", Scope.CLUSTER: "moc-smaug-kv-r"}
    made = {str(r.key): r for r in onboarding_resources(request, Target())}
    state = made[f"vault/policy/{names[scope]}"].wanted()
    assert state is not None
    assert start in state.fields["path"]


def test_a_broken_template_is_found_before_any_server_is_asked(tmp_path: Path) -> None:
    (tmp_path / "read.hcl").write_text('path "$nothing" {}')
    with pytest.raises(ConfigError, match=r"read\.hcl:1"):
        onboarding_resources(replace(SMAUG, policy_dir=tmp_path), Target())


@pytest.mark.parametrize("action", ["read", "create", "update", "delete"])
def test_every_kind_tells_its_rights(action: str) -> None:
    made = bootstrap_resources(SMAUG, Secret("x"), "") + onboarding_resources(SMAUG, Target())
    for resource in made:
        rights = resource.rights(action)
        goes_with_its_mount = "config" in resource.key.kind and action == "delete"
        assert bool(rights) != goes_with_its_mount
        in_vault = resource.key.kind.startswith("vault/")
        assert all(isinstance(right, VaultRight) == in_vault for right in rights)


def test_a_store_is_as_the_site_file_says() -> None:
    """Its CA in the cluster, who may use it, and how it repeats requests."""
    flags = {
        "store.ca_provider": "ConfigMap/openshift-config/vault-ca/ca.crt",
        "store.namespaces": "team-a",
        "store.namespace_regexes": "^team-",
        "store.namespace_labels": "vault=yes",
        "store.refresh": "5m",
        "store.max_retries": "7",
        "store.retry_interval": "10s",
        "vault.ca_cert": "/not/looked/at.pem",
    }
    wanted = site.onboarding(site.Site().effective("moc", "smaug", {}, flags), "moc", "smaug")
    (store,) = stores(wanted, "v1")
    spec = store["spec"]
    assert spec["provider"]["vault"]["caProvider"] == {
        "type": "ConfigMap",
        "name": "vault-ca",
        "namespace": "openshift-config",
        "key": "ca.crt",
    }
    assert "caBundle" not in spec["provider"]["vault"]
    assert spec["conditions"] == [
        {
            "namespaces": ["team-a"],
            "namespaceSelector": {"matchLabels": {"vault": "yes"}},
            "namespaceRegexes": ["^team-"],
        }
    ]
    assert spec["refreshInterval"] == 300
    assert spec["retrySettings"] == {"maxRetries": 7, "retryInterval": "10s"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("store.ca_provider", "vault-ca"), ("store.ca_provider", "Pod/a/b/c"),
     ("store.namespace_regexes", "(")],
)  # fmt: skip
def test_a_store_that_cannot_be_meant_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError):
        site.onboarding(site.Site().effective("moc", "smaug", {}, {key: value}), "moc", "smaug")
