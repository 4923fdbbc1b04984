"""Reviewer mode jwt: Vault asks nobody, and checks tokens with the cluster's public keys."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Lab, Result
from tests.e2e.test_rotate import load
from tests.e2e.worlds import kubernetes, login, vault_read, workload_token
from vaultprov.jwt import public_keys

WHO = ("--env", "moc", "--cluster", "smaug")
MOUNT = "smaug-jwt"
CONFIG, ROLE = f"auth/{MOUNT}/config", f"auth/{MOUNT}/role/moc-ops"
# Of RFC 7517, appendix A.1: a key that signs nothing here.
STALE = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


def published(lab: Lab) -> list[str]:
    return sorted(k.pem for k in public_keys(kubernetes(lab, "GET", "/openid/v1/jwks")["keys"]))


def logs_in(lab: Lab, mount: str = MOUNT) -> bool:
    return bool(login(lab, workload_token(lab), mount)["client_token"])


def mode(lab: Lab, name: str) -> None:
    lab.site({"reviewer": {"namespace": lab.reviewer_namespace, "mode": name}})


@pytest.fixture
def by_keys(site: Lab) -> Lab:
    """A desk with moc/smaug onboarded in this mode."""
    mode(site, "jwt")
    done = site.onboard()
    assert done.code == 0, done.out + done.err
    return site


def test_keys_and_exact_subjects_are_all_that_vault_gets(by_keys: Lab) -> None:
    config, role = vault_read(by_keys, CONFIG), vault_read(by_keys, ROLE)
    assert sorted(config["jwt_validation_pubkeys"]) == published(by_keys)
    assert config["bound_issuer"]
    subject = f"system:serviceaccount:{by_keys.workload_namespace}:vault-secret-fetcher"
    assert role["bound_claims"] == {"sub": [subject]}
    assert role["bound_audiences"] == ["vault"]
    path = f"/api/v1/namespaces/{by_keys.reviewer_namespace}/serviceaccounts/eso-vault-auth"
    assert kubernetes(by_keys, "GET", path) is None, "nobody reviews"
    assert logs_in(by_keys)
    assert by_keys.onboard("--output", "json").document["changed"] is False
    proof = by_keys.run("verify", *WHO, "--output", "json")
    assert proof.code == 0, proof.out
    assert any("wrong signature" in check["title"] for check in proof.document["checks"])


def test_doctor_looks_at_this_mount_before_there_is_a_store(by_keys: Lab) -> None:
    told = by_keys.run("doctor", *WHO, "--output", "json").document
    found = {each["id"]: each["status"] for each in told["checks"]}
    wanted = ("VP-AUTH-001", "VP-AUTH-002", "VP-AUTH-003")
    assert {code: found[code] for code in wanted} == dict.fromkeys(wanted, "ok")


def test_new_signing_keys_are_drift_and_are_followed(by_keys: Lab) -> None:
    (stale,) = public_keys([STALE])
    config = {"jwt_validation_pubkeys": [stale.pem], "jwt_supported_algs": ["ES256"]}
    by_keys.vault.write_data(CONFIG, data=config)
    status = by_keys.run("status", *WHO, "--detailed-exitcode")
    assert status.code == 5
    assert "jwt_validation_pubkeys: ES256 sha256:" in status.out
    done = by_keys.run("rotate", *WHO)
    assert done.code == 0, done.out + done.err
    assert sorted(vault_read(by_keys, CONFIG)["jwt_validation_pubkeys"]) == published(by_keys)
    assert logs_in(by_keys)
    assert "Vault has the keys that the cluster publishes" in by_keys.run("rotate", *WHO).out


def test_keys_with_which_no_login_works_are_not_kept(by_keys: Lab) -> None:
    """Nobody may log in at the role any more, whatever the keys: the old ones go back."""
    (stale,) = public_keys([STALE])
    by_keys.vault.write_data(CONFIG, data={"jwt_validation_pubkeys": [stale.pem]})
    role = vault_read(by_keys, ROLE)
    changed = {**role, "bound_claims": {"sub": ["nobody"]}}
    by_keys.vault.write_data(ROLE, data={k: v for k, v in changed.items() if v is not None})
    done = by_keys.run("rotate", *WHO, "--timeout", "20s")
    assert done.code == 1
    assert "the old ones were put back" in done.err
    assert vault_read(by_keys, CONFIG)["jwt_validation_pubkeys"] == [stale.pem]


def test_the_mode_is_changed_both_ways_without_a_failed_login(onboarded: Lab) -> None:
    """Each mode has a mount of its own, and the old one stays until it is taken away."""
    with load(onboarded) as seen:
        done = onboarded.onboard("--reviewer", "jwt")
        assert done.code == 0, done.out + done.err
        assert "auth/smaug-k8s lets this cluster in, too" in done.out
        assert "a run without --reviewer goes back to it" in done.out
        assert logs_in(onboarded)
    assert seen.refused == []
    mode(onboarded, "jwt")
    gone = onboarded.run("offboard", *WHO, "--reviewer", "secret", "--yes", "--output", "json")
    assert gone.code == 0, gone.out + gone.err
    removed = gone.actions()
    assert "cluster/secret/" in " ".join(removed), "the reviewer's token ends"
    assert not any("vault-secret-fetcher" in key for key in removed), "the workload stays"
    assert "smaug-k8s/" not in vault_read(onboarded, "sys/auth")
    assert onboarded.onboard("--output", "json").document["changed"] is False
    assert logs_in(onboarded)
    mode(onboarded, "secret")
    back = onboarded.onboard()
    assert back.code == 0, back.out + back.err
    assert "vaultprov offboard --env moc --cluster smaug --reviewer jwt" in back.out
    gone = onboarded.run("offboard", *WHO, "--reviewer", "jwt", "--yes")
    assert gone.code == 0, gone.out + gone.err
    assert logs_in(onboarded, "smaug-k8s")


def test_the_clusters_own_policy_stays_with_the_mount_that_is_left(site: Lab) -> None:
    """Both modes' roles give it: taking the old mount away would take everybody's access."""
    site.site({"scope": "cluster"})
    assert site.onboard().code == 0
    mode(site, "jwt")
    assert site.onboard().code == 0
    done = site.run("offboard", *WHO, "--reviewer", "secret", "--yes")
    assert done.code == 0, done.out + done.err
    assert "kept: policy moc-smaug-kv-r, which auth/smaug-jwt gives, too" in done.out
    assert site.run("verify", *WHO).code == 0
    assert site.run("offboard", *WHO, "--yes").code == 0
    assert "moc-smaug-kv-r" not in site.vault.sys.list_acl_policies()["data"]["keys"]


def test_workloads_that_reviewed_themselves_do_so_no_more(site: Lab) -> None:
    """What is printed after mode client was left takes their rights to the API server, too."""
    mode(site, "client")
    assert site.onboard().code == 0
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    binding = f"{bindings}/{site.workload_namespace}-vault-secret-fetcher-tokenreview"
    assert kubernetes(site, "GET", binding) is not None
    mode(site, "jwt")
    left = site.onboard()
    assert left.code == 0
    command = next(line for line in left.out.splitlines() if "vaultprov offboard" in line)
    words = command.partition("vaultprov ")[2].split()
    assert site.run(*words, "--yes").code == 0
    assert kubernetes(site, "GET", binding) is None
    assert logs_in(site)


def test_an_audience_that_people_chose_is_asked_for_in_a_rotation(by_keys: Lab) -> None:
    (stale,) = public_keys([STALE])
    by_keys.vault.write_data(ROLE, data={**vault_read(by_keys, ROLE), "bound_audiences": ["own"]})
    assert by_keys.run("rotate", *WHO).code == 0
    config = {"jwt_validation_pubkeys": [stale.pem], "jwt_supported_algs": ["ES256"]}
    by_keys.vault.write_data(CONFIG, data=config)
    done = by_keys.run("rotate", *WHO)
    assert done.code == 0, done.out + done.err
    assert sorted(vault_read(by_keys, CONFIG)["jwt_validation_pubkeys"]) == published(by_keys)


def test_without_the_cluster_the_keys_come_from_a_file(by_keys: Lab) -> None:
    """The output of `kubectl get --raw /openid/v1/jwks`; what is stored is not lost."""
    file = by_keys.folder / "jwks.json"
    file.write_text(json.dumps(kubernetes(by_keys, "GET", "/openid/v1/jwks")))
    alone = ("--only", "vault", "--jwks-file", str(file))
    assert by_keys.plan(*alone).actions() == {}
    file.write_text(json.dumps({"keys": [STALE]}))
    refused = by_keys.onboard(*alone)
    assert refused.code == 6, "which cluster this is was not said"
    assert "--cluster-uid" in refused.err
    assert logs_in(by_keys)
    missing = by_keys.onboard("--only", "vault")
    assert missing.code == 2
    assert "kubectl get --raw /openid/v1/jwks" in missing.err
    file.write_text('{"keys": []}')
    assert "no public key of a known kind" in by_keys.onboard(*alone).err
    file.write_text("nonsense")
    assert "holds no JSON Web Key Set" in by_keys.onboard(*alone).err


def test_a_url_that_is_shut_to_vault_is_refused_before_anything_is_written(site: Lab) -> None:
    mode(site, "jwt")
    url = f"reviewer.jwks_url={site.kube.server}/openid/v1/jwks"
    refused = site.onboard("--set", url)
    assert refused.code == 6
    assert "without a credential" in refused.err
    assert "smaug-jwt/" not in vault_read(site, "sys/auth")


def test_a_url_that_vault_cannot_reach_says_so(site: Lab) -> None:
    mode(site, "jwt")
    failed = site.onboard("--set", "reviewer.jwks_url=https://127.0.0.1:1/openid/v1/jwks")
    assert failed.code == 1
    assert "Vault cannot fetch keys from https://127.0.0.1:1" in failed.out
    assert "leave reviewer.jwks_url out" in failed.err


def test_another_cluster_of_the_same_name_does_not_get_in(by_keys: Lab) -> None:
    """Its marker says whose the mount is; the keys of another one would let that one in."""
    description = vault_read(by_keys, "sys/auth")[f"{MOUNT}/"]["description"]
    other = " ".join(
        "cluster-uid=another" if word.startswith("cluster-uid=") else word
        for word in description.split()
    )
    by_keys.vault.write_data(f"sys/mounts/auth/{MOUNT}/tune", data={"description": other})
    refused = by_keys.onboard()
    assert refused.code == 6
    assert "--replace-cluster" in refused.err


def test_offboarded_nobody_gets_in(by_keys: Lab) -> None:
    done = by_keys.run("offboard", *WHO, "--yes")
    assert done.code == 0, done.out + done.err
    assert f"is refused at auth/{MOUNT}" in done.out
    assert f"{MOUNT}/" not in vault_read(by_keys, "sys/auth")


def advise(lab: Lab, *words: str) -> Result:
    return lab.run("advise", *WHO, "--output", "json", *words)


def test_advice_before_anything_is_there(site: Lab) -> None:
    """What needs nobody's way back is sure to work."""
    told = advise(site)
    assert told.code == 0, told.err
    fits = {each["mode"]: each["fit"] for each in told.document["modes"]}
    assert fits == {
        "secret": "not known",
        "token": "not known",
        "client": "not known",
        "jwt": "fits",
    }
    assert told.document["recommended"] == "jwt"
    assert told.document["next"] == "vaultprov plan --env moc --cluster smaug --reviewer jwt"


