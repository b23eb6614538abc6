"""What tests of the server stand on."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from depots import Turned, on_disk
from labs import Lab
from raw_sockets import Serve, Served
from reclaim_kit import Kit

from registry.contracts import Depot
from registry.net.listener.limits import Limits
from registry.server.depot_memory import MemoryDepot
from registry.server.principal import Right
from registry.server.service import Plan, Service
from registry.server.uploads import Owners
from registry.wire.messages import Exchange


@pytest.fixture
def watch() -> Turned:
    return Turned()


@pytest.fixture(params=["disk", "memory"])
def depot(request: pytest.FixtureRequest, tmp_path: Path, watch: Turned) -> Iterator[Depot]:
    owners = Owners(watch)
    if request.param == "memory":
        yield MemoryDepot(owners)
        return
    disk = on_disk(tmp_path, owners=owners)
    yield disk
    disk.engine.dispose()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def begin(answer: Exchange, tls: ssl.SSLContext | None = None, **limits: float) -> Served:
            served = Served(answer, Limits(**limits), tls)  # type: ignore[arg-type]  # numbers, as they are named
            stack.callback(served.close)
            return served

        yield begin


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A registry where anybody may do anything, running in this process."""
    service = Service(Plan(tmp_path_factory.mktemp("lab") / "data", anonymous=Right.WRITE))
    yield Lab(service.start())
    service.stop()


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = Kit(tmp_path)
    yield made
    made.depot.engine.dispose()
