#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Connect a Kubernetes cluster to Vault for External Secrets
version_added: 0.1.0
description:
  - Makes the auth mount, its config and role, policies, groups, the reviewer's ServiceAccount and
    the store, and proves a login; the engine of C(vaultprov onboard) and C(vaultprov offboard).
  - Nothing is written when everything is in place. What others added is kept.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - vaultprov.vaultprov.options
  - vaultprov.vaultprov.desired
  - vaultprov.vaultprov.live
options:
  state:
    description:
      - V(absent) takes back what V(present) made, proves that logins are refused, and keeps
        secrets,
        namespaces and what others use. Options that only an onboarding uses are without effect
        then.
    type: str
    choices: [present, absent]
    default: present
  no_verify:
    description: Skip the proof.
    type: bool
    default: false
  renew_reviewer:
    description: Write the auth config again with the reviewer's token.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what would be written, from the very plan that a run carries out.
  diff_mode:
    support: full
    description: Shows the fields that differ, policies by what they grant.
"""

EXAMPLES = r"""
- name: Connect a cluster
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: smaug
    context: smaug
    config: "{{ playbook_dir }}/vaultprov.yaml"

- name: Connect many, side by side
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: "{{ item }}"
    context: "{{ item }}/admin"
    set:
      scope: cluster
      reviewer:
        namespace: vault-reviewer
  loop: [smaug, curator]
  async: 300
  poll: 0

- name: Log in with AppRole
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: smaug
    auth: approle
    auth_role: "{{ role_id }}"
    auth_secret: "{{ secret_id }}"

- name: Disconnect a cluster
  vaultprov.vaultprov.cluster:
    env: moc
    cluster: smaug
    state: absent
"""

RETURN = r"""
steps:
  description:
    - Every resource with what differs, what is to be done (C(action)), and how that ended
      (C(status)).
    - In check mode and of C(cluster_info) the status of what is to be done is C(planned).
  returned: always, but for wrong parameters
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
  description: What was tried as a workload, line by line. Empty where nothing was.
  returned: always, but for wrong parameters
  type: list
  elements: dict
  sample:
    - title: external-secrets/vault-secret-fetcher logs in at auth/smaug-k8s as moc-ops
      ok: true
      detail: policies default, moc-kv-r
      hint: null
notes:
  description: What a reader has to know besides.
  returned: always, but for wrong parameters
  type: list
  elements: str
  sample:
    - "External Secrets is not installed: no store and no egress policy; install it and run this
      again"
condition:
  description: How the cluster stands. One of C(in place), C(drifted), C(not onboarded), C(foreign).
  returned: when both servers could be read
  type: str
  sample: in place
reviewer:
  description: Age and end of the reviewer's credential, in words.
  returned: when there is one
  type: str
  sample: written 2026-01-01T00:00:00.000Z, does not expire
servers:
  description: The site file and the servers that were asked.
  returned: always, but for wrong parameters
  type: list
  elements: str
  sample:
    - vault    https://vault.example.com
    - cluster  https://api.smaug.example.com:6443, context smaug
ok:
  description: Whether the work was done, or all is as it should be.
  returned: always, but for wrong parameters
  type: bool
  sample: true
schema:
  description: Version of this document, the same as of C(--output json).
  returned: always, but for wrong parameters
  type: str
  sample: vaultprov/v1
command:
  description: The command of vaultprov that does the same.
  returned: always, but for wrong parameters
  type: str
  sample: onboard
env:
  description: The environment.
  returned: always, but for wrong parameters
  type: str
  sample: moc
cluster:
  description: The cluster.
  returned: always, but for wrong parameters
  type: str
  sample: smaug
duration_ms:
  description: How long it took, in milliseconds.
  returned: always, but for wrong parameters
  type: int
  sample: 310
error:
  description: Message, hint and exit code as the command line says them, null if all is well.
  returned: always, but for wrong parameters
  type: dict
  sample: null
hint:
  description: The one next thing to do; it is in the message, too.
  returned: failure
  type: str
  sample: "to take over what is shown, add adopt: true to the same task"
key:
  description: The resource that failed or was refused, null if it was none.
  returned: failure
  type: str
  sample: vault/auth/smaug-k8s
exit_code:
  description: >-
    The exit code of the command line. 1 the work or the check failed, 2 wrong parameters, 3 could
    not tell (unreachable, sealed, not allowed to look), 4 a bug, 6 refused without an explicit
    option.
  returned: failure
  type: int
  sample: 6
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    DESIRED,
    LIVE,
    run,
)


def main():
    more = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "no_verify": {"type": "bool", "default": False},
        "renew_reviewer": {"type": "bool", "default": False},
    }
    run("cluster", {**CLUSTER, **CONNECTION, **DESIRED, **LIVE, **more})


if __name__ == "__main__":
    main()
