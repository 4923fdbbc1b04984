"""The Ansible collection, by the real ansible-playbook: the same engine as one task."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.conftest import CANARY, Lab
from tests.e2e.worlds import accessors, api_servers, prepared, vault_read, watched
from vaultprov.cli import cli

COLLECTION = Path(__file__).parents[2] / "vaultprov" / "ansible" / "collection"
SMAUG = {"env": "moc", "cluster": "smaug", "config": "{{ playbook_dir }}/vaultprov.yaml"}


@pytest.fixture
def desk(site: Lab) -> Lab:
    """A desk whose Ansible finds the collection; results come as JSON."""
    home = site.folder / "collections" / "ansible_collections" / "vaultprov"
    home.mkdir(parents=True)
    (home / "vaultprov").symlink_to(COLLECTION)
    return site.having(
        ANSIBLE_COLLECTIONS_PATH=str(site.folder / "collections"),
        ANSIBLE_LOCAL_TEMP=str(site.folder / "ansible-tmp"),
        ANSIBLE_ASYNC_DIR=str(site.folder / "async"),
        ANSIBLE_NOCOLOR="1",
        LANG="C.UTF-8",
        PYTHONDONTWRITEBYTECODE="1",
    )


class Played:
    """A playbook's run: exit code, all that was printed, and what each task returned."""

    def __init__(self, done: subprocess.CompletedProcess[str], results: Path) -> None:
        self.code, self.out = done.returncode, done.stdout + done.stderr
        found = sorted(results.glob("*.json")) if results.is_dir() else []
        self.results: list[dict[str, Any]] = [json.loads(each.read_text()) for each in found]


def play(lab: Lab, tasks: list[dict[str, Any]], *flags: str, **more: Any) -> Played:
    """Runs tasks on localhost. What they register as `done` is kept."""
    results = lab.folder / f"results-{len(list(lab.folder.glob('results-*')))}"
    results.mkdir()
    keep = {
        "ansible.builtin.copy": {
            "content": "{{ done | to_json }}",
            "dest": f"{results}/done.json",
        },
        "check_mode": False,
        "diff": False,
        "when": "done is defined",
    }
    play_ = {
        "hosts": "localhost", "gather_facts": False, "connection": "local", **more,
        "vars": {"ansible_python_interpreter": sys.executable, **more.get("vars", {})},
        "tasks": [*tasks, keep],
    }  # fmt: skip
    book = lab.folder / "book.yaml"
    book.write_text(yaml.safe_dump([play_]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), str(book), *flags],
        cwd=lab.folder, env=dict(lab.env), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lab.spoken.append(done.stdout + done.stderr)
    return Played(done, results)


def task(module: str = "cluster", **params: Any) -> dict[str, Any]:
    return {
        f"vaultprov.vaultprov.{module}": {**SMAUG, **params},
        "register": "done",
        "ignore_errors": True,
    }


