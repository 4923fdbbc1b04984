"""Who signs a cluster's ServiceAccount tokens: issuer and public keys. It is only looked at."""

from __future__ import annotations

from dataclasses import dataclass

from vaultprov.errors import Rejected
from vaultprov.jwt import public_keys
from vaultprov.resource import Fields, Io, Key, Right, State


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """The cluster's OpenID discovery (Kubernetes 1.20 and newer, KEP-1393).

    Others refer to its `issuer`, `keys` (PublicKey) and `algorithms`.
    """

    after: tuple[Key, ...] = ()
    required: str = "is this really a Kubernetes API server of 1.20 or newer?"

    @property
    def key(self) -> Key:
        return Key("cluster/jwks", "openid/v1/jwks")

    def wanted(self) -> State:
        return State({})

    def read(self, io: Io) -> State:
        published = io.kube.signing_keys()
        if not published:
            raise Rejected(
                f"cluster {io.kube.context} ({io.kube.server}) publishes no public keys at "
                "/openid/v1/jwks, as Kubernetes 1.20 and newer does",
                hint="vaultprov advise compares the other reviewer modes",
            )
        keys = public_keys(published)
        algorithms = frozenset(key.algorithm for key in keys)
        issuer = io.kube.token_issuer()
        return State({}, {"keys": keys, "algorithms": algorithms, "issuer": issuer})

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        raise NotImplementedError(f"{self.key} is only looked at")

    def remove(self, io: Io, found: State) -> None:
        raise NotImplementedError(f"{self.key} is only looked at")

    def rights(self, action: str) -> tuple[Right, ...]:
        return ()  # no right that a review could ask for: these are paths without a resource
