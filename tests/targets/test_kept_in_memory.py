"""A small blob on its way into the store is kept in memory: what it costs, and what still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_models import KiB, breaking, describe, fill, get_blob, put_blob, receive
from store_kit import NAME, blob_path

from registry.contracts import BusyElsewhere
from registry.errors import CorruptError, InvalidError, ProtocolError, StorageError, TransientError
from registry.model.spans import Span, Spans
from registry.targets.intake import SMALL
from registry.targets.store import Store

DATA = bytes(range(256)) * 100
BLOB = describe(DATA)


@pytest.fixture
def wide(models: Path) -> Store:
    """A store whose spans are as wide as ever."""
    return Store(models)


def own(models: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (models / ".ferry" / kind).glob("*"))


def test_until_it_is_whole_its_lock_is_all_there_is_on_disk(wide: Store, models: Path) -> None:
    intake = receive(wide, NAME, BLOB)
    fill(intake, DATA)
    intake.prove()
    before = own(models, "partial"), own(models, "drafts")

    intake.commit()

    assert before == ([f"sha256-{BLOB.digest.hex}.journal"], [])
    assert (own(models, "partial"), own(models, "drafts")) == ([], [])
    assert blob_path(models, BLOB.digest).read_bytes() == DATA


@pytest.mark.parametrize(("size", "resumable"), [(SMALL, False), (SMALL + 1, True)])
def test_only_what_is_not_small_outlives_its_run(size: int, resumable: bool, wide: Store) -> None:
    blob = describe(bytes(size))
    intake = receive(wide, NAME, blob)
    intake.write(Span(0, KiB), [bytes(KiB)])
    intake.close()

    again = receive(wide, NAME, blob)
    assert again.received.total == (KiB if resumable else 0)
    again.close()


def test_a_line_that_breaks_costs_nothing_in_the_same_run(wide: Store) -> None:
    intake = receive(wide, NAME, BLOB)
    with pytest.raises(TransientError):
        intake.write(Span(0, len(DATA)), breaking(DATA[:5000], TransientError("the line went dead")))

    assert intake.received == Spans.of([Span(0, 5000)])
    fill(intake, DATA)
    intake.prove()
    intake.commit()
    assert get_blob(wide, NAME, BLOB) == DATA


def test_bytes_that_came_wrong_are_missing_again_once_a_second_reading_shows_it(wide: Store) -> None:
    wrong = bytearray(DATA)
    wrong[7000] ^= 1
    intake = receive(wide, NAME, BLOB)
    fill(intake, bytes(wrong))
    with pytest.raises(CorruptError):
        intake.prove()

    assert not intake.suspect()
    assert not intake.differs(Span(0, 7000), [DATA[:7000]])
    with pytest.raises(ProtocolError):
        intake.differs(Span(7000, 100), [DATA[7000:7099]])
    assert intake.differs(Span(7000, 100), [DATA[7000:7100]])
    assert intake.received == Spans.of([Span(0, 7000)])
    fill(intake, DATA)
    intake.prove()
    intake.commit()
    assert get_blob(wide, NAME, BLOB) == DATA


def test_what_was_not_proven_gets_no_name(wide: Store, models: Path) -> None:
    intake = receive(wide, NAME, BLOB)
    fill(intake, DATA)
    with pytest.raises(InvalidError):
        intake.commit()
    intake.prove()
    assert intake.differs(Span(0, len(DATA)), [bytes(len(DATA))])
    with pytest.raises(InvalidError):
        intake.commit()
    intake.close()

    assert not blob_path(models, BLOB.digest).exists()


def test_a_second_close_does_not_let_go_for_who_has_the_lock_now(wide: Store) -> None:
    mine = receive(wide, NAME, BLOB)
    mine.close()
    theirs = receive(wide, NAME, BLOB)

    mine.close()

    assert isinstance(wide.receive(NAME, BLOB, None), BusyElsewhere)
    theirs.close()


def test_a_disk_that_does_not_take_it_leaves_nothing_half_named_and_the_next_try_goes_through(
    wide: Store, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = receive(wide, NAME, BLOB)
    fill(intake, DATA)
    intake.prove()
    with monkeypatch.context() as full:
        full.setattr("registry.disk.system.system.pwrite", no_room)
        with pytest.raises(StorageError, match="the disk is full"):
            intake.commit()
    intake.close()

    assert (own(models, "partial"), own(models, "drafts")) == ([], [])
    assert not blob_path(models, BLOB.digest).exists()
    put_blob(wide, NAME, DATA)
    assert get_blob(wide, NAME, BLOB) == DATA


def no_room(_handle: int, _data: bytes, _offset: int) -> int:
    raise OSError(28, "No space left on device")
