"""A disk that is full, read-only or broken: one clear error, what is done stays, the next run goes on."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from goods import Model, chunked, get, put, receive
from invariants import check_store

from registry.disk import system as calls
from registry.disk.data import DataFile, lock_file
from registry.disk.failures import amount
from registry.disk.files import (
    free_bytes,
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
from registry.disk.partial import Partial
from registry.disk.system import System
from registry.errors import InvalidError, NotFoundError, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.model.spans import FileSpan, Span
from registry.targets.store import Store

MiB = 1024 * 1024
NAME = Name.parse("models.example/acme/tiny:1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of four megabytes and 64 files."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4M,nr_inodes=64", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class Broken(System):
    """A disk that answers some calls with an error, from the `after`th such call on."""

    def __init__(self, call: str, number: int, after: int = 0) -> None:
        self._call, self._number, self._after = call, number, after

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "_call"):
            self._after -= 1
            if self._after < 0:
                raise OSError(self._number, os.strerror(self._number))
        return object.__getattribute__(self, name)


# --- full ----------------------------------------------------------------------------------------------


def test_a_model_that_does_not_fit_is_refused_before_its_first_byte(small_disk: Path) -> None:
    model = Model.random(1, 6 * MiB)
    store = Store(small_disk / "models")

    with pytest.raises(StorageError, match=r"6\.3 MB needed, 4\.\d MB free"):
        store.prepare(NAME, model.manifest)

    store.close()
    assert not (small_disk / "models" / "blobs").exists()


def test_a_disk_that_is_too_full_for_a_blob_is_noticed_when_it_begins(small_disk: Path) -> None:
    model = Model.random(2, 3 * MiB)
    (small_disk / "somebody else's").write_bytes(bytes(2 * MiB))

    with pytest.raises(StorageError, match=r"the disk is full, .* free"):
        Store(small_disk / "models").receive(NAME, model.manifest.layers[0], None)

    assert free_bytes(small_disk) > 1.5 * MiB  # what was taken in vain was given back
    (small_disk / "somebody else's").unlink()
    put(Store(small_disk / "models"), NAME, model)
    check_store(small_disk / "models")


def test_room_that_was_taken_in_vain_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(System):
        def allocate(self, handle: int, size: int) -> None:
            self.truncate(handle, size - 1)  # ext4 keeps what it could get
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(calls, "system", Greedy())
    with pytest.raises(StorageError, match="the disk is full"):
        Partial.open(tmp_path, Digest.of(b"x" * MiB), MiB)

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_a_disk_that_fills_up_in_the_middle_keeps_what_is_there_and_the_next_run_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System, "allocate", lambda *_: None)  # as where room cannot be promised
    model = Model.random(3, 3 * MiB)
    blob, store = model.manifest.layers[0], Store(small_disk / "models", grain=256 * 1024)
    data = model.blobs[blob.digest]
    (small_disk / "somebody else's").write_bytes(bytes(2 * MiB))
    intake = receive(store, NAME, blob)

    with pytest.raises(StorageError, match="the disk is full"):
        intake.write(Span(0, blob.size), chunked(data))
    intake.close()
    (small_disk / "somebody else's").unlink()
    again = receive(store, NAME, blob)
    kept = again.received.total
    again.close()
    put(store, NAME, model)

    assert kept > MiB
    assert get(store, NAME) == model
    check_store(small_disk / "models")


@pytest.mark.seeds(3)
def test_wherever_a_disk_fills_up_nothing_is_half_named(seed: int, small_disk: Path) -> None:
    chance = random.Random(seed)
    model = Model.random(seed, 400_000, 70_000, 5)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(free_bytes(small_disk) - chance.randrange(0, 600_000)))
    store = Store(small_disk / "models", grain=65536)

    try:
        put(store, NAME, model)
    except RegistryError as error:
        assert isinstance(error, StorageError), error
        assert "full" in error.message or "not enough room" in error.message
    store.close()

    check_store(small_disk / "models")
    filler.unlink()
    put(store, NAME, model)
    assert get(store, NAME) == model
    store.close()


def test_a_disk_that_takes_no_more_files_is_not_called_full_of_bytes(small_disk: Path) -> None:
    model = Model.random(6, *[1000] * 80)
    store = Store(small_disk / "models")

    with pytest.raises(StorageError, match=r"the disk takes no more files \(no inode is free\)"):
        put(store, NAME, model)
    store.close()

    check_store(small_disk / "models")
    subprocess.run(["mount", "-o", "remount,nr_inodes=640", str(small_disk)], check=True)
    put(store, NAME, model)
    assert get(store, NAME) == model
    store.close()


def test_a_quota_that_is_used_up_is_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "system", Broken("open", errno.EDQUOT))

    with pytest.raises(StorageError, match="your disk quota is used up"):
        write_atomic(tmp_path / "file", b"any", scratch=tmp_path)


# --- broken, read-only ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "pwrite", "sync", "sync_data", "rename", "mkdir"])
@pytest.mark.parametrize("after", [0, 3])
def test_whatever_call_the_disk_refuses_it_is_one_error_and_the_next_run_goes_on(
    after: int, call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    model = Model.random(4, 200_000, 3)
    store = Store(models, grain=65536)

    with monkeypatch.context() as patch:
        patch.setattr(calls, "system", Broken(call, number, after))
        with pytest.raises(StorageError) as caught:
            for _ in range(10):
                put(store, NAME, model)
    store.close()

    assert str(tmp_path) in caught.value.message
    assert caught.value.hint
    if models.exists():
        check_store(models)
    store = Store(models, grain=65536)
    put(store, NAME, model)
    assert get(store, NAME) == model
    store.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_where_directories_cannot_be_synced_files_are_and_everything_works(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFS and some FUSE filesystems."""

    class NoDirectorySync(System):
        def sync(self, handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(number, os.strerror(number))
            super().sync(handle)

    monkeypatch.setattr(calls, "system", NoDirectorySync())
    model = Model.random(4, 200_000, 3)
    store = Store(tmp_path / "models", grain=65536)

    put(store, NAME, model)

    assert get(store, NAME) == model
    store.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_file_that_cannot_be_synced_is_an_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "system", Broken("sync", number))

    with pytest.raises(StorageError):
        write_atomic(tmp_path / "file", b"any", scratch=tmp_path)


