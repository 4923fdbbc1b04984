"""Onboarding -> resources. Reads from top to bottom like the runbook; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaultprov.certificates import given_ca
from vaultprov.errors import ConfigError
from vaultprov.kube import objects
from vaultprov.kube.decision import Action, Decision
from vaultprov.kube.manifest import Manifest
from vaultprov.kube.store import (
    CaProvider,
    CaSource,
    Conditions,
    KubernetesLogin,
    Retries,
    StoreSpec,
    TokenLogin,
    cluster_store,
    namespaced_stores,
    token_secret,
)
from vaultprov.model import (
    Onboarding,
    Only,
    ReviewerMode,
    Scope,
    ServiceAccount,
    Store,
    StoreKind,
)
from vaultprov.names import Names, joined, reviewer_binding
from vaultprov.redact import Secret
from vaultprov.resource import Key, Ref, Resource
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.identity import Group, GroupAlias
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.oidc import OidcConfig, OidcMount, OidcRole
from vaultprov.vault.policy import Policy, policy_folder, render
from vaultprov.vault.secrets_mount import SecretsMount

_BOOTSTRAP = "vaultprov bootstrap (once for the whole site; or add --bootstrap)"


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the cluster besides its name.

    host, ca_pem: how Vault reaches the API server; needed for Vault's half.
    cluster_uid, reviewer_jwt: given by hand when the run has no cluster half.
    renew_after: write the reviewer JWT anew unless one was written after this (epoch seconds).
    store_token: a Vault token for a store that does not log in.
    """

    host: str = ""
    ca_pem: str = ""
    cluster_uid: str | None = None
    reviewer_jwt: Secret | None = None
    renew_after: float | None = None
    store_token: Secret | None = None


def onboarding_resources(
    onboarding: Onboarding, target: Target, only: Only = Only.BOTH, *, bootstrapped: bool = False
) -> tuple[Resource, ...]:
    """Everything that one cluster needs, on both sides.

    bootstrapped: the site's resources are part of the same run, so they are not only required.
    """
    resources: list[Resource] = []
    if only is not Only.CLUSTER:
        resources += [] if bootstrapped else _required(onboarding)
        resources += _policies(onboarding)
        resources += _people(onboarding)
    if only is not Only.VAULT:
        resources += _cluster(onboarding)
    if only is not Only.CLUSTER:
        resources += _logins(onboarding, target, only)
    return tuple(resources)


def cluster_side_resources(
    onboarding: Onboarding,
    version: str,
    decisions: Iterable[Decision],
    only: Only,
    store_token: Secret | None = None,
) -> tuple[Resource, ...]:
    """The way to Vault where it was closed, and the store. Both need External Secrets.

    version: the API version of stores that the cluster serves, such as `v1`. decisions: about
    NetworkPolicies, in either direction. store_token: for the store's `token_secret`.
    """
    resources: list[Resource] = []
    for decision in decisions:
        entry = decision.action is Action.CONFIG_ENTRY
        resources += [
            Manifest(body, entry=entry, spared="--no-egress") for body in decision.objects
        ]
        resources += [Manifest(body, absent=True) for body in decision.obsolete]
    home = onboarding.store.token_secret
    if store_token is not None and home is not None and onboarding.store.enabled:
        body = token_secret(TokenLogin(home.name), home.namespace, store_token)
        resources.append(Manifest(body, spared="--no-store"))
    ways = tuple(resource.key for resource in resources)
    if onboarding.store.enabled:
        resources += [
            Manifest(each, after=ways, spared="--no-store") for each in stores(onboarding, version)
        ]
    if only is Only.BOTH:
        names = Names.of(onboarding)
        role = Key("vault/role", joined(names.auth_mount, names.role))
        resources = [
            replace(each, after=(*each.after, role)) if is_store(each.body) else each
            for each in resources
            if isinstance(each, Manifest)
        ]
    return tuple(resources)


def is_store(body: Mapping[str, Any]) -> bool:
    """Whether a manifest is a store of External Secrets."""
    return body["kind"] in set(StoreKind)


