"""From request to response: authenticate, authorize, find the resource, do the verb.

Nothing here knows of sockets; server.py carries requests in and responses out.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vaultprov.devenv.kube_api import discovery, watch
from vaultprov.devenv.kube_api.authn import ANONYMOUS, Authenticator, User
from vaultprov.devenv.kube_api.bodies import json_object, merge_patch, typed_object
from vaultprov.devenv.kube_api.objects import Objects, Target, Writer, require_version
from vaultprov.devenv.kube_api.rbac import Attributes, Authorizer
from vaultprov.devenv.kube_api.request import Request
from vaultprov.devenv.kube_api.resources import (
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    Registry,
    Resource,
)
from vaultprov.devenv.kube_api.reviews import Reviews
from vaultprov.devenv.kube_api.selectors import selector
from vaultprov.devenv.kube_api.status import (
    ApiError,
    Object,
    bad_request,
    forbidden,
    forbidden_field,
    forbidden_path,
    invalid,
    method_not_allowed,
    not_acceptable,
    not_supported,
    required,
    unauthorized,
    unknown_resource,
    unsupported_media_type,
)
from vaultprov.devenv.kube_api.tokens import ISSUER, TokenError, Tokens

ANONYMOUS_PATHS = frozenset(("/healthz", "/livez", "/readyz", "/version"))
"""As with an AuthenticationConfiguration that allows anonymous requests to these paths only."""

APPLY = "application/apply-patch+yaml"
_JWKS = "application/jwk-set+json"
_MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


@dataclass(frozen=True)
class Response:
    """`body` is a JSON object, plain text, or the lines of a stream."""

    code: int
    body: Object | str | Iterator[Object]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Api:
    """The API server without its transport."""

    objects: Objects
    registry: Registry
    tokens: Tokens
    authenticator: Authenticator
    authorizer: Authorizer
    reviews: Reviews
    logs: Mapping[str, str]
    """Of pods, as NAMESPACE/NAME: nothing runs here that would write one."""

    def answer(self, request: Request) -> Response:
        try:
            user = self._authenticate(request)
            self._authorize(user, request)
            if not request.is_resource:
                return self._answer_path(request)
            return self._answer_resource(request, user)
        except ApiError as error:
            return Response(error.code, error.body())

    def _authenticate(self, request: Request) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if any(name.lower().startswith("impersonate-") for name in request.headers):
            # Ignoring it would answer with the rights of somebody else.
            raise bad_request("impersonation is not served by this server")
        if scheme.lower() != "bearer" or not token.strip():
            if request.path.rstrip("/") in ANONYMOUS_PATHS:
                return ANONYMOUS
            raise unauthorized()
        try:
            return self.authenticator.authenticate(token.strip())[0]
        except TokenError:
            raise unauthorized() from None

    def _authorize(self, user: User, request: Request) -> None:
        asked = request.asked
        allowed, reason = self.authorizer.decide(user, asked)
        if not allowed and request.is_resource:
            why = asked.refusal(user, reason)
            raise forbidden(asked.group, asked.resource, asked.name, why)
        if not allowed:
            raise forbidden_path(asked.refusal(user, reason))

    def _answer_path(self, request: Request) -> Response:
        path = request.path.rstrip("/")
        if request.asked.verb != "get":
            raise method_not_allowed()
        if path == "/version":
            return Response(200, discovery.VERSION)
        if path in ANONYMOUS_PATHS:
            return Response(200, "ok")
        if path == "/openid/v1/jwks":
            accepted = request.headers.get("Accept") or "*/*"
            if _JWKS not in accepted and "*/*" not in accepted:
                raise not_acceptable()
            return Response(200, self.tokens.jwks(), {"Content-Type": _JWKS})
        address = request.headers.get("Host", "")
        if path == "/.well-known/openid-configuration":
            return Response(200, _issuer_metadata(address))
        document = discovery.discover(self.registry, path, address)
        return Response(200, document) if document else _page_not_found()

    def _answer_resource(self, request: Request, user: User) -> Response:
        asked = request.asked
        resource = self.registry.find(asked.group, request.version, asked.resource)
        if resource is None:
            if request.version not in self.registry.versions().get(asked.group, ()):
                return _page_not_found()
            raise unknown_resource()
        namespace = asked.namespace if resource != NAMESPACES else ""
        target = Target(resource, namespace, asked.name, asked.subresource)
        if asked.subresource:
            return self._answer_subresource(request, target)
        _check_shape(asked, resource)
        if resource.is_review:
            body = typed_object(request, resource)
            return Response(201, self.reviews.answer(resource, body, user))
        return self._do(request, target)

    def _answer_subresource(self, request: Request, target: Target) -> Response:
        verb = request.asked.verb
        if target.subresource == "token" and target.resource == SERVICE_ACCOUNTS:
            if verb != "create":
                raise method_not_allowed()
            answer, warning = self.reviews.request_token(target, json_object(request))
            return Response(201, answer, {"Warning": f'299 - "{warning}"'} if warning else {})
        if target.subresource == "log" and target.resource == PODS:
            if verb != "get":
                raise method_not_allowed()
            self.objects.get(target)
            return Response(200, self.logs.get(f"{target.namespace}/{target.name}", ""))
        if target.subresource != "status" or not target.resource.has_status:
            raise unknown_resource()
        if verb not in ("get", "update", "patch"):
            raise method_not_allowed()
        return self._do(request, target)

    def _do(self, request: Request, target: Target) -> Response:
        verbs: dict[str, Callable[[Request, Target], Response]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
        }
        response = verbs[request.asked.verb](request, target)
        return _reduced(response) if request.metadata_only else response

    # --- reading ----------------------------------------------------------------------------------

    def _get(self, _: Request, target: Target) -> Response:
        return Response(200, target.resource.stamped(self.objects.get(target)))

    def _scope(self, request: Request, target: Target) -> watch.Scope:
        query = request.query
        matches = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        return watch.Scope(target.resource.collection, target.namespace, matches)

    def _list(self, request: Request, target: Target) -> Response:
        resource, store = target.resource, self.objects.store
        scope = self._scope(request, target)
        with store.lock:
            version = store.version
            items = [item for item in store.items(*scope[:2]) if scope.matches(item)]
        if resource.custom:  # built-in kinds are listed without kind and apiVersion
            items = [resource.stamped(item) for item in items]
        listed = {"metadata": {"resourceVersion": str(version)}, "items": items}
        stamp = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return Response(200, stamp | listed)

    def _watch(self, request: Request, target: Target) -> Response:
        if request.flag("sendInitialEvents"):
            field = "sendInitialEvents"
            why = f"{field} is forbidden for watch unless the WatchList feature gate is enabled"
            raise invalid("meta.k8s.io", "ListOptions", "", [forbidden_field(field, why)])
        store, scope = self.objects.store, self._scope(request, target)
        version, items = watch.start(store, scope, request.query.get("resourceVersion", ""))
        timeout = request.query.get("timeoutSeconds", "")
        # Like the real default, so that watchers do not all come back at the same time.
        seconds = float(timeout) if timeout.isdigit() else random.uniform(1800, 3600)

        def events() -> Iterator[Object]:
            for item in items:
                yield {"type": "ADDED", "object": target.resource.stamped(item)}
            for kind, item in watch.follow(store, scope, version, seconds):
                found = item if kind == "ERROR" else target.resource.stamped(item)
                yield {"type": kind, "object": found}

        return Response(200, events())

    # --- writing ----------------------------------------------------------------------------------

    def _create(self, request: Request, target: Target) -> Response:
        body = typed_object(request, target.resource)
        _check_namespace(target, body)
        writer = _writer(request, "CreateOptions")
        return Response(201, target.resource.stamped(self.objects.create(target, body, writer)))

    def _update(self, request: Request, target: Target) -> Response:
        body = typed_object(request, target.resource)
        _check_name(target, body)
        require_version(target, body)
        writer = _writer(request, "UpdateOptions")
        updated = self.objects.update(target, lambda _: body, writer)
        return Response(200, target.resource.stamped(updated))

    def _patch(self, request: Request, target: Target) -> Response:
        if request.media_type == APPLY:
            return self._apply(request, target)
        if request.media_type not in _MERGES:
            raise unsupported_media_type("415: Unsupported Media Type")
        if target.resource.custom and request.media_type != _MERGES[0]:
            accepted = ", ".join(("application/json-patch+json", _MERGES[0], APPLY))
            raise unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types"
                f" include: {accepted}"
            )
        if "force" in request.query:
            cause = forbidden_field("force", "may not be specified for non-apply patch")
            raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
        patch = json_object(request, prefix="error decoding patch: ")

        def patched(live: Object) -> Object:
            wanted: Object = merge_patch(live, patch)
            _check_name(target, wanted)
            return wanted

        updated = self.objects.update(target, patched, _writer(request, "PatchOptions"))
        return Response(200, target.resource.stamped(updated))

    def _apply(self, request: Request, target: Target) -> Response:
        resource = target.resource
        if not request.query.get("fieldManager"):
            cause = required("fieldManager", "is required for apply patch")
            raise invalid("meta.k8s.io", "PatchOptions", "", [cause])
        writer = _writer(request, "PatchOptions")
        config = json_object(request, prefix="error decoding YAML: ")
        if (version := config.get("apiVersion", "")) != resource.api_version:
            raise bad_request(
                "Incorrect version specified in apply patch. Specified patch version:"
                f" {version}, expected: {resource.api_version}"
            )
        if (kind := config.get("kind")) != resource.kind:
            raise bad_request(f"invalid object type: {kind}, expected: {resource.kind}")
        if config.get("metadata", {}).get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        _check_name(target, config)
        _check_namespace(target, config)
        force = request.flag("force")
        applied, created = self.objects.apply(target, config, writer, force=force)
        return Response(201 if created else 200, resource.stamped(applied))

    def _delete(self, request: Request, target: Target) -> Response:
        options = json_object(request) if request.body else {}
        uid = (options.get("preconditions") or {}).get("uid", "")
        writer = _writer(request, "DeleteOptions", options.get("dryRun"))
        return Response(200, self.objects.delete(target, uid, writer))


def _reduced(response: Response) -> Response:
    """The response with objects of nothing but metadata, as clients may ask for them."""
    body = response.body
    if isinstance(body, str):
        return response
    if isinstance(body, Iterator):
        events = ({**event, "object": _metadata(event["object"])} for event in body)
        return replace(response, body=events)
    return replace(response, body=_metadata(body))


def _metadata(item: Object) -> Object:
    if item.get("kind") == "Status":
        return item
    stamp = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    if "items" in item:
        items = [_metadata(one) for one in item["items"]]
        stamp["kind"] += "List"
        return {**stamp, "metadata": item["metadata"], "items": items}
    return {**stamp, "metadata": item["metadata"]}


def _check_shape(asked: Attributes, resource: Resource) -> None:
    """A path and a method that belong together."""
    reads_all = asked.verb in ("list", "watch")
    needs_name = not reads_all and asked.verb not in ("create", "deletecollection")
    homeless = resource.namespaced and not asked.namespace and not reads_all
    if homeless and needs_name:
        raise unknown_resource()
    if homeless or asked.verb not in resource.verbs:
        raise method_not_allowed()
    if not reads_all and bool(asked.name) != needs_name:
        raise method_not_allowed()


def _writer(request: Request, options: str, in_body: list[str] | None = None) -> Writer:
    """Who writes, and whether it is only for show."""
    dry_run = request.query.get("dryRun") or ",".join(in_body or [])
    if dry_run not in ("", "All"):
        cause = not_supported("dryRun", f'[]string{{"{dry_run}"}}', ["All"])
        raise invalid("meta.k8s.io", options, "", [cause])
    return Writer(request.query.get("fieldManager") or request.user_agent, dry_run == "All")


def _check_name(target: Target, body: Object) -> None:
    name = body.get("metadata", {}).get("name") or target.name
    if name != target.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )


def _check_namespace(target: Target, body: Object) -> None:
    namespace = body.get("metadata", {}).get("namespace") or target.namespace
    if namespace != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _issuer_metadata(address: str) -> dict[str, Any]:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"https://{address}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _page_not_found() -> Response:
    """Unknown groups and paths are not answered with a Status by the real server either."""
    return Response(404, "404 page not found\n")


def encoded(body: Object) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