def test_after_a_sync_that_failed_nothing_is_noted_or_named_in_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 64
    partial = Partial.open(tmp_path, Digest.of(data), len(data), grain=4096)
    assert isinstance(partial, Partial)
    with monkeypatch.context() as patch:
        patch.setattr(calls, "system", Broken("sync_data", errno.EIO))
        with pytest.raises(StorageError):
            partial.write(Span(0, 8192), [data[:8192]])

    assert not partial.received
    with pytest.raises(StorageError):
        partial.write(Span(8192, 8192), [data[8192:]])
    with pytest.raises(StorageError):
        partial.prove()
    partial.close()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount read-only")
def test_a_read_only_store_can_be_read_and_says_so_when_written(tmp_path: Path) -> None:
    models = tmp_path / "models"
    model = Model.random(5, 1000)
    first = Store(models)
    put(first, NAME, model)
    first.close()
    (models / ".ferry" / "proven").unlink()
    subprocess.run(["mount", "--bind", str(models), str(models)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(models)], check=True)
        store = Store(models)
        assert get(store, NAME) == model
        assert store.size(NAME, model.manifest.layers[0]) == 1000
        assert [entry.name for entry in store.entries()] == [NAME]
        with pytest.raises(StorageError, match=r"[Rr]ead-only") as caught:
            put(store, NAME, Model.random(6, 10))
        assert "another place" in caught.value.hint
        with pytest.raises(StorageError, match=r"[Rr]ead-only") as caught:
            store.remove(NAME)
        assert "another place" in caught.value.hint
    finally:
        subprocess.run(["umount", "--lazy", str(models)], check=True)


# --- small things --------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert amount(size) == text


def test_filesystems_are_told_apart_also_before_the_directories_exist(tmp_path: Path) -> None:
    assert same_filesystem(tmp_path / "a" / "b", tmp_path / "c")
    if Path("/proc").exists():
        assert not same_filesystem(tmp_path, Path("/proc/nothing"))
    assert status(tmp_path / "none") is None
