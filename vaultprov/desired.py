"""Onboarding -> resources. Reads from top to bottom like the runbook; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vaultprov.errors import ConfigError
from vaultprov.jwt import PublicKey
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.kube.token_issuer import TokenIssuer
from vaultprov.model import Onboarding, Only, ReviewerMode, Scope, ServiceAccount
from vaultprov.names import Names, reviewer_binding
from vaultprov.redact import Secret
from vaultprov.resource import Key, Ref, Resource
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.identity import Group, GroupAlias
from vaultprov.vault.jwt_auth import JwtConfig, JwtRole
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.oidc import OidcConfig, OidcMount, OidcRole
from vaultprov.vault.policy import Policy, owner, policy_folder, render
from vaultprov.vault.secrets_mount import SecretsMount

_BOOTSTRAP = "vaultprov bootstrap (once for the whole site; or add --bootstrap)"


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the cluster besides its name.

    host, ca_pem: how Vault reaches the API server; needed for Vault's half.
    cluster_uid, reviewer_jwt, keys: given by hand when the run has no cluster half.
    renew_after: write the reviewer JWT anew unless one was written after this (epoch seconds).
    store_token: a Vault token for a store that does not log in.
    """

    host: str = ""
    ca_pem: str = ""
    cluster_uid: str | None = None
    reviewer_jwt: Secret | None = None
    keys: frozenset[PublicKey] = frozenset()
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
        resources += policies(onboarding)
        resources += _people(onboarding)
    if only is not Only.VAULT:
        resources += _cluster(onboarding)
    if only is not Only.CLUSTER:
        resources += _mount_and_config(onboarding, target, only)
        resources.append(_role(onboarding))
    return tuple(resources)


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


def policies(onboarding: Onboarding) -> Iterator[Policy]:
    """The policies of workloads and people. Raises ConfigError if a template is broken."""
    names = Names.of(onboarding)
    folder = policy_folder(onboarding.policy_set, onboarding.policy_dir)
    values = {
        "env": onboarding.env,
        "cluster": onboarding.cluster,
        "kv_mount": onboarding.kv_mount,
    }
    patterns = onboarding.names
    if onboarding.team:
        namespaces = sorted({account.namespace for account in onboarding.service_accounts})

        def of_team(template: str, pattern: str) -> str:
            each = (values | {"namespace": namespace} for namespace in namespaces)
            return "\n".join(_rendered(folder / template, one, pattern) for one in each)

        whose = owner(onboarding.env, onboarding.cluster, onboarding.team)
        read = of_team("team-read.hcl", patterns.team_read_policy)
        yield Policy(names.read_policy, read, whose)
        if onboarding.oidc.enabled:
            write = of_team("team-write.hcl", patterns.team_write_policy)
            yield Policy(names.write_policy, write, whose)
        return
    narrow = onboarding.scope is Scope.CLUSTER
    values["scope_path"] = f"{onboarding.env}/{onboarding.cluster}" if narrow else onboarding.env
    read_pattern = patterns.cluster_read_policy if narrow else patterns.read_policy
    read = _rendered(folder / "read.hcl", values, read_pattern)
    whose = owner(onboarding.env, onboarding.cluster if narrow else "")
    yield Policy(names.read_policy, read, whose)
    if onboarding.oidc.enabled:
        write = _rendered(folder / "write.hcl", values, patterns.write_policy)
        yield Policy(names.write_policy, write, owner(onboarding.env))


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
    team = onboarding.team
    role = f"Secrets of team {team}" if team else f"Vault {onboarding.env} Admin"
    group = Group(names.group, (names.write_policy,), {"responsibility": role})
    yield group
    mount = onboarding.oidc.mount
    accessor = Ref(Key("vault/auth", mount), "accessor")
    yield GroupAlias(names.group, mount, accessor, Ref(group.key, "id"))


