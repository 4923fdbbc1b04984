"""What `render` is asked: flags, site file, environment -> the tree of one cluster. No server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaultprov import site as sites
from vaultprov.certificates import given_ca
from vaultprov.desired import Target, onboarding_resources
from vaultprov.errors import ConfigError
from vaultprov.kube.manifest import Manifest
from vaultprov.model import Onboarding, Only
from vaultprov.names import Names
from vaultprov.reach import api_server
from vaultprov.render import ArgoCd, Facts, Layout, Tree, render, vault_side
from vaultprov.wiring import effective

PARTS = ("cluster", "vault")


def rendered(options: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Facts, Tree]:
    """The facts and the tree. Raises ConfigError if one is missing that only a server would know.

    options: flags by name, as of `wiring.effective`; `include` names PARTS, `layout` a Layout.
    """
    _, values = effective(options, environ)
    settings = {key: sourced.value for key, sourced in values.items()}
    onboarding = sites.onboarding(values, options["env"], options["cluster"])
    facts = _facts(onboarding, Layout(options["layout"]), settings)
    wanted = options.get("include") or ("cluster",)
    manifests = []
    if "cluster" in wanted:
        resources = onboarding_resources(onboarding, Target(), Only.CLUSTER)
        manifests = [r.body for r in resources if isinstance(r, Manifest) and not r.required]
    files: dict[str, str] = {}
    if "vault" in wanted:
        host, ca = settings["kubernetes.host"], given_ca(settings["kubernetes.ca_file"])
        if not host or not ca:
            raise ConfigError(
                "Vault's side needs the API server's address and CA, and no cluster is asked",
                hint="give --kubernetes-host URL and --kubernetes-ca-file FILE, or their settings",
            )
        target = Target(api_server(host), ca)
        resources = onboarding_resources(onboarding, target, Only.BOTH)
        files = vault_side(resources, facts.command)
    return facts, render(facts, manifests, files)


def _facts(onboarding: Onboarding, layout: Layout, settings: Mapping[str, Any]) -> Facts:
    prefix = "argocd."
    argocd = {
        key.removeprefix(prefix): value or ""
        for key, value in settings.items()
        if key.startswith(prefix)
    }
    return Facts(
        onboarding.env,
        onboarding.cluster,
        layout,
        namespace=onboarding.reviewer.account.namespace,
        group=Names.of(onboarding).group if onboarding.oidc.enabled else "",
        argocd=ArgoCd(**argocd),
    )
