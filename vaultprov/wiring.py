"""The one place where all is put together: flags, site file, environment -> request, ports."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaultprov import site as sites
from vaultprov.certificates import given_ca
from vaultprov.desired import Target, onboarding_resources
from vaultprov.errors import ConfigError, Error
from vaultprov.jwt import PublicKey, claims, public_keys
from vaultprov.model import EgressMode, Oidc, Onboarding, Only, ReviewerMode, Scope, dns_label
from vaultprov.provisioner import provisioner_policy
from vaultprov.reach import api_server, check_reachable, hostname
from vaultprov.redact import Secret
from vaultprov.resource import Io, KubePort
from vaultprov.retry import Budget
from vaultprov.run import Request
from vaultprov.settings import BY_KEY

Values = Mapping[str, sites.Sourced]
# Commands that write no auth config, so that nobody has to say how Vault reaches the API server.
_WITHOUT_CONFIG = (
    "verify",
    "offboard",
    "access",
    "policy diff",
    "policy test",
    "import",
    "namespace add",
    "namespace remove",
    "namespace list",
    "team onboard",
    "team offboard",
)
_SITE = "site"  # stands for environment and cluster where a command is about neither


def effective(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> tuple[sites.Site, dict[str, sites.Sourced]]:
    """The site and its effective settings. Raises ConfigError; warns of what looks like a typo.

    options: flags by name; `a__b` is the setting `a.b`, other names that are settings are
    themselves.
    """
    for name, what in (("env", "environment"), ("cluster", "cluster")):
        if options.get(name) is not None:
            dns_label(options[name], what)
    path = options.get("config") or sites.find(Path.cwd(), config_home(environ))
    site = sites.load(path) if path else sites.Site()
    env = options.get("env")
    if env is not None and site.environments and env not in site.environments:
        known = ", ".join(sorted(site.environments))
        warn(f"{env} is not an environment of {path}, which has {known}")
    flags = {key.replace("__", "."): value for key, value in options.items()}
    flags = {key: value for key, value in flags.items() if key in BY_KEY}
    if options.get("no_oidc"):
        flags["oidc.enabled"] = False
    if options.get("no_store"):
        flags["store.enabled"] = False
    if options.get("no_egress"):
        flags["egress.mode"] = EgressMode.NONE
    for override in options.get("overrides", ()):
        key, equals, value = override.partition("=")
        if key in BY_KEY and not equals:
            raise ConfigError(f"--set {override}: no value", hint=f"--set {override}=VALUE")
        if key not in BY_KEY:
            raise ConfigError(
                f"--set {override}: there is no setting {key!r}",
                hint="vaultprov config show lists every key; write --set KEY=VALUE",
            )
        flags[key] = value
    return site, site.effective(options.get("env"), options.get("cluster"), environ, flags)


def config_home(environ: Mapping[str, str]) -> Path:
    """The folder of the user's configuration (XDG Base Directory Specification)."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def onboarding_of(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> Onboarding:
    """What is asked for, without any server. Raises ConfigError."""
    _, values = effective(options, environ, warn)
    return sites.onboarding(values, options["env"], options["cluster"])


@contextmanager
def wired(
    command: str,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    warn: Callable[[str], None],
) -> Iterator[tuple[Request, Io, Budget]]:
    """A request that can be executed. A Vault token made for the run is revoked at its end."""
    site, values = effective(options, environ, warn)
    settings = {key: sourced.value for key, sourced in values.items()}
    _check_combination(options)
    request = _request(command, options, site, values, environ)
    budget = Budget(timeout=settings["timeout"])
    kube, target = _cluster(request, options, settings, environ)
    if options.get("renew_reviewer"):
        target = replace(target, renew_after=time.time())
    if options.get("store_token_file"):
        target = replace(target, store_token=_store_token(options, request.onboarding))
    try:
        with _vault(request, settings, environ, warn, budget) as vault:
            yield replace(request, target=target), Io(vault, kube), budget
    finally:
        if kube is not None:
            kube.close()


