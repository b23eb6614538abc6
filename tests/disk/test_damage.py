"""Damage costs what is damaged: rotten bytes, wrong bytes, torn and lying journals."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from partial_kit import DATA, DIGEST, GRAIN, WHOLE, fill, opened, part

from registry.disk.journal import Sum, journal_key, read_sums, seal, unseal
from registry.disk.partials import data_path, journal_path
from registry.errors import CorruptError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def test_bytes_that_rotted_on_the_disk_are_found_and_only_they_are_missing(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    fill(partial)
    flip(data_path(tmp_path, DIGEST), 5 * GRAIN + 7)
    with pytest.raises(CorruptError):
        partial.prove()

    damaged = partial.damaged()
    for span in damaged:
        partial.discard(span)

    assert damaged == Spans.of([Span(5 * GRAIN, GRAIN)])
    assert fill(partial) == GRAIN
    partial.prove()
    partial.promote(tmp_path / "final")
    assert (tmp_path / "final").read_bytes() == DATA


def test_bytes_that_came_wrong_are_found_by_a_second_reading_and_only_they_are_replaced(
    tmp_path: Path,
) -> None:
    wrong = bytearray(DATA)
    wrong[6 * GRAIN + 1] ^= 1
    partial = opened(tmp_path)
    for piece in WHOLE.cut(GRAIN):
        partial.write(piece, part(piece, bytes(wrong)))
    with pytest.raises(CorruptError):
        partial.prove()
    assert not partial.damaged()

    different = [piece for piece in WHOLE.cut(3000) if partial.differs(piece, part(piece))]

    assert different == [Span(6 * GRAIN // 3000 * 3000, 3000)]
    assert partial.received.missing(len(DATA)) == Spans.of(different)
    assert fill(partial) == 3000
    partial.prove()
    partial.close()
    again = opened(tmp_path)
    assert not again.received.missing(len(DATA))
    assert not again.damaged()
    again.prove()


def test_a_hash_over_bytes_that_were_discarded_meanwhile_begins_anew(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    bad = b"\x00" * GRAIN
    partial.write(Span(0, GRAIN), [bad])
    prover = threading.Thread(target=partial.prove, daemon=True)
    prover.start()
    time.sleep(0.05)

    partial.discard(Span(0, GRAIN))
    fill(partial)
    prover.join(10)
    partial.promote(tmp_path / "final")

    assert (tmp_path / "final").read_bytes() == DATA


def test_a_data_file_that_lost_its_end_costs_only_that(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    fill(partial)
    partial.close()
    with data_path(tmp_path, DIGEST).open("r+b") as file:
        file.truncate(4 * GRAIN + 5)

    again = opened(tmp_path)

    assert again.received == Spans.of([Span(0, 4 * GRAIN)])


def test_a_data_file_that_vanished_costs_everything_and_nothing_more(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    fill(partial)
    partial.close()
    data_path(tmp_path, DIGEST).unlink()

    again = opened(tmp_path)

    assert not again.received
    fill(again)
    again.prove()


@pytest.mark.seeds(40)
def test_a_damaged_journal_costs_spans_never_correctness(seed: int, tmp_path: Path) -> None:
    """Torn, flipped, mixed up, foreign: what is believed is true, or is found out and mended."""
    chance = random.Random(seed)
    partial = opened(tmp_path)
    pieces = list(WHOLE.cut(GRAIN))
    chance.shuffle(pieces)
    for piece in pieces[: chance.randrange(1, len(pieces))]:
        partial.write(piece, part(piece))
    honest = partial.received
    partial.close()
    journal = journal_path(tmp_path, DIGEST)
    journal.write_bytes(spoil(chance, journal.read_bytes()))

    again = opened(tmp_path)
    assert again.received.within(WHOLE) == again.received
    assert again.received.missing(len(DATA)).total >= honest.missing(len(DATA)).total
    fill(again)
    again.prove()
    again.promote(tmp_path / "final")
    again.close()

    assert (tmp_path / "final").read_bytes() == DATA


def spoil(chance: random.Random, journal: bytes) -> bytes:
    """One of the ways in which a file goes wrong."""
    lines = journal.splitlines(keepends=True)
    other = Digest.of(b"another blob")
    foreign = seal(f"+ 0 {GRAIN} {0:08x}", journal_key(other, len(DATA)))
    at = chance.randrange(len(journal))
    return chance.choice(
        [
            journal[:at],
            journal[:at] + bytes([journal[at] ^ (1 << chance.randrange(8))]) + journal[at + 1 :],
            journal[:at] + bytes(chance.randrange(1, 5000)),
            journal[:at] + chance.randbytes(200) + journal[at:],
            b"".join(chance.sample(lines, len(lines))),
            journal + foreign,
            foreign + journal,
            journal.replace(b"+ ", b"- "),
            chance.randbytes(3000),
            b"",
            b"\n" * 100 + journal,
            journal + journal,
        ]
    )


def test_a_journal_that_lies_with_good_check_sums_is_found_out_by_the_digest(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.write(Span(0, GRAIN), part(Span(0, GRAIN)))
    first.close()
    with data_path(tmp_path, DIGEST).open("r+b") as file:
        file.truncate(len(DATA))
    lie = seal(f"+ 0 {len(DATA)} 00000000", journal_key(DIGEST, len(DATA)))
    journal_path(tmp_path, DIGEST).write_bytes(lie)

    lied_to = opened(tmp_path)
    with pytest.raises(CorruptError):
        lied_to.prove()
    for span in lied_to.damaged():
        lied_to.discard(span)

    fill(lied_to)
    lied_to.prove()


def test_a_journal_of_an_unreasonable_size_is_not_read(tmp_path: Path) -> None:
    journal_path(tmp_path, DIGEST).touch()
    with journal_path(tmp_path, DIGEST).open("r+b") as file:
        file.truncate(2**34)

    assert not opened(tmp_path).received


def test_a_line_is_read_only_whole_and_with_its_key() -> None:
    line = seal("+ 0 5 00000000", "key")

    assert list(unseal(line, "key")) == ["+ 0 5 00000000"]
    assert list(unseal(line, "other")) == []
    assert all(not list(unseal(line[:end], "key")) for end in range(len(line) - 1))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["+ 0 5 00000001", "+ 5 5 00000002"], [Sum(Span(0, 5), 1), Sum(Span(5, 5), 2)]),
        (["+ 0 5 00000001", "- 0 5"], []),
        (["+ 0 5 00000001", "- 4 9"], []),
        (["- 0 5", "+ 0 5 00000001"], [Sum(Span(0, 5), 1)]),
        (["+ 0 5 00000001", "+ 3 5 00000002"], [Sum(Span(3, 5), 2)]),
        (["+ 0 101 00000001", "+ 100 1 00000001", "+ 5 0 00000000"], []),
        (["+ -1 5 00000001", "+ 0 5 0000000g", "* 0 5", "+ 0 99999999999999999999 00000000"], []),
    ],
)
def test_what_a_journal_says(lines: list[str], expected: list[Sum]) -> None:
    assert read_sums(b"".join(seal(line, "key") for line in lines), "key", 100) == expected
