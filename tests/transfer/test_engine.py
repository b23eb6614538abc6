"""One engine for many names: what it learned of hosts and blobs carries over; a failure spoils nothing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from contract import PLACES
from faults import QUICK, Breaking, Counted, Flipping, Time, Wrapped, filled, quick
from sample_models import GRAIN, KiB, Model, get

from registry.contracts import How, Reading
from registry.disk.partial_files import is_held
from registry.errors import DeniedError, NotFoundError, Side, StorageError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.store import Store
from registry.transfer.blob import BlobTransfer
from registry.transfer.copy import copy
from registry.transfer.engine import Engine
from registry.transfer.model import BlobSource
from registry.transfer.options import Options
from registry.transfer.progress import Silent
from registry.transfer.retry import Patience, Rule, Stopped
from registry.transfer.workers import FEWEST

NAME = Name.parse("models.example/acme/tiny:1")
OTHER = Name.parse("models.example/acme/other:1")


@dataclass
class Down(Wrapped):
    """A host that nobody reaches for its next `times` calls."""

    times: int = 0
    calls: int = 0

    def resolve(self, name: Name) -> Manifest:
        self.calls += 1
        if self.times:
            self.times -= 1
            raise TransientError("refused")
        return self.inner.resolve(name)


def patient(time: Time) -> Options:
    rule = Rule(give_up_after=600, first_pause=1)
    return Options(lambda: Patience(rule, clock=time, sleep=time.sleep), jobs=1)


def test_a_host_that_served_one_model_is_waited_for_with_the_next() -> None:
    source, engine = Down(filled(Model.random(1, KiB))), Engine(patient(Time()))
    copy(source, Memory(), NAME, engine=engine)

    source.times = 8  # more than a host that never answered is asked
    copy(source, Memory(), NAME, engine=engine)

    assert source.times == 0


def test_a_host_that_was_given_up_gets_one_try_a_model_until_it_serves_again() -> None:
    """A dead source of a mirror of 1,000 names would take ten minutes for each."""
    time = Time()
    source, engine = Down(filled(Model.random(1, KiB)), times=1000), Engine(patient(time))
    with pytest.raises(TransientError):
        copy(source, Memory(), NAME, engine=engine)
    began, source.calls = time.now, 0

    for _ in range(5):
        with pytest.raises(TransientError):
            copy(source, Memory(), NAME, engine=engine)

    assert (source.calls, time.now) == (5, began)
    source.times = 0
    copy(source, Memory(), NAME, engine=engine)
    assert not engine.host(Side.SOURCE, NAME.host).given_up


def test_a_dead_destination_says_nothing_of_the_source() -> None:
    class Nobody(Wrapped):
        def current(self, name: Name) -> Digest | None:
            raise TransientError("refused")

    engine = Engine(patient(Time()))
    with pytest.raises(TransientError):
        copy(filled(Model.random(1, KiB)), Nobody(Memory()), NAME, engine=engine)

    assert engine.host(Side.DESTINATION, NAME.host).given_up
    assert not engine.host(Side.SOURCE, NAME.host).given_up


def test_workers_that_paid_are_there_from_the_start_of_the_next_model() -> None:
    engine = Engine(quick())
    model = engine.model(Memory(), Memory(), NAME, NAME)
    workers = engine.workers(model)
    assert workers.limit == FEWEST
    workers.limit = 8

    engine.learn(model, workers)

    assert engine.workers(engine.model(Memory(), Memory(), OTHER, OTHER)).limit == 8
    elsewhere = Name.parse("other.example/acme/tiny:1")
    assert engine.workers(engine.model(Memory(), Memory(), elsewhere, NAME)).limit == FEWEST


def test_models_side_by_side_share_the_workers() -> None:
    engine = Engine(Options(jobs=8), at_once=4)
    assert engine.workers(engine.model(Memory(), Memory(), NAME, NAME)).limit == 2
    engine = Engine(Options(jobs=1), at_once=4)
    assert engine.at_once == 1
    assert engine.workers(engine.model(Memory(), Memory(), NAME, NAME)).limit == 1


def test_a_system_that_gives_no_thread_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was that a thread cannot be waited for which was never begun."""

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start"):
        copy(filled(Model.random(1, KiB), NAME), Memory(), NAME, options=quick())


