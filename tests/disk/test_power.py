"""Power fails at any moment: what was promised is there, what is named is right, and the next run goes on."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import check_store
from partial_kit import DATA, DIGEST, fill, opened
from power import Change, Recorder, Sync, Write, power_loss, restore
from sample_models import Model, get, put, receive

from registry.disk import system as calls
from registry.disk.files import write_atomic
from registry.disk.partial import Partial
from registry.disk.partial_files import data_path
from registry.disk.secrets import create_once
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store

GRAIN = 2048
NAME = Name.parse("models.example/acme/tiny:1")
KEY = "models.example/acme/tiny/1"
CUTS = 12


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(calls, "system", recorder)
    return recorder


def moments(recorder: Recorder, chance: random.Random) -> Iterator[int]:
    return (chance.randrange(len(recorder.events) + 1) for _ in range(CUTS))


@pytest.mark.seeds(6)
def test_a_journal_names_only_bytes_that_survived(
    seed: int, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    model = Model.random(seed, 10 * GRAIN + 99)
    blob = model.manifest.layers[0]
    data = model.blobs[blob.digest]
    place = tmp_path / "partial"
    for part in range(2):  # two runs
        partial = Partial.open(place, blob.digest, blob.size, grain=GRAIN)
        assert isinstance(partial, Partial)
        left = [piece for gap in partial.received.missing(blob.size) for piece in gap.cut(GRAIN)]
        chance.shuffle(left)
        for piece in left[: 4 if part == 0 else None]:
            partial.write(piece, [data[piece.offset : piece.end]])
            recorder.promise(f"{piece.offset} {piece.length}")
            if chance.random() < 0.2:
                partial.discard(piece)
                partial.write(piece, [data[piece.offset : piece.end]])
        partial.close()
    monkeypatch.setattr(calls, "system", calls.System())

    for number in moments(recorder, chance):
        files, promised = power_loss(recorder.events[:number], chance)
        shutil.rmtree(place)
        restore(files, tmp_path / "partial", place)
        left_over = Partial.open(place, blob.digest, blob.size, grain=GRAIN)
        assert isinstance(left_over, Partial)
        there = (place / f"sha256-{blob.digest.hex}.data").read_bytes()
        for span in left_over.received:
            assert there[span.offset : span.end] == data[span.offset : span.end]
        for text in promised:
            offset, length = map(int, text.split())
            if not discarded(recorder, number, offset):
                assert left_over.received.within(Span(offset, length)).total == length
        left_over.close()


def discarded(recorder: Recorder, number: int, offset: int) -> bool:
    """Whether the journal was told to forget the span at `offset` before that moment."""
    word = f"- {offset} ".encode()
    return any(word in (getattr(event, "data", None) or b"") for event in recorder.events[:number])


@pytest.mark.seeds(6)
def test_a_published_model_is_whole_and_an_unpublished_one_is_nowhere(
    seed: int, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    models = tmp_path / "models"
    old, new = Model.random(seed, 5 * GRAIN, 10), Model.random(seed + 1, 3 * GRAIN, 10)
    store = Store(models, grain=GRAIN)
    put(store, NAME, old)
    recorder.promise("old")
    intake = receive(store, NAME, new.manifest.layers[0])
    intake.write(Span(0, GRAIN), [new.blobs[new.manifest.layers[0].digest][:GRAIN]])
    intake.close()
    put(store, NAME, new)
    recorder.promise("new")
    store.close()
    monkeypatch.setattr(calls, "system", calls.System())

    for turn, number in enumerate(moments(recorder, chance)):
        files, promised = power_loss(recorder.events[:number], chance)
        place = tmp_path / f"after {turn}"
        restore(files, models, place)
        allowed = [new] if "new" in promised else [old, new]
        check_store(place, {KEY: [model.manifest.raw for model in allowed]})
        assert not promised or (place / "manifests" / KEY).exists()
        survivor = Store(place, grain=GRAIN)
        put(survivor, NAME, new)
        assert get(survivor, NAME) == new
        survivor.close()
        check_store(place, {KEY: [new.manifest.raw]})


@pytest.mark.parametrize("linked", [False, True])
def test_what_mends_a_file_goes_when_the_file_is_durable(
    linked: bool, recorder: Recorder, tmp_path: Path
) -> None:
    """The file is mended in its place; where somebody else has it too, a whole new one takes its name."""
    blob, patch = tmp_path / "blob", data_path(tmp_path / "patches", DIGEST)
    whole = opened(tmp_path / "whole")
    fill(whole)
    write_atomic(blob, bytes(1) + DATA[1:], scratch=tmp_path)
    if linked:
        (tmp_path / "theirs").hardlink_to(blob)
    good, size = whole.sums()[1:], len(DATA)

    mending = Partial.over(patch.parent, DIGEST, size, blob, good, tmp_path / "sums")
    assert isinstance(mending, Partial)
    fill(mending)
    mending.prove()
    mending.promote(blob)
    mending.close()

    events, inode = recorder.events, recorder._inodes[blob]
    written = max(at for at, each in enumerate(events) if isinstance(each, Write) and each.inode == inode)
    gone = max(
        at for at, each in enumerate(events) if isinstance(each, Change) and patch in (each.old, each.path)
    )
    assert blob.read_bytes() == DATA
    assert Sync(inode) in events[written:gone]


def test_a_secret_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def link(draft: Path, path: Path) -> None:
        done.append("link")
        draft.rename(path)

    monkeypatch.setattr(os, "fsync", lambda _handle: done.append("fsync"))
    monkeypatch.setattr(os, "link", link)
    assert create_once(tmp_path / "key", b"secret", "fresh")

    assert done == ["fsync", "link"]
