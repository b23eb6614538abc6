"""A number of bytes as people say it."""

from __future__ import annotations

import pytest

from registry.model.amounts import amount


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (99_949, "99.9 KB"),
        (300_000_000, "300 MB"),
        (999_960, "1.0 MB"),
        (10**15, "1.0 PB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert amount(count) == text