def _check_combination(options: Mapping[str, Any]) -> None:
    """Flags that would do nothing are mistakes."""
    only = options.get("only")
    for name in ("reviewer_jwt_file", "jwks_file", "cluster_uid"):
        if options.get(name) is not None and only != "vault":
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} says what --only vault cannot find out", hint="add --only vault"
            )
    if only == "cluster":
        for name in ("bootstrap", "renew_reviewer", "replace_cluster"):
            if options.get(name):
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"{flag} is about Vault, and --only cluster leaves it alone")


def _request(
    command: str,
    options: Mapping[str, Any],
    site: sites.Site,
    values: Values,
    environ: Mapping[str, str],
) -> Request:
    whole_site = command in ("bootstrap", "import")
    onboarding = sites.onboarding(
        values,
        options.get("env") or _SITE,
        options.get("cluster") or _SITE,
        exclusive=options.get("exclusive", False),
    )
    if options.get("team"):
        onboarding = replace(onboarding, team=options["team"])
    flags = {"--adopt": options.get("adopt"), "--replace-cluster": options.get("replace_cluster")}
    request = Request(
        command,
        onboarding,
        only=Only.VAULT if whole_site else Only(options.get("only") or Only.BOTH),
        allow=frozenset(flag for flag, given in flags.items() if given),
        verify=not options.get("no_verify", False),
        site=str(site.path or ""),
        notes=_passing(site, options, values, environ),
    )
    if not whole_site:
        # A broken template is reported before any server is asked anything.
        for resource in onboarding_resources(onboarding, Target(), request.only):
            if resource.key.kind == "vault/policy":
                resource.wanted()
    if not options.get("bootstrap"):
        return request
    return replace(
        request,
        bootstrap=True,
        client_secret=_client_secret(onboarding.oidc, environ),
        provisioner=provisioner_policy(onboarding, _known(site, environ)),
    )


