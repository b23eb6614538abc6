"""Partial data: written in any order, noted when durable, proven while it comes."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from partial_kit import DATA, DIGEST, GRAIN, WHOLE, fill, opened, part

from registry.disk import data
from registry.disk.data import holder, lock_file
from registry.disk.journal import journal_key, read_sums
from registry.disk.partial import Partial
from registry.disk.partial_files import Busy, data_path, held, journal_path, leftovers, reclaim
from registry.errors import InvalidError, ProtocolError, StorageError, TransientError
from registry.model.digests import Digest
from registry.model.spans import Span, Spans

# --- writing and resuming ------------------------------------------------------------------------------


def test_what_was_written_is_there_for_the_next_run(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for offset in (8 * GRAIN, 0, 3 * GRAIN):
        first.write(Span(offset, GRAIN), part(Span(offset, GRAIN)))
    kept = first.received
    first.close()

    again = opened(tmp_path)

    assert again.received == kept == Spans.of([Span(at * GRAIN, GRAIN) for at in (0, 3, 8)])
    assert fill(again) == len(DATA) - 3 * GRAIN
    again.prove()
    again.promote(tmp_path / "final")
    again.close()
    assert (tmp_path / "final").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize("error", [TransientError("reset"), KeyboardInterrupt(), ValueError("a bug")])
def test_the_prefix_that_arrived_is_kept_and_the_error_passes_through(
    error: BaseException, tmp_path: Path
) -> None:
    partial = opened(tmp_path)

    def breaking() -> Iterator[bytes]:
        yield from part(Span(0, 2 * GRAIN + 500))
        raise error

    with pytest.raises(type(error)) as caught:
        partial.write(WHOLE, breaking())
    partial.close()

    assert caught.value is error
    assert opened(tmp_path).received == Spans.of([Span(0, 2 * GRAIN + 500)])


def test_one_long_write_notes_what_it_has_grain_by_grain(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    seen = []

    def watched() -> Iterator[bytes]:
        for piece in WHOLE.cut(GRAIN):
            seen.append(Busy(journal_path(tmp_path, DIGEST), DIGEST, len(DATA)).received())
            yield DATA[piece.offset : piece.end]

    partial.write(WHOLE, watched())

    assert seen == [number * GRAIN for number in range(11)]


@pytest.mark.parametrize("length", [len(DATA) - 1, 0])
def test_too_few_bytes_are_an_error_and_kept(length: int, tmp_path: Path) -> None:
    partial = opened(tmp_path)

    with pytest.raises(ProtocolError):
        partial.write(WHOLE, part(Span(0, length)))

    assert partial.received.total == length


def test_too_many_bytes_are_an_error_and_never_written(tmp_path: Path) -> None:
    partial = opened(tmp_path)

    with pytest.raises(ProtocolError):
        partial.write(Span(0, GRAIN), part(Span(0, GRAIN + 1)))

    assert data_path(tmp_path, DIGEST).read_bytes()[GRAIN:].strip(bytes(1)) == b""


@pytest.mark.parametrize(
    "span", [Span(0, 10), Span(GRAIN - 1, 5), Span(len(DATA), 1), Span(0, len(DATA) + 1)]
)
def test_only_what_is_missing_may_be_written(span: Span, tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.write(Span(0, GRAIN), part(Span(0, GRAIN)))

    with pytest.raises(InvalidError):
        partial.write(span, [bytes(span.length)])

    assert partial.received == Spans.of([Span(0, GRAIN)])


def test_two_writes_never_share_a_byte(tmp_path: Path) -> None:
    partial = opened(tmp_path)

    def nested() -> Iterator[bytes]:
        yield DATA[:1000]
        with pytest.raises(InvalidError):
            partial.write(Span(2000, 10), [bytes(10)])
        yield DATA[1000:GRAIN]

    partial.write(Span(0, GRAIN), nested())

    assert partial.received == Spans.of([Span(0, GRAIN)])


def test_a_blob_of_nothing_is_proven_and_named(tmp_path: Path) -> None:
    partial = opened(tmp_path, b"")

    partial.prove()
    partial.promote(tmp_path / "final")
    partial.close()

    assert (tmp_path / "final").read_bytes() == b""


def test_an_intake_that_got_nothing_leaves_nothing(tmp_path: Path) -> None:
    opened(tmp_path).close()

    assert list(tmp_path.iterdir()) == []


def test_late_writes_after_closing_reach_no_file(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.write(Span(0, GRAIN), part(Span(0, GRAIN)))
    partial.close()
    partial.close()

    with pytest.raises(StorageError):
        partial.write(Span(GRAIN, 10), [bytes(10)])


# --- proving -------------------------------------------------------------------------------------------


@pytest.mark.seeds(3)
def test_it_is_proven_while_workers_write_anywhere(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(chance.randrange(1, 64 * GRAIN))
    partial = opened(tmp_path, data)
    pieces = list(Span(0, len(data)).cut(chance.randrange(100, 3 * GRAIN)))
    chance.shuffle(pieces)
    errors: list[BaseException] = []

    def guarded(call: object, *arguments: object) -> None:
        try:
            call(*arguments)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    def work(mine: list[Span]) -> None:
        for piece in mine:
            partial.write(piece, part(piece, data))

    threads = [threading.Thread(target=guarded, args=(partial.prove,), daemon=True)]
    threads += [threading.Thread(target=guarded, args=(work, pieces[at::5]), daemon=True) for at in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    partial.promote(tmp_path / "final")
    partial.close()

    assert errors == []
    assert (tmp_path / "final").read_bytes() == data


def test_proving_follows_a_single_long_write_instead_of_waiting_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = opened(tmp_path)
    hashed = threading.Event()

    class Hasher:
        def __init__(self) -> None:
            self.inner = hashlib.sha256()

        def update(self, data: memoryview) -> None:
            self.inner.update(data)
            hashed.set()

        def hexdigest(self) -> str:
            return self.inner.hexdigest()

    monkeypatch.setattr(Digest, "hasher", lambda _self: Hasher())
    prover = threading.Thread(target=partial.prove, daemon=True)
    prover.start()

    def chunks() -> Iterator[bytes]:
        yield DATA[:1000]
        assert hashed.wait(10), "nothing was hashed while the write went on"
        yield DATA[1000:]

    partial.write(WHOLE, chunks())
    prover.join(10)
    partial.promote(tmp_path / "final")


def test_nothing_is_named_that_was_not_proven(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    fill(partial)

    with pytest.raises(InvalidError):
        partial.promote(tmp_path / "final")

    assert not (tmp_path / "final").exists()


def test_closing_ends_a_prover_that_waits(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    ended: list[BaseException] = []

    def prove() -> None:
        try:
            partial.prove()
        except StorageError as error:
            ended.append(error)

    prover = threading.Thread(target=prove, daemon=True)
    prover.start()
    time.sleep(0.05)
    partial.close()
    prover.join(5)

    assert len(ended) == 1


# --- together ------------------------------------------------------------------------------------------


def test_one_owns_it_and_the_others_may_watch(tmp_path: Path) -> None:
    mine = opened(tmp_path)
    mine.write(Span(0, GRAIN), part(Span(0, GRAIN)))

    other = Partial.open(tmp_path, DIGEST, len(DATA))

    assert isinstance(other, Busy)
    assert (other.received(), other.over()) == (GRAIN, False)
    assert not reclaim(tmp_path, DIGEST)
    mine.close()
    assert (other.received(), other.over()) == (GRAIN, True)
    assert isinstance(Partial.open(tmp_path, DIGEST, len(DATA)), Partial)


def test_the_owner_is_named_to_those_who_wait_where_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, next_to_it = opened(tmp_path), lock_file(tmp_path / "unrelated", shared=True)
    other = Partial.open(tmp_path, DIGEST, len(DATA))
    assert isinstance(other, Busy) and next_to_it is not None

    while_held = other.process()
    monkeypatch.setattr(data, "_LOCKS", tmp_path / "no such file")
    untold = other.process()
    monkeypatch.undo()
    mine.close()

    assert while_held == (os.getpid() if sys.platform == "linux" else None)
    assert (untold, other.process()) == (None, None)
    assert holder(next_to_it.path) is None  # many may share it
    next_to_it.close()


def test_whoever_waits_for_a_blob_that_was_named_is_told_that_it_is_over(tmp_path: Path) -> None:
    mine = opened(tmp_path)
    fill(mine)
    other = Partial.open(tmp_path, DIGEST, len(DATA))
    assert isinstance(other, Busy)

    mine.prove()
    mine.promote(tmp_path / "final")
    named_but_held = other.over()
    mine.close()

    assert (named_but_held, other.over()) == (False, True)


def test_the_sums_of_a_named_blob_are_kept(tmp_path: Path) -> None:
    partial = opened(tmp_path / "partial")
    fill(partial)
    partial.prove()
    partial.promote(tmp_path / "final", sums=tmp_path / "sums" / "final")
    partial.close()

    kept = read_sums((tmp_path / "sums" / "final").read_bytes(), journal_key(DIGEST, len(DATA)), len(DATA))

    assert [piece.span for piece in kept] == list(WHOLE.cut(GRAIN))
    assert list((tmp_path / "partial").iterdir()) == []


def test_leftovers_are_listed_and_reclaimed(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.write(Span(0, GRAIN), part(Span(0, GRAIN)))
    partial.close()
    (tmp_path / "something else").write_bytes(b"")

    found = leftovers(tmp_path)

    assert [item.digest for item in found] == [DIGEST]
    assert found[0].held >= held(tmp_path, DIGEST) >= GRAIN
    assert reclaim(tmp_path, DIGEST)
    assert [path.name for path in tmp_path.iterdir()] == ["something else"]
    assert leftovers(tmp_path) == []
