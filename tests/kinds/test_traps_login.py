"""Traps of the Vault API that concern configs, roles and their mounts; each was seen to bite."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.kube import FakeKube
from tests.fakes.vault import FakeVault
from tests.kinds.login_kinds import (
    HOST,
    account_manifests,
    auth_mount,
    config_by_hand,
    exclusive_role,
    role,
    role_by_hand,
    role_path,
    service_reviewer,
    with_client,
    with_secret,
    with_token,
)
from tests.kinds.world import Resources, World, changing, fields_of, step_of
from vaultprov.apply import Status, apply, observe
from vaultprov.devenv.certificates import serving_certificate
from vaultprov.errors import ConfigError, Error, StalePlan
from vaultprov.kube import objects
from vaultprov.kube.manifest import Manifest
from vaultprov.model import ReviewerMode
from vaultprov.plan import Action, make_plan
from vaultprov.redact import Secret
from vaultprov.retry import Budget
from vaultprov.vault.auth_mount import AuthMount
from vaultprov.vault.kubernetes import AuthConfig, Role
from vaultprov.vault.policy import Policy

NAMESPACES = "bound_service_account_namespaces"
_EVERY_FIELD = {
    "kubernetes_host",
    "kubernetes_ca_cert",
    "disable_local_ca_jwt",
    "token_reviewer_jwt",
    "issuer",
    "disable_iss_validation",
    "pem_keys",
}


def config_path(w: World) -> str:
    return f"auth/{w.mount}/config"


def failures(world: World, resources: Resources) -> list[Error]:
    """What came of applying that."""
    io, budget = world.io(), Budget(timeout=5.0, attempts=3)
    observed = observe(resources, io, budget)
    results = apply(resources, make_plan(resources, observed), observed, io, budget)
    return [result.error for result in results if result.error is not None]


def test_a_config_write_carries_every_field_and_the_jwt(world: World) -> None:
    resources = with_secret(world)
    world.apply(resources)
    config_by_hand(world, kubernetes_host="https://api.balrog:6443", issuer="https://theirs")
    world.apply(resources)
    sent = world.vault.sent[config_path(world)]
    assert sent.keys() >= _EVERY_FIELD
    secret = world.hands.live(objects.token_secret(world.account, "reviewer-token"))
    assert secret is not None
    jwt = sent["token_reviewer_jwt"]
    assert isinstance(jwt, Secret)
    assert jwt.at_hand
    found = world.find(config_path(world))
    assert found["token_reviewer_jwt_set"] is True
    assert found["issuer"] == "https://theirs"


def test_a_jwt_that_is_not_at_hand_is_never_erased(world: World) -> None:
    """In a run without the cluster's half: rather no write than half a config."""
    world.apply(with_secret(world))
    config_by_hand(world, kubernetes_host="https://api.balrog:6443")
    before = world.find(config_path(world))
    config = with_secret(world)[-1]
    assert isinstance(config, AuthConfig)
    without: Resources = [auth_mount(world), replace(config, jwt=None)]
    world.forget_writes()
    (error,) = failures(world, without)
    assert isinstance(error, ConfigError)
    assert world.writes() == []
    assert world.find(config_path(world)) == before


def test_a_first_config_without_a_jwt_is_not_written(world: World) -> None:
    config = with_secret(world)[-1]
    assert isinstance(config, AuthConfig)
    (error,) = failures(world, [auth_mount(world), replace(config, jwt=None)])
    assert isinstance(error, ConfigError)
    assert world.vault.port.read(config_path(world)) is None


def test_a_partial_config_by_hand_is_drift_and_repaired(world: World) -> None:
    """Host, JWT and CA only: the flag that keeps Vault off its own cluster's CA is lost."""
    resources = with_secret(world)
    world.apply(resources)
    partial = {"kubernetes_host": HOST, "token_reviewer_jwt": "their.own.token"}
    world.send(config_path(world), {**partial, "kubernetes_ca_cert": world.facts.ca_pem})
    (step,) = changing(world.plan(resources))
    assert fields_of(step) == {"disable_local_ca_jwt"}
    world.apply(resources)
    assert changing(world.plan(resources)) == []


