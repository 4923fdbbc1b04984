# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
name: site
short_description: The clusters of a site file, grouped by environment
version_added: 0.1.0
description:
  - Each cluster of C(vaultprov.yaml) is a host that is worked on from the controller, named
    C(CLUSTER.ENVIRONMENT); each environment is a group, with underscores for what Ansible does
    not take in a group's name (V(ocp-prod) is the group V(ocp_prod)).
  - A host has the variables C(vaultprov_env), C(vaultprov_cluster) and C(vaultprov_config).
  - The inventory file's name ends in C(.vaultprov.yml) or C(.vaultprov.yaml).
author: The vaultprov authors (@vaultprov)
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: This plugin.
    required: true
    choices: [vaultprov.vaultprov.site]
  config:
    description: The site file, relative to the inventory file.
    type: str
    default: vaultprov.yaml
requirements:
  - vaultprov, in Ansible's Python
"""

EXAMPLES = r"""
# clusters.vaultprov.yml
plugin: vaultprov.vaultprov.site
config: vaultprov.yaml

# With groups of your own
---
plugin: vaultprov.vaultprov.site
keyed_groups:
  - key: vaultprov_cluster
    prefix: cluster
"""

import sys
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

try:
    from vaultprov.errors import Error
    from vaultprov.site import load

    MISSING = None
except ImportError as error:
    MISSING = error

_ANSIBLES = ("all", "ungrouped")


class InventoryModule(BaseInventoryPlugin, Constructable):
    """The hosts and groups of a site file."""

    NAME = "vaultprov.vaultprov.site"

    def verify_file(self, path):
        """Whether the file is meant for this plugin: NAME.vaultprov.yml."""
        names = (".vaultprov.yml", ".vaultprov.yaml")
        return super().verify_file(path) and path.endswith(names)

    def parse(self, inventory, loader, path, cache=True):
        """Adds a group for each environment, a host for each cluster. Raises AnsibleParserError."""
        super().parse(inventory, loader, path, cache)
        if MISSING is not None:
            raise AnsibleParserError("vaultprov is not installed in Ansible's Python") from MISSING
        self._read_config_data(path)
        file = Path(path).parent / Path(self.get_option("config")).expanduser()
        try:
            site = load(file)
        except Error as error:
            told = f"{error.message}. Next: {error.hint}" if error.hint else error.message
            raise AnsibleParserError(told) from error
        groups = {env: self._group(env) for env in sorted(site.environments)}
        for env, cluster in sorted(site.clusters):
            self._add(f"{cluster}.{env}", groups[env], env, cluster, file)

    def _group(self, env):
        if env in _ANSIBLES:
            raise AnsibleParserError(
                f"the environment {env} cannot be a group: it is Ansible's own"
            )
        return self.inventory.add_group(self._sanitize_group_name(env))

    def _add(self, host, group, env, cluster, file):
        self.inventory.add_host(host, group=group)
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "vaultprov_env": env,
            "vaultprov_cluster": cluster,
            "vaultprov_config": str(file),
        }
        for name, value in variables.items():
            self.inventory.set_variable(host, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(
            self.get_option("keyed_groups"), variables, host, strict=strict
        )
