"""A file is read whole: whether it is right, where it is wrong, and what may be said of it."""

from __future__ import annotations

import errno
import mmap
import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from registry.disk.check import check_file, keep_sums, read_kept
from registry.disk.files import Status
from registry.disk.sums import Sum
from registry.model.digests import Digest
from registry.model.spans import Span, Spans

GRAIN = 4096
DATA = random.Random(21).randbytes(5 * GRAIN + 77)
DIGEST = Digest.of(DATA)
EVERY = 263  # of the bytes that are flipped in turn


@pytest.fixture(params=["mapped", "read"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Its bytes are mapped; or, as long as somebody could write it, read."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("r+b") if request.param == "read" else nullcontext():
        yield path


@pytest.fixture
def kept(path: Path) -> Sequence[Sum]:
    return check_file(path, DIGEST, len(DATA), [], grain=GRAIN).sums


def flip(path: Path, at: int, bit: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def test_a_file_of_the_right_bytes_is_proven(path: Path) -> None:
    found = check_file(path, DIGEST, len(DATA), [], grain=GRAIN)

    assert found.proven and found.file == Status.of(path.lstat())
    assert [each.span for each in found.sums] == list(Span(0, len(DATA)).cut(GRAIN))
    assert not check_file(path, Digest.of(b"other"), len(DATA), [], grain=GRAIN).right


def test_what_is_proven_is_durable_before_it_is_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else wrote it: after a power loss the record would vouch for bytes that are gone."""
    durable: list[int] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        durable.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", recorded)

    assert check_file(path, DIGEST, len(DATA), [], grain=GRAIN).proven
    assert durable == [path.stat().st_ino]


def test_every_flipped_bit_is_found_and_located(path: Path, kept: Sequence[Sum]) -> None:
    for at in range(0, len(DATA), EVERY):
        flip(path, at, at % 8)

        found = check_file(path, DIGEST, len(DATA), kept, grain=GRAIN)

        piece = next(each for each in Span(0, len(DATA)).cut(GRAIN) if each.offset <= at < each.end)
        assert not found.right
        assert found.damaged(len(DATA)) == Spans((piece,))
        flip(path, at, at % 8)
    assert check_file(path, DIGEST, len(DATA), kept, grain=GRAIN).proven


def test_a_file_that_is_too_short_or_too_long_is_wrong_where_it_is(path: Path, kept: Sequence[Sum]) -> None:
    path.write_bytes(DATA[: 3 * GRAIN + 1])
    short = check_file(path, DIGEST, len(DATA), kept, grain=GRAIN)
    path.write_bytes(DATA + b"!")
    long = check_file(path, DIGEST, len(DATA), kept, grain=GRAIN)

    assert not short.right and not long.right
    assert short.damaged(len(DATA)) == Spans((Span(3 * GRAIN, len(DATA) - 3 * GRAIN),))
    assert not long.damaged(len(DATA))


def test_without_sums_nobody_knows_where_it_is_wrong(path: Path) -> None:
    flip(path, 0)

    found = check_file(path, DIGEST, len(DATA), [], grain=GRAIN)

    assert not found.right and not found.sums and not found.damaged(len(DATA))


def test_sums_of_wrong_bytes_are_not_believed(path: Path) -> None:
    flip(path, 0)
    wrong = path.read_bytes()
    sums = check_file(path, Digest.of(wrong), len(DATA), [], grain=GRAIN).sums

    assert not check_file(path, DIGEST, len(DATA), sums, grain=GRAIN).sums


def test_a_sector_that_cannot_be_read_is_damage(
    path: Path, kept: Sequence[Sum], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages with it cannot be mapped, and cannot be read."""
    read = os.preadv

    class Broken(mmap.mmap):
        def madvise(self, *_advice: int) -> None:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    def broken(handle: int, buffers: Sequence[memoryview], offset: int) -> int:
        length = sum(len(each) for each in buffers)
        if offset <= 2 * GRAIN + 5 < offset + length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    monkeypatch.setattr(mmap, "mmap", Broken)

    found = check_file(path, DIGEST, len(DATA), kept, grain=GRAIN)

    assert found.damaged(len(DATA)) == Spans((Span(2 * GRAIN, GRAIN),))
    before_it = Digest.of(DATA[: 2 * GRAIN])
    assert not check_file(path, before_it, len(DATA), [], grain=GRAIN).right


def test_what_is_kept_is_read_again_and_garbage_is_no_sum(tmp_path: Path, kept: Sequence[Sum]) -> None:
    place = tmp_path / "sums" / "of-it"

    keep_sums(place, DIGEST, len(DATA), kept, scratch=tmp_path / "drafts", owner=None)

    assert read_kept(place, DIGEST, len(DATA)) == list(kept)
    assert read_kept(place, Digest.of(b"other"), len(DATA)) == []
    place.write_bytes(b"\xff" * 1000)
    assert read_kept(place, DIGEST, len(DATA)) == []
    assert read_kept(tmp_path / "none", DIGEST, len(DATA)) == []


@pytest.mark.parametrize("change", ["written", "touched"])
def test_a_file_that_was_changed_while_it_was_hashed_is_not_proven(
    change: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes were right when they were read; what is there now is not known."""
    os.utime(path, ns=(10**18, 10**18))
    act = partial(path.write_bytes, DATA[::-1]) if change == "written" else partial(os.utime, path)
    other = threading.Thread(target=act)
    monkeypatch.setattr(os, "fsync", lambda _handle: other.join())

    found = check_file(path, DIGEST, len(DATA), [], grain=len(DATA), seen=lambda _length: other.start())

    assert found.right and found.changed and not found.proven
