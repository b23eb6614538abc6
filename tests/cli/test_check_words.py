"""What `ferry admin check` says at its end."""

from __future__ import annotations

import pytest

from cli.commands.upkeep import _summary


@pytest.mark.parametrize(
    ("found", "repaired", "told"),
    [
        (0, None, "every blob is right"),
        (0, 0, "every blob is right"),
        (1, None, "1 blob is not right"),
        (3, None, "3 blobs are not right"),
        (3, 2, "3 blobs are not right, 2 repaired"),
    ],
)
def test_a_check_ends_with_a_sentence(found: int, repaired: int | None, told: str) -> None:
    assert _summary(found, repaired) == told
