"""Every check, in the order of the chain: what comes first is the cause of what comes later.

A code is never used again for anything else; a check that is dropped leaves a gap.
"""

from __future__ import annotations

from vaultprov.doctor.checks import (
    accounts,
    auth_config,
    cluster,
    jwt,
    kv,
    login,
    mesh,
    network,
    pods,
    reviewer,
    stores,
    symptoms,
    vault_server,
)
from vaultprov.doctor.model import Check, Run, Vantage

CLUSTER, VAULT = Vantage.CLUSTER, Vantage.VAULT
STATIC, OPERAND = Vantage.STATIC, Vantage.OPERAND


def _check(code: str, vantage: Vantage, title: str, run: Run, *needs: str) -> Check:
    return Check(f"VP-{code}", title, vantage, run, tuple(f"VP-{need}" for need in needs))


def _symptom(code: str, title: str, run: Run) -> Check:
    return Check(f"VP-{code}", title, Vantage.CLUSTER, run, ("VP-CLU-001",), symptom=True)


_UP = ("NET-009", "TLS-004", "VLT-001")  # Vault can be asked
_OPERAND = ("OP-001",)

CHECKS: tuple[Check, ...] = (
    # The cluster and what runs in it.
    _check("CLU-001", CLUSTER, "the cluster's API server answers", cluster.api_server),
    _check("OP-001", CLUSTER, "External Secrets is installed", cluster.installed, "CLU-001"),
    _check("OP-004", CLUSTER, "the cluster serves the store's API version", cluster.api_version,
           "CLU-001"),
    _check("OP-006", CLUSTER, "the operand's pods are ready", cluster.pods_ready, *_OPERAND),
    _check("OP-005", CLUSTER, "the validating webhook answers", cluster.webhook, "CLU-001"),
    # The store object.
    _check("ES-009", CLUSTER, "a store for this Vault exists", stores.exists, "CLU-001", "OP-004"),
    _check("ES-001", CLUSTER, "the store has exactly one auth method", stores.auth_method,
           "ES-009"),
    _check("ES-005", CLUSTER, "a namespaced store refers to its own namespace",
           stores.own_namespace, "ES-009", "ES-001"),
    _check("ES-002", CLUSTER, "a cluster store names the namespace of what it refers to",
           stores.referent, "ES-009", "ES-001"),
    _check("OP-002", CLUSTER, "the operand reconciles the store", cluster.reconciled, "OP-001",
           "OP-004", "ES-009"),
    _check("SA-002", CLUSTER, "the ServiceAccount exists", accounts.exists, "CLU-001", "ES-001",
           "ES-005"),
    _check("SA-001", CLUSTER, "the operand may request the token", accounts.may_be_requested,
           "OP-001", "SA-002"),
    _check("SA-004", CLUSTER, "the operand asks for a token with an audience",
           accounts.with_audience, "OP-001", "SA-002"),
    _check("SA-005", CLUSTER, "the Secret that the store refers to exists",
           accounts.secret_exists, "ES-009", "ES-005"),
    _check("SA-006", CLUSTER, "the Vault token in the Secret can be sent", accounts.sendable,
           "SA-005"),
    _check("TLS-003", CLUSTER, "the store's CA can be read", stores.readable_ca),
    # The way from the operand to Vault.
    _check("NET-006", STATIC, "every policy in force is understood", network.understood,
           *_OPERAND),
    _check("NET-002", STATIC, "the operand may reach DNS or the API server at all",
           network.not_cut_off, *_OPERAND),
    _check("NET-005", STATIC, "the operand may reach its API server", network.to_api, "OP-001",
           "NET-002"),
    _check("DNS-001", STATIC, "the operand may reach DNS", network.to_dns, "OP-001", "NET-002"),
    _check("NET-007", STATIC, "the proxy lets the operand through to Vault", network.proxied,
           "OP-001", "NET-002"),
    _check("DNS-002", VAULT, "Vault's name resolves", network.resolves),
    _check("NET-003", STATIC, "the egress policy fits Vault's addresses and port",
           network.policy_fits, "OP-001", "DNS-002", "NET-002", "NET-007"),
    _check("NET-001", STATIC, "the operand may reach Vault", network.may_reach, "OP-001",
           "DNS-002", "NET-002", "NET-003", "NET-007"),
    _check("NET-008", STATIC, "the service mesh lets the operand through to Vault",
           mesh.meshed, *_OPERAND),
    _check("POD-001", OPERAND, "a pod beside the operand resolves Vault's name", pods.resolves,
           *_OPERAND),
    _check("POD-002", OPERAND, "a pod beside the operand connects to Vault", pods.connects,
           "OP-001", "POD-001"),
    _check("NET-009", VAULT, "Vault's port is open", network.port_open, "DNS-002"),
    _check("TLS-004", VAULT, "Vault speaks TLS as the store expects", vault_server.speaks_tls,
           "NET-009", "TLS-003"),
    _check("TLS-001", VAULT, "the store trusts Vault's certificate", vault_server.trusted,
           "NET-009", "TLS-003", "TLS-004"),
    _check("TLS-002", VAULT, "Vault's certificate is valid for the store's server",
           vault_server.fits, "NET-009", "TLS-003", "TLS-004"),
    _check("POD-003", OPERAND, "a pod beside the operand speaks with Vault", pods.speaks,
           "OP-001", "POD-002"),
    # Vault itself.
    _check("VLT-001", VAULT, "Vault is initialised and unsealed", vault_server.serving,
           "NET-009", "TLS-004"),
    _check("VLT-002", VAULT, "every node of Vault can serve", vault_server.every_node, *_UP),
    _check("NET-004", STATIC, "the operand may reach every node of Vault", network.to_nodes,
           *_UP),
    _check("VLT-003", VAULT, "Vault does not limit the rate", vault_server.not_limited, *_UP),
    _check("VLT-004", VAULT, "the Vault namespace exists", vault_server.namespace_exists, *_UP),
    _check("CFG-001", VAULT, "the cluster is the one that the auth mount belongs to",
           cluster.identity, "CLU-001", *_UP),
    # The login.
    _check("AUTH-001", VAULT, "the auth mount exists where the store logs in",
           login.mount_exists, *_UP, "VLT-004"),
    _check("AUTH-003", VAULT, "the auth config is written", login.config_written, "AUTH-001"),
    _check("AUTH-002", VAULT, "the role exists", login.role_exists, "AUTH-001"),
    _check("AUTH-004", VAULT, "the role lets the ServiceAccount in", login.bound, "AUTH-002"),
    _check("AUTH-005", VAULT, "the role does not depend on a namespace selector", login.selector,
           "AUTH-002"),
    _check("AUTH-009", VAULT, "the token's audience is the role's", login.audience, "AUTH-002",
           "SA-002"),
    # Vault's way back to the cluster.
    _check("REV-005", VAULT, "Vault does not use its own cluster's CA and token",
           auth_config.not_local, "AUTH-003"),
    _check("REV-006", VAULT, "the auth config has a CA", auth_config.has_ca, "AUTH-003"),
    _check("REV-007", VAULT, "the issuer is not checked", auth_config.issuer, "AUTH-003"),
    _check("SA-003", CLUSTER, "the reviewer's ServiceAccount is the one whose token Vault holds",
           accounts.reviewer_account, "CLU-001", "AUTH-001"),
    _check("REV-010", VAULT, "Vault's auth config points at this cluster",
           auth_config.this_cluster, "CLU-001", "AUTH-003", "REV-006", "SA-002", "SA-003"),
    _check("REV-004", VAULT, "Vault's CA fits the API server's certificate", auth_config.ca_fits,
           "AUTH-003", "REV-006", "REV-010"),
    _check("REV-001", VAULT, "the reviewer token is alive", reviewer.token_alive, "AUTH-003",
           "REV-005", "SA-003", "REV-004", "REV-010"),
    _check("REV-002", CLUSTER, "the reviewer may review tokens", reviewer.may_review, "CLU-001",
           "SA-003"),
    _check("REV-008", CLUSTER, "the client's own token is good enough to review itself",
           reviewer.reviews_itself, "AUTH-002", "SA-002"),
    _check("REV-003", VAULT, "Vault can reach the cluster's API server", auth_config.vault_reaches,
           "AUTH-002", "AUTH-003", "AUTH-004", "AUTH-009"),
    _check("AUTH-006", VAULT, "the role's token_bound_cidrs let the operand in", login.cidrs,
           "AUTH-002"),
    _check("REV-009", VAULT, "Vault holds the reviewer token that the cluster has",
           reviewer.held_is_ours, "AUTH-003", "REV-001", "REV-002", "REV-003", "AUTH-006"),
    # JWT mounts instead.
    _check("JWT-004", VAULT, "the JWT mount's key source answers", jwt.key_source, "AUTH-001",
           "SA-002"),
    _check("JWT-003", VAULT, "the JWT mount has the cluster's current keys", jwt.keys,
           "AUTH-001", "SA-002"),
    _check("JWT-001", VAULT, "the JWT role's audience is the token's", jwt.audience, "AUTH-002",
           "SA-002"),
    _check("JWT-002", VAULT, "the JWT role lets the ServiceAccount in (subject, issuer, claims)",
           jwt.binding, "AUTH-002", "SA-002"),
    # The token and the secret.
    _check("AUTH-007", VAULT, "the token may look itself up", login.looks_itself_up, "AUTH-002"),
    _check("AUTH-008", VAULT, "the token outlives its first use", login.outlives_first_use,
           "AUTH-002"),
    _check("KV-003", VAULT, "the store's path is the mount's name", kv.path_is_mount),
    _check("KV-006", VAULT, "the KV mount exists", kv.mount_exists, *_UP, "KV-003"),
    _check("KV-002", VAULT, "the store's version is the mount's", kv.version, "KV-006"),
    _check("KV-001", VAULT, "the policy lets the workload read", kv.policy_allows, "AUTH-002",
           "KV-006", "KV-002"),
    _check("KV-004", CLUSTER, "the secret exists", kv.secret_exists, "ES-009", "KV-001"),
    _check("KV-005", CLUSTER, "a missing secret is seen", kv.missing_is_seen, "ES-009"),
    # ExternalSecrets.
    _check("ES-004", CLUSTER, "the ExternalSecret's store exists",
           symptoms.store_of_secret, "OP-004"),
    _check("ES-003", CLUSTER, "the store's conditions allow the namespace",
           symptoms.conditions_allow, "ES-009", "ES-004"),
    _check("ES-006", CLUSTER, "the target Secret is free to be written", symptoms.target_free,
           "ES-009", "ES-004"),
    _check("OP-003", CLUSTER, "no other store holds up the operand", cluster.held_up, "OP-001",
           "OP-004"),
    _symptom("ES-007", "the store is Ready", symptoms.store_ready),
    _symptom("ES-008", "the ExternalSecret is synced", symptoms.secret_synced),
)  # fmt: skip
BY_CODE = {check.code: check for check in CHECKS}
