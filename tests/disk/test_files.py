"""Files, directories and locks: each small promise of `registry.disk`."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
from broken import Broken

from registry.disk import system as calls
from registry.disk.data import DataFile, give, lock_file, wait_for_lock
from registry.disk.files import (
    Owner,
    make_directory,
    names,
    open_for_reading,
    read_bounded,
    read_span,
    remove,
    remove_empty,
    same_filesystem,
    status,
    write_atomic,
)
from registry.disk.system import System
from registry.errors import InvalidError, NotFoundError, RegistryError, StorageError
from registry.model.spans import FileSpan

MiB = 1024 * 1024


def test_a_file_is_the_old_one_or_the_new_one_and_no_draft_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, scratch = tmp_path / "a" / "b", tmp_path / "drafts"
    write_atomic(path, b"old", scratch=scratch)
    for call in ("pwrite", "sync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(calls, "system", Broken(call, errno.EIO))
            with pytest.raises(StorageError):
                write_atomic(path, b"new", scratch=scratch)
        assert path.read_bytes() == b"old"
        assert names(scratch) == []

    write_atomic(path, b"new", scratch=scratch, mode=0o600)

    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


def test_only_plain_files_are_read_and_never_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")

    assert read_bounded(tmp_path / "file", 10) == b"0123456789"
    assert b"".join(read_span(FileSpan(tmp_path / "file", 2, 3))) == b"234"
    with open_for_reading(tmp_path / "file") as file:
        assert file.read() == b"0123456789"
    with pytest.raises(InvalidError):
        read_bounded(tmp_path / "file", 9)
    with pytest.raises(NotFoundError):
        read_bounded(tmp_path / "none", 9)
    with pytest.raises(StorageError):
        read_span(FileSpan(tmp_path / "file", 5, 6))
    for odd in ("link", "fifo", "."):
        with pytest.raises(StorageError):
            read_bounded(tmp_path / odd, 100)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * MiB))
    chunks = iter(read_span(FileSpan(path, 0, 3 * MiB)))
    next(chunks)
    os.truncate(path, MiB)

    with pytest.raises(StorageError, match="shorter"):
        next(chunks)


def test_empty_directories_go_up_to_the_top_and_no_further(tmp_path: Path) -> None:
    make_directory(tmp_path / "top" / "a" / "b" / "c")
    (tmp_path / "top" / "a" / "file").touch()

    remove_empty(tmp_path / "top" / "a" / "b" / "c", tmp_path / "top")
    assert names(tmp_path / "top" / "a") == ["file"]
    assert remove(tmp_path / "top" / "a" / "file") and not remove(tmp_path / "top" / "a" / "file")
    remove_empty(tmp_path / "top" / "a", tmp_path / "top")

    assert names(tmp_path / "top") == []


def test_a_lock_is_one_owners_until_it_is_closed_also_when_its_file_was_removed(tmp_path: Path) -> None:
    first = lock_file(tmp_path / "lock")
    assert first is not None and lock_file(tmp_path / "lock") is None
    remove(tmp_path / "lock")
    second = lock_file(tmp_path / "lock")
    assert second is not None  # another file of that name: the first lock is nobody's any more
    first.close()
    assert lock_file(tmp_path / "lock") is None
    second.close()
    shared = [lock_file(tmp_path / "lock", shared=True) for _ in range(2)]
    assert all(shared) and lock_file(tmp_path / "lock") is None


def test_whoever_waited_for_a_lock_whose_file_was_removed_takes_that_of_the_new_file(tmp_path: Path) -> None:
    first = lock_file(tmp_path / "lock")
    got: list[DataFile | None] = []
    waiter = threading.Thread(target=lambda: got.append(lock_file(tmp_path / "lock", wait=True)), daemon=True)
    waiter.start()
    time.sleep(0.1)

    remove(tmp_path / "lock")
    assert first is not None
    first.close()
    waiter.join(5)

    assert got[0] is not None and got[0].is_at(tmp_path / "lock")


def test_a_lock_dies_with_its_owner_also_when_nobody_closed_it(tmp_path: Path) -> None:
    forgotten = lock_file(tmp_path / "lock")
    assert forgotten is not None and lock_file(tmp_path / "lock") is None

    del forgotten

    assert lock_file(tmp_path / "lock") is not None


def test_a_descriptor_lives_until_the_last_call_in_progress_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DataFile.open(tmp_path / "file")

    class Slow(System):
        def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
            file.close()  # from another thread, in the middle of a write
            return super().pwrite(handle, data, offset)

    monkeypatch.setattr(calls, "system", Slow())
    file.write(b"whole", 0)

    assert (tmp_path / "file").read_bytes() == b"whole"
    with pytest.raises(StorageError):
        file.read(1, 0)


def test_filesystems_are_told_apart_also_before_the_directories_exist(tmp_path: Path) -> None:
    assert same_filesystem(tmp_path / "a" / "b", tmp_path / "c")
    if Path("/proc").exists():
        assert not same_filesystem(tmp_path, Path("/proc/nothing"))
    assert status(tmp_path / "none") is None


def test_who_has_a_lock_for_long_is_told_and_not_waited_for_without_end(tmp_path: Path) -> None:
    path, times = tmp_path / "lock", iter(range(1000))
    notes: list[str] = []
    held = lock_file(path)
    assert held is not None

    with pytest.raises(StorageError, match=f"process {os.getpid()} has {path} locked") as error:
        wait_for_lock(
            path, note=notes.append, limit=20, clock=lambda: next(times), pause=lambda _seconds: None
        )

    assert error.value.hint == f"ps -p {os.getpid()} shows that process"
    assert len(notes) == 1 and f"waiting for process {os.getpid()}" in notes[0]
    wait_for_lock(path, pause=lambda _seconds: held.close()).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_of_a_link_nothing_is_given_away_that_it_leads_to(tmp_path: Path) -> None:
    """Who owns a directory could have put it there, and got any file of root's."""
    file, link = tmp_path / "root's own", tmp_path / "link"
    file.touch()
    link.symlink_to(file)

    give(link, Owner(4711, 4712))

    assert (file.stat().st_uid, link.lstat().st_uid) == (os.geteuid(), 4711)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_of_a_link_in_place_of_a_new_directory_nothing_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    ours.mkdir(mode=0o700)

    class Overtaken(System):
        def mkdir(self, path: Path, mode: int) -> None:
            path.symlink_to(ours)

    make_directory(tmp_path / "new", Owner(4711, 4712), 0o777)  # whatever the umask is
    monkeypatch.setattr(calls, "system", Overtaken())
    with pytest.raises(RegistryError, match="making"):
        make_directory(theirs, Owner(4711, 4712))

    made = (tmp_path / "new").stat()
    assert (made.st_uid, made.st_mode & 0o777) == (4711, 0o777)
    assert (ours.stat().st_uid, ours.stat().st_mode & 0o777) == (os.geteuid(), 0o700)