def _passing(
    site: sites.Site, options: Mapping[str, Any], values: Values, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """What holds for this run alone and would be changed back by the next one, a sentence each."""
    if options.get("reviewer__mode") is None or not options.get("cluster"):
        return ()
    usual = site.effective(options.get("env"), options.get("cluster"), environ, {})
    given, kept = values["reviewer.mode"].value, usual["reviewer.mode"].value
    if given == kept:
        return ()
    source = usual["reviewer.mode"].source
    told = f"the reviewer mode is {kept} by {source}: a run without --reviewer goes back to it"
    return (f"{told}; put `reviewer: {{mode: {given}}}` into the site file for good",)


def _known(site: sites.Site, environ: Mapping[str, str]) -> list[Onboarding]:
    """The onboardings that the site file lists, in either scope: a flag may change it."""
    return [
        sites.onboarding(site.effective(env, cluster, environ, {"scope": scope}), env, cluster)
        for env, cluster in site.clusters
        for scope in Scope
    ]


def _client_secret(oidc: Oidc, environ: Mapping[str, str]) -> Secret | None:
    """From where the settings say it is; None when the mount is not to be configured."""
    if not oidc.enabled or not oidc.configurable:
        return None
    if oidc.client_secret_file:
        return _read_secret(oidc.client_secret_file)
    name = oidc.client_secret_env
    if name and environ.get(name):
        return Secret(environ[name])
    raise ConfigError(
        f"the variable {name} is empty" if name else "the OIDC client secret is not to be found",
        hint=f"export {name}=..."
        if name
        else "set oidc.client_secret_env or oidc.client_secret_file",
    )


def _cluster(
    request: Request,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
) -> tuple[KubePort | None, Target]:
    """The cluster's client, and what Vault is to be told of the cluster."""
    if request.command == "bootstrap":
        return None, Target()
    if request.command in _WITHOUT_CONFIG:
        if request.only is Only.VAULT:
            return None, Target()
        from vaultprov.clients.kubeconfig import connect  # as below

        context = settings["kubernetes.context"]
        return connect(context, environ.get("KUBECONFIG") or None).client, Target()
    host, stated_ca = settings["kubernetes.host"], given_ca(settings["kubernetes.ca_file"])
    by_keys = request.onboarding.reviewer.mode is ReviewerMode.JWT
    if request.only is Only.VAULT and by_keys:
        uid = _uid(options.get("cluster_uid"))
        return None, Target(ca_pem=stated_ca, cluster_uid=uid, keys=_keys(options))
    if request.only is Only.VAULT:
        if not host or not stated_ca:
            raise ConfigError(
                "--only vault knows nothing of the cluster",
                hint="give --kubernetes-host URL and --kubernetes-ca-file FILE",
            )
        return None, Target(
            api_server(host), stated_ca, _uid(options.get("cluster_uid")), _reviewer_jwt(options)
        )
    from vaultprov.clients.kubeconfig import connect  # 0.3 s, which --only vault need not pay

    cluster = connect(settings["kubernetes.context"], environ.get("KUBECONFIG") or None)
    if request.only is Only.CLUSTER:
        return cluster.client, Target()
    address = api_server(host or cluster.client.server)
    if by_keys or request.command == "advise":  # nobody calls back
        url = request.onboarding.reviewer.jwks_url
        elsewhere = bool(url) and hostname(url) != hostname(address)  # a public server's keys
        return cluster.client, Target(address, stated_ca or ("" if elsewhere else cluster.ca_pem()))
    if not host and cluster.inside:
        raise ConfigError(
            "in a pod the API server's address is one that only the cluster knows",
            hint="--kubernetes-host https://... with the address that Vault is to use",
        )
    if not host:
        check_reachable(address, settings["vault.address"], request.onboarding.cluster)
    return cluster.client, Target(address, stated_ca or cluster.ca_pem())


def _uid(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(r"[A-Za-z0-9-]+", given):
        raise ConfigError(
            f"--cluster-uid {given!r} is no uid",
            hint="kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'",
        )
    return given


def _keys(options: Mapping[str, Any]) -> frozenset[PublicKey]:
    """The cluster's public keys, given as the JSON Web Key Set that it publishes."""
    file = options.get("jwks_file")
    get = "kubectl get --raw /openid/v1/jwks"
    if file is None:
        raise ConfigError(
            "--only vault knows nothing of the cluster's public keys",
            hint=f"give --jwks-file FILE with the output of {get}",
        )
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        return public_keys(json.loads(text)["keys"])
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", hint=f"give the output of {get}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{file} holds no JSON Web Key Set ({type(error).__name__})",
            hint=f"give the output of {get}",
        ) from error


def _store_token(options: Mapping[str, Any], onboarding: Onboarding) -> Secret:
    if onboarding.store.token_secret is None:
        raise ConfigError(
            "--store-token-file needs a place for the token",
            hint="--set store.token_secret=NAMESPACE/NAME",
        )
    return _read_secret(options["store_token_file"])


def _reviewer_jwt(options: Mapping[str, Any]) -> Secret | None:
    """The reviewer JWT given by hand, looked at before anything is written."""
    file = options.get("reviewer_jwt_file")
    if file is None:
        return None
    jwt = _read_secret(file)
    ends = claims(jwt).get("exp")
    if ends is not None and ends <= time.time():
        raise ConfigError("the reviewer JWT has expired", hint="take a new one from the cluster")
    return jwt


@contextmanager
def _vault(
    request: Request,
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
    warn: Callable[[str], None],
    budget: Budget,
) -> Iterator[Any]:
    if request.only is Only.CLUSTER:
        yield None
        return
    from vaultprov.clients.connect import connection, log_in  # 0.2 s, as above

    reached = connection(settings, warn)
    client, made_for_us = budget.call(lambda: log_in(reached, settings, environ, Path.home()))
    try:
        yield client
    finally:
        if made_for_us:
            try:
                budget.call(client.revoke_self)
            except Error as error:
                warn(f"the token of this run could not be revoked: {error.message}")
        client.close()


def _read_secret(file: Path) -> Secret:
    from vaultprov.clients.connect import read_secret  # as above

    return read_secret(file)
