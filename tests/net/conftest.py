"""A client with little patience, and certificates that only it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from network_kit import PATIENT, Certificate, certificate_in

from registry.net.http import Http
from registry.net.network import Network


@pytest.fixture
def client() -> Iterator[Callable[..., Http]]:
    """Makes clients and closes them."""
    made: list[Http] = []

    def make(*, trace: Callable[[str], None] | None = None, **settings: object) -> Http:
        made.append(
            Http(Network(**{"stall": PATIENT, "answer": PATIENT, "connect": PATIENT, **settings}), trace)
        )  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.abort()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1 and models.example, good today."""
    return certificate_in(tmp_path_factory.mktemp("tls"), days=1)


@pytest.fixture(scope="session")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For the same names, good until yesterday."""
    return certificate_in(tmp_path_factory.mktemp("old"), days=-1)
