"""Every derived name, in one place and pure."""

from __future__ import annotations

from dataclasses import dataclass

from vaultprov.errors import ConfigError
from vaultprov.model import Onboarding, ReviewerMode, Scope, ServiceAccount, vault_path


@dataclass(frozen=True, slots=True)
class Names:
    """What the objects of one onboarding are called.

    auth_mount: of the kubernetes or, in reviewer mode `jwt`, of the JWT method: two mounts, so that
    a cluster can change over without a moment in which nobody logs in.
    """

    auth_mount: str
    role: str
    read_policy: str
    write_policy: str
    group: str
    provisioner_policy: str
    reviewer_secret: str
    retired_read_policy: str  # of the other scope

    @classmethod
    def of(cls, onboarding: Onboarding) -> Names:
        """The names for this environment and cluster. Vault lower-cases role and policy names."""

        def fill(pattern: str, what: str) -> str:
            values = {"env": onboarding.env, "cluster": onboarding.cluster, "team": onboarding.team}
            for name, value in values.items():
                pattern = pattern.replace(f"{{{name}}}", value)
            return vault_path(pattern, what)

        patterns = onboarding.names
        narrow = onboarding.scope is Scope.CLUSTER
        by_keys = onboarding.reviewer.mode is ReviewerMode.JWT
        mount = patterns.jwt_auth_mount if by_keys else patterns.auth_mount
        read, retired = patterns.read_policy, patterns.cluster_read_policy
        if narrow:
            read, retired = retired, read
        role, write, group = patterns.role, patterns.write_policy, patterns.group
        if onboarding.team:
            taken = (fill(role, "role").lower(), fill(group, "group"))
            role, write, group = patterns.team_role, patterns.team_write_policy, "{team}"
            read = retired = patterns.team_read_policy
            # Vault compares the names of groups without regard to case.
            if (
                fill(role, "role").lower() == taken[0]
                or onboarding.team.lower() == taken[1].lower()
            ):
                raise ConfigError(
                    f"the group {onboarding.team} has the name of the cluster's own role or group",
                    hint="--set names.team_role=team-{team}, or another group",
                )
        return cls(
            auth_mount=fill(mount, "auth mount"),
            role=fill(role, "role").lower(),
            read_policy=fill(read, "policy").lower(),
            write_policy=fill(write, "policy").lower(),
            group=fill(group, "group"),
            provisioner_policy=fill(patterns.provisioner_policy, "policy").lower(),
            reviewer_secret=token_secret_name(onboarding.reviewer.account),
            retired_read_policy=fill(retired, "policy").lower(),
        )


def home(onboarding: Onboarding, account: ServiceAccount) -> str:
    """Where the secrets of a workload lie below the key-value mount."""
    own = (account.namespace,) if onboarding.team else ()
    return joined(onboarding.env, onboarding.cluster, *own)


def reviewer_binding(account: ServiceAccount) -> str:
    """A ClusterRoleBinding's name; it carries the namespace, so that two installations differ."""
    return f"{account.namespace}-{account.name}-tokenreview"


def token_secret_name(account: ServiceAccount) -> str:
    """The Secret with an account's token."""
    return f"{account.name}-token"


def joined(*parts: str) -> str:
    """A Vault path made of parts that were validated; the only place where paths are joined."""
    return "/".join(part.strip("/") for part in parts)
