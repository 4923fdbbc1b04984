"""For doctor and verify: flags, files, environment -> a world with as much access as there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaultprov import site as sites
from vaultprov.doctor.facts import Case
from vaultprov.doctor.world import World
from vaultprov.errors import ConfigError, Error, reason
from vaultprov.model import Onboarding, ServiceAccount
from vaultprov.resource import KubePort, KubeReader, VaultPort
from vaultprov.retry import Budget
from vaultprov.wiring import effective


@contextmanager
def world_of(
    options: Mapping[str, Any], environ: Mapping[str, str], warn: Callable[[str], None]
) -> Iterator[World]:
    """The world of one doctor run. A missing token or kubeconfig is a vantage less, not an end."""
    _, values = effective(options, environ, warn)
    settings = {key: sourced.value for key, sourced in values.items()}
    onboarding = sites.onboarding(values, options["env"], options["cluster"])
    case = replace(_case(onboarding, options, settings), debug=bool(environ.get("VAULTPROV_DEBUG")))
    kube, live, no_kube = _cluster(options, settings, environ)
    budget = Budget(timeout=settings["timeout"])
    from vaultprov.clients.network import SocketNetwork  # with what it imports

    vault, gate, no_vault, made_for_us = _vault(settings, environ, warn, budget)
    world = World(
        case,
        SocketNetwork(),
        vault=vault,
        gate=gate,
        kube=kube,
        live=live,
        no_vault=no_vault,
        no_kube=no_kube,
    )
    try:
        yield world
    finally:
        world.stopped.set()
        if vault is not None and made_for_us:
            try:
                budget.call(vault.revoke_self)
            except Error as error:
                warn(f"the token of this run could not be revoked: {error.message}")
        for port in (vault, gate, live):
            if port is not None:
                port.close()


def _case(onboarding: Onboarding, options: Mapping[str, Any], settings: Mapping[str, Any]) -> Case:
    named = options.get("external_secret")
    ca_file: Path | None = settings["vault.ca_cert"]
    try:
        ca = ca_file.read_text(encoding="utf-8") if ca_file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the CA file {ca_file} cannot be read: {reason(error)}") from error
    return Case(
        onboarding,
        settings["vault.address"],
        settings["vault.namespace"] or "",
        ca,
        (settings["kubernetes.host"] or "").rstrip("/"),
        store=options.get("store") or "",
        external_secret=ServiceAccount.parse(named) if named else None,
        probe=bool(options.get("probe")),
        probe_image=options.get("probe_image") or "",
        probe_login=bool(options.get("probe_login")),
        operand_namespace=options.get("operand_namespace") or "",
    )


def _cluster(
    options: Mapping[str, Any], settings: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[KubeReader | None, KubePort | None, Error | None]:
    if options.get("from_dir"):
        from vaultprov.doctor.files import Folder

        return Folder(options["from_dir"]), None, None
    from vaultprov.clients.kubeconfig import connect  # 0.3 s, which --from need not pay

    try:
        client = connect(settings["kubernetes.context"], environ.get("KUBECONFIG") or None).client
    except ConfigError as error:
        if settings["kubernetes.context"] or environ.get("KUBECONFIG"):
            raise  # somebody meant a certain cluster
        return None, None, error
    return client, client, None


def _vault(
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
    warn: Callable[[str], None],
    budget: Budget,
) -> tuple[VaultPort | None, VaultPort, Error | None, bool]:
    from vaultprov.clients.connect import connection, log_in  # 0.2 s, as above
    from vaultprov.clients.vault import VaultClient

    reached = connection(settings, warn)
    gate = VaultClient(reached, None)
    try:
        vault, made_for_us = budget.call(lambda: log_in(reached, settings, environ, Path.home()))
    except Error as error:
        # A login of our own that fails may be the very fault that is looked for.
        return None, gate, error, False
    return vault, gate, None, made_for_us
