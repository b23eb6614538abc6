"""A disk that is full, read-only or broken: one clear error, what is done stays, the next run goes on."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from broken import Broken
from invariants import check_store
from partial_kit import DATA, DIGEST, GRAIN, part
from sample_models import Model, chunked, get, put, receive

from registry.disk import system as calls
from registry.disk.files import (
    free_bytes,
    write_atomic,
)
from registry.disk.partial import Partial
from registry.disk.secrets import create_once
from registry.disk.system import System
from registry.errors import Reason, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.blob_files import file_name
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


# --- full ----------------------------------------------------------------------------------------------


def test_a_model_that_does_not_fit_is_refused_before_its_first_byte(small_disk: Path) -> None:
    model = Model.random(1, 6 * MiB)
    store = Store(small_disk / "models")

    with pytest.raises(StorageError, match=r"6\.3 MB needed, 4\.\d MB free"):
        store.prepare(NAME, model.manifest)

    store.close()
    assert not (small_disk / "models" / "blobs").exists()


def test_a_secret_that_finds_no_room_says_that_the_disk_is_full(small_disk: Path) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(65536))
    with pytest.raises(StorageError, match="the disk is full") as caught:
        create_once(small_disk / ".ollama" / "id_ed25519", b"secret", "fresh")
    assert caught.value.reason is Reason.DISK_FULL
    assert list((small_disk / ".ollama").iterdir()) == []


def test_a_disk_that_is_too_full_for_a_blob_is_noticed_when_it_begins(small_disk: Path) -> None:
    model = Model.random(2, 3 * MiB)
    (small_disk / "somebody else's").write_bytes(bytes(2 * MiB))

    with pytest.raises(StorageError, match=r"the disk is full, .* free"):
        Store(small_disk / "models").receive(NAME, model.manifest.layers[0], None)

    assert free_bytes(small_disk) > 1.5 * MiB  # what was taken in vain was given back
    (small_disk / "somebody else's").unlink()
    put(Store(small_disk / "models"), NAME, model)
    check_store(small_disk / "models")


@pytest.mark.parametrize("least", [0, MiB], ids=["the data", "the journal"])
def test_room_that_was_taken_in_vain_is_given_back(
    least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(System):
        def allocate(self, handle: int, size: int) -> None:
            self.truncate(handle, size - 1)  # ext4 keeps what it could get
            if size < least or not least:
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


def test_a_disk_that_somebody_else_fills_has_room_for_the_journal_all_the_same(small_disk: Path) -> None:
    model = Model.random(5, 3 * MiB)
    blob = model.manifest.layers[0]
    data, store = model.blobs[blob.digest], Store(small_disk / "models")
    intake = receive(store, NAME, blob)
    (small_disk / "somebody else's").write_bytes(bytes(free_bytes(small_disk)))

    intake.write(Span(0, MiB), chunked(data[:MiB]))
    intake.close()
    again = receive(store, NAME, blob)

    assert again.received.total == MiB
    again.write(Span(MiB, 2 * MiB), chunked(data[MiB:]))
    again.close()
    (small_disk / "somebody else's").unlink()
    put(store, NAME, model)
    assert get(store, NAME) == model
    sums = (small_disk / "models" / ".ferry" / "sums" / file_name(blob.digest)).read_bytes()
    assert sums.endswith(b"\n")  # no room is kept in it
    store.close()


def test_what_a_repair_fetched_is_noted_also_where_somebody_else_fills_the_disk(small_disk: Path) -> None:
    blob = small_disk / "blob"
    blob.write_bytes(bytes(len(DATA)))

    def mending() -> Partial:
        made = Partial.over(small_disk / "partial", DIGEST, len(DATA), blob, (), small_disk / "sums")
        assert isinstance(made, Partial)
        return made

    partial = mending()
    (small_disk / "somebody else's").write_bytes(bytes(free_bytes(small_disk) - GRAIN))
    partial.write(Span(0, GRAIN), part(Span(0, GRAIN)))
    partial.close()

    assert mending().received.total == GRAIN


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
    assert caught.value.hint or caught.value.reason
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
