"""The questions that are asked by creating an object: tokens, and who may do what.

The answers are objects of the same kind with a status; nothing is stored.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from vaultprov.devenv.kube_api.authn import Authenticator, User
from vaultprov.devenv.kube_api.objects import Objects, Target, timestamp
from vaultprov.devenv.kube_api.rbac import Attributes, Authorizer
from vaultprov.devenv.kube_api.resources import SELF_REVIEWS, TOKEN_REVIEWS, Resource
from vaultprov.devenv.kube_api.status import Object, bad_request, invalid, invalid_value
from vaultprov.devenv.kube_api.tokens import ISSUER, TokenError, Tokens

_SHORTEST_SECONDS = 600
_DEFAULT_SECONDS = 3600
_LONGEST_SECONDS = 1 << 32


@dataclass(frozen=True)
class Reviews:
    """Answers TokenRequests, TokenReviews and SubjectAccessReviews."""

    objects: Objects
    tokens: Tokens
    authenticator: Authenticator
    authorizer: Authorizer
    max_token_seconds: int | None = None

    def request_token(self, account: Target, body: Object) -> tuple[Object, str]:
        """A TokenRequest with its token, and a warning if it was granted for less."""
        metadata = self.objects.get(account)["metadata"]
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check_seconds(seconds)
        granted = min(seconds, self.max_token_seconds or seconds)
        warning = f"requested expiration of {seconds} seconds shortened to {granted} seconds"
        audiences = spec.get("audiences") or [ISSUER]
        token, expiry = self.tokens.bound(
            account.namespace, account.name, metadata["uid"], audiences, granted
        )
        expires = datetime.fromtimestamp(expiry, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": account.name,
                "namespace": account.namespace,
                "creationTimestamp": timestamp(),
            },
            "spec": {**spec, "audiences": audiences, "expirationSeconds": granted},
            "status": {"token": token, "expirationTimestamp": expires},
        }
        return answer, "" if granted == seconds else warning

    def answer(self, resource: Resource, body: Object, asker: User) -> Object:
        spec = body.get("spec") or {}
        if resource == TOKEN_REVIEWS:
            status = self._token_status(spec)
        else:
            user = asker if resource == SELF_REVIEWS else _subject(spec)
            status = self._access_status(resource, spec, user)
        metadata = {"creationTimestamp": None}
        return resource.stamped({"metadata": metadata, "spec": spec, "status": status})

    def _token_status(self, spec: Object) -> Object:
        token = spec.get("token")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        try:
            user, audiences = self.authenticator.authenticate(
                token, spec.get("audiences") or [ISSUER]
            )
        except TokenError as error:
            # `authenticated` is absent, not false: that is how the real answer is encoded.
            return {"user": {}, "error": str(error)}
        return {"authenticated": True, "user": user.body(), "audiences": audiences}

    def _access_status(self, resource: Resource, spec: Object, user: User) -> Object:
        on_resource, on_path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if bool(on_resource) == bool(on_path):
            cause = invalid_value(
                "spec.resourceAttributes",
                '"null"',
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
            raise invalid(resource.group, "", "", [cause])
        allowed, reason = self.authorizer.decide(user, _attributes(on_resource, on_path))
        return {"allowed": allowed, "reason": reason} if reason else {"allowed": allowed}


def _attributes(on_resource: Object | None, on_path: Object | None) -> Attributes:
    if on_path:
        return Attributes(on_path.get("verb", ""), path=on_path.get("path", ""))
    known = on_resource or {}
    return Attributes(
        verb=known.get("verb", ""),
        group=known.get("group", ""),
        resource=known.get("resource", ""),
        subresource=known.get("subresource", ""),
        namespace=known.get("namespace", ""),
        name=known.get("name", ""),
    )


def _subject(spec: Object) -> User:
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""))


def _check_seconds(seconds: int) -> None:
    if seconds < _SHORTEST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    cause = invalid_value("spec.expirationSeconds", str(seconds), why)
    raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
