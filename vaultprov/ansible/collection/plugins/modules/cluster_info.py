#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Say how a cluster's connection to Vault stands
description:
  - The same as C(vaultprov status). Nothing is written.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment: vaultprov.vaultprov.options
"""

EXAMPLES = r"""
- name: Look at a cluster
  vaultprov.vaultprov.cluster_info:
    env: moc
    cluster: smaug
  register: smaug
"""

RETURN = r"""
condition:
  description: How the cluster stands.
  returned: success
  type: str
  sample: in place
reviewer:
  description: Age and end of the reviewer token, in words.
  returned: success
  type: str
  sample: written 2026-01-01T00:00:00.000Z, does not expire
steps:
  description: Every resource, and what would be done with it.
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.vaultprov.vaultprov.plugins.module_utils.engine import (
    CLUSTER,
    CONNECTION,
    run,
)


def main():
    run("cluster_info", {**CLUSTER, **CONNECTION})


if __name__ == "__main__":
    main()
