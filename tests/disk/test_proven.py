"""The record of what was hashed already: true, shared, and no longer than it must be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from steps import steps

from registry.disk import proven as module
from registry.disk.files import Status, status
from registry.disk.proven import Proven
from registry.model.digests import Digest


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Digest], Path]:
    return lambda digest: tmp_path / digest.short


def record(tmp_path: Path, place: Callable[[Digest], Path]) -> Proven:
    return Proven(tmp_path / "own" / "proven", place, tmp_path / "own" / "drafts")


def looked_at(path: Path) -> Status:
    there = status(path)
    assert there is not None
    return there


def made(place: Callable[[Digest], Path], number: int) -> tuple[Digest, Status]:
    data = str(number).encode()
    path = place(Digest.of(data))
    path.write_bytes(data)
    return Digest.of(data), looked_at(path)


# --- remembering ---------------------------------------------------------------------------------------


def test_what_was_noted_is_known_to_others_and_no_longer_once_the_file_changed(
    tmp_path: Path, place: Callable[[Digest], Path]
) -> None:
    one, other = record(tmp_path, place), record(tmp_path, place)
    digest, there = made(place, 1)
    assert not other.knows(digest, there)

    one.note(digest, there)
    one.flush()

    assert other.knows(digest, there)
    os.utime(place(digest), ns=(1, 1))
    assert not other.knows(digest, looked_at(place(digest)))


def test_the_record_is_written_anew_when_it_grows(
    tmp_path: Path, place: Callable[[Digest], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPACT_AT", 4000)
    mine, early = record(tmp_path, place), record(tmp_path, place)
    kept, gone = made(place, 1), made(place, 2)
    for digest, there in (kept, gone):
        mine.note(digest, there)
    mine.flush()
    assert early.knows(*kept)
    place(gone[0]).unlink()
    sizes = []

    for number in range(500):
        os.utime(place(kept[0]), ns=(number, number))
        mine.note(kept[0], looked_at(place(kept[0])))
        mine.flush()
        sizes.append((tmp_path / "own" / "proven").stat().st_size)

    now = looked_at(place(kept[0]))
    assert max(sizes) < 4200 and min(sizes[100:]) < 300
    assert early.knows(kept[0], now) and record(tmp_path, place).knows(kept[0], now)
    assert not record(tmp_path, place).knows(*gone)
    assert list((tmp_path / "own" / "drafts").iterdir()) == []


def test_nothing_is_lost_when_many_write_and_it_is_written_anew(
    tmp_path: Path, place: Callable[[Digest], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPACT_AT", 2000)
    everything = [made(place, number) for number in range(120)]

    def work(mine: list[tuple[Digest, Status]]) -> None:
        notes = record(tmp_path, place)
        for digest, there in mine:
            notes.note(digest, there)
            notes.flush()

    threads = [threading.Thread(target=work, args=(everything[at::4],), daemon=True) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    fresh = record(tmp_path, place)
    assert all(fresh.knows(digest, there) for digest, there in everything)


def test_what_others_add_is_read_once(tmp_path: Path, place: Callable[[Digest], Path]) -> None:
    writer, reader = record(tmp_path, place), record(tmp_path, place)
    *many, last = [made(place, number) for number in range(300)]
    for digest, there in many:
        writer.note(digest, there)
    writer.flush()
    first = steps(lambda: reader.knows(*many[0]))

    writer.note(*last)
    writer.flush()
    again = steps(lambda: reader.knows(*last))

    assert reader.knows(*last) and reader.knows(*many[-1])
    assert again < first / 10


def test_lines_that_are_torn_or_foreign_cost_what_they_said(
    tmp_path: Path, place: Callable[[Digest], Path]
) -> None:
    notes = record(tmp_path, place)
    one, two = made(place, 1), made(place, 2)
    notes.note(*one)
    notes.flush()
    path = tmp_path / "own" / "proven"
    path.write_bytes(path.read_bytes() + b"md5:00 1 2 3 00000000\n\xff\n" + path.read_bytes()[:50] + b"\n")
    notes.note(*two)
    notes.flush()

    fresh = record(tmp_path, place)

    assert fresh.knows(*one) and fresh.knows(*two)


def test_what_is_forgotten_is_known_to_nobody(tmp_path: Path, place: Callable[[Digest], Path]) -> None:
    one, other = record(tmp_path, place), record(tmp_path, place)
    digest, there = made(place, 1)
    one.note(digest, there)
    one.flush()
    assert other.knows(digest, there)

    one.forget(digest)

    assert not one.knows(digest, there)
    assert not record(tmp_path, place).knows(digest, there)
