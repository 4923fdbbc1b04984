"""Diagnoses as doctor makes them, by hand: a case for each way in which one can end."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.test_report import SERVERS
from vaultprov.doctor.model import (
    Answer,
    Check,
    Confidence,
    Diagnosis,
    Finding,
    Fix,
    Status,
    Vantage,
    fail,
    ok,
    unknown,
    warn,
)
from vaultprov.errors import Unreachable

MANIFEST = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: vaultprov-egress-vault
  namespace: external-secrets
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - ports:
    - {protocol: TCP, port: 8200}
"""
ONBOARD = "vaultprov onboard --env moc --cluster smaug"


def check(code: str, title: str, vantage: Vantage, *, symptom: bool = False) -> Check:
    return Check(f"VP-{code}", title, vantage, lambda _world: (), symptom=symptom)


API = check("CLU-001", "the cluster's API server answers", Vantage.CLUSTER)
ESO = check("OP-001", "External Secrets is installed", Vantage.CLUSTER)
STORE = check("ES-009", "a store for this Vault exists", Vantage.CLUSTER)
DNS = check("DNS-002", "Vault's name resolves", Vantage.VAULT)
EGRESS = check("NET-001", "the operand may reach Vault", Vantage.STATIC)
POD_NAME = check("POD-001", "a pod beside the operand resolves Vault's name", Vantage.OPERAND)
POD_TCP = check("POD-002", "a pod beside the operand connects to Vault", Vantage.OPERAND)
TRUSTED = check("TLS-001", "the store trusts Vault's certificate", Vantage.VAULT)
SERVING = check("VLT-001", "Vault is initialised and unsealed", Vantage.VAULT)
MOUNT = check("AUTH-001", "the auth mount exists where the store logs in", Vantage.VAULT)
ROLE = check("AUTH-002", "the role exists", Vantage.VAULT)
CIDRS = check("AUTH-006", "the role's token_bound_cidrs let the operand in", Vantage.VAULT)
ALIVE = check("REV-001", "the reviewer token is alive", Vantage.VAULT)
KEYS = check("JWT-003", "the JWT mount has the cluster's current keys", Vantage.VAULT)
READ = check("KV-001", "the policy lets the workload read", Vantage.VAULT)
READY = check("ES-007", "the store is Ready", Vantage.CLUSTER, symptom=True)


def fine(of: Check, *observed: str) -> Answer:
    return Answer(of, tuple(ok(each) for each in observed) or (ok(),), 0.0124)


def no_such(of: Check) -> Answer:
    return Answer(of, (Finding(Status.SKIPPED, observed="nothing of the kind here"),))


def not_asked(of: Check, flag: str) -> Answer:
    return Answer(of, (Finding(Status.SKIPPED, observed=f"needs {flag}"),), hint=flag)


def blocked(of: Check, code: str) -> Answer:
    said = Finding(Status.SKIPPED, observed=f"blocked by {code}")
    return Answer(of, (said,), blocked_by=code)


def no_view(of: Check, code: str = "") -> Answer:
    """Without a token for Vault; code: of the check that says so, and that this one needs."""
    why = f"{code} could not be told" if code else "there is no Vault token"
    return Answer(
        of, (unknown(why),), blocked_by=code, missing=Vantage.VAULT, hint="vault login -method=oidc"
    )


HEALTHY = Diagnosis(
    "moc",
    "smaug",
    (
        fine(API, "Kubernetes v1.33.1"),
        fine(ESO, "external-secrets/external-secrets, v0.19.2"),
        fine(STORE, "ClusterSecretStore vault", "ClusterSecretStore vault"),
        fine(DNS, "192.0.2.7"),
        fine(EGRESS, "an observation that is far too long for one line " * 2),
        not_asked(POD_NAME, "--probe"),
        not_asked(POD_TCP, "--probe"),
        fine(TRUSTED),
        fine(SERVING, "v2.3.1", "v2.3.2"),
        fine(MOUNT),
        fine(ROLE),
        fine(ALIVE, "expires 2027-01-01T00:00:00Z"),
        not_asked(CIDRS, "--probe-login"),
        no_such(KEYS),
        fine(READ),
        fine(READY),
    ),
    SERVERS,
    seconds=0.8124,
)


