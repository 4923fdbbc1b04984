"""What `render` is asked: flags, site file, environment -> the tree of one cluster. No server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vaultprov import site as sites
from vaultprov.certificates import given_ca
from vaultprov.cluster_side import store_specs, stores
from vaultprov.desired import Target, onboarding_resources
from vaultprov.doctor.network import Url, in_cluster
from vaultprov.errors import ConfigError
from vaultprov.kube.big_bang import external_secrets_values, vault_values
from vaultprov.kube.decision import network_policy
from vaultprov.kube.destinations import cidrs
from vaultprov.kube.egress import NAME, config_entry, egress_rules
from vaultprov.kube.gatekeeper import constraint, constraint_template
from vaultprov.kube.guardrail import admission_binding, admission_policy
from vaultprov.kube.istio import authorization_policy
from vaultprov.kube.manifest import Manifest
from vaultprov.kube.objects import Object
from vaultprov.kube.samples import from_all, from_properties
from vaultprov.model import EgressMode, Onboarding, Only
from vaultprov.names import Names
from vaultprov.reach import api_server, is_loopback
from vaultprov.render import ArgoCd, Facts, Layout, Tree, render, vault_side
from vaultprov.render.text import dumped
from vaultprov.wiring import effective

_USUAL = ("cluster", "store")


def rendered(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[Facts, Tree]:
    """The facts and the tree. Raises ConfigError if one is missing that only a server would know.

    options: flags by name, as of `wiring.effective`; `include` names parts, `layout` a Layout.
    """
    _, values = effective(options, environ, warn)
    settings = {key: sourced.value for key, sourced in values.items()}
    onboarding = sites.onboarding(values, options["env"], options["cluster"])
    facts = _facts(onboarding, Layout(options["layout"]), settings)
    wanted = options.get("include") or _USUAL
    manifests: list[Mapping[str, Any]] = []
    if "cluster" in wanted:
        resources = onboarding_resources(onboarding, Target(), Only.CLUSTER)
        manifests += [r.body for r in resources if isinstance(r, Manifest) and not r.required]
    version = settings["store.api_version"]
    if "store" in wanted and onboarding.store.enabled:
        _warn_of_server(onboarding, warn)
        manifests += stores(onboarding, version)
    if "egress" in wanted and onboarding.egress.mode is EgressMode.NONE:
        raise ConfigError(
            "the policy for egress is to be rendered, and egress.mode is none",
            hint="leave egress out of --include, or give --egress auto",
        )
    if "egress" in wanted:
        manifests.append(_egress(onboarding, settings))
    public_ca = onboarding.store.ca_file is None
    if "guardrail" in wanted:
        manifests += [admission_policy(public_ca=public_ca), admission_binding()]
    if "gatekeeper" in wanted:
        manifests += [constraint_template(), constraint(public_ca=public_ca)]
    if "examples" in wanted:
        manifests += _examples(onboarding, version)
    if "istio" in wanted:
        policy = _authorization(onboarding, settings)
        warn(
            f"the first AuthorizationPolicy that allows anything denies all the rest: apply ours "
            f"only where the namespace {policy['metadata']['namespace']} has such policies"
        )
        manifests.append(policy)
    files: dict[str, str] = {}
    if "big-bang" in wanted:
        files |= _big_bang(onboarding, settings, version)
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


def _warn_of_server(onboarding: Onboarding, warn: Callable[[str], None]) -> None:
    """What is right for this machine may be wrong in a pod, and another in the CI."""
    server = onboarding.store.server
    if is_loopback(Url.parse(server).host):
        warn(
            f"the store's server {server} is an address of one machine alone, in a pod the pod's "
            "own; set store.server in the site file"
        )


def _egress(onboarding: Onboarding, settings: Mapping[str, Any]) -> Object:
    """The policy of ours. Raises ConfigError without address ranges: nothing is looked up."""
    url = Url.parse(onboarding.store.server)
    if not onboarding.egress.cidrs:
        raise ConfigError(
            f"the addresses of {url.host} are not known, and no server is asked",
            hint="give --vault-cidr ADDRESS/32 for each of them, or the setting egress.cidrs",
        )
    rules = egress_rules(cidrs(onboarding.egress.cidrs, url.port))
    if onboarding.egress.mode is EgressMode.CONFIG_ENTRY:
        return config_entry(rules)
    selector = {"matchLabels": dict(settings["egress.operand_labels"])}
    return network_policy(NAME, settings["egress.operand_namespace"], selector, rules)


def _authorization(onboarding: Onboarding, settings: Mapping[str, Any]) -> Object:
    """Istio's part. Raises ConfigError for a Vault outside: no mesh judges who reaches it."""
    url = Url.parse(onboarding.store.server)
    inside = in_cluster(url.host)
    if inside is None:
        raise ConfigError(
            f"{url.host} is no Service of the cluster, so no AuthorizationPolicy concerns it",
            hint="--set store.server=http://SERVICE.NAMESPACE.svc:8200 for a Vault in the mesh",
        )
    return authorization_policy(inside[0], settings["egress.operand_namespace"], url.port)


def _big_bang(onboarding: Onboarding, settings: Mapping[str, Any], version: str) -> dict[str, str]:
    """Override values for the charts of External Secrets and of Vault."""
    (spec, *_) = store_specs(onboarding, version)
    url = Url.parse(onboarding.store.server)
    files = {"values/external-secrets.yaml": dumped(external_secrets_values(spec))}
    if in_cluster(url.host) is not None:  # a Vault outside is no chart of Big Bang's
        values = vault_values(settings["egress.operand_namespace"], url.port)
        files["values/vault.yaml"] = dumped(values)
    return files


def _examples(onboarding: Onboarding, version: str) -> list[Object]:
    """Both forms of an ExternalSecret, in the first workload's namespace."""
    store = (str(onboarding.store.kind), onboarding.store.name)
    namespace = onboarding.service_accounts[0].namespace
    key = f"{onboarding.env}/{onboarding.cluster}/example"
    return [
        from_properties("example", namespace, store, key, ("username", "password"), version),
        from_all("example-all", namespace, store, key, version),
    ]


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