def side_by_side(each: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """A task for each name, all at once, and one that waits for them."""
    started = {**each, "loop": names, "async": 120, "poll": 0, "register": "started"}
    waited = {
        "ansible.builtin.async_status": {"jid": "{{ item.ansible_job_id }}"},
        "loop": "{{ started.results }}", "register": "done", "delay": 1, "retries": 100,
        "until": "done.finished",
    }  # fmt: skip
    return [started, waited]


def test_the_first_run_changes_and_the_second_writes_nothing(desk: Lab) -> None:
    first = play(desk, [task()])
    assert first.code == 0, first.out
    (result,) = first.results
    assert result["changed"] is True
    assert all(check["ok"] for check in result["checks"])
    assert "smaug-k8s/" in vault_read(desk, "sys/auth")
    with watched(desk) as seen:
        second = play(
            seen.lab,
            [task(kubernetes_host=seen.flags[1], kubernetes_ca_file=seen.flags[3])],
        )
        assert second.results[0]["changed"] is False, second.out
        assert [each for each in seen.writes() if "/token" not in each.path] == []


def test_check_mode_is_the_plan_and_diff_shows_the_hand_edited_field(desk: Lab) -> None:
    planned = play(desk, [task()], "--check")
    assert planned.results[0]["changed"] is True
    assert "smaug-k8s/" not in vault_read(desk, "sys/auth")
    assert play(desk, [task()]).results[0]["changed"] is True
    assert play(desk, [task()], "--check").results[0]["changed"] is False
    desk.vault.write_data("auth/smaug-k8s/role/moc-ops", data={"token_ttl": "2h"})
    shown = play(desk, [task()], "--check", "--diff")
    assert shown.results[0]["changed"] is True
    assert "-token_ttl: 7200" in shown.out
    assert "+token_ttl: 3600" in shown.out


def mended(result: dict[str, Any]) -> dict[str, Any]:
    """What is to be done with each resource, without values that a plan cannot know."""
    return {
        each["key"]: (
            each["action"],
            {
                name: "known later" if "known after" in str(change) else change
                for name, change in each["fields"].items()
            },
        )
        for each in result["steps"]
    }


def test_check_mode_predicts_exactly_what_the_run_after_it_does(desk: Lab) -> None:
    """Every resource and field: on an empty Vault, after edits by hand, in place, taken back."""

    def edits() -> None:
        desk.vault.write_data("auth/smaug-k8s/role/moc-ops", data={"token_ttl": "2h"})
        desk.vault.sys.delete_policy("moc-kv-r")
        group = vault_read(desk, "identity/group/name/vault-admins-moc")
        desk.vault.delete(f"identity/group-alias/id/{group['alias']['id']}")

    absent = {"state": "absent"}
    for number, params in enumerate(({}, {}, {}, absent, absent)):
        if number == 1:
            edits()
        with watched(desk) as seen:
            reached = {"kubernetes_host": seen.flags[1], "kubernetes_ca_file": seen.flags[3]}
            told = params or reached
            planned = play(seen.lab, [task(**told)], "--check").results[0]
            assert seen.writes() == [], "check mode wrote"
            ran = play(seen.lab, [task(**told)]).results[0]
        before, after = mended(planned), mended(ran)
        assert before.keys() == after.keys(), number
        for key, (action, fields) in after.items():
            predicted, expected = before[key]
            assert predicted == action, key
            assert expected.keys() == fields.keys(), key
            for name, change in expected.items():
                assert change in ("known later", fields[name]), key
        written = {each["key"] for each in ran["steps"] if each["status"] == "written"}
        pending = {key for key, (action, _) in before.items() if action != "keep"}
        assert written == pending, number
        assert planned["changed"] is ran["changed"] is bool(pending)


def test_absent_takes_it_back_and_check_mode_does_not(desk: Lab) -> None:
    assert play(desk, [task()]).code == 0
    planned = play(desk, [task(state="absent")], "--check")
    assert planned.results[0]["changed"] is True, planned.out
    assert "smaug-k8s/" in vault_read(desk, "sys/auth")
    gone = play(desk, [task(state="absent")])
    assert gone.results[0]["changed"] is True, gone.out
    assert "smaug-k8s/" not in vault_read(desk, "sys/auth")
    again = play(desk, [task(state="absent")]).results[0]
    assert again["changed"] is False
    # What only an onboarding uses disturbs nobody: one task, its state a variable.
    more = task(state="absent", bootstrap=True, cluster_uid="x", service_account=["a/b"])
    assert play(desk, [more]).results[0]["changed"] is False


def test_what_is_somebody_elses_is_refused_in_check_mode_as_in_the_run(desk: Lab) -> None:
    """Nothing is changed by what is refused; and to be asked how it stands is no failure."""
    desk.vault.sys.enable_auth_method("kubernetes", path="smaug-k8s")
    for params in ({}, {"state": "absent"}):
        for mode in (["--check"], []):
            refused = play(desk, [task(**params)], *mode).results[0]
            assert refused["exit_code"] == 6, (params, mode)
            assert refused["changed"] is False
    stands = play(desk, [task("cluster_info")]).results[0]
    assert stands["failed"] is False
    assert (stands["condition"], stands["changed"]) == ("foreign", False)


def test_another_clusters_context_is_no_way_to_stand(desk: Lab) -> None:
    """`when: condition == 'not onboarded'` is not to go on with it."""
    assert play(desk, [task()]).results[0]["changed"] is True
    wrong = play(desk, [task("cluster_info", cluster="another")]).results[0]
    assert (wrong["failed"], wrong["exit_code"]) == (True, 6)


def test_check_mode_says_what_the_half_at_vault_lacks(desk: Lab) -> None:
    ca = desk.folder / "ca.pem"
    ca.write_text(desk.kube.ca_pem)
    half = task(only="vault", kubernetes_host=desk.kube.server, kubernetes_ca_file=str(ca))
    would, did = (play(desk, [half], *flags).results[0] for flags in (["--check"], []))
    assert would["failed"] is did["failed"] is True
    assert would["msg"] == did["msg"]


def test_a_touched_store_is_a_change_and_one_that_is_not_there_is_none(desk: Lab) -> None:
    assert play(desk, [task()]).results[0]["changed"] is True
    touching = task("verify", touch_store="vault")
    assert play(desk, [touching], "--check").results[0]["changed"] is True
    missing = play(desk, [touching]).results[0]
    assert (missing["exit_code"], missing["changed"]) == (2, False)


def test_a_collection_of_another_version_says_which_package_it_needs(desk: Lab) -> None:
    """Built with ansible-galaxy it may be older than the package beside it, or newer."""
    other = desk.folder / "collections" / "ansible_collections" / "vaultprov" / "vaultprov"
    other.unlink()
    shutil.copytree(COLLECTION, other, ignore=shutil.ignore_patterns("__pycache__"))
    util = other / "plugins" / "module_utils" / "engine.py"
    util.write_text(util.read_text().replace('VERSION = "0.1.0"', 'VERSION = "0.0.9"'))
    refused = play(desk, [task()]).results[0]
    assert "the collection is 0.0.9" in refused["msg"]
    assert "pip install vaultprov==0.0.9" in refused["msg"]


def test_the_inventory_tells_a_wrong_site_file_and_groups_as_asked(desk: Lab) -> None:
    inventory = desk.folder / "clusters.vaultprov.yml"
    said = {"plugin": "vaultprov.vaultprov.site", "config": "absent.yaml"}
    inventory.write_text(yaml.safe_dump(said))
    told = ansible(desk, "ansible-inventory", "-i", inventory.name, "--graph")
    assert "absent.yaml" in told.stderr
    groups = [{"key": "vaultprov_cluster", "prefix": "cluster"}]
    good = {**said, "config": "vaultprov.yaml", "keyed_groups": groups}
    inventory.write_text(yaml.safe_dump(good))
    shown = ansible(desk, "ansible-inventory", "-i", inventory.name, "--graph").stdout
    assert "@cluster_smaug:" in shown
    assert "smaug.moc" in shown


def test_warnings_are_ansibles(desk: Lab) -> None:
    done = play(desk, [task(env="mock")], "--check")
    assert any("mock is not an environment" in each for each in done.results[0]["warnings"])


def test_a_policy_differs_by_what_it_grants(desk: Lab) -> None:
    assert play(desk, [task()]).results[0]["changed"] is True
    rule = 'path "k8s_secrets/data/moc/*" {\n  capabilities = ["read", "list"]\n}\n'
    desk.vault.sys.create_or_update_policy("moc-kv-r", f"# managed by vaultprov\n{rule}")
    shown = play(desk, [task()], "--check", "--diff").out
    assert "-path[k8s_secrets/data/moc/*]:" in shown
    assert "+path[k8s_secrets/metadata/moc/*]:" in shown
    assert "capabilities" not in shown


def test_how_it_stands_is_told_by_the_options_that_made_it(desk: Lab) -> None:
    options: dict[str, Any] = {"scope": "cluster", "no_oidc": True, "service_account": ["a/b"]}
    assert play(desk, [task(**options)]).results[0]["changed"] is True
    assert play(desk, [task("cluster_info", **options)]).results[0]["condition"] == "in place"
    assert play(desk, [task("cluster_info")]).results[0]["condition"] == "drifted"


def test_what_a_task_says_is_stronger_than_any_variable(desk: Lab) -> None:
    """Otherwise it would work at another Vault, and its token would go there."""
    right = {
        "vault_addr": desk.env["VAULT_ADDR"],
        "vault_token": "{{ lookup('env', 'ELSEWHERE') }}",
    }
    token = desk.env["VAULT_TOKEN"]
    for name in ("BAO_", "VAULTPROV_VAULT_"):
        wrong = {"BAO_TOKEN": "wrong", "VAULT_TOKEN": "wrong", "VAULT_ADDR": "http://127.0.0.1:1"}
        elsewhere = {f"{name}ADDR": "http://127.0.0.1:1", f"{name}ADDRESS": "http://127.0.0.1:1"}
        misled = desk.having(**wrong, **elsewhere, ELSEWHERE=token)
        done = play(misled, [task(**right)], "--check")
        assert done.results[0]["failed"] is False, done.out
    misled = desk.having(VAULT_ADDR="http://127.0.0.1:1")
    by_set = play(misled, [task(set={"vault": {"address": desk.env["VAULT_ADDR"]}})], "--check")
    assert by_set.results[0]["failed"] is False, by_set.out
    bare = desk.having(ELSEWHERE="")
    empty = play(bare, [task(vault_token=right["vault_token"])]).results[0]
    assert empty["exit_code"] == 2
    assert "vault_token is empty" in empty["msg"]


def test_a_role_leaves_to_module_defaults_what_it_has_no_variable_for(desk: Lab) -> None:
    defaults = {"group/vaultprov.vaultprov.all": {"scope": "cluster"}}
    told = {f"vaultprov_{name}": value for name, value in SMAUG.items()}
    role = {"ansible.builtin.include_role": {"name": "vaultprov.vaultprov.onboard"}, "vars": told}
    done = play(desk, [role], "--check", "--diff", module_defaults=defaults)
    assert done.code == 0, done.out
    assert "vault/policy/moc-smaug-kv-r" in done.out


def test_a_failure_carries_what_to_do_next(desk: Lab) -> None:
    desk.vault.sys.enable_auth_method("kubernetes", path="smaug-k8s")
    refused = play(desk, [task()]).results[0]
    assert refused["failed"] is True
    assert refused["exit_code"] == 6
    assert refused["hint"] == "to take over what is shown, add adopt: true to the same task"
    assert refused["hint"] in refused["msg"]
    assert refused["key"] == "vault/auth/smaug-k8s"
    wrong = play(desk, [task(env="No")]).results[0]
    assert wrong["exit_code"] == 2
    assert "is not a DNS label" in wrong["msg"]


def test_settings_are_written_as_in_the_site_file_or_by_key(desk: Lab) -> None:
    nested = {"reviewer": {"wait": "20s"}, "names.role": "{env}-readers", "scope": "cluster"}
    labels = {"store": {"namespace_labels": {"vault": "yes"}, "namespace_regexes": ["a{1,3}"]}}
    planned = play(desk, [task(set={**nested, **labels})], "--check").results[0]
    assert "vault/role/smaug-k8s/moc-readers" in mended(planned), planned["msg"]
    wrong = play(desk, [task(set={"reviewer": {"wate": 1}})]).results[0]
    assert wrong["exit_code"] == 2
    assert "there is no setting 'reviewer.wate'" in wrong["msg"]


def test_nothing_secret_is_shown_at_the_highest_verbosity_or_kept(desk: Lab) -> None:
    """Neither in the output nor in a log, a callback's files or a fact cache; failing or not."""
    token = desk.env["VAULT_TOKEN"]
    kept = desk.folder / "kept"
    talkative = desk.having(
        VAULT_TOKEN="",
        ELSEWHERE=token,
        MISPLACED="another-secret-of-somebody",
        ANSIBLE_LOG_PATH=str(kept / "log"),
        ANSIBLE_CALLBACKS_ENABLED="ansible.builtin.tree,ansible.builtin.junit",
        ANSIBLE_CALLBACK_TREE_DIR=str(kept / "tree"),
        JUNIT_OUTPUT_DIR=str(kept / "junit"),
        ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(kept / "facts"),
    )
    kept.mkdir()
    elsewhere = "{{ lookup('env', 'ELSEWHERE') }}"
    cached = {"ansible.builtin.set_fact": {"found": "{{ done }}", "cacheable": True}}
    wrong: dict[str, Any] = {"set": {"vault": {"token": "{{ lookup('env', 'MISPLACED') }}"}}}
    for params in ({}, wrong):
        told = play(talkative, [task(vault_token=elsewhere, **params), cached], "-vvvv", "--diff")
        assert told.results[0].get("failed", False) is bool(params), told.out
    files = [each for each in kept.rglob("*") if each.is_file()]
    assert {"log", "facts", "tree", "junit"} <= {each.relative_to(kept).parts[0] for each in files}
    for file in files:
        text = file.read_text()
        secret = (token, CANARY, desk.kube.token, "eyJ", "another-secret-of-somebody")
        assert not [each for each in secret if each in text], file


@pytest.mark.parametrize("method", ["approle", "jwt", "kubernetes"])
def test_a_task_logs_in_by_itself_and_revokes_its_token(desk: Lab, method: str) -> None:
    login = prepared(desk, method)
    before = accessors(desk)
    secret = {
        "auth": method,
        "auth_mount": login.get("VAULTPROV_VAULT_AUTH_MOUNT"),
        "auth_role": login["VAULTPROV_VAULT_AUTH_ROLE"],
        "auth_secret": "{{ lookup('env', 'ELSEWHERE') }}",
    }
    (desk.folder / "another").write_text("wrong")
    bare = desk.having(
        VAULT_TOKEN="",
        ELSEWHERE=login["VAULTPROV_AUTH_SECRET"],
        VAULTPROV_VAULT_AUTH_SECRET_FILE=str(desk.folder / "another"),
    )
    done = play(bare, [task(**{name: value for name, value in secret.items() if value})], "-vvvv")
    assert done.results[0].get("failed", False) is False, done.out
    assert login["VAULTPROV_AUTH_SECRET"] not in done.out
    assert accessors(desk) <= before, "a token of the task is still alive"


def test_how_it_stands_and_what_it_can_do(desk: Lab) -> None:
    absent = play(desk, [task("cluster_info")]).results[0]
    assert absent["condition"] == "not onboarded"
    assert absent["changed"] is False
    assert play(desk, [task()]).code == 0
    assert play(desk, [task("cluster_info")]).results[0]["condition"] == "in place"
    proved = play(desk, [task("verify")]).results[0]
    assert proved["changed"] is False
    assert len(proved["checks"]) > 8
    desk.vault.sys.delete_policy("moc-kv-r")
    failed = play(desk, [task("verify")]).results[0]
    assert failed["failed"] is True
    assert failed["hint"]


def test_the_group_of_people_is_proved_and_a_folder_is_diagnosed(desk: Lab) -> None:
    assert play(desk, [task()]).code == 0
    alone = play(desk, [task("verify")]).results[0]
    proved = play(desk, [task("verify", oidc_group="")]).results[0]
    assert len(proved["checks"]) > len(alone["checks"])
    folder = desk.folder / "manifests"
    assert desk.onboard("--dir", str(folder), command="render").code == 0
    offline = play(desk, [task("doctor", **{"from": str(folder)})]).results[0]
    assert offline["exit_code"] != 4, offline
    assert offline["checks"]


def test_connections_are_said_once_for_all_modules(desk: Lab) -> None:
    where = {"vault_addr": desk.env["VAULT_ADDR"], "kubeconfig": desk.env["KUBECONFIG"],
             "vault_token": "{{ lookup('env', 'ELSEWHERE') }}"}  # fmt: skip
    token = desk.env["VAULT_TOKEN"]
    bare = desk.having(VAULT_ADDR="", VAULT_TOKEN="", KUBECONFIG="", ELSEWHERE=token)
    done = play(bare, [task()], module_defaults={"group/vaultprov.vaultprov.all": where})
    assert done.results[0]["changed"] is True, done.out


EIGHT = [f"cluster-{number}" for number in range(8)]
INVENTORY = "clusters.vaultprov.yml"


def ansible(lab: Lab, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """One of Ansible's commands at the desk."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / command), *words],
        cwd=lab.folder, env=dict(lab.env), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lab.spoken.append(done.stdout + done.stderr)
    return done


def test_a_site_files_clusters_side_by_side_with_role_inventory_and_example(desk: Lab) -> None:
    """The playbooks of the examples, as they are: eight clusters on one Vault, and again nothing.

    At first as AWX slices a job: two at once, each with a part of the hosts.
    """
    examples = COLLECTION / "examples"
    for name in ("awx.yml", "site.yml", INVENTORY):
        (desk.folder / name).write_text((examples / name).read_text())
    clusters = {name: {"kubernetes": {"context": f"{name}/admin"}} for name in EIGHT}
    content = yaml.safe_load((desk.folder / "vaultprov.yaml").read_text())
    content["environments"] = {"moc": {"clusters": clusters}}
    (desk.folder / "vaultprov.yaml").write_text(yaml.safe_dump(content))
    command = ("ansible-playbook", "-i", INVENTORY, "--forks", "8")
    slices = [",".join(f"{name}.moc" for name in half) for half in (EIGHT[:4], EIGHT[4:])]
    with api_servers(desk, EIGHT), ThreadPoolExecutor() as pool:
        jobs = [pool.submit(ansible, desk, *command, "awx.yml", "--limit", s) for s in slices]
        for job in jobs:
            first = job.result()
            assert first.returncode == 0, first.stdout + first.stderr
            assert first.stdout.count("changed=1") == len(EIGHT) / 2
        again = ansible(desk, *command, "site.yml")
        assert again.stdout.count("changed=0") == len(EIGHT), again.stdout
    mounts = vault_read(desk, "sys/auth")
    assert {f"{name}-k8s/" for name in EIGHT} <= set(mounts)
    graph = ansible(desk, "ansible-inventory", "-i", INVENTORY, "--graph").stdout
    assert "@moc:" in graph
    assert "cluster-0.moc" in graph


def test_doctor_fails_with_the_cause_and_what_mends_it(desk: Lab) -> None:
    found = play(desk, [task("doctor")]).results[0]
    assert found["failed"] is True
    assert found["msg"].startswith(found["root"]["id"])
    assert found["hint"]


def files_in(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_files_are_rendered_as_check_mode_says_and_others_are_refused(desk: Lab) -> None:
    apps = desk.folder / "apps"
    asked = task("render", dir=str(apps))
    would = play(desk, [asked], "--check", "--diff")
    assert would.results[0]["changed"] is True
    assert "+kind: ServiceAccount" in would.out
    assert not apps.exists()
    done = play(desk, [asked]).results[0]
    assert done == {name: value for name, value in would.results[0].items() if name != "diff"}
    assert set(files_in(apps)) == set(done["files"])
    where = ("--env", "moc", "--cluster", "smaug", "--dir", str(apps))
    assert desk.run("render", *where, "--check").code == 0
    again = play(desk, [asked], "--diff").results[0]
    assert again["changed"] is False
    assert not any(again["files"].values())
    assert again["diff"] == []

    store = apps / next(path for path in again["files"] if "secretstore" in path)
    store.write_text("theirs: true\n")
    before = files_in(apps)
    for flags in (["--check"], []):
        refused = play(desk, [asked], *flags).results[0]
        assert refused["exit_code"] == 6
        assert "adopt: true" in refused["msg"]
        assert files_in(apps) == before
    shown = play(desk, [task("render", dir=str(apps), adopt=True)], "--check", "--diff")
    assert "-theirs: true" in shown.out
    assert files_in(apps) == before
    assert play(desk, [task("render", dir=str(apps), adopt=True)]).results[0]["changed"] is True
    assert "theirs" not in store.read_text()


def test_eight_clusters_are_rendered_side_by_side_into_one_repository(desk: Lab) -> None:
    """They add to the same kustomizations; a second run finds every line there."""
    apps, repository = desk.folder / "apps", "https://git.example.com/apps"
    each = task("render", dir=str(apps), layout="operate-first", cluster="{{ item }}",
                set={"argocd": {"repo_url": repository}})  # fmt: skip
    first = play(desk, side_by_side(each, EIGHT))
    assert [each["changed"] for each in first.results[0]["results"]] == [True] * 8, first.out
    again = play(desk, [{**each, "loop": EIGHT}])
    assert [each["changed"] for each in again.results[0]["results"]] == [False] * 8


@pytest.mark.parametrize("module", ["cluster", "cluster_info", "doctor", "render", "verify"])
def test_ansible_shows_a_modules_documentation(desk: Lab, module: str) -> None:
    done = ansible(desk, "ansible-doc", "-j", f"vaultprov.vaultprov.{module}")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)[f"vaultprov.vaultprov.{module}"]
    assert {"doc", "examples", "return"} <= set(shown)
    assert shown["doc"]["options"]["cluster"]["required"] is True


# The command line's that make no sense in a task, and a task's that are variables elsewhere.
TERMINAL = {"output", "yes", "detailed_exitcode", "verbose", "watch", "metrics_file", "no_egress",
            "check"}  # fmt: skip
TASK = {"state", "vault_addr", "vault_token", "vault_namespace", "vault_cacert", "auth_mount",
        "auth_role", "auth_secret", "kubeconfig"}  # fmt: skip
COMMANDS = {
    "cluster": ["onboard", "offboard"],
    "cluster_info": ["status"],
    "doctor": ["doctor"],
    "render": ["render"],
    "verify": ["verify"],
}
NEEDED = {"render": {"dir": "apps"}}
# What `module_defaults` say for all modules; on the command line only those have it that log in.
FOR_ALL = {"auth", "auth_role_file", "auth_secret_file", "context", "timeout"}


def documentation(lab: Lab, module: str) -> dict[str, Any]:
    shown = json.loads(ansible(lab, "ansible-doc", "-j", f"vaultprov.vaultprov.{module}").stdout)
    found: dict[str, Any] = shown[f"vaultprov.vaultprov.{module}"]
    return found


@pytest.mark.parametrize("module", COMMANDS)
def test_the_options_are_documented_and_are_those_of_the_command_line(
    desk: Lab, module: str
) -> None:
    """An unknown option makes Ansible list those that the module takes."""
    done = play(desk, [task(module, no_such_option=1, **NEEDED.get(module, {}))]).results[0]
    taken = set(done["msg"].partition("Supported parameters include: ")[2].rstrip(".").split(", "))
    documented = documentation(desk, module)["doc"]["options"]
    assert taken == set(documented)
    flags = {
        max(param.opts, key=len).lstrip("-").replace("-", "_"): param
        for command in COMMANDS[module]
        for param in cli.commands[command].params
    }
    assert taken - TASK - FOR_ALL == flags.keys() - TERMINAL - FOR_ALL
    choices = {name: flags[name].type for name in taken & flags.keys()}
    assert {name: documented[name].get("choices") for name in choices} == {
        name: list(kind.choices) if isinstance(kind, click.Choice) else None
        for name, kind in choices.items()
    }


@pytest.mark.parametrize("module", COMMANDS)
def test_what_a_module_returns_is_documented(desk: Lab, module: str) -> None:
    """Well or not; but for what Ansible itself makes of it."""
    ansibles = {"changed", "diff", "exception", "failed", "msg", "warnings"}
    documented = set(documentation(desk, module)["return"])
    returned: set[str] = set()
    wrong = {"set": {"reviewer.mode": "nobody"}}
    for params in ({}, {"context": "nowhere"}, {"vault_token": "wrong"}, wrong):
        returned |= set(play(desk, [task(module, **params, **NEEDED.get(module, {}))]).results[0])
    assert returned - ansibles == documented


def test_the_collection_can_be_built(desk: Lab) -> None:
    built = ansible(desk, "ansible-galaxy", "collection", "build", str(COLLECTION))
    assert built.returncode == 0, built.stderr
    assert (desk.folder / "vaultprov-vaultprov-0.1.0.tar.gz").is_file()


def test_a_loop_and_async_tasks_on_one_vault_do_not_disturb_each_other(desk: Lab) -> None:
    names = EIGHT[:3]
    with api_servers(desk, names):
        each = task(cluster="{{ item }}", context="{{ item }}/admin")
        first = play(desk, side_by_side(each, names))
        assert first.results, first.out
        assert [each["changed"] for each in first.results[0]["results"]] == [True] * 3, first.out
        again = play(desk, [{**each, "loop": names}])
        assert [each["changed"] for each in again.results[0]["results"]] == [False] * 3


def test_the_playbook_of_the_readme_runs_as_printed(desk: Lab) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    book = text.partition("## From Ansible")[2].partition("```yaml\n")[2].partition("```")[0]
    (desk.folder / "book.yml").write_text(book)
    for changed in (1, 0):
        done = ansible(desk, "ansible-playbook", "book.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"changed={changed}" in done.stdout
