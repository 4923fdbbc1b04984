#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Say how a cluster's connection to Vault stands
version_added: 0.1.0
description:
  - The same as C(vaultprov status). Nothing is written, and no login is tried.
  - Give it the same options as the task that onboards; what they want is what it compares with.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - vaultprov.vaultprov.options
  - vaultprov.vaultprov.desired
  - vaultprov.vaultprov.live
attributes:
  check_mode:
    support: full
    description: Nothing is ever written.
  diff_mode:
    support: full
    description: >-
      Returned as C(diff), the fields that are not as they should be. Ansible prints a diff only
      for tasks that change something, which this one never does.
"""

EXAMPLES = r"""
- name: Look at a cluster
  vaultprov.vaultprov.cluster_info:
    env: moc
    cluster: smaug
  register: smaug

- name: Tell who has drifted
  ansible.builtin.debug:
    msg: "{{ smaug.steps | rejectattr('action', 'eq', 'keep') | map(attribute='key') }}"
  when: smaug.condition == 'drifted'
"""

RETURN = r"""
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
  sample: status
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
  sample: "vault token lookup"
key:
  description: The resource that failed or was refused, null if it was none.
  returned: failure
  type: str
  sample: null
exit_code:
  description: >-
    The exit code of the command line. 1 the work or the check failed, 2 wrong parameters, 3 could
    not tell (unreachable, sealed, not allowed to look), 4 a bug, 6 refused without an explicit
    option.
  returned: failure
  type: int
  sample: 3
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    DESIRED,
    LIVE,
    run,
)


def main():
    run("cluster_info", {**CLUSTER, **CONNECTION, **DESIRED, **LIVE})


if __name__ == "__main__":
    main()
