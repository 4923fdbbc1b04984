"""An embedded Kubernetes API server, for `vaultprov demo` and for tests that need no cluster.

It does what vaultprov uses as the real kube-apiserver does: TLS, tokens, RBAC, server-side apply,
watches, custom resources, and the API's own errors. kmock (PyPI) was considered: it has no TLS, no
authentication or authorization, no server-side apply, no resourceVersion and no token endpoints,
answers with reasons that are not the API's, and takes any PATCH as a plain JSON merge. A stand-in
that is wrong there would prove nothing, hence code of our own.

Not done, where the real one does it: schema validation, pruning and (but for custom resources)
most defaulting, calling admission webhooks, OpenAPI documents (kubectl apply needs
--validate=false), YAML bodies, JSON patch, keyed lists beyond those in fields.py, paging,
deletecollection, aggregated roles, the RBAC escalation check, impersonation, garbage collection by
ownerReferences, waiting between the phases of a namespace's deletion. It keeps everything in memory
and runs no workload.

    with serve() as api:
        client(api.server, ca=api.ca_pem, token=api.admin_token)
"""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from vaultprov.devenv.certificates import serving_certificate
from vaultprov.devenv.kube_api.api import Api
from vaultprov.devenv.kube_api.authn import Authenticator
from vaultprov.devenv.kube_api.bootstrap import bootstrap
from vaultprov.devenv.kube_api.controllers import Controllers
from vaultprov.devenv.kube_api.objects import Objects
from vaultprov.devenv.kube_api.rbac import Authorizer
from vaultprov.devenv.kube_api.resources import Registry
from vaultprov.devenv.kube_api.reviews import Reviews
from vaultprov.devenv.kube_api.server import RequestRecord, Server
from vaultprov.devenv.kube_api.store import Store
from vaultprov.devenv.kube_api.tokens import Tokens

__all__ = ["KubeApi", "RequestRecord", "serve"]

_NO_TOKENS: Mapping[str, tuple[str, tuple[str, ...]]] = {}


@dataclass(frozen=True)
class KubeApi:
    """A running server, and what a client needs to use it as its administrator."""

    server: str
    ca_pem: str
    admin_token: str
    requests: list[RequestRecord]
    """Every request with its verb, path and status; appended to as they are answered."""
    logs: dict[str, str] = field(default_factory=dict)
    """What pods/log answers for NAMESPACE/NAME: no pod runs, so a test says what it would log."""


@contextmanager
def serve(
    *,
    port: int = 0,
    static_tokens: Mapping[str, tuple[str, tuple[str, ...]]] = _NO_TOKENS,
    max_token_seconds: int | None = None,
) -> Iterator[KubeApi]:
    """Run a server on 127.0.0.1; a port of 0 takes a free one.

    `static_tokens` are further bearer tokens with their user and groups, and `max_token_seconds`
    caps what TokenRequest grants (kube-apiserver's --service-account-max-token-expiration).
    """
    certificate, store, tokens = serving_certificate(), Store(), Tokens()
    admin_token = secrets.token_urlsafe(32)
    administrator = {admin_token: ("vaultprov-admin", ("system:masters",))}
    objects, authorizer = Objects(store), Authorizer(store)
    authenticator = Authenticator(store, tokens, {**static_tokens, **administrator})
    reviews = Reviews(objects, tokens, authenticator, authorizer, max_token_seconds)
    logs: dict[str, str] = {}
    api = Api(objects, Registry(store), tokens, authenticator, authorizer, reviews, logs)
    bootstrap(objects)
    server = Server(api, certificate, port)
    controllers = Controllers(objects, tokens, certificate.ca)
    acceptor = threading.Thread(
        target=server.serve_forever, args=(0.05,), name="kube-api-acceptor", daemon=True
    )
    controllers.start()
    acceptor.start()
    try:
        url = f"https://127.0.0.1:{server.server_port}"
        yield KubeApi(url, certificate.ca, admin_token, server.requests, logs)
    finally:
        store.close()  # ends the watches and the controllers
        server.shutdown()
        server.server_close()
        acceptor.join()
        controllers.join()
