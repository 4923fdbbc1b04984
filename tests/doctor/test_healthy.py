"""A healthy cluster: nothing fails, nothing warns, nothing is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.doctor.conftest import SECRET, STORE, WORKLOAD, Clinic, dumped
from tests.doctor.fault import note
from tests.doctor.faults_jwt import jwt_login


def test_healthy(clinic: Clinic) -> None:
    document = clinic.diagnosed()
    seen = {check["status"] for check in document["checks"]}
    assert seen <= {"ok", "skipped"}, dumped(document)
    assert document["root"] is None
    assert document["ok"] is True
    note("nothing is wrong", "", document["duration_ms"], "")


def test_healthy_with_a_login(clinic: Clinic) -> None:
    done = clinic.doctor("--probe-login")
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[-1].startswith("Healthy: ")


def test_healthy_with_the_provisioners_policy_alone(clinic: Clinic) -> None:
    """Exactly enough to run every command is enough for these, too."""
    made = clinic.vault.auth.token.create(policies=["vaultprov-provisioner"])
    token = made["auth"]["client_token"]
    done = clinic.doctor(VAULT_TOKEN=token)
    assert done.code == 0, done.out + done.err
    proof = clinic.run("verify", "--oidc-group", VAULT_TOKEN=token)
    assert proof.code == 0, proof.out + proof.err


def _another_team(clinic: Clinic) -> None:
    """A mount, a role and a layout of somebody else's on the same Vault."""
    clinic.vault.sys.enable_auth_method("kubernetes", path="theirs")
    config = clinic.read("auth/smaug-k8s/config")
    jwt = clinic.secret("external-secrets-operator", "eso-vault-auth-token", "token")
    payload = {name: config[name] for name in ("kubernetes_host", "kubernetes_ca_cert")}
    clinic.write("auth/theirs/config", **payload, disable_local_ca_jwt=True, token_reviewer_jwt=jwt)
    clinic.vault.sys.create_or_update_policy(
        "theirs", 'path "k8s_secrets/data/theirs/*" { capabilities = ["read"] }'
    )
    namespace, _, name = WORKLOAD.partition("/")
    clinic.write(
        "auth/theirs/role/theirs",
        bound_service_account_names=[name],
        bound_service_account_namespaces=[namespace],
        audience="vault",
        token_policies=["theirs"],
    )
    body = clinic.get(STORE)
    vault = body["spec"]["provider"]["vault"]
    vault["auth"]["kubernetes"] |= {"mountPath": "theirs", "role": "theirs"}
    metadata = {"name": "theirs"}
    clinic.cluster.apply(
        {"apiVersion": STORE[0], "kind": STORE[1], "metadata": metadata, "spec": body["spec"]}
    )
    theirs = (*STORE[:3], "theirs")
    clinic.until("their store is Ready", lambda: clinic.condition(theirs).get("status") == "True")


def _no_path(clinic: Clinic) -> None:
    """The keys name their mount themselves."""
    clinic.store(path=None)
    clinic.merge(SECRET, {"spec": {"data": [_entry("k8s_secrets/moc/smaug/db")]}})
    clinic.settle()


def _entry(key: str, **more: object) -> dict[str, object]:
    return {"secretKey": "password", "remoteRef": {"key": key, "property": "password"}, **more}


def _a_store_for_one_entry(clinic: Clinic) -> None:
    """The ExternalSecret names a store of its own for its one entry, and none for all."""
    reference = {"storeRef": {"kind": STORE[1], "name": STORE[3]}}
    entry = _entry("moc/smaug/db", sourceRef=reference)
    clinic.merge(SECRET, {"spec": {"secretStoreRef": None, "data": [entry]}})
    clinic.settle()


def _globs(clinic: Clinic) -> None:
    """A JWT role that binds claims by pattern."""
    claims = {"sub": "system:serviceaccount:external-secrets:*", "aud": ["nobody", "vau*"]}
    jwt_login(clinic, bound_subject="", bound_claims=claims, bound_claims_type="glob")
    clinic.settle()


SHAPES = (_another_team, _no_path, _a_store_for_one_entry, _globs)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_what_others_do_otherwise_is_no_fault(
    clinic: Clinic, shape: Callable[[Clinic], None]
) -> None:
    shape(clinic)
    document = clinic.diagnosed("--probe-login")
    seen = {check["status"] for check in document["checks"]}
    assert seen <= {"ok", "skipped"}, dumped(document)


def test_a_token_that_may_not_list_mounts_still_sees_its_own(clinic: Clinic) -> None:
    """A right below the mount is enough for Vault to tell that it is there."""
    rules = "".join(
        f'path "{path}" {{ capabilities = ["read"] }}\n'
        for path in ("auth/smaug-k8s/*", "sys/mounts", "sys/policies/acl/*", "sys/ha-status")
    )
    clinic.vault.sys.create_or_update_policy("narrow", rules)
    token = clinic.vault.auth.token.create(policies=["narrow"])["auth"]["client_token"]
    document = clinic.diagnosed(VAULT_TOKEN=token)
    states = {check["id"]: check["status"] for check in document["checks"]}
    assert {states[f"VP-AUTH-00{n}"] for n in (1, 2, 3, 4)} == {"ok"}, dumped(document)
