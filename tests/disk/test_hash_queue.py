"""The hasher gets each byte once and in order, from the writer at the front or from the page cache."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from partial_kit import DATA, GRAIN, WHOLE, opened, part

from registry.disk.data import DataFile
from registry.disk.hash_queue import HashQueue
from registry.errors import StorageError
from registry.model.spans import Span


def test_only_what_follows_is_kept_and_not_endlessly() -> None:
    queue = HashQueue()
    queue.put(0, b"nobody expects it")
    assert queue.take(0) is None

    queue.expect(10)
    queue.put(0, b"before")
    queue.put(10, b"abc")
    queue.put(13, bytearray(b"may change"))  # type: ignore[arg-type]
    for at in range(13, 22, 3):
        assert not queue.full(at)
        queue.put(at, b"def")

    assert queue.full(22)
    assert not queue.full(25)  # nobody expects that
    assert [queue.take(at) for at in (10, 13, 16, 19, 22)] == [b"abc", b"def", b"def", b"def", None]
    assert not queue.full(22)


def test_a_new_place_forgets_what_waits() -> None:
    queue = HashQueue()
    queue.expect(0)
    queue.put(0, b"abc")
    queue.expect(100)

    assert queue.take(0) is None
    queue.clear()
    queue.put(100, b"abc")
    assert queue.take(100) is None


def test_a_writer_does_not_run_away_from_its_hasher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, from_cache = threading.Event(), []
    expect, read_into = HashQueue.expect, DataFile.read_into

    def expected(self: HashQueue, offset: int) -> None:
        expect(self, offset)
        waiting.set()

    def read(self: DataFile, buffer: memoryview, offset: int) -> int:
        from_cache.append(offset)
        return read_into(self, buffer, offset)

    monkeypatch.setattr(HashQueue, "expect", expected)
    monkeypatch.setattr(DataFile, "read_into", read)
    partial = opened(tmp_path)
    prover = threading.Thread(target=partial.prove)
    prover.start()
    assert waiting.wait(10)
    partial.write(WHOLE, part(WHOLE))
    prover.join(10)

    assert not from_cache
    partial.promote(tmp_path / "whole")


def test_a_hasher_that_failed_keeps_no_writer_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = HashQueue.expect

    def expected(self: HashQueue, offset: int) -> None:
        expect(self, offset)
        raise StorageError("the disk is broken")

    monkeypatch.setattr(HashQueue, "expect", expected)
    partial = opened(tmp_path)
    with pytest.raises(StorageError, match="broken"):
        partial.prove()
    writer = threading.Thread(target=partial.write, args=(WHOLE, part(WHOLE)), daemon=True)
    writer.start()
    writer.join(10)

    assert not writer.is_alive()
    assert partial.received.total == len(DATA)


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