def but(*answers: Answer, base: Diagnosis = HEALTHY) -> Diagnosis:
    """The healthy diagnosis with other answers to some checks."""
    changed = {answer.check.code: answer for answer in answers}
    return replace(base, answers=tuple(changed.get(a.check.code, a) for a in base.answers))


DENIED = Answer(
    EGRESS,
    (
        fail(
            "Deployment external-secrets/external-secrets",
            "egress to vault.example.com (192.0.2.7) port 8200 is denied",
            expected="egress to 192.0.2.7 port 8200",
            cause="NetworkPolicy external-secrets/deny-all-traffic isolates the operand, and no "
            "policy lets it go to Vault",
            fix=Fix("let the operand go there", "kubectl apply -f -", MANIFEST),
            evidence=("NetworkPolicy external-secrets/deny-all-traffic", "no rule allows it"),
        ),
    ),
    0.002,
)
SYMPTOM = Answer(
    READY,
    (
        Finding(
            Status.SKIPPED,
            "ClusterSecretStore vault",
            "blocked by VP-NET-001: Ready is False: unable to create client",
        ),
    ),
    blocked_by="VP-NET-001",
)
MANY = tuple(blocked(each, "VP-NET-001") for each in (TRUSTED, SERVING, MOUNT, ROLE, ALIVE, READ))
UNBOUND = Answer(
    ROLE,
    (
        ok("moc-ops"),
        fail(
            "auth/smaug-k8s/role/moc-dev",
            'there is no such role: {"errors":[]}',
            expected="a role\nof that name",
            cause="the role was never written, or somebody removed it",
            fix=Fix("onboard again", ONBOARD),
            confidence=Confidence.MEDIUM,
        ),
        warn(
            "auth/smaug-k8s/role/moc-ops",
            "token_ttl is 0",
            expected="a limit",
            cause="the mount's default decides",
            fix=Fix("set it"),
        ),
        unknown("this token may not read the role moc-qa", "auth/smaug-k8s/role/moc-qa"),
    ),
    0.005,
)
EXPIRES = Answer(
    ALIVE,
    (
        warn(
            "auth/smaug-k8s/config",
            "the reviewer token expires in 6 days",
            expected="more than 14 days",
            cause="the token was requested for a year and is not renewed by itself",
            fix=Fix("write a new one", f"{ONBOARD} \\\n  --rotate-reviewer"),
        ),
    ),
)
SLOW = Answer(
    SERVING,
    (
        warn(
            "https://192.0.2.7:8200",
            "sealed standby",
            expected="an unsealed node",
            cause="one node is sealed",
            fix=Fix("unseal it", "vault operator unseal"),
        ),
    ),
)
TIMED_OUT = "https://vault.example.com: no answer within 5 s"
EARLY = Unreachable("the API server went away", hint="try again")

DIAGNOSES = {
    "healthy": HEALTHY,
    "manifest": but(DENIED, SYMPTOM, *MANY),
    "two": but(DENIED, UNBOUND, blocked(TRUSTED, "VP-NET-001"), blocked(READ, "VP-AUTH-002")),
    "warnings": but(EXPIRES, SLOW),
    "no-vault": but(
        no_view(MOUNT), *(no_view(each, "VP-AUTH-001") for each in (ROLE, ALIVE, READ))
    ),
    "suppressed": replace(
        but(SLOW, base=replace(HEALTHY, answers=HEALTHY.answers[:9])),
        suppressed=("VP-REV-001", "VP-KV-001"),
        strict=True,
    ),
    "unknown": but(
        Answer(EGRESS, (unknown("CiliumNetworkPolicy ns/x is not modelled", "to Vault"),)),
        Answer(TRUSTED, (unknown(TIMED_OUT),)),
        Answer(SERVING, (unknown(TIMED_OUT),)),
        Answer(MOUNT, (unknown("VP-VLT-001 could not be told"),), blocked_by="VP-VLT-001"),
        Answer(ALIVE, (unknown("not allowed to read it"),), hint="vault token lookup"),
    ),
    "early": replace(HEALTHY, answers=HEALTHY.answers[:2], error=EARLY),
    "nothing": replace(HEALTHY, answers=(no_such(KEYS),)),
}
