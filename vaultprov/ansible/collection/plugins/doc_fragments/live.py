# Copyright: the vaultprov authors
# Apache License 2.0
"""How an onboarding meets servers: options of the modules that ask them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  only:
    description:
      - Just this half, when nobody reaches both. V(vault) needs O(kubernetes_host),
        O(kubernetes_ca_file) and O(reviewer_jwt_file).
    type: str
    choices: [vault, cluster]
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
  store_token_file:
    description: >-
      A file with the Vault token of a store that does not log in (setting C(store.token_secret)).
    type: path
  exclusive:
    description: Own the role's bound names and namespaces, and drop what others added.
    type: bool
    default: false
  adopt:
    description: >-
      Take over what exists without vaultprov's marker. The plan of check mode says what would
      change. Where a cluster is disconnected, an auth mount of somebody else goes, too.
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