def test_a_config_of_host_and_jwt_alone_is_drift_and_repaired(world: World) -> None:
    """As the runbook writes it. Only a Vault in a pod takes it; a real one here wants some CA."""
    partial = {"kubernetes_host": HOST, "token_reviewer_jwt": "their.own.token"}
    if isinstance(world.vault.port, FakeVault):
        world.vault.port.server.in_pod = True
    else:
        partial["kubernetes_ca_cert"] = serving_certificate().ca
    resources = with_secret(world)
    world.apply(resources)
    world.send(config_path(world), partial)
    (step,) = changing(world.plan(resources))
    assert fields_of(step) == {"disable_local_ca_jwt", "kubernetes_ca_cert"}
    world.apply(resources)
    assert changing(world.plan(resources)) == []


def test_a_recreated_account_means_a_new_token(world: World) -> None:
    resources = with_token(world)
    world.apply(resources)
    world.hands.delete(objects.service_account(world.account))
    world.hands.create(objects.service_account(world.account))
    (step,) = changing(world.plan(resources))
    assert fields_of(step) == {"reviewer_account_uid"}
    world.forget_writes()
    world.apply(resources)
    assert f"token {world.account}" in world.kube.writes


def test_a_token_that_still_lives_is_not_minted_again(world: World) -> None:
    resources = with_token(world)
    world.apply(resources)
    world.forget_writes()
    world.apply(resources)
    assert world.kube.writes == []


def test_a_server_that_grants_shorter_tokens_is_no_perpetual_diff(world: World) -> None:
    """EKS grants a day at most, whoever asks for a year."""
    port = FakeKube()
    port.cluster.max_seconds = 86400
    world.kube.port = port
    reviewer = replace(service_reviewer(world, ReviewerMode.TOKEN), duration=365 * 86400)
    config = with_token(world)[-1]
    assert isinstance(config, AuthConfig)
    config = replace(config, reviewer=replace(reviewer, renew_before=30 * 86400))
    resources: Resources = [*account_manifests(world.account), auth_mount(world), config]
    assert failures(world, resources) == []
    assert changing(world.plan(resources)) == []


def test_a_client_config_stores_no_jwt(world: World) -> None:
    world.apply(with_client(world))
    assert world.find(config_path(world))["token_reviewer_jwt_set"] is False
    assert "reviewer=" not in world.description(world.mount)


def test_neither_jwt_nor_fingerprint_of_another_mode_stays(world: World) -> None:
    """From a stored JWT to the client's own: the JWT goes, and so does what we knew of it."""
    world.apply(with_secret(world))
    world.apply(with_client(world))
    assert world.find(config_path(world))["token_reviewer_jwt_set"] is False
    assert "reviewer" not in world.description(world.mount)


def test_a_mount_of_another_type_is_refused_and_no_flag_helps(world: World) -> None:
    world.send(f"sys/auth/{world.mount}", {"type": "oidc"})
    for flags in ((), ("--adopt", "--replace-cluster")):
        (step,) = world.plan([auth_mount(world)], *flags).refused()
        assert step.foreign is not None
        assert step.foreign.flag == ""


def test_a_run_that_does_not_know_the_cluster_leaves_its_identity_alone(world: World) -> None:
    world.apply([auth_mount(world)])
    blind = AuthMount(world.mount, "moc", "smaug", None)
    assert changing(world.plan([blind])) == []
    world.describe(world.mount, "environment=moc ", "")
    world.apply([blind])
    assert " cluster-uid=uid-1" in world.description(world.mount)


def test_a_mount_made_again_gets_its_config_and_role_back(world: World) -> None:
    resources = [*with_client(world), role(world)[-1]]
    world.apply(resources)
    world.drop(f"sys/auth/{world.mount}")
    assert {step.action for step in world.plan(resources).steps} == {Action.CREATE}
    world.apply(resources)
    assert changing(world.plan(resources)) == []


def test_a_role_write_keeps_the_namespace_selector(world: World) -> None:
    selector = '{"matchLabels":{"team":"dragons"}}'
    resources = role(world)
    world.apply(resources)
    role_by_hand(world, bound_service_account_namespace_selector=selector, token_ttl=60)
    world.apply(resources)
    found = world.find(role_path(world))
    assert found["token_ttl"] == 3600
    assert found["bound_service_account_namespace_selector"] == selector


def test_the_audience_is_set_on_a_new_role_and_never_on_an_existing_one(world: World) -> None:
    """It would lock out every client that does not ask for it."""
    resources = role(world)
    world.apply(resources)
    assert world.find(role_path(world))["audience"] == "vault"
    role_by_hand(world, audience="", token_ttl=60)
    world.apply(resources)
    assert "audience" not in world.find(role_path(world))


