"""The hasher gets each byte once and in order, from the writer at the front or from the page cache."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from partial_kit import DATA, GRAIN, opened, part

from registry.disk.data import DataFile
from registry.disk.handover import Handover
from registry.model.spans import Span


def test_only_what_follows_is_kept_and_not_endlessly() -> None:
    handover = Handover()
    handover.offer(0, b"nobody wished")
    assert handover.take(0) is None

    handover.wish(10)
    handover.offer(0, b"before")
    handover.offer(10, b"abc")
    handover.offer(13, bytearray(b"may change"))  # type: ignore[arg-type]
    handover.offer(13, b"de")
    handover.offer(15, b"too many")

    assert [handover.take(at) for at in (10, 13, 15)] == [b"abc", b"de", None]


def test_a_new_wish_forgets_what_waits() -> None:
    handover = Handover()
    handover.wish(0)
    handover.offer(0, b"abc")
    handover.wish(100)

    assert handover.take(0) is None
    handover.clear()
    handover.offer(100, b"abc")
    assert handover.take(100) is None


@pytest.mark.seeds(5)
def test_writers_in_any_order_are_proven_while_they_write(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    partial = opened(tmp_path)
    pieces = list(Span(0, len(DATA)).cut(GRAIN))
    chance.shuffle(pieces)
    prover = threading.Thread(target=partial.prove)
    prover.start()

    def work() -> None:
        while pieces:
            piece = pieces.pop()
            partial.write(piece, part(piece))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for thread in (*workers, prover):
        thread.join(30)

    partial.promote(tmp_path / "blob")  # InvalidError if it was not proven
    partial.close()
    assert (tmp_path / "blob").read_bytes() == DATA


def test_a_single_writer_needs_no_second_look_at_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    plain = DataFile.read_into

    def watched(self: DataFile, buffer: memoryview, offset: int) -> int:
        looked.append(offset)
        return plain(self, buffer, offset)

    monkeypatch.setattr(DataFile, "read_into", watched)
    partial = opened(tmp_path)
    prover = threading.Thread(target=partial.prove)
    prover.start()
    step = threading.Event()
    for piece in Span(0, len(DATA)).cut(GRAIN):
        partial.write(piece, [DATA[piece.offset : piece.end]])
        step.wait(0.01)
    prover.join(30)

    partial.promote(tmp_path / "blob")
    partial.close()
    assert len(looked) <= 3, "the hasher went to the page cache for what was in hand"
