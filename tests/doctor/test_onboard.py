"""onboard in a cluster with External Secrets: the way to Vault, the store, and the proof of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.doctor.conftest import SECRET, STORE, Clinic, dumped
from tests.doctor.faults import DNS, default_deny
from tests.doctor.faults_servers import black_hole_vault
from vaultprov.clients.network import SocketNetwork
from vaultprov.devenv.cluster import path_of
from vaultprov.doctor.network import Attempt, Reached
from vaultprov.kube.manifest import project

POLICY = ("networking.k8s.io/v1", "NetworkPolicy", "external-secrets", "vaultprov-egress-vault")
STORE_KEY = "cluster/clustersecretstore/vault"
POLICY_KEY = "cluster/networkpolicy/external-secrets/vaultprov-egress-vault"


@pytest.fixture
def bare(clinic: Clinic) -> Clinic:
    """Without the store that the clinic comes with."""
    clinic.delete(STORE)
    return clinic


def test_the_store_is_made_and_ready(bare: Clinic) -> None:
    """And a second run writes nothing, and finds it Ready."""
    done = bare.run("onboard", "--output", "json")
    assert done.code == 0, done.out + done.err
    assert done.actions()[STORE_KEY] == "create"
    assert POLICY_KEY not in done.actions(keep=True)
    assert any("would isolate the operand" in note for note in done.document["notes"])
    ready = [c for c in done.document["checks"] if c["title"].startswith("ClusterSecretStore")]
    assert [check["ok"] for check in ready] == [True]
    again = bare.run("onboard", "--output", "json")
    assert again.code == 0
    assert again.actions() == {}
    assert again.document["changed"] is False
    bare.recover()
    document = bare.diagnosed("--probe-login")
    assert document["root"] is None, dumped(document)


def test_the_store_asks_for_the_audience_that_people_chose_for_the_role(bare: Clinic) -> None:
    """It is left alone on the role, so that nobody gets in with another one."""
    bare.role(audience="theirs")
    done = bare.run("onboard", "--output", "json")
    assert done.code == 0, done.out + done.err
    assert bare.condition(STORE)["status"] == "True"
    assert bare.run("onboard", "--output", "json").document["changed"] is False


def test_where_policies_isolate_the_way_is_opened(bare: Clinic) -> None:
    """DENY before, ALLOW after, by doctor's evaluation; and nothing else is opened."""
    default_deny(bare)
    assert bare.diagnosed()["root"]["id"] == "VP-NET-001"
    done = bare.run("onboard", "--output", "json")
    assert done.code == 0, done.out + done.err
    assert done.actions()[POLICY_KEY] == "create"
    spec = bare.get(POLICY)["spec"]
    host, _, port = bare.bao.address.partition("://")[2].rpartition(":")
    assert spec["egress"] == [
        {
            "to": [{"ipBlock": {"cidr": f"{host}/32"}}],
            "ports": [{"protocol": "TCP", "port": int(port)}],
        }
    ]
    bare.recover()
    document = bare.diagnosed()
    assert document["root"] is None, dumped(document)
    assert bare.run("onboard", "--output", "json").actions() == {}


def test_render_writes_what_was_applied(bare: Clinic) -> None:
    """Store and policy too, down to the annotations."""
    default_deny(bare)
    assert bare.run("onboard").code == 0
    host = bare.bao.address.partition("://")[2].rpartition(":")[0]
    out = bare.lab.folder / "out"
    words = ("--include", "store", "--include", "egress", "--vault-cidr", f"{host}/32")
    done = bare.run("render", "--dir", str(out), "--layout", "plain", *words)
    assert done.code == 0, done.err
    rendered = [yaml.safe_load(file.read_text()) for file in sorted(out.rglob("*.yaml"))]
    assert [each["kind"] for each in rendered] == ["NetworkPolicy", "ClusterSecretStore"]
    for body in rendered:
        live = bare.cluster.get(path_of(body))
        assert project(live, body) == body


