"""Bookkeeping costs the same for the last span of 400 GB as for the first."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps import steps

from registry.disk.journal import journal_key, read_sums, seal
from registry.disk.partial import Partial
from registry.disk.partial_files import Busy, data_path, journal_path
from registry.disk.sums import kinds
from registry.model.digests import Digest
from registry.model.spans import Span

kinds()  # what is imported for it is not counted below
LENGTH = 32
FEW, MANY = 40, 4000


def lines(digest: Digest, size: int, count: int) -> bytes:
    """A journal of `count` spans, none of which touches another."""
    key = journal_key(digest, size)
    return b"".join(seal(f"+ {2 * at * LENGTH} {LENGTH} {0:08x}", key) for at in range(count))


def with_spans(directory: Path, count: int) -> Partial:
    """A partial with `count` spans, and room for `MANY` more."""
    directory.mkdir()
    size = 4 * MANY * LENGTH
    digest = Digest.of(b"any")
    journal_path(directory, digest).write_bytes(lines(digest, size, count))
    with data_path(directory, digest).open("wb") as file:
        file.truncate(size)
    partial = Partial.open(directory, digest, size)
    assert isinstance(partial, Partial)
    assert partial.received.total == count * LENGTH
    return partial


def cost_of_one_more(partial: Partial, offset: int) -> int:
    data = bytes(LENGTH)
    return steps(lambda: partial.write(Span(offset, LENGTH), [data]))


@pytest.mark.parametrize("where", ["in the middle", "at the end"])
def test_the_last_span_costs_as_much_as_the_first(where: str, tmp_path: Path) -> None:
    few, many = with_spans(tmp_path / "few", FEW), with_spans(tmp_path / "many", MANY)
    of_few = FEW * LENGTH + LENGTH if where == "in the middle" else 2 * FEW * LENGTH
    of_many = MANY * LENGTH + LENGTH if where == "in the middle" else 2 * MANY * LENGTH

    assert cost_of_one_more(many, of_many) <= 1.2 * cost_of_one_more(few, of_few)
    few.close()
    many.close()


def test_forgetting_a_span_costs_as_much_among_many(tmp_path: Path) -> None:
    few, many = with_spans(tmp_path / "few", FEW), with_spans(tmp_path / "many", MANY)
    gone = Span(FEW * LENGTH, LENGTH)

    assert steps(lambda: many.discard(gone)) <= 1.2 * steps(lambda: few.discard(gone))
    few.close()
    many.close()


def test_a_journal_is_read_in_time_that_grows_with_its_length() -> None:
    digest, size = Digest.of(b"any"), 4 * MANY * LENGTH
    key = journal_key(digest, size)

    shorter, longer = lines(digest, size, MANY // 10), lines(digest, size, MANY)
    read_sums(shorter, key, size)  # what is only done once in a process

    assert steps(lambda: read_sums(longer, key, size)) <= 11 * steps(lambda: read_sums(shorter, key, size))


def test_whoever_watches_another_process_reads_each_line_once(tmp_path: Path) -> None:
    partial = with_spans(tmp_path / "many", MANY)
    busy = Partial.open(tmp_path / "many", partial.digest, partial.size)
    assert isinstance(busy, Busy)
    first = steps(busy.received)
    assert busy.received() == MANY * LENGTH

    again = steps(busy.received)
    partial.write(Span(LENGTH, LENGTH), [bytes(LENGTH)])
    after_one_more = steps(busy.received)

    assert busy.received() == (MANY + 1) * LENGTH
    assert again < first / 100
    assert after_one_more < first / 100
    partial.close()
