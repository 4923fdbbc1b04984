# Copyright: the vaultprov authors
# Apache License 2.0
"""Options that all modules share."""

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
    description:
      - Vault's URL.
      - Falls back to E(VAULTPROV_VAULT_ADDRESS), E(BAO_ADDR), E(VAULT_ADDR), then to the site
        file's C(vault.address).
    type: str
  vault_token:
    description:
      - A Vault token, where O(auth) is V(token).
      - Falls back to E(BAO_TOKEN), then E(VAULT_TOKEN), then to the file that C(vault login)
        writes.
    type: str
  vault_namespace:
    description:
      - Vault namespace.
      - Falls back to E(VAULTPROV_VAULT_NAMESPACE), E(BAO_NAMESPACE), E(VAULT_NAMESPACE), then to
        the site file.
    type: str
  vault_cacert:
    description:
      - CA of Vault's certificate, a PEM file.
      - Falls back to E(VAULTPROV_VAULT_CA_CERT), E(BAO_CACERT), E(VAULT_CACERT), then to the site
        file.
    type: path
  auth:
    description: >-
      How to log in to Vault. By default as the site file says, which is V(token) if it does not.
    type: str
    choices: [token, approle, jwt, kubernetes]
  auth_mount:
    description: Auth mount to log in at. By default as the site file says, else the method's name.
    type: str
  auth_role:
    description: Role to log in with, for AppRole the role id. By default as the site file says.
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
    description: The kubeconfig. Falls back to E(KUBECONFIG), then to C(~/.kube/config).
    type: path
  context:
    description: >-
      Kubeconfig context of the cluster. By default as the site file says, else the current one.
    type: str
  config:
    description:
      - The site file C(vaultprov.yaml). A relative path starts where Ansible was started; write
        C({{ playbook_dir }}/vaultprov.yaml) for one beside the playbook.
      - By default the one that is found from there upwards, else
        C(~/.config/vaultprov/vaultprov.yaml).
    type: path
  set:
    description:
      - Any settings of the site file, nested as there or by their whole key.
      - C(vaultprov config show) lists all with their values.
      - Stronger than an option of the same meaning, as C(--set) is.
    type: dict
  timeout:
    description: Nothing is tried for longer, for example V(120s), which is the default.
    type: str
attributes:
  action_group:
    support: full
    description: C(module_defaults) of C(group/vaultprov.vaultprov.all) reach this module.
    membership: [vaultprov.vaultprov.all]
requirements:
  - vaultprov, in the Python that runs the module
notes:
  - The modules work on the controller; use C(connection=local) or C(delegate_to=localhost).
  - Every variable of the command line (C(VAULTPROV_...)) counts here, too; an option is stronger.
  - Ansible shows a task's C(environment) with C(-vvv). Give secrets by O(vault_token) or
    O(auth_secret), or in the environment in which Ansible is started.
"""