def _cluster(onboarding: Onboarding) -> Iterable[Resource]:
    names, reviewer = Names.of(onboarding), onboarding.reviewer
    accounts = [*onboarding.service_accounts]
    if reviewer.has_account:
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
    for account in reviewers(onboarding):
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


def reviewers(onboarding: Onboarding) -> tuple[ServiceAccount, ...]:
    """Whose tokens review logins."""
    if onboarding.reviewer.mode is ReviewerMode.CLIENT:
        return tuple(dict.fromkeys(onboarding.service_accounts))
    return (onboarding.reviewer.account,) if onboarding.reviewer.has_account else ()


def cluster_identity() -> Manifest:
    """The namespace whose uid identifies a cluster; it exists in every one."""
    return Manifest(
        objects.bare_namespace("kube-system"), required="is this really a Kubernetes API server?"
    )


def _mount_and_config(onboarding: Onboarding, target: Target, only: Only) -> Iterable[Resource]:
    by_keys = onboarding.reviewer.mode is ReviewerMode.JWT
    mount = AuthMount(
        Names.of(onboarding).auth_mount,
        onboarding.env,
        onboarding.cluster,
        target.cluster_uid if only is Only.VAULT else Ref(cluster_identity().key, "uid"),
        "jwt" if by_keys else "kubernetes",
    )
    yield mount
    if by_keys:
        yield from _jwt_config(onboarding, target, only, mount)
    else:
        yield _auth_config(onboarding, target, only, mount)


def _jwt_config(
    onboarding: Onboarding, target: Target, only: Only, mount: AuthMount
) -> Iterable[Resource]:
    issuer = TokenIssuer()
    config = JwtConfig(
        mount.mount,
        Ref(issuer.key, "keys"),
        Ref(issuer.key, "algorithms"),
        Ref(issuer.key, "issuer"),
        onboarding.reviewer.jwks_url,
        target.ca_pem,
        after=(mount.key,),
    )
    if only is not Only.VAULT:
        yield from (issuer, config)
        return
    yield replace(
        config,
        keys=target.keys,
        algorithms=frozenset(key.algorithm for key in target.keys),
        issuer=None,
        guarded=target.cluster_uid is None,
    )


def _auth_config(
    onboarding: Onboarding, target: Target, only: Only, mount: AuthMount
) -> AuthConfig:
    names, reviewer = Names.of(onboarding), onboarding.reviewer
    if only is Only.VAULT and reviewer.mode is ReviewerMode.TOKEN:
        # Nothing can be minted without the cluster: a token is given, or what is stored stays.
        reviewer = replace(reviewer, mode=ReviewerMode.SECRET)
    jwt: Secret | Ref | None = target.reviewer_jwt
    account_uid, after = None, [mount.key]
    if only is Only.BOTH:
        bindings = map(reviewer_binding, reviewers(onboarding))
        after += [Key("cluster/clusterrolebinding", name) for name in bindings]
        account = Key("cluster/serviceaccount", str(reviewer.account))
        if reviewer.has_account:
            after.append(account)
        if reviewer.mode is ReviewerMode.TOKEN:
            account_uid = Ref(account, "uid")
        elif reviewer.mode is ReviewerMode.SECRET:
            namespace = reviewer.account.namespace
            jwt = Ref(Key("cluster/secret", f"{namespace}/{names.reviewer_secret}"), "token")
    return AuthConfig(
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


def _role(onboarding: Onboarding) -> Role | JwtRole:
    names = Names.of(onboarding)
    kind = JwtRole if onboarding.reviewer.mode is ReviewerMode.JWT else Role
    return kind(
        names.auth_mount,
        names.role,
        onboarding.service_accounts,
        (names.read_policy,),
        onboarding.token_ttl,
        onboarding.audience,
        onboarding.exclusive,
        retired=(names.retired_read_policy,),
        after=(Key("vault/auth", names.auth_mount), Key("vault/policy", names.read_policy)),
    )