def test_a_changed_address_is_drift(bare: Clinic) -> None:
    default_deny(bare)
    assert bare.run("onboard").code == 0
    planned = bare.run("plan", "--output", "json", "--vault-cidr", "192.0.2.0/28")
    assert planned.actions() == {POLICY_KEY: "update"}


def test_a_policy_of_ours_that_alone_isolates_is_taken_away(bare: Clinic) -> None:
    """NET-2, made by a run of before: the others that isolated are gone."""
    default_deny(bare)
    assert bare.run("onboard").code == 0
    for name in ("deny-all-traffic", "allow-api-and-dns"):
        bare.delete((*POLICY[:3], name))
    done = bare.run("onboard", "--output", "json")
    assert done.code == 0, done.out + done.err
    assert done.actions() == {POLICY_KEY: "delete"}
    assert bare.absent(POLICY)


def test_neither_is_made_when_not_wanted(bare: Clinic) -> None:
    default_deny(bare)
    done = bare.run("onboard", "--no-store", "--no-egress", "--output", "json")
    assert done.code == 0
    assert done.actions() == {}
    assert bare.absent(STORE)
    told = bare.run("plan", "--no-egress", "--output", "json").document["notes"]
    assert any("(VP-NET-001), and opening it is left to you" in note for note in told)


def test_a_store_of_others_is_kept_until_it_is_adopted(clinic: Clinic) -> None:
    """The clinic's own store was made by hand, and names another path."""
    clinic.store(path="elsewhere")
    refused = clinic.run("onboard")
    assert refused.code == 6
    assert "--adopt" in refused.err
    assert clinic.run("onboard", "--adopt").code == 0
    assert clinic.get(STORE)["spec"]["provider"]["vault"]["path"] == "k8s_secrets"


def test_a_store_for_each_namespace(bare: Clinic) -> None:
    """Their namespaces and those of the role are one list."""
    accounts = ("external-secrets/vault-secret-fetcher", "team-a/vault-secret-fetcher")
    flags = [word for account in accounts for word in ("--service-account", account)]
    done = bare.run("onboard", "--set", "store.kind=SecretStore", *flags, "--output", "json")
    assert done.code == 0, done.out + done.err
    made = {key for key, action in done.actions().items() if "secretstore" in key}
    assert made == {
        "cluster/secretstore/external-secrets/vault",
        "cluster/secretstore/team-a/vault",
    }
    role = bare.read("auth/smaug-k8s/role/moc-ops")
    assert set(role["bound_service_account_namespaces"]) == {"external-secrets", "team-a"}


def test_a_store_that_does_not_get_ready_ends_with_the_root_cause(bare: Clinic) -> None:
    """The run ends with what doctor would have said, and its command."""
    black_hole_vault(bare)
    done = bare.run("onboard", "--set", f"store.server={bare.extra.pop('HOLE')}")
    assert done.code == 1
    assert "root cause VP-NET-009" in done.err, done.out + done.err


def _ports(step: dict[str, Any]) -> list[int]:
    """Of the rules that a plan adds."""
    rules = step["fields"]["spec[egress]"]["to"]
    return [port["port"] for rule in rules for port in rule["ports"]]


def test_a_store_with_a_token_of_its_own(bare: Clinic) -> None:
    """Seed of many sites: the token comes from a file, is trimmed, and is nowhere to be seen."""
    made = bare.vault.auth.token.create(policies=["moc-kv-r"])
    token = made["auth"]["client_token"]
    file = bare.lab.folder / "token"
    file.write_text(f"  {token}\n")
    words = ("--set", "store.token_secret=external-secrets/vault-token")
    done = bare.run("onboard", *words, "--store-token-file", str(file), "--output", "json")
    assert done.code == 0, done.out + done.err
    assert bare.secret("external-secrets", "vault-token", "token") == token
    assert token not in done.out + done.err
    auth = bare.get(STORE)["spec"]["provider"]["vault"]["auth"]
    assert auth["tokenSecretRef"]["namespace"] == "external-secrets"
    again = bare.run("onboard", *words, "--store-token-file", str(file), "--output", "json")
    assert again.actions() == {}
    file.write_text(bare.bao.root_token)
    changed = bare.run("plan", *words, "--store-token-file", str(file))
    assert "data[token]: <secret sha256:" in changed.out
    assert bare.bao.root_token not in changed.out


