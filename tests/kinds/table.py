"""All kinds: a new one is covered by being listed here."""

from __future__ import annotations

from tests.kinds.identity_kinds import GROUP, GROUP_ALIAS
from tests.kinds.jwt_kinds import (
    EXCLUSIVE_JWT_ROLE,
    JWT_CONFIG,
    JWT_CONFIG_BY_URL,
    JWT_ROLE,
)
from tests.kinds.kube_kinds import (
    BARE_NAMESPACE,
    NAMESPACE,
    REVIEWER_BINDING,
    SERVICE_ACCOUNT,
    TOKEN_SECRET,
)
from tests.kinds.login_kinds import (
    AUTH_MOUNT,
    CONFIG_WITH_CLIENT,
    CONFIG_WITH_SECRET,
    CONFIG_WITH_TOKEN,
    EXCLUSIVE_ROLE,
    POLICY,
    ROLE,
)
from tests.kinds.site_kinds import OIDC_CONFIG, OIDC_MOUNT, OIDC_ROLE, SECRETS_MOUNT

KINDS = (
    SECRETS_MOUNT,
    OIDC_MOUNT,
    OIDC_CONFIG,
    OIDC_ROLE,
    POLICY,
    GROUP,
    GROUP_ALIAS,
    BARE_NAMESPACE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    REVIEWER_BINDING,
    TOKEN_SECRET,
    AUTH_MOUNT,
    CONFIG_WITH_SECRET,
    CONFIG_WITH_TOKEN,
    CONFIG_WITH_CLIENT,
    ROLE,
    EXCLUSIVE_ROLE,
    JWT_CONFIG,
    JWT_CONFIG_BY_URL,
    JWT_ROLE,
    EXCLUSIVE_JWT_ROLE,
)
