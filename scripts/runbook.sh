#!/usr/bin/env bash
# The competitor of scripts/bench: Operate First's runbook with `bao` and `kubectl`, as a person
# would script it: its own commands, with the repairs without which they do not run:
#   - the group's id is read from .data.id, and the alias is only made together with the group;
#   - the CA is given and disable_local_ca_jwt set, because Vault is not in a pod of this cluster;
#   - the reviewer token comes from a token Secret, because `oc sa get-token` is gone;
#   - `list` is granted on metadata/, because on data/ it does nothing.
# `-field` takes the place of jq, and `key=-` keeps tokens out of everybody's sight; neither costs
# a request.
#
# Environment: VAULT_ADDR, VAULT_TOKEN, KUBECONFIG, env, cluster, sa, sa_namespace,
# reviewer_namespace, kubernetes_host, kubernetes_ca_file.
set -euo pipefail

reviewer=eso-vault-auth

# One manifest, as their ArgoCD applies it: one process for six objects. Not validating is faster.
cluster_half() {
    kubectl apply --validate=false -f - <<YAML
apiVersion: v1
kind: Namespace
metadata: {name: $reviewer_namespace}
---
apiVersion: v1
kind: Namespace
metadata: {name: $sa_namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: $reviewer, namespace: $reviewer_namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: $sa, namespace: $sa_namespace}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: $reviewer_namespace-$reviewer-tokenreview}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, name: $reviewer, namespace: $reviewer_namespace}]
---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: $reviewer-token
  namespace: $reviewer_namespace
  annotations: {kubernetes.io/service-account.name: $reviewer}
YAML
}

policies() {
    bao policy write "$env-kv-r" - <<HCL
path "k8s_secrets/data/$env/*" {
  capabilities = ["read"]
}
path "k8s_secrets/metadata/$env/*" {
  capabilities = ["read", "list"]
}
HCL
    bao policy write "$env-kv-rw" - <<HCL
path "k8s_secrets/data/$env/*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "k8s_secrets/metadata/$env/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}
HCL
}

people() {
    if bao list identity/group/name | grep -x "vault-admins-$env" >/dev/null; then return; fi
    bao write identity/group name="vault-admins-$env" type=external policies="$env-kv-rw" \
        metadata=responsibility="Vault $env Admin"
    bao write identity/group-alias name="vault-admins-$env" \
        mount_accessor="$(bao read -field=accessor sys/auth/oidc)" \
        canonical_id="$(bao read -field=id "identity/group/name/vault-admins-$env")"
}

reviewer_token() {
    local token
    until token=$(kubectl get secret "$reviewer-token" -n "$reviewer_namespace" \
        -o 'jsonpath={.data.token}') && [ -n "$token" ]; do sleep 0.1; done
    base64 -d <<<"$token"
}

logins() {
    bao auth enable -path="$cluster-k8s" kubernetes || true
    reviewer_token | bao write "auth/$cluster-k8s/config" token_reviewer_jwt=- \
        kubernetes_host="$kubernetes_host" kubernetes_ca_cert=@"$kubernetes_ca_file" \
        disable_local_ca_jwt=true
    bao write "auth/$cluster-k8s/role/$env-ops" alias_name_source=serviceaccount_uid \
        bound_service_account_names="$sa" bound_service_account_namespaces="$sa_namespace" \
        policies="$env-kv-r" audience=vault ttl=1h
}

refused() { { bao read "$1" 2>&1 || true; } | grep "$2" >/dev/null; }

# The same proof as vaultprov's: a login as the workload, one read that is allowed and one that is
# not, a logout.
proof() {
    VAULT_TOKEN=$(kubectl create token "$sa" -n "$sa_namespace" --audience=vault --duration=10m |
        bao write -field=token "auth/$cluster-k8s/login" role="$env-ops" jwt=-)
    export VAULT_TOKEN
    refused "k8s_secrets/data/$env/$cluster/proof" 'No value found' # nobody has this key
    refused "k8s_secrets/data/not-$env/proof" 'permission denied'
    bao token revoke -self
}

policies
people
cluster_half
logins
proof
