"""Addresses as policies take them."""

from __future__ import annotations

import pytest

from tests.unit.kube_builders.world import policy
from vaultprov.errors import ConfigError
from vaultprov.kube.destinations import addresses, cidrs, to_peers, to_rules


def test_addresses_are_sorted_and_each_stands_once() -> None:
    """Whatever order DNS answers in, the policy is the same."""
    given = ["2001:db8::2", "192.0.2.10", "192.0.2.9", "2001:db8::1", "192.0.2.10"]
    found = [str(each.network) for each in addresses(given, 443)]
    assert found == ["192.0.2.9/32", "192.0.2.10/32", "2001:db8::1/128", "2001:db8::2/128"]


def test_an_ipv4_address_in_ipv6_clothes_is_ipv4() -> None:
    """Network plugins do not agree about `::ffff:192.0.2.10`."""
    assert str(addresses(["::ffff:192.0.2.10"], 443)[0].network) == "192.0.2.10/32"


@pytest.mark.parametrize("bad", ["vault.example.com", "", "192.0.2.10/32", "fe80::1%eth0"])
def test_no_address(bad: str) -> None:
    with pytest.raises(ConfigError):
        addresses([bad], 443)


@pytest.mark.parametrize("bad", ["192.0.2.10/24", "x", "192.0.2.0/33", "::ffff:192.0.2.0/120"])
def test_no_range(bad: str) -> None:
    """Bits below the mask are a slip of the pen: which of the two was meant?"""
    with pytest.raises(ConfigError):
        cidrs([bad], 443)


def test_a_bare_address_is_a_range_of_one() -> None:
    assert str(cidrs(["192.0.2.10"], 443)[0].network) == "192.0.2.10/32"


@pytest.mark.parametrize("make", [addresses, cidrs])
def test_none_at_all_is_an_error(make: type) -> None:
    with pytest.raises(ConfigError, match="no address of Vault"):
        make([], 443)


def test_one_address_of_each_stretch_stands_for_a_range() -> None:
    """A range of 65,536 addresses is judged by the few where a policy may change its mind."""
    cut = policy("cut", {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.4/30"]}}]})
    (block,) = cidrs(["192.0.0.0/16"], 443)
    found = [peer.address for peer in to_peers(block, [cut])]
    assert found == ["192.0.0.0", "192.0.2.0", "192.0.2.4", "192.0.2.8", "192.0.3.0"]


def test_the_last_address_of_all_has_none_after_it() -> None:
    whole = policy("all", {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})
    (block,) = cidrs(["0.0.0.0/0"], 443)
    assert [peer.address for peer in to_peers(block, [whole])] == ["0.0.0.0"]


def test_both_families_in_one_rule() -> None:
    (rule,) = to_rules(addresses(["2001:db8::1", "192.0.2.9"], 443))
    assert rule == {
        "to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}, {"ipBlock": {"cidr": "2001:db8::1/128"}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }
