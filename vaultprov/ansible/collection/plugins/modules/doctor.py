#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Find the one cause why External Secrets cannot read from Vault
description:
  - The same as C(vaultprov doctor). It only looks, unless O(probe) or O(probe_login) say otherwise.
  - Fails if a cause was found (exit code 1) or if something could not be told (3).
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment: vaultprov.vaultprov.options
options:
  store:
    description: Look at this store alone.
    type: str
  external_secret:
    description: Look at this ExternalSecret alone, C(NAMESPACE/NAME).
    type: str
  probe:
    description: Start a short-lived pod beside the operand.
    type: bool
    default: false
  probe_image:
    description: The pod's image, with a shell.
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
  description: The root cause, with its fix.
  returned: always
  type: dict
  sample: null
checks:
  description: Every check and how it ended.
  returned: always
  type: list
  elements: dict
  sample: []
hint:
  description: The command that mends it.
  returned: failure
  type: str
  sample: vaultprov onboard --env moc --cluster smaug --renew-reviewer
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