def test_namespaces_bound_by_a_pattern_cover_ours(world: World) -> None:
    """`*` mixed with other values would be a 400."""
    resources = role(world)
    world.apply(resources)
    role_by_hand(world, **{NAMESPACES: ["*"], "token_ttl": 60})
    world.apply(resources)
    assert world.find(role_path(world))[NAMESPACES] == ["*"]


def test_a_pattern_that_does_not_cover_ours_is_kept_beside_them(world: World) -> None:
    resources = role(world)
    world.apply(resources)
    role_by_hand(world, **{NAMESPACES: ["ext*", "team-*"]})
    (step,) = changing(world.plan(resources))
    assert fields_of(step) == {NAMESPACES}
    world.apply(resources)
    assert set(world.find(role_path(world))[NAMESPACES]) == {"ext*", "team-*", "web"}


def test_an_exclusive_role_drops_what_others_bound(world: World) -> None:
    world.apply(role(world))
    role_by_hand(world, **{NAMESPACES: ["external-secrets", "web", "theirs"]})
    world.apply(exclusive_role(world))
    assert set(world.find(role_path(world))[NAMESPACES]) == {"external-secrets", "web"}


def test_a_namespace_bound_between_plan_and_apply_is_not_lost(world: World) -> None:
    """There is no compare-and-set, and people enable namespaces in the UI all day."""
    resources = role(world)
    world.apply(resources)
    role_by_hand(world, token_ttl=60)
    io, budget = world.io(), Budget(timeout=5.0, attempts=3)
    observed = observe(resources, io, budget)
    plan = make_plan(resources, observed)
    role_by_hand(world, **{NAMESPACES: ["external-secrets", "web", "theirs"]})
    results = apply(resources, plan, observed, io, budget)
    assert results[-1].status is Status.WRITTEN
    found = world.find(role_path(world))
    assert found["token_ttl"] == 3600
    assert set(found[NAMESPACES]) == {"external-secrets", "web", "theirs"}


def test_a_change_to_what_was_planned_stops_the_run_and_loses_nothing(world: World) -> None:
    resources = role(world)
    world.apply(resources)
    role_by_hand(world, **{NAMESPACES: ["one"]})
    io, budget = world.io(), Budget(timeout=5.0, attempts=3)
    observed = observe(resources, io, budget)
    plan = make_plan(resources, observed)
    role_by_hand(world, **{NAMESPACES: ["one", "two"]})
    results = apply(resources, plan, observed, io, budget)
    assert isinstance(results[-1].error, StalePlan)
    assert set(world.find(role_path(world))[NAMESPACES]) == {"one", "two"}
    world.apply(resources)
    expected = {"one", "two", "external-secrets", "web"}
    assert set(world.find(role_path(world))[NAMESPACES]) == expected


def test_a_role_of_the_runbook_drifts_only_where_it_differs(world: World) -> None:
    """It is written with `policies` and `ttl`, and has no audience."""
    resources = role(world)
    world.apply(resources[:-1])
    runbook = {
        "bound_service_account_names": "fetcher,reader",
        NAMESPACES: "external-secrets",
        "policies": "moc-kv-r",
        "ttl": "24h",
    }
    world.send(role_path(world), runbook)
    step = step_of(world.plan(resources), resources[-1].key)
    assert fields_of(step) == {NAMESPACES, "token_ttl"}
    world.apply(resources)
    assert changing(world.plan(resources)) == []


def test_policies_of_upper_case_names_are_no_drift(world: World) -> None:
    policy = Policy(f"MOC-{world.id}", 'path "x" { capabilities = ["read"] }')
    world.apply([policy])
    assert changing(world.plan([policy])) == []


def test_a_role_with_upper_case_policies_is_no_drift(world: World) -> None:
    mount, wanted = role(world)
    assert isinstance(wanted, Role)
    resources: Resources = [mount, replace(wanted, policies=("MOC-kv-r",))]
    assert failures(world, resources) == []
    assert changing(world.plan(resources)) == []


def test_the_namespace_that_identifies_a_cluster_is_never_made(world: World) -> None:
    absent = Manifest(objects.bare_namespace(f"absent-{world.id}"), required="is this a cluster?")
    (step,) = world.plan([absent], "--adopt").refused()
    assert step.foreign is not None
    assert (step.foreign.flag, step.foreign.hint) == ("", "is this a cluster?")
