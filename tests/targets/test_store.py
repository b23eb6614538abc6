"""The local store in Ollama's layout: every trap of PROTOCOL section 2."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invariants import check_store, snapshot
from sample_models import GRAIN, KiB, Model, chunked, describe, get, put, put_blob, receive
from store_kit import HOUR, MODEL, NAME, OTHER, age, blob_path

from registry.contracts import Entry
from registry.disk import system as calls
from registry.disk.data import lock_file
from registry.disk.files import CHUNK
from registry.disk.system import System
from registry.errors import NotFoundError, StorageError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.origins import ModelOrigin
from registry.targets.store import Store

CHECK_FILE = "registry.targets.blob_checks.check_file"

# --- the layout ----------------------------------------------------------------------------------------


def test_it_is_the_layout_ollama_runs_from(store: Store, models: Path) -> None:
    put(store, OTHER, MODEL)

    manifest = models / "manifests" / "127.0.0.1:5000" / "acme" / "other" / "2"
    assert manifest.read_bytes() == MODEL.manifest.raw
    for digest, data in MODEL.blobs.items():
        assert blob_path(models, digest).read_bytes() == data
    check_store(models)


@pytest.mark.parametrize("umask", [0o077, 0o000, 0o027])
def test_ollama_may_read_everything_and_others_write_nothing(umask: int, store: Store, models: Path) -> None:
    before = os.umask(umask)
    try:
        put(store, NAME, MODEL)
    finally:
        os.umask(before)

    for path in [models / "blobs", models / "manifests", *(models / "manifests").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    check_store(models)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")
def test_what_root_makes_belongs_to_the_stores_owner(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.mkdir()
    os.chown(models, 4711, 4712)

    owners: dict[Path, tuple[int, int]] = {}

    def look() -> None:
        for path in models.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                owners[path.relative_to(models)] = (path.lstat().st_uid, path.lstat().st_gid)

    class Watched(System):
        def pwrite(self, handle: int, data: bytes | memoryview, offset: int) -> int:
            look()
            return super().pwrite(handle, data, offset)

        def rename(self, old: Path, new: Path) -> None:
            look()
            super().rename(old, new)

    monkeypatch.setattr(calls, "system", Watched())
    own = Store(models, grain=GRAIN)
    put(own, NAME, MODEL)
    half = receive(own, OTHER, describe(bytes(2 * GRAIN)))
    half.write(Span(0, GRAIN), [bytes(GRAIN)])
    own.prepare(OTHER, MODEL.manifest)
    own.remove(NAME)
    look()

    assert set(owners.values()) == {(4711, 4712)}
    kinds = {path.parts[1] for path in owners if len(path.parts) > 2 and path.parts[0] == ".ferry"}
    assert kinds == {"claims", "drafts", "partial", "sums"}
    half.close()
    own.close()


def in_a_child(act: Callable[[], None]) -> bool:
    """Whether `act` ends well in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001 - nothing of this process may go on with the tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_claim_that_root_left_behind_hinders_nobody(models: Path) -> None:
    """As Ferry 0.1 left it: the claim file root's, the directory the store's owner's."""
    models.mkdir()
    own = Store(models, grain=GRAIN)
    put(own, NAME, MODEL)
    own.close()
    dead, alive = models / ".ferry" / "claims" / "claim.1-1", models / ".ferry" / "claims" / "claim.1-2"
    dead.touch()
    alive.touch()
    for path in (models, *models.rglob("*")):
        os.chown(path, 0 if path in (dead, alive) else 4711, 4712)
    lock = lock_file(alive)

    def as_its_owner() -> None:
        os.chdir(models)  # nobody but root may look into what is above it
        os.setgid(4712)
        os.setuid(4711)
        owners = Store(Path())
        owners.remove(NAME)
        owners.prune(time.time() + HOUR)

    assert in_a_child(as_its_owner)
    assert not dead.exists() and alive.exists()
    assert list((models / "manifests").iterdir()) == []
    assert lock is not None
    lock.close()


