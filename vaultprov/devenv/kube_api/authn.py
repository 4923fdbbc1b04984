"""Who is asking: static tokens, and ServiceAccount tokens checked against the store.

A ServiceAccount token is looked up at each use, so it ends with its account; a real apiserver
remembers a successful look-up for ten seconds.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaultprov.devenv.kube_api.resources import SECRETS, SERVICE_ACCOUNTS
from vaultprov.devenv.kube_api.status import Object, quoted
from vaultprov.devenv.kube_api.store import Store
from vaultprov.devenv.kube_api.tokens import (
    ISSUER,
    LEGACY_CLAIM,
    LEGACY_ISSUER,
    TokenError,
    Tokens,
    username,
)

AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    def body(self) -> Object:
        """As in status.user of a TokenReview."""
        body = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        return {key: value for key, value in body.items() if value}


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Authenticator:
    """Tells the user that a bearer token stands for."""

    def __init__(
        self, store: Store, tokens: Tokens, static: Mapping[str, tuple[str, tuple[str, ...]]]
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._static = {
            token: User(name, (*groups, AUTHENTICATED)) for token, (name, groups) in static.items()
        }

    def authenticate(
        self, token: str, audiences: Sequence[str] = (ISSUER,)
    ) -> tuple[User, list[str]]:
        """The user, and which of the audiences the token is meant for."""
        user, meant_for = self._static_user(token), [ISSUER]
        if user is None:
            claims = self._tokens.verify(token)
            if claims is None:
                raise TokenError("invalid bearer token")
            try:
                user, meant_for = self._account(claims, token)
            except TokenError as error:
                raise TokenError(f"[invalid bearer token, {error}]") from None
        common = [audience for audience in audiences if audience in meant_for]
        if not common:
            why = (
                f"token audiences {_listed(meant_for)} is invalid for the target audiences"
                f" {_listed(audiences)}"
            )
            raise TokenError(f"[invalid bearer token, {why}]")
        return user, common

    def _static_user(self, token: str) -> User | None:
        for known, user in self._static.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return user
        return None

    def _account(self, claims: Object, token: str) -> tuple[User, list[str]]:
        if claims["iss"] == LEGACY_ISSUER:
            namespace = claims[f"{LEGACY_CLAIM}/namespace"]
            name = claims[f"{LEGACY_CLAIM}/service-account.name"]
            uid = claims[f"{LEGACY_CLAIM}/service-account.uid"]
            self._check_secret(namespace, claims[f"{LEGACY_CLAIM}/secret.name"], token)
            meant_for = [ISSUER]
        else:
            bound = claims["kubernetes.io"]
            namespace, account = bound["namespace"], bound["serviceaccount"]
            name, uid = account["name"], account["uid"]
            meant_for = claims["aud"]
        account = self._store.get(SERVICE_ACCOUNTS.collection, namespace, name)
        if account is None:
            raise TokenError(f"serviceaccounts {quoted(name)} not found")
        if (found := account["metadata"]["uid"]) != uid:
            why = f"service account UID ({found}) does not match claim ({uid})"
            raise TokenError(why)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(username(namespace, name), groups, uid), meant_for

    def _check_secret(self, namespace: str, name: str, token: str) -> None:
        """A legacy token holds while its Secret exists and contains this very token."""
        secret = self._store.get(SECRETS.collection, namespace, name)
        if secret is None:
            raise TokenError("service account token has been invalidated")
        if base64.b64decode(secret.get("data", {}).get("token", "")) != token.encode():
            raise TokenError("service account token does not match server's copy")


def _listed(audiences: Sequence[str]) -> str:
    return "[" + " ".join(quoted(audience) for audience in audiences) + "]"
