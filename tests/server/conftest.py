"""What tests of the server stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from depots import Turned, on_disk

from registry.contracts import Depot
from registry.server.depot_memory import MemoryDepot
from registry.server.uploads import Ledger


@pytest.fixture
def watch() -> Turned:
    return Turned()


@pytest.fixture(params=["disk", "memory"])
def depot(request: pytest.FixtureRequest, tmp_path: Path, watch: Turned) -> Iterator[Depot]:
    ledger = Ledger(watch)
    if request.param == "memory":
        yield MemoryDepot(ledger)
        return
    disk = on_disk(tmp_path, ledger=ledger)
    yield disk
    disk.engine.dispose()
