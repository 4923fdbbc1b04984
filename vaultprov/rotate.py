"""The use case: a new token for the reviewer, and the API server's new CA, without a failed login.

Vault never gives a stored reviewer JWT back, so a new one is trusted only once a login has worked
with it; until then the old one lives on.

In mode `secret` the reviewer's ServiceAccount is replaced by way of a second one. A new Secret for
the same account would do nothing: such a token says who it is and in which Secret it lies, and not
when it was made, so that a Secret of the same name holds the very same token, and one that was
stolen works again (kubernetes `pkg/serviceaccount/legacy.go`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vaultprov.apply import OnEvent, Result, Status, apply, check_rights, observe
from vaultprov.certificates import fingerprints, united
from vaultprov.desired import cluster_identity, onboarding_resources
from vaultprov.doctor.network import Network, Reached, Url
from vaultprov.errors import ConfigError, Error, NotConverged, Refused
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest, token_of
from vaultprov.kube.token_issuer import TokenIssuer
from vaultprov.model import ReviewerMode, ServiceAccount
from vaultprov.names import Names, joined, reviewer_binding, token_secret_name
from vaultprov.plan import Action, Plan, make_plan
from vaultprov.redact import Secret
from vaultprov.removal import Gone
from vaultprov.resource import GrantedToken, Io, Key, Resource, State
from vaultprov.retry import Budget
from vaultprov.run import Outcome, Request, refusal, servers
from vaultprov.usage import check_cluster, shared_reviewer
from vaultprov.vault.jwt_auth import JwtConfig
from vaultprov.vault.kubernetes import AuthConfig, token_right
from vaultprov.vault.marker import Marker, find_mount, marker_of
from vaultprov.verify import Check, audience_of, prove, workload_token

_NEXT = "-next"
_VALID = 15.0  # seconds until an API server takes a token that it has just made
# Seconds. A login that has read the old config asks the API server within milliseconds; another
# node of Vault may read it for a moment longer.
_SETTLE = 2.0
_NEXT_SECOND = 1.1  # seconds
_DAY = 86400.0
_CA = "kubernetes_ca_cert"


@dataclass(frozen=True, slots=True)
class _Progress:
    """What a step of the rotation came to."""

    results: tuple[Result, ...] = ()
    checks: tuple[Check, ...] = ()
    note: str = ""


def rotate(
    request: Request,
    io: Io,
    budget: Budget,
    *,
    network: Network,
    within: float | None = None,
    on_event: OnEvent = lambda _: None,
) -> Outcome:
    """Rotates, and proves it. Errors end in the Outcome, not in the air.

    within: only if the token ends within so many seconds; None for always. network: as this machine
    sees it.
    """
    started = time.monotonic()
    outcome = Outcome(request, servers(request, io), write=True)
    try:
        for step in _Rotation(request, io, budget, network, on_event).steps(within):
            outcome = replace(
                outcome,
                results=outcome.results + step.results,
                checks=step.checks or outcome.checks,
                notes=outcome.notes + ((step.note,) if step.note else ()),
            )
            failures = [r.error for r in step.results if r.status is Status.FAILED and r.error]
            if failures:
                raise failures[0]
    except Error as error:
        outcome = replace(outcome, error=error)
    return replace(outcome, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Rotation:
    """One rotation. Each of its steps may be the last one: what is stored works then, too."""

    request: Request
    io: Io
    budget: Budget
    network: Network
    on_event: OnEvent

    def steps(self, within: float | None) -> Iterator[_Progress]:
        """All of it, step by step."""
        marker = self._ours()
        identity = observe((cluster_identity(),), self.io, self.budget)
        uid = next(str(state.attrs["uid"]) for state in identity.values() if state)
        check_cluster(self.request.onboarding, self.io, uid)
        if self.request.onboarding.reviewer.mode is ReviewerMode.JWT:
            yield from self._with_keys()
            return
        waits = _not_due(marker, within, self.io.now())
        if waits:
            yield _Progress(note=waits)
            return
        self._check_alone(uid)
        self._check_rights()
        pem, note = self._trusted()
        yield _Progress(note=note)
        if self.request.onboarding.reviewer.mode is ReviewerMode.TOKEN:
            yield from self._with_a_token(pem, marker)
        else:
            yield from self._with_secrets(pem, marker)

    def _with_keys(self) -> Iterator[_Progress]:
        """The keys that the cluster publishes now. They are no secret: the old ones can go back."""
        parts = [each for each in self._resources if isinstance(each, TokenIssuer | JwtConfig)]
        config = next(each for each in parts if isinstance(each, JwtConfig))
        needs = [token_right(each) for each in self.request.onboarding.service_accounts]
        besides = [*config.rights("update"), *needs]
        self.budget.call(lambda: check_rights((), Plan(()), self.io, besides))
        before = observe((config,), self.io, self.budget)[config.key]
        made = self._made([replace(each, after=()) for each in parts])
        yield made
        if not made.results:
            yield _Progress(note="Vault has the keys that the cluster publishes")
        checks = self._proved()
        yield _Progress(checks=checks)
        failed = next((check for check in checks if not check.ok), None)
        if failed is None:
            return
        told = f"with the cluster's keys it is not so that {failed.title}: {failed.detail}"
        old = before.fields["jwt_validation_pubkeys"] if before else None
        if not made.results or before is None or not old or config.jwks_url:
            raise NotConverged(told, hint=self._command("doctor", "--probe-login"))
        yield self._made([_as_before(config, before)])
        raise NotConverged(
            f"{told}; the old ones were put back", hint=self._command("doctor", "--probe-login")
        )

    def _with_a_token(self, pem: str, marker: Marker) -> Iterator[_Progress]:
        """The old token cannot be ended or put back: it lives until its time is over."""
        account = self.request.onboarding.reviewer.account
        made, binding, _ = self._reviewer(account)
        yield self._made([made, binding])
        uid = str((self.io.kube.get(made.body) or {})["metadata"]["uid"])
        granted = self._granted(marker)
        self._review(granted.token, pem)
        config = replace(
            self._config(pem), granted=granted, account_uid=uid, renew_after=self.io.now()
        )
        yield from self._switched(config, None)

    def _granted(self, marker: Marker) -> GrantedToken:
        """A token that is not the stored one: before `jti` two of one second were the same."""
        reviewer = self.request.onboarding.reviewer
        namespace, name = reviewer.account.namespace, reviewer.account.name
        granted = self.io.kube.request_token(namespace, name, (), reviewer.duration)
        if granted.token.fingerprint == marker.facts.get("reviewer"):
            time.sleep(_NEXT_SECOND)
            granted = self.io.kube.request_token(namespace, name, (), reviewer.duration)
        return granted

    def _with_secrets(self, pem: str, marker: Marker) -> Iterator[_Progress]:
        """By way of a second ServiceAccount to a new one of the same name."""
        usual, spare = self._accounts_of_secrets()
        known = [
            token_of(self.io.kube.get(self._secret(each).body) or {}) for each in (usual, spare)
        ]
        recorded = marker.facts.get("reviewer")
        stored = next((token for token in known if token and token.fingerprint == recorded), None)
        for made, old in ((spare, usual), (usual, spare)):
            yield self._made(self._reviewer(made))
            token = token_of(self.io.kube.get(self._secret(made).body) or {})
            if token is None:
                raise NotConverged(
                    f"{self._secret(made).key} holds no token", hint="run the same command again"
                )
            self._review(token, pem)
            yield from self._switched(replace(self._config(pem), jwt=token), stored)
            time.sleep(_SETTLE)
            yield self._made(self._retired(old, whole=old == spare))
            stored = token

    def _accounts_of_secrets(self) -> tuple[ServiceAccount, ServiceAccount]:
        """The reviewer, and who stands in for it meanwhile."""
        account = self.request.onboarding.reviewer.account
        return account, ServiceAccount(account.namespace, account.name + _NEXT)

    def _retired(self, account: ServiceAccount, *, whole: bool) -> list[Gone]:
        """What ends an account's token. whole: nothing of it is needed again."""
        made, binding, secret = self._reviewer(account)
        gone = [Gone(secret), Gone(made, after=(secret.key,))]
        return [*gone, Gone(binding)] if whole else gone

    def _switched(self, config: AuthConfig, old: Secret | None) -> Iterator[_Progress]:
        """The config with another token, and the proof; if that fails, as it was before.

        old: the token that is stored now, if it is known.
        """
        path = joined("auth", config.mount, "config")
        before = str((self.io.vault.read(path) or {}).get(_CA) or "")
        yield self._made([config])
        checks = self._proved()
        yield _Progress(checks=checks)
        failed = next((check for check in checks if not check.ok), None)
        if failed is None:
            return
        told = f"with the new reviewer token it is not so that {failed.title}: {failed.detail}"
        if old is None:
            end = "the old one is not at hand, so the new one stays"
            raise NotConverged(f"{told}; {end}", hint=self._command("doctor", "--probe-login"))
        yield self._made([replace(config, jwt=old, ca_pem=before or config.ca_pem)])
        raise NotConverged(
            f"{told}; the old one was put back", hint=self._command("doctor", "--probe-login")
        )

    def _proved(self) -> tuple[Check, ...]:
        onboarding, names = self.request.onboarding, self._names
        role = self.io.vault.read(joined("auth", names.auth_mount, "role", names.role)) or {}
        return prove(onboarding, audience_of(role, onboarding), self.io, self.budget, fresh=True)

    def _review(self, token: Secret, pem: str) -> None:
        """Asks the API server with the new token, as Vault will.

        Raises NotConverged if it is not taken. That this machine cannot ask is left to the proof.
        """
        onboarding, target = self.request.onboarding, self.request.target
        audience = onboarding.audience
        workload = self.budget.call(
            lambda: workload_token(
                onboarding.service_accounts[0], audience, self.io, also_for_api=False
            )
        )

        def ask() -> None:
            told = self.network.review(target.host, pem, token, workload, (audience,))
            review = (told.body or {}).get("status") or {}
            if told.reached is Reached.OK and not review.get("authenticated"):
                why = review.get("error") or f"the API server answers {told.status}"
                raise NotConverged(
                    f"the new reviewer token cannot review: {why}; nothing was switched",
                    hint=self._command("doctor"),
                    transient=True,
                )

        Budget(min(self.budget.left(), _VALID)).call(ask)

    def _trusted(self) -> tuple[str, str]:
        """The CAs to write, and what the reader has to know of them.

        The old ones stay until the new ones alone verify the API server at every address.
        """
        new, host = self.request.target.ca_pem, self.request.target.host
        path = joined("auth", self._names.auth_mount, "config")
        old = str((self.io.vault.read(path) or {}).get(_CA) or "")
        try:
            if fingerprints(old) <= fingerprints(new):
                return new, ""
        except ConfigError:
            return new, ""  # nothing that could be trusted
        url = Url.parse(host)
        try:
            tried = [
                self.network.handshake(url, address, new)
                for address in self.network.resolve(url.host)
            ]
        except Error:
            tried = []
        if tried and all(each.reached is Reached.OK for each in tried):
            return new, "the old CA is dropped: the new one alone verifies the API server"
        return united(new, old), (
            f"the old CA stays beside the new one, which alone does not verify {host} yet; run "
            "this again once the API server has its new certificate"
        )

    def _made(self, resources: Sequence[Resource]) -> _Progress:
        """Plans and applies these, in their order."""
        observed = observe(resources, self.io, self.budget)
        plan = make_plan(resources, observed, self.request.allow)
        if plan.refused():
            raise refusal(plan)
        results = apply(resources, plan, observed, self.io, self.budget, self.on_event)
        return _Progress(tuple(r for r in results if r.step.action is not Action.KEEP))

    def _ours(self) -> Marker:
        """The mount's marker. Raises if there is nothing of ours to rotate."""
        onboard = self._command("onboard")
        if self.request.onboarding.reviewer.mode is ReviewerMode.CLIENT:
            raise ConfigError(
                "in reviewer mode client Vault stores no token, so there is none to rotate",
                hint=f"{onboard} --reviewer secret stores one",
            )
        entry = find_mount(self.io, self._names.auth_mount)
        marker = marker_of(entry) if entry is not None else Marker(ours=False)
        if not marker.ours:
            raise Refused(
                f"auth/{self._names.auth_mount} is not vaultprov's: there is nothing to rotate",
                hint=onboard,
            )
        return marker

    def _check_alone(self, cluster_uid: str) -> None:
        """Raises Refused if the reviewer is somebody else's as well: their logins would end."""
        onboarding = self.request.onboarding
        if onboarding.reviewer.mode is ReviewerMode.TOKEN:
            return  # nothing is deleted
        twins = shared_reviewer(onboarding, self.io, cluster_uid)
        if onboarding.reviewer.account in onboarding.service_accounts:
            twins = ("a workload of the same name",)
        if twins:
            raise Refused(
                f"refused, nothing was rotated: {', '.join(twins)} uses ServiceAccount "
                f"{onboarding.reviewer.account} as well, and its logins would end",
                hint="give each a reviewer of its own (reviewer.name), or rotate with "
                "--reviewer token",
            )

    def _check_rights(self) -> None:
        account = self.request.onboarding.reviewer.account
        besides = [*self._config("").rights("update")]
        besides += [token_right(each) for each in self.request.onboarding.service_accounts]
        if self.request.onboarding.reviewer.mode is ReviewerMode.TOKEN:
            besides.append(token_right(account))
        else:
            for each in self._accounts_of_secrets():
                for manifest in self._reviewer(each):
                    besides += [*manifest.rights("create"), *manifest.rights("delete")]
        self.budget.call(lambda: check_rights((), Plan(()), self.io, besides))

    def _reviewer(self, account: ServiceAccount) -> tuple[Manifest, Manifest, Manifest]:
        """A reviewer's ServiceAccount, its binding, and the Secret with its token."""
        made = Manifest(objects.service_account(account))
        binding = Manifest(
            objects.reviewer_binding(reviewer_binding(account), account),
            immutable=("roleRef",),
            also=objects.binding_rights(),
            after=(made.key,),
        )
        return made, binding, self._secret(account)

    def _secret(self, account: ServiceAccount) -> Manifest:
        return Manifest(
            objects.token_secret(account, token_secret_name(account)),
            immutable=("type",),
            wait=self.request.onboarding.reviewer.wait,
            after=(Key("cluster/serviceaccount", str(account)),),
        )

    def _config(self, pem: str) -> AuthConfig:
        """The auth config as onboarding would write it, but with these CAs."""
        found = next(each for each in self._resources if isinstance(each, AuthConfig))
        return replace(found, ca_pem=pem, after=())

    @property
    def _names(self) -> Names:
        return Names.of(self.request.onboarding)

    @property
    def _resources(self) -> tuple[Resource, ...]:
        return onboarding_resources(self.request.onboarding, self.request.target)

    def _command(self, name: str, *flags: str) -> str:
        who = f"--env {self.request.onboarding.env} --cluster {self.request.onboarding.cluster}"
        return " ".join(["vaultprov", name, who, *flags])


def _as_before(config: JwtConfig, before: State) -> JwtConfig:
    """The config with the keys that were stored before."""
    return replace(
        config,
        keys=before.fields["jwt_validation_pubkeys"],
        algorithms=before.fields["jwt_supported_algs"],
        issuer=before.fields["bound_issuer"],
        after=(),
    )


def _not_due(marker: Marker, within: float | None, now: float) -> str:
    """Why nothing has to be done yet; "" if it has."""
    if within is None:
        return ""
    ends = marker.reviewer_ends
    if ends is None:
        return "the reviewer token does not expire: nothing was rotated"
    if ends - now > within:
        return f"the reviewer token lives for {(ends - now) / _DAY:.1f} days: nothing was rotated"
    return ""