def test_a_token_that_cannot_be_sent_is_refused(bare: Clinic) -> None:
    file = bare.lab.folder / "token"
    file.write_text("hvs.one\nhvs.two")
    words = ("--set", "store.token_secret=external-secrets/vault-token")
    done = bare.run("onboard", *words, "--store-token-file", str(file))
    assert done.code == 2
    assert "line breaks or control characters" in done.err
    assert "hvs.one" not in done.err


def test_dns_is_opened_where_a_name_has_to_be_looked_up(bare: Clinic) -> None:
    """With DNS open already it is not opened again."""
    server = bare.bao.address.replace("127.0.0.1", "localhost")
    api = {"ports": [{"protocol": "TCP", "port": int(bare.lab.kube.server.rpartition(":")[2])}]}
    bare.policy("deny-all-traffic", [])
    bare.policy("allow-api", [api])
    planned = bare.run("plan", "--set", f"store.server={server}", "--output", "json")
    (step,) = [s for s in planned.document["steps"] if s["key"] == POLICY_KEY]
    ports = _ports(step)
    assert 53 in ports
    bare.policy("allow-dns", [DNS])
    planned = bare.run("plan", "--set", f"store.server={server}", "--output", "json")
    (step,) = [s for s in planned.document["steps"] if s["key"] == POLICY_KEY]
    ports = _ports(step)
    assert 53 not in ports


def test_offboard_takes_store_and_policy_away(bare: Clinic) -> None:
    """What others deny stays denied; the ExternalSecret and what it made stay, too."""
    default_deny(bare)
    assert bare.run("onboard").code == 0
    made = ("v1", "Secret", "external-secrets", "db")
    bare.until("its Secret", lambda: not bare.absent(made))
    done = bare.run("offboard", "--yes")
    assert done.code == 0, done.out + done.err
    assert "ClusterSecretStore vault cannot log in any more" in done.out
    assert "refreshed no more: external-secrets/db; the Secrets that they made stay" in done.out
    assert bare.absent(STORE)
    assert bare.absent(POLICY)
    assert not bare.absent((*POLICY[:3], "deny-all-traffic"))
    assert not bare.absent(made)
    assert not bare.absent(SECRET)


def test_offboard_keeps_the_account_of_another_vaults_store(bare: Clinic) -> None:
    assert bare.run("onboard").code == 0
    store = bare.get(STORE)
    spec = store["spec"]
    spec["provider"]["vault"]["server"] = "https://another-vault.example.com"
    metadata = {"name": "another"}
    body = {"apiVersion": store["apiVersion"], "kind": store["kind"], "metadata": metadata}
    bare.cluster.apply({**body, "spec": spec})
    done = bare.run("offboard", "--yes")
    assert done.code == 0, done.out + done.err
    account = "serviceaccount/external-secrets/vault-secret-fetcher"
    assert f"kept: cluster/{account}, with which ClusterSecretStore another logs in" in done.out
    assert not bare.absent(("v1", "ServiceAccount", "external-secrets", "vault-secret-fetcher"))
    assert bare.absent(STORE)


