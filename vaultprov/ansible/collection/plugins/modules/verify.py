#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Prove what a cluster's workloads can do in Vault, and what they cannot
version_added: 0.1.0
description:
  - Logs in as External Secrets does, and as nobody should be able to. The same as C(vaultprov
    verify).
  - Fails if something is not as it should be.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - vaultprov.vaultprov.options
options:
  service_account:
    description: Workload ServiceAccounts, each C(NAMESPACE/NAME). By default the site file's.
    type: list
    elements: str
  oidc_group:
    description: >-
      Check that people of this group get in, too. An empty text means the environment's group.
    type: str
  touch_store:
    description: >-
      Have this store, C(NAME) or C(NAMESPACE/NAME), looked at again, and wait until it is Ready.
      This
      writes an annotation, so the task is changed.
    type: str
  patience:
    description: How long to wait for that, in seconds.
    type: float
    default: 60
attributes:
  check_mode:
    support: full
    description: The same logins are tried; O(touch_store) is left out.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Prove a cluster's logins
  vaultprov.vaultprov.verify:
    env: moc
    cluster: smaug
"""

RETURN = r"""
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
condition:
  description: Always null, as nothing is compared; what all commands' documents have.
  returned: always, but for wrong parameters
  type: str
  sample: null
reviewer:
  description: Always null, as C(condition).
  returned: always, but for wrong parameters
  type: str
  sample: null
steps:
  description: Always empty, as nothing is planned; what all commands' documents have.
  returned: always, but for wrong parameters
  type: list
  elements: dict
  sample: []
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
  sample: verify
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
  sample: "vaultprov onboard --env moc --cluster smaug"
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
  sample: 1
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    run,
)


def main():
    more = {
        "service_account": {"type": "list", "elements": "str"},
        "oidc_group": {"type": "str"},
        "touch_store": {"type": "str"},
        "patience": {"type": "float", "default": 60},
    }
    run("verify", {**CLUSTER, **CONNECTION, **more})


if __name__ == "__main__":
    main()
