"""advise: what an answer shows, and no more than that."""

from __future__ import annotations

from typing import cast

import pytest

from tests.fakes.kube import FakeKube
from tests.unit.worlds import Clock, MemoryVault
from vaultprov.advise import advise
from vaultprov.desired import Target
from vaultprov.doctor.network import Attempt, Network, Reached, Url
from vaultprov.model import Onboarding
from vaultprov.resource import Io
from vaultprov.run import Request

API = "https://api.smaug.example.com:6443"


class OnePage:
    """A network in which every GET is answered alike."""

    def __init__(self, status: int) -> None:
        self.status = status

    def resolve(self, host: str) -> tuple[str, ...]:
        return ("192.0.2.1",)

    def get(self, url: Url, address: str, path: str) -> Attempt:
        return Attempt(Reached.OK, status=self.status)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (200, "can be read without a credential"),
        (401, "answers 401 without a credential: keys have to be copied"),
        (403, "answers 403 without a credential: keys have to be copied"),
        (302, "answers 302 without a credential: whether Vault could fetch keys there is not"),
        (404, "answers 404 without a credential: whether Vault could fetch keys there is not"),
        (500, "answers 500 without a credential: whether Vault could fetch keys there is not"),
    ],
)
def test_an_answer_that_is_no_key_set_is_told_as_what_it_is(
    clock: Clock, status: int, told: str
) -> None:
    request = Request("advise", Onboarding("moc", "smaug"), Target(API))
    io = Io(MemoryVault({"sys/auth": {}}), FakeKube())
    network = cast("Network", OnePage(status))
    (note,) = [n for n in advise(request, io, clock.budget(), network=network).seen if "jwks" in n]
    assert note.startswith(f"{API}/openid/v1/jwks {told}")