def stores(onboarding: Onboarding, version: str) -> list[dict[str, Any]]:
    """The ClusterSecretStore, or a SecretStore for each workload ServiceAccount.

    The namespaces of stores and of the role are one list: `service_accounts`. Raises ConfigError
    if the store's CA cannot be read.
    """
    specs = store_specs(onboarding, version)
    if onboarding.store.kind is StoreKind.CLUSTER:
        return [cluster_store(specs[0])]
    return [
        body
        for spec, account in zip(specs, onboarding.service_accounts, strict=True)
        for body in namespaced_stores(spec, [account.namespace])
        if is_store(body)
    ]


def store_specs(onboarding: Onboarding, version: str) -> list[StoreSpec]:
    """A store's particulars for each workload ServiceAccount. version: of the API, such as `v1`."""
    names, wish = Names.of(onboarding), onboarding.store

    def login(account: ServiceAccount) -> KubernetesLogin | TokenLogin:
        if wish.token_secret is not None:
            return TokenLogin(wish.token_secret.name, namespace=wish.token_secret.namespace)
        audiences = (onboarding.audience,)
        return KubernetesLogin(
            names.auth_mount, names.role, account.name, audiences, account.namespace
        )

    return [
        StoreSpec(
            wish.name,
            wish.server,
            onboarding.kv_mount,
            login(account),
            version,
            wish.vault_namespace,
            given_ca(wish.ca_file),
            _ca_of(wish),
            conditions=_conditions(wish),
            retries=_retries(wish),
            refresh=wish.refresh,
        )
        for account in onboarding.service_accounts
    ]


def _ca_of(wish: Store) -> CaProvider | None:
    given = wish.ca_provider
    if given is None:
        return None
    return CaProvider(CaSource(given.kind), given.name, given.key, given.namespace)


def _conditions(wish: Store) -> Conditions | None:
    given = (wish.namespaces, dict(wish.namespace_labels) or None, wish.namespace_regexes)
    return Conditions(*given) if any(given) else None


def _retries(wish: Store) -> Retries | None:
    given = {"most": wish.max_retries, "interval": wish.retry_interval}
    set_here = {name: value for name, value in given.items() if value is not None}
    return Retries(**set_here) if set_here else None


def bootstrap_resources(
    onboarding: Onboarding, client_secret: Secret | None, provisioner: str
) -> tuple[Resource, ...]:
    """What the site needs once. provisioner: the text of the policy `vaultprov-provisioner`."""
    oidc = onboarding.oidc
    resources: list[Resource] = [SecretsMount(onboarding.kv_mount)]
    if oidc.enabled:
        mount = OidcMount(oidc.mount)
        resources.append(mount)
        if client_secret is not None:
            resources += [
                OidcConfig(oidc, client_secret, after=(mount.key,)),
                OidcRole(oidc, after=(mount.key,)),
            ]
    resources.append(Policy(Names.of(onboarding).provisioner_policy, provisioner))
    return tuple(resources)


def _required(onboarding: Onboarding) -> Iterable[Resource]:
    yield SecretsMount(onboarding.kv_mount, required=_BOOTSTRAP)
    if onboarding.oidc.enabled:
        yield OidcMount(
            onboarding.oidc.mount,
            required=f"{_BOOTSTRAP}; --no-oidc if people do not log in through OIDC",
        )


def _policies(onboarding: Onboarding) -> Iterable[Resource]:
    names = Names.of(onboarding)
    folder = policy_folder(onboarding.policy_set, onboarding.policy_dir)
    narrow = onboarding.scope is Scope.CLUSTER
    values = {
        "env": onboarding.env,
        "cluster": onboarding.cluster,
        "kv_mount": onboarding.kv_mount,
        "scope_path": f"{onboarding.env}/{onboarding.cluster}" if narrow else onboarding.env,
    }
    patterns = onboarding.names
    read_pattern = patterns.cluster_read_policy if narrow else patterns.read_policy
    yield Policy(names.read_policy, _rendered(folder / "read.hcl", values, read_pattern))
    if onboarding.oidc.enabled:
        text = _rendered(folder / "write.hcl", values, patterns.write_policy)
        yield Policy(names.write_policy, text)


def _rendered(template: Path, values: dict[str, str], name_pattern: str) -> str:
    """The policy's text. Raises ConfigError if clusters would overwrite each other's policy."""
    text = render(template, values)
    if "{cluster}" not in name_pattern and text != render(
        template, values | {"cluster": "another"}
    ):
        raise ConfigError(
            f"{template} depends on $cluster, but all clusters of the environment share the policy "
            f"{name_pattern}",
            hint="use --scope cluster and $scope_path, or a policy name with {cluster} in it",
        )
    return text


