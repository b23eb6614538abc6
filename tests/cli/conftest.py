"""A person with an empty home, who runs ferry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from person import Ferry


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    home = tmp_path / "home"
    home.mkdir()
    return Ferry(home)


@pytest.fixture
def new_ferry(tmp_path: Path) -> Callable[[str], Ferry]:
    """Ferry as another person on the same machine."""

    def make(name: str) -> Ferry:
        home = tmp_path / name
        home.mkdir()
        return Ferry(home)

    return make