def test_nothing_unfinished_is_ever_in_ollamas_directories(store: Store, models: Path) -> None:
    store.prepare(NAME, MODEL.manifest)
    blob = MODEL.manifest.layers[0]
    data = MODEL.blobs[blob.digest]
    intake = receive(store, NAME, blob)

    def watched() -> Iterator[bytes]:
        for chunk in chunked(data):
            assert not list((models / "blobs").glob("*"))
            yield chunk

    intake.write(Span(0, blob.size), watched())
    intake.close()

    assert not (models / "manifests").exists()
    check_store(models)


def test_a_directory_that_ollama_removed_meanwhile_is_made_again(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    store.remove(NAME)
    assert list((models / "manifests").iterdir()) == []  # Ollama refuses to start with an empty directory
    (models / "manifests").rmdir()

    put(store, NAME, MODEL)

    assert get(store, NAME) == MODEL


# --- what somebody else put there ----------------------------------------------------------------------


def test_a_blob_of_ollamas_is_hashed_once_and_then_remembered(
    store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"put here by ollama"
    blob = describe(data)
    blob_path(models, blob.digest).parent.mkdir(parents=True)
    blob_path(models, blob.digest).write_bytes(data)

    assert store.size(NAME, blob) == len(data)
    monkeypatch.setattr(CHECK_FILE, lambda *_, **_kw: pytest.fail("hashed twice"))

    assert store.size(NAME, blob) == len(data)
    store.close()
    assert Store(models).size(NAME, blob) == len(data)


def test_a_large_blob_is_known_to_others_at_once(
    store: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(CHUNK)
    blob = describe(data)
    blob_path(models, blob.digest).parent.mkdir(parents=True)
    blob_path(models, blob.digest).write_bytes(data)

    assert store.size(NAME, blob) == len(data)
    monkeypatch.setattr(CHECK_FILE, lambda *_, **_kw: pytest.fail("hashed twice"))
    assert Store(models).size(NAME, blob) == len(data)


def test_a_blob_with_the_right_name_and_size_but_wrong_bytes_is_replaced(
    store: Store, models: Path, said: list[str]
) -> None:
    data = MODEL.blobs[MODEL.manifest.layers[0].digest]
    path = blob_path(models, MODEL.manifest.layers[0].digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(len(data)))
    path.chmod(0o600)

    put(store, NAME, MODEL)

    assert path.read_bytes() == data
    assert said
    check_store(models)


@pytest.mark.parametrize("layer", MODEL.manifest.layers, ids=lambda layer: str(layer.size))
def test_a_directory_in_place_of_a_blob_is_told_before_a_byte_moves(
    layer: Descriptor, store: Store, models: Path
) -> None:
    blob_path(models, layer.digest).mkdir(parents=True)
    with pytest.raises(StorageError, match="is a directory, where a blob is to be"):
        receive(store, NAME, layer)


def test_a_blob_that_was_changed_after_it_was_proven_is_hashed_again(store: Store, models: Path) -> None:
    blob = put_blob(store, NAME, b"0123456789")
    path = blob_path(models, blob.digest)
    path.write_bytes(b"9876543210")

    assert Store(models).size(NAME, blob) is None


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_in_place_of_a_blob_is_not_followed_and_its_target_stays(
    dangling: bool, store: Store, models: Path, tmp_path: Path
) -> None:
    blob = MODEL.manifest.layers[0]
    target = tmp_path / "elsewhere"
    if not dangling:
        target.write_bytes(MODEL.blobs[blob.digest])
    blob_path(models, blob.digest).parent.mkdir(parents=True)
    blob_path(models, blob.digest).symlink_to(target)
    before = snapshot(target) if not dangling else ""

    with pytest.raises(NotFoundError):
        store.open(NAME, blob, Span(0, 1))
    put(store, NAME, MODEL)

    check_store(models)
    assert dangling or snapshot(target) == before


def test_a_link_as_long_as_the_blob_is_no_blob_either(store: Store, models: Path) -> None:
    blob = describe(b"0123456789")
    blob_path(models, blob.digest).parent.mkdir(parents=True)
    blob_path(models, blob.digest).symlink_to("ten-letter")

    assert store.size(NAME, blob) is None


def test_no_bytes_move_for_a_name_whose_blobs_ollama_has_already(store: Store) -> None:
    put(store, NAME, MODEL)

    assert [store.size(OTHER, blob) for blob in MODEL.manifest.blobs()] == [3 * GRAIN, 10, 23]


# --- reading manifests ---------------------------------------------------------------------------------


def test_dotfiles_bad_names_and_deeper_files_are_no_models(store: Store, models: Path) -> None:
    put(store, NAME, MODEL)
    acme = models / "manifests" / "models.example" / "acme"
    (acme / "tiny" / ".DS_Store").write_bytes(b"\x00")
    (acme / "tiny" / "bad name").write_bytes(MODEL.manifest.raw)
    (acme / ".hidden").mkdir()
    (acme / ".hidden" / "1").write_bytes(MODEL.manifest.raw)
    (acme / "deep" / "er").mkdir(parents=True)
    (acme / "deep" / "er" / "1").write_bytes(MODEL.manifest.raw)
    (acme / "file").write_bytes(b"")
    (models / "manifests" / "stray").write_bytes(b"")

    assert [entry.name for entry in store.entries()] == [NAME]
    assert list(store.tags(NAME)) == ["1"]


def test_a_removed_name_has_no_origin_also_where_its_manifest_could_not_be_read(
    store: Store, models: Path
) -> None:
    """What is made under it later would be a change of what was pulled once."""
    put(store, NAME, MODEL)
    store.origins.put(NAME, ModelOrigin(NAME, MODEL.manifest.digest))
    manifest = models / "manifests" / "models.example" / "acme" / "tiny" / "1"
    manifest.write_bytes(b"{")
    age(manifest, HOUR)

    store.remove(NAME)

    assert store.origins.get(NAME) is None


def test_one_unreadable_manifest_is_left_out_of_the_list_and_said(
    store: Store, models: Path, said: list[str]
) -> None:
    put(store, NAME, MODEL)
    bad = models / "manifests" / "models.example" / "acme" / "tiny" / "broken"
    bad.write_bytes(b"{}")
    (bad.parent / "dangling").symlink_to("nowhere")
    (bad.parent / "directory").mkdir()
    age(bad, 60)

    listed = list(store.entries())

    assert [(entry.name, entry.digest, entry.size) for entry in listed] == [
        (NAME, MODEL.manifest.digest, MODEL.manifest.total)
    ]
    assert isinstance(listed[0], Entry) and time.time() - (listed[0].modified or 0) < 60
    assert len(said) == 3


def test_a_manifest_that_is_being_written_is_read_again(models: Path) -> None:
    raw = MODEL.manifest.raw
    path = models / "manifests" / "models.example" / "acme" / "tiny" / "1"

    def finish(_seconds: float) -> None:
        path.write_bytes(raw)

    store = Store(models, pause=finish)
    path.parent.mkdir(parents=True)
    path.write_bytes(raw[: len(raw) // 2])

    assert store.resolve(NAME).raw == raw


@pytest.mark.parametrize("text", ["MODELS.example/Acme/TINY:1", "models.example/acme/tiny:1"])
def test_whole_names_are_one_whatever_their_case(text: str, store: Store) -> None:
    put(store, NAME, MODEL)
    new = Model.random(2, KiB)

    put(store, Name.parse(text), new)

    assert get(store, NAME) == new
    assert [entry.name.text for entry in store.entries()] == [NAME.text]


def test_parts_of_other_names_are_not_folded(store: Store) -> None:
    put(store, NAME, MODEL)
    upper = Name.parse("models.example/ACME/tiny:2")

    put(store, upper, MODEL)

    assert {entry.name.text for entry in store.entries()} == {NAME.text, upper.text}
