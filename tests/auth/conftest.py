"""What tests of signing in stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.net.http import Http
from registry.net.network import Network


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(Network(stall=2, answer=2, connect=2))
    yield made
    made.abort()
