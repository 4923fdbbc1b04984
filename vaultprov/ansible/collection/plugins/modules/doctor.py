#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Find the one cause why a cluster's secrets do not arrive
version_added: 0.1.0
description:
  - The same as C(vaultprov doctor). It only looks, unless O(probe) or O(probe_login) say otherwise.
  - Fails if a cause was found (exit code 1) or if something could not be told (3).
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - vaultprov.vaultprov.options
options:
  store:
    description: Look at this store alone, C(NAME) or C(NAMESPACE/NAME).
    type: str
  external_secret:
    description: Look at this ExternalSecret alone, C(NAMESPACE/NAME).
    type: str
  from:
    description: A folder with manifests instead of a live cluster.
    type: path
  probe:
    description: Start a short-lived pod beside External Secrets, and remove it.
    type: bool
    default: false
  probe_image:
    description: The pod's image, with a shell. By default that of External Secrets.
    type: str
  probe_login:
    description: Log in to Vault as the store does.
    type: bool
    default: false
  operand_namespace:
    description: Where External Secrets runs, if several do.
    type: str
  strict:
    description: Warnings fail, too.
    type: bool
    default: false
  suppress:
    description: Checks to leave out, by code.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
    description: Looks as usual; O(probe) is left out.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Is there anything wrong?
  vaultprov.vaultprov.doctor:
    env: moc
    cluster: smaug
    probe_login: true
"""

RETURN = r"""
root:
  description: The root cause with its evidence and its fix, null if there is none.
  returned: always, but for wrong parameters
  type: dict
  sample:
    id: VP-OP-001
    title: External Secrets is installed
    status: fail
    cause: External Secrets is not installed
    fix:
      text: install it, with Helm or OperatorHub
      command: helm install external-secrets external-secrets/external-secrets -n external-secrets
      manifest: null
checks:
  description: Every check and how it ended.
  returned: always, but for wrong parameters
  type: list
  elements: dict
  sample:
    - id: VP-CLU-001
      title: the cluster's API server answers
      status: ok
      vantage: cluster
      observed: https://api.smaug.example.com:6443, context smaug
steps:
  description: Always empty, as nothing is planned; what all commands' documents have.
  returned: always, but for wrong parameters
  type: list
  elements: dict
  sample: []
missing:
  description: What could not be looked at, and why.
  returned: always, but for wrong parameters
  type: list
  elements: dict
  sample: []
suppressed:
  description: Checks that were left out.
  returned: always, but for wrong parameters
  type: list
  elements: str
  sample: []
next:
  description: The fix of the root cause, or what would tell more.
  returned: always, but for wrong parameters
  type: dict
  sample: null
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
  sample: doctor
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
  sample: "vaultprov onboard --env moc --cluster smaug --renew-reviewer"
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
  returned: always, but for wrong parameters
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
        "store": {"type": "str"},
        "external_secret": {"type": "str", "no_log": False},
        "from": {"type": "path"},
        "probe": {"type": "bool", "default": False},
        "probe_image": {"type": "str"},
        "probe_login": {"type": "bool", "default": False},
        "operand_namespace": {"type": "str"},
        "strict": {"type": "bool", "default": False},
        "suppress": {"type": "list", "elements": "str"},
    }
    run("doctor", {**CLUSTER, **CONNECTION, **more})


if __name__ == "__main__":
    main()
