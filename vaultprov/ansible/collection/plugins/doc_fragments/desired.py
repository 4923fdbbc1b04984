# Copyright: the vaultprov authors
# Apache License 2.0
"""What an onboarding is to be: options of the modules that plan one."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
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
  service_account:
    description:
      - Workload ServiceAccounts, each C(NAMESPACE/NAME).
      - By default the site file's, else C(external-secrets/vault-secret-fetcher).
    type: list
    elements: str
  scope:
    description: >-
      What workloads may read, the secrets of the whole environment or of this cluster alone. By
      default as the site file says, which is V(environment) if it does not.
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
  egress:
    description: >-
      How a closed way from External Secrets to Vault is opened. By default as the site file says,
      which is V(auto) if it does not.
    type: str
    choices: [auto, networkpolicy, externalsecretsconfig, none]
  vault_cidr:
    description: Address ranges of Vault instead of its name's addresses, each C(ADDRESS/BITS).
    type: list
    elements: str
"""
