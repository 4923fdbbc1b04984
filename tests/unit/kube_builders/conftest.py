"""A certificate to put into stores."""

from __future__ import annotations

import pytest

from vaultprov.devenv.certificates import serving_certificate


@pytest.fixture(scope="session")
def ca_pem() -> str:
    """A CA as a PEM file."""
    return serving_certificate("vault.example.com").ca
