"""Every derived name, in one place and pure."""

from __future__ import annotations

from dataclasses import dataclass

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
            filled = pattern.replace("{env}", onboarding.env)
            return vault_path(filled.replace("{cluster}", onboarding.cluster), what)

        patterns = onboarding.names
        narrow = onboarding.scope is Scope.CLUSTER
        by_keys = onboarding.reviewer.mode is ReviewerMode.JWT
        mount = patterns.jwt_auth_mount if by_keys else patterns.auth_mount
        read, retired = patterns.read_policy, patterns.cluster_read_policy
        if narrow:
            read, retired = retired, read
        return cls(
            auth_mount=fill(mount, "auth mount"),
            role=fill(patterns.role, "role").lower(),
            read_policy=fill(read, "policy").lower(),
            write_policy=fill(patterns.write_policy, "policy").lower(),
            group=fill(patterns.group, "group"),
            provisioner_policy=fill(patterns.provisioner_policy, "policy").lower(),
            reviewer_secret=token_secret_name(onboarding.reviewer.account),
            retired_read_policy=fill(retired, "policy").lower(),
        )


def reviewer_binding(account: ServiceAccount) -> str:
    """A ClusterRoleBinding's name; it carries the namespace, so that two installations differ."""
    return f"{account.namespace}-{account.name}-tokenreview"


def token_secret_name(account: ServiceAccount) -> str:
    """The Secret with an account's token."""
    return f"{account.name}-token"


def joined(*parts: str) -> str:
    """A Vault path made of parts that were validated; the only place where paths are joined."""
    return "/".join(part.strip("/") for part in parts)
