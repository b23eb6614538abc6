"""Damage costs what is damaged: rotten bytes, wrong bytes, torn and lying journals."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from partial_kit import DATA, DIGEST, GRAIN, WHOLE, fill, opened, part

from registry.disk import system as calls
from registry.disk.journal import journal_key, read_sums, seal, unseal
from registry.disk.partial import Partial
from registry.disk.partial_files import data_path, journal_path
from registry.disk.sums import Crc32, Sum, kinds
from registry.disk.system import System
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


def test_a_damaged_file_that_is_somebody_elses_too_is_replaced(tmp_path: Path) -> None:
    """A file of theirs is linked into the store, and they changed it: their change was undone."""
    blob, mine = tmp_path / "blob", tmp_path / "mine.gguf"
    mine.write_bytes(DATA)
    mine.chmod(0o600)
    flip(mine, 77)
    changed = mine.read_bytes()
    blob.hardlink_to(mine)

    partial = Partial.over(tmp_path / "partial", DIGEST, len(DATA), blob, (), tmp_path / "sums", grain=GRAIN)
    assert isinstance(partial, Partial)
    fill(partial)
    partial.prove()
    partial.promote(blob)
    partial.close()

    assert blob.read_bytes() == DATA
    assert mine.read_bytes() == changed
    assert mine.stat().st_mode & 0o777 == 0o600


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
        (["+ 0 5 00000001", "+ 5 5 00000002"], [Sum(Span(0, 5), "00000001"), Sum(Span(5, 5), "00000002")]),
        (["+ 0 5 00000001", "- 0 5"], []),
        (["+ 0 5 00000001", "- 4 9"], []),
        (["- 0 5", "+ 0 5 00000001"], [Sum(Span(0, 5), "00000001")]),
        (["+ 0 5 00000001", "+ 3 5 00000002"], [Sum(Span(3, 5), "00000002")]),
        (["+ 0 101 00000001", "+ 100 1 00000001", "+ 5 0 00000000"], []),
        (["+ -1 5 00000001", "+ 0 5 0000000g", "* 0 5", "+ 0 99999999999999999999 00000000"], []),
    ],
)
def test_what_a_journal_says(lines: list[str], expected: list[Sum]) -> None:
    assert read_sums(b"".join(seal(line, "key") for line in lines), "key", 100) == expected


# --- which sums ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forbidden", [True, False])
def test_sums_are_of_the_fastest_kind_that_is_allowed(
    forbidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIPS build has no Poly1305."""
    if forbidden:
        no_poly1305(monkeypatch)
    partial = opened(tmp_path)
    fill(partial)
    flip(data_path(tmp_path, DIGEST), 5 * GRAIN + 7)

    checks = [piece.check for piece in partial.sums()]

    pattern = r"[0-9a-f]{8}" if forbidden else r"poly1305:[0-9a-f]{32}"
    assert len(checks) == 11 and all(re.fullmatch(pattern, check) for check in checks)
    assert partial.damaged() == Spans.of([Span(5 * GRAIN, GRAIN)])


def test_sums_of_both_kinds_go_together_in_one_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        no_poly1305(older)
        before = opened(tmp_path)
        for offset in (0, 2 * GRAIN):
            before.write(Span(offset, GRAIN), part(Span(offset, GRAIN)))
        before.close()
    kinds.cache_clear()
    after = opened(tmp_path)
    fill(after)
    for at in (2 * GRAIN, 6 * GRAIN):
        flip(data_path(tmp_path, DIGEST), at)

    assert len({len(piece.check) for piece in after.sums()}) == 2
    assert after.damaged() == Spans.of([Span(2 * GRAIN, GRAIN), Span(6 * GRAIN, GRAIN)])


def test_a_sum_that_this_build_cannot_compute_vouches_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = opened(tmp_path)
    partial.write(Span(0, GRAIN), part(Span(0, GRAIN)))

    no_poly1305(monkeypatch)

    assert partial.received == partial.damaged() == Spans.of([Span(0, GRAIN)])


def test_a_sum_comes_to_the_same_however_its_bytes_are_cut() -> None:
    for kind in kinds():
        whole, cut = kind(), kind()
        whole.update(DATA)
        for piece in WHOLE.cut(777):
            cut.update(memoryview(DATA)[piece.offset : piece.end])
        assert whole.text() == cut.text()
    known = Crc32()
    known.update(b"123456789")
    assert known.text() == "cbf43926"


def no_poly1305(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_key: bytes) -> None:
        raise UnsupportedAlgorithm("poly1305 is not supported by this version of OpenSSL.")

    monkeypatch.setattr("cryptography.hazmat.primitives.poly1305.Poly1305", refuse)
    kinds.cache_clear()


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    yield
    kinds.cache_clear()


# --- beside a running sync ---------------------------------------------------------------------------------


def test_a_span_is_forgotten_beside_a_running_sync_without_losing_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a repair does while workers write on."""
    syncing, go_on = threading.Event(), threading.Event()

    class Slow(System):
        def sync_data(self, handle: int) -> None:
            if not syncing.is_set():
                syncing.set()
                assert go_on.wait(10)
            super().sync_data(handle)

    partial = opened(tmp_path)
    for number in (0, 1):
        partial.write(Span(number * GRAIN, GRAIN), part(Span(number * GRAIN, GRAIN)))
    monkeypatch.setattr(calls, "system", Slow())
    spans = [Span(number * GRAIN, GRAIN) for number in (4, 6, 8)]
    writers = [
        threading.Thread(target=lambda span=span: partial.write(span, part(span)), daemon=True)
        for span in spans
    ]
    writers[0].start()
    assert syncing.wait(10)
    for writer in writers[1:]:
        writer.start()
    forgetting = [
        threading.Thread(target=partial.discard, args=(span,), daemon=True)
        for span in (Span(0, GRAIN), Span(4 * GRAIN, 100))
    ]
    for thread in forgetting:
        thread.start()
    time.sleep(0.1)

    go_on.set()
    for thread in (*writers, *forgetting):
        thread.join(10)
    received = partial.received
    partial.close()

    assert received == Spans.of(
        [
            Span(GRAIN, GRAIN),
            Span(4 * GRAIN + 100, GRAIN - 100),
            Span(6 * GRAIN, GRAIN),
            Span(8 * GRAIN, GRAIN),
        ]
    )
    again = opened(tmp_path)
    assert again.received == received
    assert not again.damaged()
