# Copyright: the vaultprov authors
# Apache License 2.0
"""Options that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  env:
    description: Environment, for example V(moc).
    type: str
    required: true
  cluster:
    description: Cluster, for example V(smaug).
    type: str
    required: true
  vault_addr:
    description: Vault's URL. Falls back to E(BAO_ADDR), E(VAULT_ADDR), then to the site file.
    type: str
  vault_token:
    description: A Vault token. Falls back to E(BAO_TOKEN), E(VAULT_TOKEN).
    type: str
  vault_namespace:
    description: Vault namespace. Falls back to E(BAO_NAMESPACE), E(VAULT_NAMESPACE).
    type: str
  vault_cacert:
    description: CA of Vault's certificate (PEM). Falls back to E(BAO_CACERT), E(VAULT_CACERT).
    type: path
  auth:
    description: How to log in to Vault; by default with a token.
    type: str
    choices: [token, approle, jwt, kubernetes]
  auth_mount:
    description: Auth mount to log in at; by default the method's name.
    type: str
  auth_role:
    description: Role to log in with; for AppRole the role id.
    type: str
  auth_role_file:
    description: File with that role.
    type: path
  auth_secret:
    description: Secret id or JWT. Falls back to E(VAULTPROV_AUTH_SECRET).
    type: str
  auth_secret_file:
    description: File with the secret id or JWT.
    type: path
  kubeconfig:
    description: The kubeconfig. Falls back to E(KUBECONFIG), then to the user's default file.
    type: path
  context:
    description: Kubeconfig context of the cluster.
    type: str
  config:
    description: The site file, C(vaultprov.yaml).
    type: path
  set:
    description: Any settings of the site file, by key, for example C(kv_mount).
    type: dict
  timeout:
    description: Nothing is tried for longer, for example V(120s).
    type: str
requirements:
  - vaultprov, in the Python that runs the module
attributes:
  check_mode:
    support: full
    description: Says what would be written, from the very plan that a run carries out.
  diff_mode:
    support: full
    description: Shows the fields that differ, policies by what they grant.
"""
