"""Why a login could not be proved, as far as it shows from here.

Vault refuses with a bare `permission denied` when its own question to the API server (TokenReview)
fails, and keeps the reason to itself. Its way there is looked at from this machine: name, port and
certificate of the address that its config holds. No credential is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vaultprov.doctor.network import Network, Reached, Url
from vaultprov.errors import Error, NotConverged
from vaultprov.model import Onboarding, ReviewerMode
from vaultprov.names import Names, joined
from vaultprov.resource import Io
from vaultprov.verify import Check


def unproved(
    said: str,
    checks: Sequence[Check],
    onboarding: Onboarding,
    io: Io,
    network: Network | None,
    again: Callable[[str], str],
) -> NotConverged:
    """The error for the first of the checks that failed; one of them has.

    said: what the message begins with. network: as this machine sees it; without it nothing is
    looked at. again: what to do next, given flags of `onboard`.
    """
    failed = next(check for check in checks if not check.ok)
    told = f"{said}: {failed.title}: {failed.detail}"
    if failed.hint:
        return NotConverged(told, hint=failed.hint)
    if onboarding.reviewer.mode is ReviewerMode.JWT:  # Vault asks nobody
        who = f"--env {onboarding.env} --cluster {onboarding.cluster}"
        return NotConverged(told, hint=f"vaultprov doctor {who} --probe-login")
    seen = _on_the_way(onboarding, io, network) if network is not None else None
    if seen is None:
        return NotConverged(told, hint=again("--renew-reviewer"))
    trouble, flags = seen
    return NotConverged(f"{told}; {trouble}", hint=again(flags))


def _on_the_way(onboarding: Onboarding, io: Io, network: Network) -> tuple[str, str] | None:
    """What is wrong with the way that Vault's config says, and the flags that mend it."""
    try:
        config = io.vault.read(joined("auth", Names.of(onboarding).auth_mount, "config")) or {}
        host = str(config.get("kubernetes_host") or "").rstrip("/")
        url = Url.parse(host)
        addresses = network.resolve(url.host)
    except Error:
        return None  # it is not what went wrong, so it is not what to tell
    another = "--kubernetes-host URL, as Vault reaches it"
    if not addresses:
        return f"Vault is to ask {host}, a name without an address from here", another
    tried = network.handshake(url, addresses[0], str(config.get("kubernetes_ca_cert") or ""))
    if tried.reached is Reached.OK:
        return None
    if tried.reached in (Reached.UNTRUSTED, Reached.MISFIT):
        trouble = f"the CA that Vault was given does not fit {host}: {tried.detail}"
        return trouble, "--kubernetes-ca-file FILE, of that address"
    return f"Vault is to ask {host}, not reached from here either: {tried.detail}", another