def test_every_address_of_every_family_is_opened(
    bare: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three nodes behind one name; a node that moves shows as drift of the policy."""
    known = ["192.0.2.11", "2001:db8::10", "192.0.2.10"]
    monkeypatch.setattr(SocketNetwork, "resolve", lambda _self, _host: tuple(known))
    silent = Attempt(Reached.TIMEOUT, "no answer")
    monkeypatch.setattr(SocketNetwork, "connect", lambda _self, _address, _port: silent)
    default_deny(bare)
    words = ("--set", "store.server=https://vault.example.com:8200", "--output", "json")
    done = bare.run("onboard", "--no-verify", *words)
    assert done.code == 0, done.out + done.err

    def opened() -> set[str]:
        rules = bare.get(POLICY)["spec"]["egress"]
        peers = [peer for rule in rules for peer in rule["to"] if "ipBlock" in peer]
        return {peer["ipBlock"]["cidr"] for peer in peers}

    assert opened() == {"192.0.2.10/32", "192.0.2.11/32", "2001:db8::10/128"}
    assert bare.run("onboard", "--no-verify", *words).actions() == {}
    known[0] = "192.0.2.99"
    assert bare.run("plan", *words).actions() == {POLICY_KEY: "update"}
    assert bare.run("onboard", "--no-verify", *words).actions() == {POLICY_KEY: "update"}
    assert opened() == {"192.0.2.10/32", "192.0.2.99/32", "2001:db8::10/128"}


def test_an_entry_is_asked_for_where_nothing_takes_one(bare: Clinic) -> None:
    done = bare.run("onboard", "--egress", "externalsecretsconfig")
    assert done.code == 2
    assert "Red Hat's operator is not installed" in done.err
    assert "--egress networkpolicy" in done.err


def test_a_store_at_an_address_of_this_machine_is_refused(
    bare: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vault by a port-forward: what is right for this machine is wrong in a pod."""
    near = bare.cluster.server
    monkeypatch.setattr("vaultprov.survey.is_loopback", lambda host: host not in near)
    words = ("--set", "store.server=http://localhost:8200")
    done = bare.run("onboard", *words)
    assert done.code == 6
    assert "in a pod it is the pod itself" in done.err
    assert bare.absent(STORE)
    assert bare.run("onboard", "--no-verify", "--no-store", *words).code == 0


@pytest.mark.parametrize("mode", ["jwt", "client", "token"])
def test_the_store_logs_in_whoever_reviews(bare: Clinic, mode: str) -> None:
    """A JWT mount is another way to log in, and a token that reviews itself needs two audiences."""
    done = bare.run("onboard", "--reviewer", mode, "--output", "json")
    assert done.code == 0, done.out + done.err
    assert bare.condition(STORE)["status"] == "True"
    assert bare.run("onboard", "--reviewer", mode, "--output", "json").actions() == {}
    bare.extra["VAULTPROV_REVIEWER_MODE"] = mode
    bare.recover()
    document = bare.diagnosed("--probe-login")
    assert document["root"] is None, dumped(document)


def test_a_namespace_is_let_in_at_a_jwt_mount(bare: Clinic) -> None:
    """Subjects are bound one by one: taking a namespace out takes nobody else out."""
    bare.extra["VAULTPROV_REVIEWER_MODE"] = "jwt"
    assert bare.run("onboard").code == 0
    metadata = {"name": "team-a"}
    bare.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    done = bare.run("namespace add", "team-a")
    assert done.code == 0, done.out + done.err
    role = "auth/smaug-jwt/role/moc-ops"
    subjects = bare.read(role)["bound_claims"]["sub"]
    assert "system:serviceaccount:team-a:vault-secret-fetcher" in subjects
    assert bare.run("namespace list").code == 0
    gone = bare.run("namespace remove", "team-a", "--yes")
    assert gone.code == 0, gone.out + gone.err
    assert bare.read(role)["bound_claims"]["sub"] == [
        "system:serviceaccount:external-secrets:vault-secret-fetcher"
    ]


def test_a_store_that_works_is_not_moved_to_a_mount_that_does_not(bare: Clinic) -> None:
    """Vault cannot reach the API server there: the proof comes before the store."""
    assert bare.run("onboard", "--reviewer", "jwt").code == 0
    before = bare.get(STORE)["spec"]
    nowhere = ("--kubernetes-host", "https://127.0.0.1:1", "--timeout", "15s")
    failed = bare.run("onboard", "--reviewer", "secret", *nowhere, "--output", "json")
    assert failed.code == 1
    statuses = {step["key"]: step["status"] for step in failed.document["steps"]}
    assert statuses["vault/auth-config/smaug-k8s"] == "written"
    assert statuses[STORE_KEY] == "skipped"
    assert bare.get(STORE)["spec"] == before
    assert bare.run("onboard", "--reviewer", "jwt").code == 0
    assert bare.condition(STORE)["status"] == "True"
