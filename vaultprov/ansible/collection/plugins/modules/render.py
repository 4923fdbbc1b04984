#!/usr/bin/python
# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: render
short_description: Write what connects a cluster to Vault as files, for git
version_added: 0.1.0
description:
  - The very objects that M(vaultprov.vaultprov.cluster) applies in the cluster, as C(vaultprov
    render) writes them. No server is asked, and nothing is deleted.
  - O(vault_addr) is the address that the store gets, unless C(store.server) is set. The other
    options of a connection have no effect; they are taken so that module_defaults reach all
    modules.
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - vaultprov.vaultprov.options
  - vaultprov.vaultprov.desired
options:
  dir:
    description:
      - Folder where the files go, made if absent. A relative path starts where Ansible was started.
    type: path
    required: true
  layout:
    description: How the files are arranged.
    type: str
    choices: [plain, kustomize, operate-first]
    default: kustomize
  include:
    description: What to render. By default V(cluster) and V(store).
    type: list
    elements: str
    choices:
      - cluster
      - store
      - egress
      - guardrail
      - gatekeeper
      - examples
      - istio
      - big-bang
      - vault
  adopt:
    description: Overwrite files of others, and files that all clusters share.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says which files would be written, and refuses what the run refuses.
  diff_mode:
    support: full
    description: Shows each file that differs as a unified diff.
"""

EXAMPLES = r"""
- name: The cluster's folder in the repository
  vaultprov.vaultprov.render:
    env: moc
    cluster: smaug
    config: "{{ playbook_dir }}/vaultprov.yaml"
    dir: "{{ playbook_dir }}/../apps"

- name: With the way to Vault opened, and a guard rail against stores without TLS
  vaultprov.vaultprov.render:
    env: moc
    cluster: smaug
    dir: apps
    layout: plain
    include: [cluster, store, egress, guardrail]
    vault_cidr: [192.0.2.10/32]
"""

RETURN = r"""
files:
  description: Every file by its path in O(dir), and whether it was (or would be) changed.
  returned: success
  type: dict
  sample:
    base/reviewer/kustomization.yaml: false
    overlays/moc/smaug/kustomization.yaml: true
leftovers:
  description: Files of an earlier run that are not rendered any more; nothing deletes them.
  returned: success
  type: list
  elements: str
  sample: []
ok:
  description: Whether the work was done.
  returned: success
  type: bool
  sample: true
schema:
  description: Version of this document, the same as of C(--output json).
  returned: success
  type: str
  sample: vaultprov/v1
command:
  description: The command of vaultprov that does the same.
  returned: success
  type: str
  sample: render
env:
  description: The environment.
  returned: success
  type: str
  sample: moc
cluster:
  description: The cluster.
  returned: success
  type: str
  sample: smaug
hint:
  description: The one next thing to do; it is in the message, too.
  returned: failure
  type: str
  sample: "--check adopt: true shows what would be lost, adopt: true overwrites it"
key:
  description: Always null; what all modules' failures have.
  returned: failure
  type: str
  sample: null
exit_code:
  description: >-
    The exit code of the command line. 2 wrong parameters, or a file that cannot be read or
    written, 4 a bug, 6 refused without O(adopt).
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
    more = {
        "dir": {"type": "path", "required": True},
        "layout": {
            "type": "str",
            "choices": ["plain", "kustomize", "operate-first"],
            "default": "kustomize",
        },
        "include": {
            "type": "list",
            "elements": "str",
            "choices": [
                "cluster",
                "store",
                "egress",
                "guardrail",
                "gatekeeper",
                "examples",
                "istio",
                "big-bang",
                "vault",
            ],
        },
        "adopt": {"type": "bool", "default": False},
    }
    run("render", {**CLUSTER, **CONNECTION, **DESIRED, **more})


if __name__ == "__main__":
    main()
