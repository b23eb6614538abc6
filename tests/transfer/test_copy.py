"""The one verb: whatever the two places, blobs move once, proven, and the name comes last."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from contract import PLACES, Place
from faults import Breaking, Counted, Flipping, NoRanges, ShortAnswers, Wrapped, filled, quick
from sample_models import GRAIN, KiB, Model, get, index_of, put

from registry.contracts import How, Reading
from registry.errors import CorruptError, DeniedError, InvalidError, NotFoundError, TransientError
from registry.model.manifests import OCI_INDEX, Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule

NAME = Name.parse("models.example/acme/tiny:1")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as undo:
        yield PLACES[request.param](tmp_path, undo)


# --- every pair ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1,), (0,), (300 * KiB, 5, 0, 70_000), (GRAIN,) * 20], ids=str)
def test_a_model_arrives_whole_at_every_place(place: Place, sizes: Sequence[int]) -> None:
    model, to = Model.random(7, *sizes), place.name("acme/copied:1")

    report = copy(filled(model), place.target, NAME, to=to, options=quick())

    assert get(place.again(), to) == model
    assert {item.how for item in report.blobs} <= {How.FETCHED, How.UPLOADED}
    assert report.transferred == report.size == sum(len(data) for data in model.blobs.values())


def test_a_model_can_be_read_from_every_place(place: Place) -> None:
    model, name, copied = Model.random(8, 300 * KiB, 1000), place.name("acme/tiny:1"), Memory(grain=GRAIN)
    put(place.target, name, model)

    copy(place.again(), copied, name, options=quick())

    assert get(copied, name) == model


def test_what_is_there_does_not_move(place: Place) -> None:
    model, to = Model.random(9, 300 * KiB, 1000), place.name("acme/copied:1")
    source = Counted(filled(model))
    copy(source, place.target, NAME, to=to, options=quick())
    source.opened.clear()

    report = copy(source, place.again(), NAME, to=to, options=quick())

    assert not source.opened
    assert {item.how for item in report.blobs} == {How.PRESENT}
    assert report.transferred == 0


def test_a_blob_next_door_is_mounted(tmp_path: Path) -> None:
    model = Model.random(10, 300 * KiB)
    with contextlib.ExitStack() as undo:
        place = PLACES["remote in process"](tmp_path, undo)
        near, to = place.name("acme/tiny:1"), place.name("other/tiny:1")
        put(place.target, near, model)
        source = Counted(place.target)

        report = copy(source, place.target, near, to=to, near=near, options=quick())

        assert {item.how for item in report.blobs} == {How.MOUNTED}
        assert not source.opened
        assert get(place.target, to) == model


def test_an_index_brings_its_children_first(tmp_path: Path) -> None:
    with contextlib.ExitStack() as undo:
        source = PLACES["remote in process"](tmp_path / "a", undo).target
        target = PLACES["remote in process"](tmp_path / "b", undo).target
        children = [Model.random(seed, 100 * KiB) for seed in (1, 2)]
        for child in children:
            put(source, NAME.with_reference(child.manifest.digest), child)
        index = index_of(*(child.manifest for child in children))
        source.publish(NAME, index)

        report = copy(source, target, NAME, options=quick())

        assert target.resolve(NAME).raw == index.raw
        for child in children:
            assert get(target, NAME.with_reference(child.manifest.digest)) == child
        assert len(report.blobs) == 3  # two weights and the config they share


def test_an_index_is_refused_by_a_store_before_anything_moves(tmp_path: Path) -> None:
    with contextlib.ExitStack() as undo:
        source = PLACES["remote in process"](tmp_path / "a", undo).target
        child = Model.random(1, KiB)
        put(source, NAME.with_reference(child.manifest.digest), child)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [child.manifest.descriptor().as_json()],
        }
        source.publish(NAME, Manifest.parse(json.dumps(document).encode()))
        counted = Counted(source)

        with pytest.raises(InvalidError, match=child.manifest.digest.short):
            copy(counted, PLACES["store"](tmp_path, undo).target, NAME, options=quick())

        assert not counted.opened


# --- streams that break --------------------------------------------------------------------------------


@pytest.mark.seeds(5, 246606676, 315085708)
@pytest.mark.parametrize("kind", ["memory", "store", "remote over sockets"])
def test_broken_streams_cost_only_what_was_not_kept(seed: int, kind: str, tmp_path: Path) -> None:
    """The pauses are long enough for a server to keep what arrived: whoever asks before is told less."""
    rule = Rule(give_up_after=60, first_pause=0.05, longest_pause=0.05)
    model = Model.random(11, 40 * GRAIN + 17, 9 * GRAIN)
    source = Counted(Breaking(filled(model), random.Random(seed), faults=30))
    with contextlib.ExitStack() as undo:
        place = PLACES[kind](tmp_path, undo)
        to = place.name("acme/copied:1")

        report = copy(source, place.target, NAME, to=to, options=Options(patience=lambda: Patience(rule)))

        assert get(place.again(), to) == model
        assert report.transferred <= 1.5 * report.size


@pytest.mark.parametrize("kind", ["memory", "store", "remote over sockets"])
def test_a_registry_without_ranges_is_read_in_one_stream(kind: str, tmp_path: Path) -> None:
    model = Model.random(12, 10 * GRAIN + 5)
    with contextlib.ExitStack() as undo:
        place = PLACES[kind](tmp_path, undo)
        to = place.name("acme/copied:1")

        report = copy(NoRanges(filled(model)), place.target, NAME, to=to, options=quick())

        assert get(place.again(), to) == model
        assert report.transferred == report.size


@pytest.mark.seeds(3)
def test_a_registry_without_ranges_that_breaks_is_still_read(seed: int, tmp_path: Path) -> None:
    model = Model.random(13, 10 * GRAIN + 5)
    source = NoRanges(Breaking(filled(model), random.Random(seed), faults=5))
    with contextlib.ExitStack() as undo:
        place = PLACES["store"](tmp_path, undo)

        copy(source, place.target, NAME, options=quick())

        assert get(place.again(), NAME) == model


def test_answers_shorter_than_asked_add_up(place: Place) -> None:
    model, to = Model.random(14, 3 * GRAIN + 5), place.name("acme/copied:1")

    copy(ShortAnswers(filled(model), most=9_999), place.target, NAME, to=to, options=quick())

    assert get(place.again(), to) == model


# --- bytes that are wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "store"])
def test_a_bit_flipped_on_the_way_costs_one_more_reading_and_one_span(kind: str, tmp_path: Path) -> None:
    model = Model.random(15, 10 * GRAIN)
    source = Counted(Flipping(filled(model), at=5 * GRAIN + 77))
    with contextlib.ExitStack() as undo:
        place = PLACES[kind](tmp_path, undo)

        report = copy(source, place.target, NAME, options=quick())

        assert get(place.again(), NAME) == model
        assert report.transferred <= 2 * report.size + GRAIN


def test_a_bit_flipped_on_the_way_up_costs_that_blob_once_more(tmp_path: Path) -> None:
    model = Model.random(16, 10 * GRAIN)
    with contextlib.ExitStack() as undo:
        place = PLACES["remote over sockets"](tmp_path, undo)
        to = place.name("acme/copied:1")

        report = copy(Flipping(filled(model), at=77), place.target, NAME, to=to, options=quick())

        assert get(place.again(), to) == model
        assert report.transferred <= 2 * report.size


@pytest.mark.parametrize("kind", ["memory", "store", "remote in process"])
def test_a_source_that_is_corrupt_gives_no_model(kind: str, tmp_path: Path) -> None:
    model = Model.random(17, 4 * GRAIN)
    source = Flipping(filled(model), at=77, times=10**9)
    with contextlib.ExitStack() as undo:
        place = PLACES[kind](tmp_path, undo)
        blob = model.manifest.layers[0]

        with pytest.raises(CorruptError, match=blob.digest.hex) as caught:
            copy(source, place.target, NAME, options=quick())

        said = "bytes 0-" if kind == "remote in process" else "the same in every span"
        assert said in caught.value.message
        assert place.again().size(NAME, blob) is None
        with pytest.raises(NotFoundError):
            place.again().resolve(NAME)


@pytest.mark.parametrize("kind", ["memory", "store"])
def test_the_spans_that_were_read_otherwise_are_named_where_the_blob_stays_wrong(
    kind: str, tmp_path: Path
) -> None:
    model = Model.random(18, 10 * GRAIN)
    source = Flipping(Flipping(filled(model), at=77, times=10**9), at=5 * GRAIN + 77)
    with contextlib.ExitStack() as undo:
        place = PLACES[kind](tmp_path, undo)

        with pytest.raises(
            CorruptError, match=f"bytes {5 * GRAIN}-{6 * GRAIN} were moved once more"
        ) as caught:
            copy(source, place.target, NAME, options=quick())

        assert NAME.host in caught.value.message and caught.value.host == NAME.host


# --- giving up -----------------------------------------------------------------------------------------


@dataclass
class Refusing(Wrapped):
    """Readings of one blob fail."""

    error: Exception = field(default_factory=lambda: DeniedError("no"))

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        raise self.error


def test_a_refusal_ends_at_once_and_nothing_is_published(place: Place) -> None:
    model, to = Model.random(18, 2 * GRAIN, 100), place.name("acme/copied:1")

    with pytest.raises(DeniedError, match="no"):
        copy(Refusing(filled(model)), place.target, NAME, to=to, options=quick())

    with pytest.raises(NotFoundError):
        place.again().resolve(to)


def test_patience_has_an_end() -> None:
    rule = Rule(give_up_after=0.2, first_pause=0.01, longest_pause=0.05)
    source = Refusing(filled(Model.random(19, GRAIN)), TransientError("reset", answered=True))

    with pytest.raises(TransientError, match="reset"):
        copy(source, Memory(), NAME, options=Options(patience=lambda: Patience(rule)))


def test_what_one_run_got_the_next_one_does_not_fetch(tmp_path: Path) -> None:
    model = Model.random(20, 20 * GRAIN)
    rule = Rule(give_up_after=0, first_pause=0.001, longest_pause=0.001)
    with contextlib.ExitStack() as undo:
        place = PLACES["store"](tmp_path, undo)
        broken = Breaking(filled(model), random.Random(1), faults=1)
        broken_later = _After(broken, 3)
        with pytest.raises(TransientError):
            copy(broken_later, place.target, NAME, options=Options(patience=lambda: Patience(rule), jobs=1))
        place.target.close()  # type: ignore[attr-defined]
        source = Counted(filled(model))

        report = copy(source, place.again(), NAME, options=quick())

        assert get(place.again(), NAME) == model
        assert report.blobs[0].how is How.RESUMED
        assert report.transferred < report.size * 0.6


@dataclass
class _After(Wrapped):
    """Lets some readings through before they break."""

    unharmed: int = 0

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        if self.unharmed:
            self.unharmed -= 1
            assert isinstance(self.inner, Breaking)
            return self.inner.inner.open(name, blob, span)
        return self.inner.open(name, blob, span)
