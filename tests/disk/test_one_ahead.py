"""Pieces are made one ahead of who works on them, by a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
from waiting import until

from registry.disk.one_ahead import one_ahead


class Making:
    """Pieces, and how many of them were begun."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.begun = 0
        self._count = count
        self._error = error

    def has_begun(self, count: int) -> bool:
        return self.begun >= count

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            self.begun += 1
            yield number
        self.begun += 1
        if self._error is not None:
            raise self._error


def test_each_piece_is_made_while_the_one_before_it_is_in_use_and_no_sooner() -> None:
    making, threads = Making(4), threading.active_count()

    for number in one_ahead(iter(making)):
        until(partial(making.has_begun, number + 2))
        assert making.begun == number + 2

    assert threading.active_count() <= threads


def test_what_making_one_raises_comes_behind_the_pieces_before_it() -> None:
    found = []

    with pytest.raises(OSError, match="no more"):
        for number in one_ahead(iter(Making(2, OSError("no more")))):
            found.append(number)

    assert found == [0, 1]


def test_who_closes_it_has_no_more_made() -> None:
    making, threads = Making(9), threading.active_count()
    pieces = one_ahead(iter(making))
    next(pieces)

    pieces.close()

    assert making.begun <= 2 and threading.active_count() <= threads