def _people(onboarding: Onboarding) -> Iterable[Resource]:
    if not onboarding.oidc.enabled:
        return
    names = Names.of(onboarding)
    group = Group(
        names.group,
        (names.write_policy,),
        {"responsibility": f"Vault {onboarding.env} Admin"},
    )
    yield group
    mount = onboarding.oidc.mount
    accessor = Ref(Key("vault/auth", mount), "accessor")
    yield GroupAlias(names.group, mount, accessor, Ref(group.key, "id"))


def _cluster(onboarding: Onboarding) -> Iterable[Resource]:
    names, reviewer = Names.of(onboarding), onboarding.reviewer
    accounts = [*onboarding.service_accounts]
    if reviewer.mode is not ReviewerMode.CLIENT:
        accounts.insert(0, reviewer.account)
    identity = cluster_identity()
    namespaces = {identity.key.name: identity}
    for account in accounts:
        namespaces.setdefault(account.namespace, Manifest(objects.namespace(account.namespace)))
    yield from namespaces.values()
    made = {}
    for account in dict.fromkeys(accounts):
        made[account] = Manifest(
            objects.service_account(account), after=(namespaces[account.namespace].key,)
        )
    yield from made.values()
    for account in _reviewers(onboarding):
        yield Manifest(
            objects.reviewer_binding(reviewer_binding(account), account),
            immutable=("roleRef",),
            also=objects.binding_rights(),
        )
    if reviewer.mode is ReviewerMode.SECRET:
        yield Manifest(
            objects.token_secret(reviewer.account, names.reviewer_secret),
            immutable=("type",),
            wait=reviewer.wait,
            after=(made[reviewer.account].key,),
        )


def _reviewers(onboarding: Onboarding) -> tuple[ServiceAccount, ...]:
    """Whose tokens review logins."""
    if onboarding.reviewer.mode is ReviewerMode.CLIENT:
        return tuple(dict.fromkeys(onboarding.service_accounts))
    return (onboarding.reviewer.account,)


def cluster_identity() -> Manifest:
    """The namespace whose uid identifies a cluster; it exists in every one."""
    return Manifest(
        objects.bare_namespace("kube-system"), required="is this really a Kubernetes API server?"
    )


def _logins(onboarding: Onboarding, target: Target, only: Only) -> Iterable[Resource]:
    names, reviewer = Names.of(onboarding), onboarding.reviewer
    if only is Only.VAULT and reviewer.mode is ReviewerMode.TOKEN:
        # Nothing can be minted without the cluster: a token is given, or what is stored stays.
        reviewer = replace(reviewer, mode=ReviewerMode.SECRET)
    mount = AuthMount(
        names.auth_mount,
        onboarding.env,
        onboarding.cluster,
        target.cluster_uid if only is Only.VAULT else Ref(cluster_identity().key, "uid"),
    )
    yield mount
    jwt: Secret | Ref | None = target.reviewer_jwt
    account_uid, after = None, [mount.key]
    if only is Only.BOTH:
        bindings = map(reviewer_binding, _reviewers(onboarding))
        after += [Key("cluster/clusterrolebinding", name) for name in bindings]
        account = Key("cluster/serviceaccount", str(reviewer.account))
        if reviewer.mode is not ReviewerMode.CLIENT:
            after.append(account)
        if reviewer.mode is ReviewerMode.TOKEN:
            account_uid = Ref(account, "uid")
        elif reviewer.mode is ReviewerMode.SECRET:
            namespace = reviewer.account.namespace
            jwt = Ref(Key("cluster/secret", f"{namespace}/{names.reviewer_secret}"), "token")
    yield AuthConfig(
        names.auth_mount,
        target.host,
        target.ca_pem,
        reviewer,
        jwt,
        account_uid,
        target.renew_after,
        guarded=only is Only.VAULT and target.cluster_uid is None,
        after=tuple(after),
    )
    yield Role(
        names.auth_mount,
        names.role,
        onboarding.service_accounts,
        (names.read_policy,),
        onboarding.token_ttl,
        onboarding.audience,
        onboarding.exclusive,
        retired=(names.retired_read_policy,),
        after=(mount.key, Key("vault/policy", names.read_policy)),
    )
