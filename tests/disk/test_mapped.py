"""What is mapped is what is there, and nobody can take it away meanwhile: that would kill the process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from waiting import until

from registry.disk.check import check_file
from registry.disk.files import open_for_reading
from registry.disk.mapped import AT_ONCE, LEAST, WINDOW, Mapped
from registry.model.digests import Digest
from registry.model.spans import Span

PAGE = mmap.PAGESIZE
DATA = random.Random(23).randbytes(LEAST + 5)
WHOLE = Span(0, len(DATA))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            pytest.skip(f"the filesystem of {tmp_path} gives no leases: {error}")
    return path


@pytest.fixture
def file(path: Path) -> Iterator[BinaryIO]:
    with open_for_reading(path) as file:
        yield file


def is_waited_for(path: Path) -> bool:
    """Whether a lease of the file is being given back (proc(5))."""
    inode = f":{path.stat().st_ino} "
    return any(inode in line and "BREAKING" in line for line in Path("/proc/locks").read_text().splitlines())


def test_the_bytes_of_each_window_are_shown(file: BinaryIO) -> None:
    with Mapped(file) as mapped:
        for span in (WHOLE, Span(PAGE, 7), Span(LEAST, 5)):
            with mapped.window(span) as view:
                assert view is not None and bytes(view) == DATA[span.offset : span.end]


def test_many_windows_at_once_take_little_memory(path: Path) -> None:
    os.truncate(path, 2 * WINDOW)
    with contextlib.ExitStack() as stack:
        lengths = []
        for _ in range(64):
            mapped = stack.enter_context(Mapped(stack.enter_context(open_for_reading(path))))
            view = stack.enter_context(mapped.window(Span(0, 2 * WINDOW)))
            assert view is not None
            lengths.append(len(view))

    assert lengths[0] == WINDOW and lengths[-1] == LEAST
    assert sum(lengths) < AT_ONCE + 64 * LEAST
    with open_for_reading(path) as file, Mapped(file) as mapped, mapped.window(Span(0, WINDOW)) as view:
        assert view is not None and len(view) == WINDOW, "what was let go of is still counted"


def test_what_does_not_begin_with_a_page_or_is_behind_the_end_is_not_mapped(file: BinaryIO) -> None:
    with Mapped(file) as mapped:
        for span in (Span(7, 100), Span(0, len(DATA) + 1), Span(LEAST + PAGE, 10)):
            with mapped.window(span) as view:
                assert view is None


def test_a_small_file_is_not_mapped_and_right_all_the_same(path: Path, file: BinaryIO) -> None:
    os.truncate(path, LEAST - 1)
    with Mapped(file) as mapped, mapped.window(Span(0, PAGE)) as view:
        assert view is None

    assert check_file(path, Digest.of(DATA[: LEAST - 1]), LEAST - 1, [], grain=LEAST).proven


def test_a_file_that_somebody_may_write_is_not_mapped(path: Path, file: BinaryIO) -> None:
    with path.open("r+b"), Mapped(file) as mapped, mapped.window(WHOLE) as view:
        assert view is None


def test_pages_that_the_disk_cannot_read_are_not_looked_at(
    file: BinaryIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(mmap.mmap):
        def madvise(self, *_advice: int) -> None:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    monkeypatch.setattr(mmap, "mmap", Broken)

    with Mapped(file) as mapped, mapped.window(WHOLE) as view:
        assert view is None


def test_who_cuts_the_file_short_waits_until_it_is_not_mapped_any_more(path: Path, file: BinaryIO) -> None:
    other = threading.Thread(target=os.truncate, args=[path, 1])

    with Mapped(file) as mapped:
        with mapped.window(WHOLE) as view:
            other.start()
            until(lambda: is_waited_for(path))
            assert view is not None and bytes(view) == DATA
        with mapped.window(WHOLE) as view:
            assert view is None
        other.join(60)

    assert path.read_bytes() == DATA[:1]


def test_once_it_was_looked_at_anybody_may_write_it(path: Path, file: BinaryIO) -> None:
    with Mapped(file) as mapped, mapped.window(WHOLE), pytest.raises(BlockingIOError):
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def test_a_lease_that_the_system_took_away_is_no_error(file: BinaryIO) -> None:
    """It waits 45 s for who has it (`/proc/sys/fs/lease-break-time`): who was stopped comes too late."""
    with Mapped(file) as mapped:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)

        with mapped.window(WHOLE) as view:
            assert view is None


def test_a_file_that_is_cut_short_while_it_is_checked_is_wrong_and_nobody_dies(path: Path) -> None:
    data = random.Random(24).randbytes(2 * WINDOW + 5)
    path.write_bytes(data)
    other = threading.Thread(target=os.truncate, args=[path, WINDOW + 1])

    def seen(_length: int) -> None:
        if not other.ident:
            other.start()
            until(lambda: is_waited_for(path))

    found = check_file(path, Digest.of(data), len(data), [], grain=WINDOW, seen=seen)

    other.join(60)
    assert found.changed and not found.right


def test_who_has_a_file_checked_copies_none_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")

    assert check_file(path, Digest.of(DATA), len(DATA), [], grain=2 * PAGE).proven