def test_a_stopped_engine_ends_what_runs_and_begins_nothing() -> None:
    woken = threading.Event()

    class Hanging(Wrapped):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            engine.stop()
            woken.wait(20)
            raise TransientError("cut", answered=True)

    engine = Engine(quick(interrupt=woken.set))
    source = filled(Model.random(2, 2 * GRAIN))
    with pytest.raises(Stopped):
        copy(Hanging(source), Memory(), NAME, engine=engine)
    with pytest.raises(Stopped):
        copy(source, Memory(), NAME, engine=engine)
    with pytest.raises(Stopped):
        engine.patience(NAME, NAME)
    with pytest.raises(Stopped):
        engine.ask(lambda: 7, Side.SOURCE, NAME, NAME)


def test_an_engine_that_is_stopped_ends_the_pause_before_a_question_is_asked_again() -> None:
    rule, pausing = Rule(first_pause=600, longest_pause=600, first_seconds=3600), threading.Event()
    engine = Engine(Options(lambda: Patience(rule, note=lambda _: pausing.set())))

    def busy() -> None:
        raise TransientError("busy")

    def asking() -> None:
        with contextlib.suppress(TransientError):
            engine.ask(busy, Side.SOURCE, NAME, NAME)

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    assert pausing.wait(20)
    engine.stop()
    thread.join(10)

    assert not thread.is_alive()


# --- one blob of several models --------------------------------------------------------------------------


@dataclass
class Together(Counted):
    """A source whose first reading of a large blob goes on once another model waits for that blob."""

    waits: threading.Event = field(default_factory=threading.Event)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        if span.length >= GRAIN:
            self.waits.wait(20)
        return super().open(name, blob, span)


