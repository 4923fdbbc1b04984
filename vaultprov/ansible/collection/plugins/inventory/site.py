# Copyright: the vaultprov authors
# Apache License 2.0
from __future__ import annotations

DOCUMENTATION = r"""
name: site
short_description: The clusters of a site file, grouped by environment
description:
  - Each cluster of C(vaultprov.yaml) is a host that is worked on from the controller; each
    environment is a group.
  - A host has the variables C(vaultprov_env), C(vaultprov_cluster) and C(vaultprov_config).
author: The vaultprov authors (@vaultprov)
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
"""

import sys
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

try:
    from vaultprov.errors import Error
    from vaultprov.site import load

    MISSING = None
except ImportError as error:
    MISSING = error


class InventoryModule(BaseInventoryPlugin):
    """The hosts and groups of a site file."""

    NAME = "vaultprov.vaultprov.site"

    def verify_file(self, path):
        """Whether the file is meant for this plugin: NAME.vaultprov.yml."""
        names = (".vaultprov.yml", ".vaultprov.yaml")
        return super().verify_file(path) and path.endswith(names)

    def parse(self, inventory, loader, path, cache=True):
        """Adds a group for each environment, a host for each cluster."""
        super().parse(inventory, loader, path, cache)
        if MISSING is not None:
            raise AnsibleParserError("vaultprov is not installed in Ansible's Python") from MISSING
        self._read_config_data(path)
        file = Path(path).parent / self.get_option("config")
        try:
            site = load(file)
        except Error as error:
            raise AnsibleParserError(error.message) from error
        for env, cluster in sorted(site.clusters):
            group = inventory.add_group(env.replace("-", "_"))
            host = f"{env}_{cluster}"
            inventory.add_host(host, group=group)
            for name, value in (
                ("ansible_connection", "local"),
                ("ansible_python_interpreter", sys.executable),
                ("vaultprov_env", env),
                ("vaultprov_cluster", cluster),
                ("vaultprov_config", str(file)),
            ):
                inventory.set_variable(host, name, value)
