# Copyright: the vaultprov authors
# Apache License 2.0
"""What an onboarding is to be: options of the modules that plan one."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  only:
    description:
      - Just this half, when nobody reaches both. V(vault) needs O(kubernetes_host),
        O(kubernetes_ca_file)
        and O(reviewer_jwt_file).
    type: str
    choices: [vault, cluster]
  kubernetes_host:
    description: The API server's URL as Vault reaches it. By default the kubeconfig's.
    type: str
  kubernetes_ca_file:
    description: CA of the API server, a PEM file. By default the kubeconfig's.
    type: path
  reviewer:
    description:
      - Who reviews tokens - a token of a Secret, a token with an end, each workload's own token
        (V(client)), or nobody, as Vault checks signatures itself (V(jwt)).
      - By default as the site file says, which is V(secret) if it does not.
    type: str
    choices: [secret, token, client, jwt]
  reviewer_jwt_file:
    description: With O(only=vault), a file with the reviewer JWT.
    type: path
  jwks_file:
    description: With O(only=vault) and O(reviewer=jwt), a file with the cluster's public keys.
    type: path
  cluster_uid:
    description: >-
      With O(only=vault), the uid of the namespace C(kube-system), which says which cluster it is.
    type: str
  service_account:
    description:
      - Workload ServiceAccounts, each C(NAMESPACE/NAME).
      - By default the site file's, else C(external-secrets/vault-secret-fetcher).
    type: list
    elements: str
  scope:
    description: >-
      What workloads may read, the secrets of the whole environment or of this cluster alone. By
      default as the
      site file says, which is V(environment) if it does not.
    type: str
    choices: [environment, cluster]
  policy_set:
    description: Shipped policy templates, V(default) or V(operate-first).
    type: str
  policy_dir:
    description: Folder with your own C(read.hcl) and C(write.hcl).
    type: path
  no_oidc:
    description: No groups; people do not log in through OIDC here.
    type: bool
    default: false
  no_store:
    description: Make no store of External Secrets.
    type: bool
    default: false
  store_token_file:
    description: >-
      A file with the Vault token of a store that does not log in (setting C(store.token_secret)).
    type: path
  egress:
    description: >-
      How a closed way from External Secrets to Vault is opened. By default as the site file says,
      which is
      V(auto) if it does not.
    type: str
    choices: [auto, networkpolicy, externalsecretsconfig, none]
  vault_cidr:
    description: Address ranges of Vault instead of its name's addresses, each C(ADDRESS/BITS).
    type: list
    elements: str
  exclusive:
    description: Own the role's bound names and namespaces, and drop what others added.
    type: bool
    default: false
  adopt:
    description: >-
      Take over what exists without vaultprov's marker. The plan of check mode says what would
      change.
    type: bool
    default: false
  replace_cluster:
    description: Let a mount change the cluster that it belongs to.
    type: bool
    default: false
  bootstrap:
    description: Create what the site needs once, too.
    type: bool
    default: false
"""
