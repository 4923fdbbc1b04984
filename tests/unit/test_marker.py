"""Whose a mount is stands in its description, together with what people wrote there."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worlds import MemoryVault
from vaultprov.errors import Unreachable
from vaultprov.resource import Io, VaultRight
from vaultprov.vault.marker import Marker, find_mount, mark, mark_rights, marker_of

FACTS = {"environment": "moc", "cluster": "smaug"}
OURS = "managed by vaultprov: environment=moc cluster=smaug"


def test_the_form_of_a_marker() -> None:
    """Other versions of vaultprov read it: it never changes."""
    assert str(Marker(FACTS)) == OURS
    assert str(Marker(FACTS, "Smaug's logins")) == f"{OURS} | Smaug's logins"


names = st.text("abcdefgh-", min_size=1)
values = st.text("abc:0123-_=./", max_size=12)


@given(st.dictionaries(names, values), st.text())
def test_what_is_written_reads_back(facts: dict[str, str], note: str) -> None:
    marker = Marker(facts, note)
    assert Marker.parse(str(marker)) == marker


@given(st.text())
def test_every_other_description_is_somebody_elses_and_stays_as_note(text: str) -> None:
    if text.startswith("managed by vaultprov:"):
        return
    marker = Marker.parse(text)
    assert (marker.ours, marker.facts, marker.note) == (False, {}, text)
    assert Marker.parse(str(marker.having(cluster="smaug"))).note == text


@pytest.mark.parametrize("text", ["", "managed by vault", "Managed by vaultprov: x", " " + OURS])
def test_only_our_prefix_makes_it_ours(text: str) -> None:
    assert not Marker.parse(text).ours


def test_facts_of_newer_versions_and_notes_are_kept() -> None:
    marker = Marker.parse(OURS + " colour=blue | a | b")
    assert str(marker.having(cluster="ember")) == (
        "managed by vaultprov: environment=moc cluster=ember colour=blue | a | b"
    )


def test_having_sets_drops_and_spells_names_with_dashes() -> None:
    marker = Marker(FACTS).having(cluster=None, cluster_uid="4b1f", environment="osc")
    assert marker.facts == {"environment": "osc", "cluster-uid": "4b1f"}


def test_a_mark_makes_a_foreign_mount_ours() -> None:
    assert Marker.parse("somebody's").having(cluster="smaug").ours


class TestMark:
    TUNE = "sys/mounts/auth/smaug-k8s/tune"

    def vault(self, description: str | None) -> MemoryVault:
        return MemoryVault({"sys/auth": {"smaug-k8s/": {"description": description}}})

    def test_writes_the_description_with_the_new_facts(self) -> None:
        vault = self.vault("Smaug's logins")
        mark(Io(vault, None), "smaug-k8s", cluster="smaug")
        description = "managed by vaultprov: cluster=smaug | Smaug's logins"
        assert vault.written == [(self.TUNE, {"description": description})]

    def test_writes_nothing_when_nothing_changes(self) -> None:
        vault = self.vault(OURS)
        mark(Io(vault, None), "smaug-k8s", **FACTS)
        assert vault.written == []

    def test_looks_afresh_so_that_nothing_is_lost(self) -> None:
        vault = self.vault(OURS)
        io = Io(vault, None)
        find_mount(io, "smaug-k8s")
        vault.answers["sys/auth"] = {"smaug-k8s/": {"description": OURS + " since=now"}}
        mark(io, "smaug-k8s", reviewer="x")
        assert vault.written == [(self.TUNE, {"description": OURS + " since=now reviewer=x"})]

    def test_needs_the_right_to_tune(self) -> None:
        assert mark_rights("smaug-k8s") == (VaultRight(self.TUNE, ("write",)),)


class TestFindMount:
    LISTED = {"smaug-k8s/": {"description": OURS}, "request_id": "x"}  # noqa: RUF012 - nobody changes it

    @pytest.mark.parametrize("mount", ["smaug-k8s", "/smaug-k8s/"])
    def test_slashes_do_not_matter(self, mount: str) -> None:
        entry = find_mount(Io(MemoryVault({"sys/auth": self.LISTED}), None), mount)
        assert entry is not None
        assert marker_of(entry).facts == FACTS

    @pytest.mark.parametrize("mount", ["smaug", "request_id"])
    def test_what_is_not_listed_is_absent(self, mount: str) -> None:
        assert find_mount(Io(MemoryVault({"sys/auth": self.LISTED}), None), mount) is None


class TestListing:
    """A thousand clusters cost one `GET sys/auth`, and no write is answered from memory."""

    def test_is_read_once_until_it_is_forgotten(self) -> None:
        vault = MemoryVault({"sys/auth": {}})
        io = Io(vault, None)
        for _ in range(3):
            io.listing("sys/auth")
        io.forget()
        io.listing("sys/auth")
        assert vault.asked == ["read sys/auth"] * 2

    def test_absent_is_empty_but_not_where_every_vault_has_something(self) -> None:
        io = Io(MemoryVault(), None)
        assert io.listing("identity/group/name/absent") == {}
        with pytest.raises(Unreachable, match="it is no Vault"):
            io.listing("sys/auth")

    def test_lists_when_told_so(self) -> None:
        vault = MemoryVault()
        Io(vault, None).listing("identity/group-alias/id", verb="list")
        assert vault.asked == ["list identity/group-alias/id"]

    def test_many_readers_share_one_request(self) -> None:
        vault = MemoryVault({"sys/auth": {"a/": {}}})
        io = Io(vault, None)
        threads = [threading.Thread(target=io.listing, args=("sys/auth",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert vault.asked == ["read sys/auth"]

    def test_what_was_under_way_when_it_was_forgotten_is_not_kept(self) -> None:
        """Another step wrote in the meantime: its second read must see its write."""
        vault = MemoryVault({"sys/auth": {"old/": {}}})
        io = Io(vault, None)
        vault.on_read = io.forget
        io.listing("sys/auth")
        vault.on_read = lambda: None
        vault.answers["sys/auth"] = {"new/": {}}
        assert io.listing("sys/auth") == {"new/": {}}

    def test_a_half_that_is_not_part_of_the_run_is_a_bug_of_ours(self) -> None:
        io = Io(None, None)
        assert not io.has_vault()
        assert not io.has_kube()
        with pytest.raises(LookupError):
            _ = io.vault
        with pytest.raises(LookupError):
            _ = io.kube
