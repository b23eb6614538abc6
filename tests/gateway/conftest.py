"""A pretend ollama.com, and doors to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from door_kit import API_KEY, KEY, House
from pretend_cloud import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(keys={KEY.public.text}, api_keys={API_KEY}) as made:
        yield made


@pytest.fixture
def doors(cloud: Cloud) -> Iterator[Callable[..., House]]:
    """Makes doors to it, and closes them."""
    made: list[House] = []

    def make(**settings: object) -> House:
        made.append(House(cloud, **settings))  # type: ignore[arg-type]  # passed on as they came
        return made[-1]

    yield make
    for house in made:
        house.stop()
    assert cloud.forged == []


@pytest.fixture
def door(doors: Callable[..., House]) -> House:
    """A door that signs with the machine's key."""
    return doors()
