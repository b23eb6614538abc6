"""Which of two sides moved: a table, and nothing but that."""

from __future__ import annotations

import pytest

from registry.model.digests import Digest
from registry.model.standing import Standing, standing

A, B, C = (Digest.of(letter) for letter in (b"a", b"b", b"c"))


@pytest.mark.parametrize(
    ("here", "fetched", "there", "was_there", "expected"),
    [
        (A, A, A, True, Standing.CURRENT),
        (A, None, A, True, Standing.CURRENT),
        (A, B, A, True, Standing.CURRENT),
        (A, A, B, True, Standing.OUTDATED),
        (A, None, B, True, Standing.OUTDATED),
        (A, None, B, False, Standing.UNKNOWN),
        (B, A, A, False, Standing.CHANGED),
        (B, A, A, True, Standing.CHANGED),
        (B, A, C, True, Standing.DIVERGED),
        (A, None, None, False, Standing.ONLY_HERE),
        (A, A, None, False, Standing.ONLY_HERE),
    ],
)
def test_which_side_moved(
    here: Digest, fetched: Digest | None, there: Digest | None, was_there: bool, expected: Standing
) -> None:
    assert standing(here, fetched, there, lambda: was_there) is expected


def test_the_registry_is_asked_for_what_is_here_only_where_nothing_else_tells() -> None:
    standing(A, A, B, lambda: pytest.fail("asked"))
    standing(A, None, A, lambda: pytest.fail("asked"))
