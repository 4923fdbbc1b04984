"""A real OpenID Connect provider on loopback, and Vault's OIDC login without a browser.

`python -m vaultprov.devenv.oidc --port N` runs one in the foreground, until Ctrl-C or SIGTERM, and
prints its issuer, client id and client secret as one line of JSON when it is ready.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import secrets
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import urllib3

from vaultprov.devenv.process import DevenvError, unwind_on_signals


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """What Vault must be told about a running provider.

    Client id and secret are not checked by it; they are there because Vault requires some.
    """

    issuer: str
    client_id: str
    client_secret: str

    def add_user(self, subject: str, groups: Sequence[str] = ()) -> None:
        """Let `subject` log in with an ID token that lists `groups` in its claim `groups`.

        Raises DevenvError when the provider does not take it: no slash in a subject.
        """
        url = f"{self.issuer}/users/{quote(subject, safe='')}"
        with urllib3.PoolManager(retries=False) as http:
            answer = http.request("PUT", url, json={"groups": list(groups)})
        if answer.status != 204:
            reason = f"the provider refused user {subject!r} with HTTP {answer.status}"
            raise DevenvError(f"{reason}; try another name")

    def login(
        self,
        vault_address: str,
        mount: str,
        role: str,
        redirect_uri: str,
        subject: str,
        *,
        ca_file: Path | None = None,
    ) -> dict[str, Any]:
        """The `auth` block of Vault's answer (client_token, policies, ...) to a login by OIDC.

        redirect_uri: one of the role's `allowed_redirect_uris`; nothing needs to listen there.
        ca_file: the CA of Vault's certificate where that is not a public one.
        Raises DevenvError with Vault's own words when it refuses.
        """
        base = f"{vault_address.rstrip('/')}/v1/auth/{mount.strip('/')}/oidc"
        nonce = secrets.token_hex(8)
        ca_certs = str(ca_file) if ca_file else None
        with urllib3.PoolManager(retries=False, ca_certs=ca_certs) as http:
            wish = {"role": role, "redirect_uri": redirect_uri, "client_nonce": nonce}
            started = _answer(http.request("POST", f"{base}/auth_url", json=wish))
            url = started["data"]["auth_url"]
            if not url:  # Vault's way to say no here, the reason being in its log only
                raise DevenvError(
                    f"Vault gave no auth_url for role {role!r} at auth/{mount}; "
                    f"check that the role exists and allows redirect_uri {redirect_uri}"
                )
            query = {"client_nonce": nonce, **self._consent(http, url, subject)}
            ended = _answer(http.request("GET", f"{base}/callback", fields=query))
        auth: dict[str, Any] = ended["auth"]
        return auth

    @staticmethod
    def _consent(http: urllib3.PoolManager, url: str, subject: str) -> dict[str, str]:
        """What the user's browser brings back from the provider: the code and Vault's state."""
        form = urlencode({"sub": subject})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = http.request("POST", url, body=form, headers=headers, redirect=False)
        returned = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
        if "code" not in returned:
            raise DevenvError(f"the provider sent no code; open {url} to see why")
        return {name: returned[name][0] for name in ("code", "state")}


def _answer(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    if response.status != 200:
        reason = "; ".join(body.get("errors", [])) or f"HTTP {response.status}"
        raise DevenvError(f"Vault refused the OIDC login: {reason}; check the role and its claims")
    return body


@contextmanager
def oidc_provider(*, port: int = 0) -> Iterator[OidcProvider]:
    """A provider in a thread of this process; port 0 takes a free one.

    Raises DevenvError when `oidc-provider-mock` is not installed.
    """
    try:
        # Its own deprecations, which it shows whatever our filters say, are recorded and dropped.
        with warnings.catch_warnings(record=True):
            mock: Any = importlib.import_module("oidc_provider_mock")  # untyped, slow to import
    except ImportError as error:
        raise DevenvError("no OIDC provider here; run: pip install 'vaultprov[demo]'") from error
    # Its web server would print every request on our standard error otherwise.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with mock.run_server_in_thread(port) as server:
        # By name and not by address: it listens on whatever `localhost` means on this machine.
        issuer = f"http://localhost:{server.server_port}"
        yield OidcProvider(issuer, "vaultprov-devenv", secrets.token_hex(16))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a provider in the foreground; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m vaultprov.devenv.oidc")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    port = parser.parse_args(arguments).port
    unwind_on_signals()
    with oidc_provider(port=port) as provider:
        print(json.dumps(asdict(provider)), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
