"""ServiceAccounts, their tokens, and Secrets that stores refer to."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable
from typing import Any

from vaultprov.doctor.checks.remedies import manifest, onboard, patch_login
from vaultprov.doctor.model import Finding, Fix, fail, ok
from vaultprov.doctor.stores import Reference, Store
from vaultprov.doctor.world import World
from vaultprov.jwt import claims
from vaultprov.kube.objects import LABELS
from vaultprov.model import ReviewerMode
from vaultprov.redact import Secret
from vaultprov.resource import Fields

_LEGACY = (0, 16, 0)  # from this version on a token is asked for first
_UID = "kubernetes.io/service-account.uid"


def exists(world: World) -> Iterable[Finding]:
    """VP-SA-002."""
    for store, account in named_accounts(world):
        if world.account(account) is not None:
            yield ok(f"{account.namespace}/{account.name}", str(store))
            continue
        world.missed(f"ServiceAccount {account.namespace}/{account.name}")
        known = [str(each) for each in world.case.onboarding.service_accounts]
        name = f"{account.namespace}/{account.name}"
        flags = () if name in known else ("--service-account", name)
        yield fail(
            f"ServiceAccount {name}",
            "absent",
            expected=f"the ServiceAccount that {store} refers to",
            cause="the store refers to a ServiceAccount that does not exist",
            fix=onboard(world, "onboarding creates it and lets it in", *flags),
        )


def named_accounts(world: World) -> list[tuple[Store, Reference]]:
    """Each store with the ServiceAccount that it names, namespace and all."""
    return [
        (store, store.account)
        for store in world.stores()
        if store.account is not None and store.account.namespace is not None
    ]


def may_be_requested(world: World) -> Iterable[Finding]:
    """VP-SA-001."""
    operand = world.operand()
    if operand is None:
        return
    user = f"system:serviceaccount:{operand.namespace}:{operand.service_account}"
    for store, account in named_accounts(world):
        verdict = world.ask(_access_review(user, account))
        if (verdict.get("status") or {}).get("allowed"):
            yield ok(f"{operand.namespace}/{operand.service_account} may", str(store))
            continue
        yield fail(
            f"ServiceAccount {operand.namespace}/{operand.service_account}",
            f"may not create serviceaccounts/token of {account.namespace}/{account.name}",
            expected="the right to request its token",
            cause="External Secrets is not allowed to request the token, and its error names "
            "another reason (a Secret that it cannot find)",
            fix=Fix(
                "give it the right (Helm: rbac.serviceAccountTokenCreate)",
                "kubectl apply -f -",
                manifest(*_token_right(account, operand.namespace, operand.service_account)),
            ),
        )


def _access_review(user: str, account: Reference) -> Fields:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"],
            "resourceAttributes": {
                "verb": "create",
                "resource": "serviceaccounts",
                "subresource": "token",
                "namespace": account.namespace,
                "name": account.name,
            },
        },
    }


def _token_right(account: Reference, namespace: str, name: str) -> tuple[Fields, Fields]:
    metadata = {
        "name": f"vaultprov-token-{account.name}",
        "namespace": account.namespace,
        "labels": LABELS,
    }
    group = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [account.name],
        "verbs": ["create"],
    }
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return role, binding


def asks_back(world: World) -> bool:
    """Whether Vault reviews tokens at the API server for any store: with JWT mounts it does not."""
    stores = [store for store in world.stores() if store.logs_in]
    return not stores or any(store.methods == ("kubernetes",) for store in stores)


def reviewer_account(world: World) -> Iterable[Finding]:
    """VP-SA-003."""
    reviewer = world.case.onboarding.reviewer
    if not reviewer.has_account or not asks_back(world):
        return
    account = Reference(reviewer.account.name, reviewer.account.namespace)
    found = world.account(account)
    subject = f"ServiceAccount {reviewer.account}"
    renew = onboard(world, "make it again and give Vault its token", "--renew-reviewer")
    if found is None:
        world.missed(subject)
        yield fail(
            subject,
            "absent",
            expected="the reviewer's ServiceAccount",
            cause="the reviewer's ServiceAccount was deleted, and its token died with it",
            fix=renew,
        )
        return
    uid = found["metadata"].get("uid")
    recorded = _recorded_uid(world)
    if recorded and uid and recorded != uid:
        yield fail(
            subject,
            f"uid {uid}",
            expected=f"uid {recorded}, whose token Vault was given",
            cause="the reviewer's ServiceAccount was made anew; tokens of the old one are dead",
            fix=renew,
        )
        return
    yield ok("", subject)


def _recorded_uid(world: World) -> str | None:
    """The uid of the account whose token Vault holds, as marker or token Secret tell it."""
    if world.case.onboarding.reviewer.mode is ReviewerMode.TOKEN:
        return world.marker(world.names.auth_mount).facts.get("reviewer-account")
    found = world.reviewer_secret() or {}
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    uid = annotations.get(_UID)
    return None if uid is None else str(uid)


def with_audience(world: World) -> Iterable[Finding]:
    """VP-SA-004."""
    operand = world.operand()
    if operand is None:
        return
    old = () < operand.version < _LEGACY
    for store, account in named_accounts(world):
        listed = (world.account(account) or {}).get("secrets") or ()
        if not (old and listed):
            yield ok("", str(store))
            continue
        name = f"{account.namespace}/{account.name}"
        yield fail(
            f"ServiceAccount {name}",
            f"lists the token Secret {listed[0].get('name')}, and External Secrets "
            f"{'.'.join(map(str, operand.version))} takes it first",
            expected="a token made for the store's audience",
            cause="the legacy token has no audience, so a role with one refuses it",
            fix=Fix(
                "upgrade External Secrets to 0.16 or newer; where no controller puts it back "
                "(Kubernetes 1.24 and newer), taking the Secret off the ServiceAccount is enough",
                f"kubectl -n {account.namespace} patch serviceaccount {account.name} "
                """--type merge -p '{"secrets":[]}'""",
            ),
        )


def secret_exists(world: World) -> Iterable[Finding]:
    """VP-SA-005."""
    for store in world.live_stores():
        reference = store.secret
        if reference is None or reference.namespace is None:
            continue
        found = world.get("v1", "Secret", reference.name, reference.namespace)
        subject = f"Secret {reference.namespace}/{reference.name}"
        create = f"kubectl -n {reference.namespace} create secret generic {reference.name}"
        key = shlex.quote(f"--from-file={reference.key}=FILE")
        told = Fix("create it, or mend the reference", f"{create} {key}")
        if found is None:
            world.missed(subject)
            yield _no_secret(subject, store, "absent", told)
        elif reference.key not in (found.get("data") or {}):
            yield _no_secret(subject, store, f"has no key {reference.key!r}", told)
        elif store.methods == ("kubernetes",) and (ended := _expired(found, reference, world)):
            yield fail(
                subject,
                ended,
                expected="a token that is valid",
                cause="the store uses a stored token, and it has ended",
                fix=patch_login(
                    store,
                    {"secretRef": None, "serviceAccountRef": _account(world)},
                    "let External Secrets request a fresh token each time",
                ),
            )
        else:
            yield ok("", subject)


def _no_secret(subject: str, store: Store, observed: str, fix: Fix) -> Finding:
    return fail(
        subject,
        observed,
        expected=f"what {store} refers to",
        cause="the Secret that the store refers to is not there",
        fix=fix,
    )


def _account(world: World) -> dict[str, Any]:
    account = world.case.onboarding.service_accounts[0]
    audience = world.case.onboarding.audience
    return {"name": account.name, "namespace": account.namespace, "audiences": [audience]}


def _expired(found: Fields, reference: Reference, world: World) -> str:
    token = Secret(base64.b64decode(found["data"][reference.key]).decode("utf-8", "replace"))
    ends = claims(token).get("exp")
    if not isinstance(ends, int | float) or ends > world.case.now():
        return ""
    return f"its token ended {world.case.now() - ends:.0f} s ago"


def sendable(world: World) -> Iterable[Finding]:
    """VP-SA-006."""
    for store in world.live_stores():
        reference = store.secret
        if store.methods != ("tokenSecretRef",) or reference is None or not reference.namespace:
            continue
        found = world.get("v1", "Secret", reference.name, reference.namespace) or {}
        value = base64.b64decode((found.get("data") or {}).get(reference.key, "")).decode(
            "utf-8", "replace"
        )
        subject = f"Secret {reference.namespace}/{reference.name}"
        if value.isprintable():
            yield ok("", subject)
            continue
        at = next(index for index, letter in enumerate(value) if not letter.isprintable())
        place = "at its end" if at >= len(value.rstrip()) else f"at position {at}"
        yield fail(
            subject,
            f"a character that cannot be printed {place}",
            expected="the bare token",
            cause="the token was stored with a line break, and Vault's client refuses to send it",
            fix=Fix("store it without", _clean(reference)),
        )


def _clean(reference: Reference) -> str:
    """The token stays in the shell: no file and no command line of a process holds it.

    Nothing is written if nothing was read; other keys of the Secret stay as they are.
    """
    secret = f"secret {reference.name}"
    path = "{.data." + reference.key.replace(".", r"\.") + "}"
    field = json.dumps(reference.key).replace("%", "%%")
    form = shlex.quote('{"data":{' + field + ':"%s"}}')
    return (
        f"t=$(kubectl -n {reference.namespace} get {secret} -o {shlex.quote('jsonpath=' + path)} | "
        "base64 -d | tr -cd '[:graph:]' | base64 | tr -d '\\n') && "
        f'[ -n "$t" ] && printf {form} "$t" | kubectl -n {reference.namespace} patch {secret} '
        "--type merge --patch-file /dev/stdin"
    )
