#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Prove what a cluster's workloads can do in Vault, and what they cannot
description:
  - Logs in as External Secrets does. The same as C(vaultprov verify). Nothing is written.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment: vaultprov.vaultprov.options
options:
  service_account:
    description: Workload ServiceAccounts, each C(NAMESPACE/NAME).
    type: list
    elements: str
  touch_store:
    description: Have this store looked at again, and wait until it is Ready.
    type: str
"""

EXAMPLES = r"""
- name: Prove a cluster's logins
  vaultprov.vaultprov.verify:
    env: moc
    cluster: smaug
"""

RETURN = r"""
checks:
  description: What was tried, line by line.
  returned: always
  type: list
  elements: dict
  sample:
    - title: external-secrets/vault-secret-fetcher may read k8s_secrets/moc/smaug/
      ok: true
      detail: ""
      hint: null
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    run,
)


def main():
    more = {
        "service_account": {"type": "list", "elements": "str"},
        "touch_store": {"type": "str"},
    }
    run("verify", {**CLUSTER, **CONNECTION, **more})


if __name__ == "__main__":
    main()
