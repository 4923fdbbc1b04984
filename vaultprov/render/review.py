"""Vault's side as files for a review: policies as HCL, and the `vault` commands for the rest.

What a command sends is what the resource's `write` sends to a Vault that has nothing yet. Secrets
are asked for when the script runs, and go through standard input: argv is visible to everybody.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vaultprov.errors import ConfigError
from vaultprov.names import joined
from vaultprov.render.tree import header
from vaultprov.resource import AtLeast, OnCreate, Ref, Resource
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.identity import Group, GroupAlias
from vaultprov.vault.jwt_auth import JwtConfig, JwtRole
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.marker import Marker
from vaultprov.vault.oidc import OidcConfig, OidcMount, OidcRole
from vaultprov.vault.policy import Policy
from vaultprov.vault.secrets_mount import SecretsMount

_PREAMBLE = """\
# For a Vault that has none of this yet: `vault write` replaces lists that `vaultprov onboard` only
# adds to, and does not look whose a thing is. Needs vault (or bao, as `vault`) and jq.
set -eu
here=$(dirname "$0")
"""


def vault_side(resources: Iterable[Resource], command: str) -> dict[str, str]:
    """`vault/policies/NAME.hcl` and `vault/commands.sh`, by path.

    resources: of both halves or one, in their order; those of the cluster are passed over. command:
    what the first line of the script says. Raises ConfigError for a kind that it does not know.
    """
    files: dict[str, str] = {}
    commands = [header(command) + _PREAMBLE]
    for resource in resources:
        if resource.key.kind.startswith("cluster/"):
            continue
        if isinstance(resource, Policy):
            # Exactly what is written to Vault: its first line is the marker there.
            files[f"vault/policies/{_policy_file(resource)}"] = resource.marked
        commands.append(f"\n# {resource.key}\n" + "".join(f"{x}\n" for x in _commands(resource)))
    return {**files, "vault/commands.sh": "".join(commands)}


def _policy_file(policy: Policy) -> str:
    return policy.name.lower().replace("/", ".") + ".hcl"


def _commands(resource: Resource) -> Iterator[str]:
    if resource.required:
        yield f"# has to be there already: {resource.required}".replace("\n", " ")
        return
    fields = _fields(resource)
    match resource:
        case Policy():
            write = _shell("vault", "policy", "write", resource.name.lower())
            yield f'{write} "$here"/policies/{shlex.quote(_policy_file(resource))}'
        case SecretsMount():
            yield _shell(
                "vault", "secrets", "enable", f"-path={resource.mount}", "-version=2",
                "-description=External Secrets", "kv",
            )  # fmt: skip
        case AuthMount():
            uid = fields.get("cluster_uid")
            marker = Marker().having(
                environment=resource.env,
                cluster=resource.cluster,
                cluster_uid=uid if isinstance(uid, str) else None,
            )
            yield _enable(resource.mount, marker, resource.method)
        case OidcMount():
            yield _enable(resource.mount, Marker().having(purpose="logins"), "oidc")
        case AuthConfig():
            yield from _auth_config(resource, fields)
        case JwtConfig():
            yield _jwt_config(resource)
        case OidcConfig():
            secret = "oidc_client_secret"
            yield from _with_secret(
                _write(joined("auth", resource.oidc.mount, "config"), fields, secret),
                "OIDC_CLIENT_SECRET_FILE",
            )
        case Role():
            yield _write(joined("auth", resource.mount, "role", resource.name), fields)
        case JwtRole():
            yield _jwt_role(resource, fields)
        case OidcRole():
            yield _write(joined("auth", resource.oidc.mount, "role", resource.oidc.role), fields)
        case Group():
            metadata = {**fields.pop("metadata"), "managed-by": "vaultprov"}
            pairs = [f"metadata={name}={value}" for name, value in sorted(metadata.items())]
            yield " ".join(
                [_write("identity/group", {"name": resource.name, **fields}), _shell(*pairs)]
            )
        case GroupAlias():
            yield from _alias(resource)
        case _:
            raise ConfigError(f"{resource.key} cannot be rendered as a command")


def _fields(resource: Resource) -> dict[str, Any]:
    """The wanted fields as they are sent to a Vault that has nothing yet."""
    state = resource.wanted()
    return {name: _sent(value) for name, value in (state.fields if state else {}).items()}


def _sent(value: Any) -> Any:
    match value:
        case AtLeast(items=items):
            return dict(items) if isinstance(items, Mapping) else sorted(items)
        case OnCreate(value=given):
            return given
        case frozenset():
            return sorted(value)
        case _:
            return value


def _auth_config(resource: AuthConfig, fields: Mapping[str, Any]) -> Iterator[str]:
    if not resource.host:
        raise ConfigError(
            f"auth/{resource.mount}/config needs the address of the cluster's API server",
            hint="give --kubernetes-host URL",
        )
    path = joined("auth", resource.mount, "config")
    payload = {
        "kubernetes_host": fields["kubernetes_host"],
        "kubernetes_ca_cert": resource.ca_pem,
        "disable_local_ca_jwt": True,
    }
    if resource.reviewer.mode == "client":
        yield _write(path, payload)
        return
    if isinstance(resource.jwt, Ref):
        namespace, _, name = resource.jwt.key.name.partition("/")
        get = _shell("kubectl", "-n", namespace, "get", "secret", name)
        yield f"# {get} -o jsonpath='{{.data.token}}' | base64 -d > FILE"
    yield from _with_secret(_write(path, payload, "token_reviewer_jwt"), "REVIEWER_JWT_FILE")


def _jwt_config(resource: JwtConfig) -> str:
    """With keys from a URL: those that are copied are read from the cluster, which is not asked."""
    if not resource.jwks_url:
        raise ConfigError(
            f"auth/{resource.mount}/config holds the cluster's public keys, which no file tells",
            hint="leave out --include vault, or --set reviewer.jwks_url=https://.../openid/v1/jwks",
        )
    payload = {"jwks_url": resource.jwks_url}
    if resource.ca_pem:
        payload["jwks_ca_pem"] = resource.ca_pem
    return _write(joined("auth", resource.mount, "config"), payload)


def _jwt_role(resource: JwtRole, fields: Mapping[str, Any]) -> str:
    path = joined("auth", resource.mount, "role", resource.name)
    rest = {k: v for k, v in fields.items() if v is not None and not k.startswith("bound_claims")}
    bound = json.dumps({"sub": fields["bound_claims.sub"]})
    return f"printf %s {shlex.quote(bound)} | {_write(path, rest)} bound_claims=-"


def _with_secret(write: str, variable: str) -> Iterator[str]:
    """`write` with a secret from the file that a variable names: trimmed, and never in argv."""
    yield f'secret=$(tr -d "\\r\\n" < "${{{variable}:?names the file with the secret}}")'
    yield f'test -n "$secret" || {{ echo "${variable} is empty" >&2; exit 1; }}'
    yield f'printf %s "$secret" | {write}'


def _alias(resource: GroupAlias) -> Iterator[str]:
    mount = shlex.quote(f"{resource.mount}/")
    name = shlex.quote(resource.group)
    group = shlex.quote(joined("identity/group/name", resource.group))
    yield (
        "accessor=$(vault auth list -format=json"
        f" | jq -er --arg mount {mount} '.[$mount].accessor')"
    )
    yield f"group=$(vault read -field=id {group})"
    yield (
        f"vault write identity/group-alias name={name}"
        ' mount_accessor="$accessor" canonical_id="$group"'
    )


def _enable(mount: str, marker: Marker, kind: str) -> str:
    return _shell("vault", "auth", "enable", f"-path={mount}", f"-description={marker}", kind)


def _write(path: str, fields: Mapping[str, Any], from_stdin: str = "") -> str:
    pairs = [_pair(name, value) for name, value in fields.items() if name != from_stdin]
    if from_stdin:
        pairs.append(f"{from_stdin}=-")
    return _shell("vault", "write", path, *pairs)


def _pair(name: str, value: Any) -> str:
    """NAME=VALUE as the command line reads it: a list has commas, a leading `@` is a file's."""
    if isinstance(value, bool):
        value = str(value).lower()
    text = ",".join(value) if isinstance(value, list) else str(value)
    return f"{name}=" + ("\\" if text.startswith("@") else "") + text


def _shell(*words: str) -> str:
    return shlex.join(words)