def test_two_models_at_once_that_share_a_blob_move_it_once_and_mount_it(tmp_path: Path) -> None:
    model = Model.random(3, GRAIN)
    memory = filled(model)
    memory.publish(OTHER, model.manifest)
    with contextlib.ExitStack() as undo:
        place = PLACES["remote in process"](tmp_path, undo)
        names = {NAME: place.name("acme/tiny:1"), OTHER: place.name("acme/other:1")}
        waits = threading.Event()
        source = Together(memory, waits=waits)
        engine = Engine(quick(), at_once=2)
        begin = engine.current_blobs.begin

        def watched(key: tuple[str, Digest]) -> threading.Event | None:
            other = begin(key)
            if other is not None and key[1] == model.manifest.layers[0].digest:
                waits.set()
            return other

        engine.current_blobs.begin = watched  # type: ignore[method-assign]
        reports = {}

        def move(name: Name) -> None:
            reports[name] = copy(source, place.target, name, to=names[name], engine=engine)

        threads = [threading.Thread(target=move, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sum(blob.size >= GRAIN for blob, _ in source.opened) == 1
        hows = sorted(report.blobs[0].how for report in reports.values())
        assert hows == [How.MOUNTED, How.UPLOADED]
        for to in names.values():
            assert get(place.target, to) == model


def test_a_blob_whose_model_failed_is_moved_by_the_model_that_waited_for_it() -> None:
    model = Model.random(4, KiB)
    memory = filled(model)
    memory.publish(OTHER, model.manifest)

    class Refusing(Counted):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            if name == NAME:
                raise DeniedError("no")
            return super().open(name, blob, span)

    engine, there = Engine(quick()), Memory()
    with pytest.raises(DeniedError):
        copy(Refusing(memory), there, NAME, engine=engine)

    copy(Refusing(memory), there, OTHER, engine=engine)

    assert get(there, OTHER) == model


def test_a_blob_whose_turn_comes_when_its_copy_has_failed_is_left_to_others() -> None:
    engine = Engine(quick())
    model = engine.model(filled(Model.random(1, KiB)), Memory(), NAME, NAME)
    blob = Model.random(1, KiB).manifest.layers[0]
    transfer = BlobTransfer(model, blob)
    transfer.close()

    step = transfer.next_step()
    assert step is not None
    with pytest.raises(Stopped):
        step()
    assert engine.current_blobs.begin(model.key(blob)) is None


def test_events_say_which_model_a_blob_is_of() -> None:
    seen: set[tuple[Name, Digest]] = set()

    class Watching(Silent):
        def at(self, name: Name, blob: Descriptor, done: int) -> None:
            seen.add((name, blob.digest))

        def done(self, name: Name, blob: Descriptor, how: How) -> None:
            seen.add((name, blob.digest))

    model = Model.random(5, KiB)
    copy(filled(model), Memory(), NAME, to=OTHER, options=quick(observer=Watching()))

    assert seen == {(OTHER, blob.digest) for blob in model.manifest.blobs()}


# --- several sources of one blob ---------------------------------------------------------------------------


def nearer(*places: Wrapped | Memory) -> Sequence[BlobSource]:
    return [BlobSource(place, NAME) for place in places]


def test_a_blob_comes_from_the_cheapest_source_that_has_it() -> None:
    model = Model.random(6, 3 * GRAIN)
    near, far = Counted(filled(model)), Counted(filled(model))

    copy(far, there := Memory(grain=GRAIN), NAME, nearer=nearer(Memory(), near), options=quick())

    assert get(there, NAME) == model
    assert not far.opened
    assert near.opened


def test_a_nearer_source_that_breaks_for_ever_is_left_for_the_next() -> None:
    model = Model.random(7, 2 * GRAIN)

    class Broken(Counted):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            super().open(name, blob, span)
            raise TransientError("reset", answered=True)

    near, far = Broken(filled(model)), Counted(filled(model))
    copy(far, there := Memory(grain=GRAIN), NAME, nearer=nearer(near), options=quick(jobs=1))

    assert get(there, NAME) == model
    assert len(near.opened) <= 3 * len(list(model.manifest.blobs()))


def test_a_nearer_source_that_breaks_now_and_then_is_gone_on_with() -> None:
    model = Model.random(8, 8 * GRAIN)
    near = Counted(Breaking(filled(model), faults=2))

    copy(filled(model), there := Memory(grain=GRAIN), NAME, nearer=nearer(near), options=quick(jobs=1))

    assert get(there, NAME) == model


def test_what_a_nearer_source_sends_wrong_is_mended_from_the_next() -> None:
    model = Model.random(9, 4 * GRAIN)
    near = Flipping(filled(model), at=GRAIN + 5, times=1000)
    far = Counted(filled(model))

    copy(far, there := Memory(grain=GRAIN), NAME, nearer=nearer(near), options=quick(jobs=1))

    assert get(there, NAME) == model
    moved = [span for blob, span in far.opened if blob.size == 4 * GRAIN]
    assert sum(span.length for span in moved) <= 5 * GRAIN  # all of it compared, one grain of it moved


def test_the_last_source_gets_all_the_patience() -> None:
    model, time = Model.random(10, KiB), Time()

    class Late(Wrapped):
        left = 12

        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            Late.left -= 1
            if Late.left > 0:
                raise TransientError("busy", answered=True)
            return self.inner.open(name, blob, span)

    patience = Patience(Rule(give_up_after=600), clock=time, sleep=time.sleep)
    options = Options(lambda: patience, jobs=1)
    copy(Late(filled(model)), there := Memory(), NAME, nearer=nearer(Memory()), options=options)

    assert get(there, NAME) == model


# --- intakes -------------------------------------------------------------------------------------------


def test_a_store_that_fails_while_it_begins_a_blob_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = Model.random(11, 2 * GRAIN).manifest.layers[0]
    store = Store(tmp_path / "models", grain=GRAIN)
    answers = iter([None])
    errors = []

    def size(_name: Name, _blob: Descriptor) -> None:
        for _ in answers:
            return
        raise StorageError("the disk broke")

    monkeypatch.setattr(store, "size", size)
    try:
        store.receive(NAME, blob, None)
    except StorageError as error:
        errors.append(error)  # what holds an error holds the frames it came through

    assert errors
    assert not is_held(tmp_path / "models" / ".ferry" / "partial", blob.digest)


def test_a_source_that_lacks_a_blob_says_so() -> None:
    model = Model.random(12, KiB)

    class Empty(Wrapped):
        def resolve(self, name: Name) -> Manifest:
            return model.manifest

    with pytest.raises(NotFoundError):
        copy(Empty(Memory()), Memory(), NAME, nearer=nearer(Memory()), options=quick())
    assert QUICK.give_up_after  # the error came at once, whatever patience there is