def test_advice_leaves_alone_what_works(onboarded: Lab) -> None:
    told = advise(onboarded).document
    assert told["recommended"] == "secret"
    assert any("a login at auth/smaug-k8s works" in note for note in told["notes"])
    human = onboarded.run("advise", *WHO)
    assert "Take secret: it is in use and works" in human.out


def test_advice_leaves_alone_a_client_that_reviews_itself(site: Lab) -> None:
    """Its login is tried as the store does it: with a token that the API server takes, too."""
    mode(site, "client")
    assert site.onboard().code == 0
    told = advise(site).document
    assert any("a login at auth/smaug-k8s works" in note for note in told["notes"])
    assert told["recommended"] == "client"


def test_advice_knows_what_vault_cannot_reach(site: Lab) -> None:
    told = advise(site, "--kubernetes-host", "https://api-int.smaug.example.com:6443").document
    fits = {each["mode"]: each["fit"] for each in told["modes"]}
    assert fits["secret"] == fits["token"] == fits["client"] == "does not fit"
    assert told["recommended"] == "jwt"


def test_advice_is_not_given_about_another_cluster(onboarded: Lab) -> None:
    """Somebody forgot to switch contexts."""
    refused = onboarded.run("advise", "--env", "moc", "--cluster", "infra")
    assert refused.code == 6
    assert "as smaug of environment moc" in refused.err


def test_advice_sees_whom_a_mode_would_lock_out(onboarded: Lab) -> None:
    """Patterns cannot be bound exactly; who is not named would have no reviewer."""
    onboarded.vault.write_data(
        "auth/smaug-k8s/role/moc-ops", data={"bound_service_account_namespaces": ["*"]}
    )
    fits = {each["mode"]: each["fit"] for each in advise(onboarded).document["modes"]}
    assert fits["jwt"] == fits["client"] == "does not fit"
