#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Connect a Kubernetes cluster to Vault for External Secrets
description:
  - Makes the auth mount, its config and role, policies, groups, the reviewer's ServiceAccount and
    the store, and proves a login; the engine of C(vaultprov onboard) and C(vaultprov offboard).
  - Nothing is written when everything is in place.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment: vaultprov.vaultprov.options
options:
  state:
    description: Whether it is to be connected. V(absent) keeps secrets and what others use.
    type: str
    choices: [present, absent]
    default: present
  only:
    description: Just this half.
    type: str
    choices: [vault, cluster]
  kubernetes_host:
    description: The API server's URL as Vault reaches it; by default the kubeconfig's.
    type: str
  kubernetes_ca_file:
    description: CA of the API server, a PEM file; by default the kubeconfig's.
    type: path
  reviewer:
    description: Who reviews tokens.
    type: str
    choices: [secret, token, client, jwt]
  reviewer_jwt_file:
    description: With O(only=vault), a file with the reviewer JWT.
    type: path
  jwks_file:
    description: With O(only=vault) and O(reviewer=jwt), a file with the cluster's public keys.
    type: path
  cluster_uid:
    description: With O(only=vault), the uid of the namespace C(kube-system).
    type: str
  service_account:
    description: Workload ServiceAccounts, each C(NAMESPACE/NAME).
    type: list
    elements: str
  scope:
    description: What workloads may read.
    type: str
    choices: [environment, cluster]
  policy_set:
    description: Shipped policy templates.
    type: str
  policy_dir:
    description: Folder with your own C(read.hcl) and C(write.hcl).
    type: path
  no_oidc:
    description: People do not log in through OIDC here.
    type: bool
    default: false
  no_store:
    description: Make no store.
    type: bool
    default: false
  store_token_file:
    description: A file with a Vault token for a store that does not log in.
    type: path
  egress:
    description: How a closed way from External Secrets to Vault is opened.
    type: str
    choices: [auto, networkpolicy, externalsecretsconfig, none]
  vault_cidr:
    description: Address ranges of Vault instead of its name's addresses.
    type: list
    elements: str
  exclusive:
    description: Own the role's bound names and namespaces, and drop what others added.
    type: bool
    default: false
  adopt:
    description: Take over what exists without vaultprov's marker.
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
  no_verify:
    description: Skip the proof.
    type: bool
    default: false
  renew_reviewer:
    description: Write the auth config again with the reviewer's token.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Connect a cluster
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: smaug
    context: smaug
    config: vaultprov.yaml

- name: Disconnect it
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: smaug
    state: absent
"""

RETURN = r"""
steps:
  description: Every resource, what was to be done with it, and how that ended.
  returned: always
  type: list
  elements: dict
  sample:
    - key: vault/policy/moc-kv-r
      action: create
      status: written
      fields: {"path[k8s_secrets/data/moc/*]": {"from": null, "to": "read"}}
      kept: {}
      reason: null
      error: null
checks:
  description: The proof, line by line.
  returned: always
  type: list
  elements: dict
  sample:
    - title: external-secrets/vault-secret-fetcher logs in at auth/smaug-k8s as moc-ops
      ok: true
      detail: policies default, moc-kv-r
      hint: null
notes:
  description: What a reader has to know besides.
  returned: always
  type: list
  elements: str
  sample: []
hint:
  description: The one next thing to do.
  returned: failure
  type: str
  sample: to take over what is shown, add --adopt to the same command
exit_code:
  description: The exit code of the command line.
  returned: failure
  type: int
  sample: 6
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    DESIRED,
    run,
)


def main():
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    run("cluster", {**CLUSTER, **CONNECTION, **DESIRED, "state": state})


if __name__ == "__main__":
    main()
