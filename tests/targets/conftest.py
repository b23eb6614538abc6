"""A store to begin with, and what it said to the person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_models import GRAIN

from registry.targets.store import Store


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(models: Path, said: list[str]) -> Iterator[Store]:
    store = Store(models, grain=GRAIN, note=said.append)
    yield store
    store.close()
