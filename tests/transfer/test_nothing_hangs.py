"""Nothing hangs, and nothing is left: what is opened late is closed, and waiting has an end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults import NAME, Wrapped, filled, quick
from sample_models import GRAIN, Model, get

from registry.contracts import BusyElsewhere, Intake, Reading
from registry.errors import DeniedError, Side, StorageError, TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.store import Store
from registry.transfer.copy import copy
from registry.transfer.follow import follow
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule


@dataclass
class LateOpening(Wrapped):
    """Opens the second blob when it is told to, and takes its time."""

    opening: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    late: list[threading.Thread] = field(default_factory=list)
    second: Descriptor | None = None

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        if blob == self.second:
            self.late.append(threading.current_thread())
            self.opening.set()
            self.go.wait(20)
        return self.inner.receive(name, blob, near)


@dataclass
class RefusedMeanwhile(Wrapped):
    """Refuses to be read once the other blob is being opened."""

    opening: threading.Event = field(default_factory=threading.Event)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        self.opening.wait(20)
        raise DeniedError("no")


def test_an_intake_that_is_opened_after_the_copy_failed_is_let_go_of(tmp_path: Path) -> None:
    """`ferry pull a b`: a failed, its blob was opened after that, and b waited for its own process."""
    model = Model.random(31, 20 * GRAIN, 20 * GRAIN)
    second = model.manifest.layers[1]
    store = Store(tmp_path / "models", grain=GRAIN)
    place = LateOpening(store, second=second)
    source = RefusedMeanwhile(filled(model), place.opening)
    with pytest.raises(DeniedError):
        copy(source, place, NAME, options=quick(jobs=3))

    place.go.set()
    for thread in place.late:
        thread.join(20)

    copy(filled(model), store, NAME, options=quick())
    assert get(store, NAME) == model
    store.close()


def test_a_lock_of_this_same_process_is_known_as_ours(tmp_path: Path) -> None:
    model = Model.random(32, 20 * GRAIN)
    blob = model.manifest.layers[0]
    one, other = Store(tmp_path, grain=GRAIN), Store(tmp_path, grain=GRAIN)
    intake = one.receive(NAME, blob, None)

    busy = other.receive(NAME, blob, None)

    assert isinstance(busy, BusyElsewhere) and intake is not None and not isinstance(intake, BusyElsewhere)
    if Path("/proc/locks").exists():
        assert (busy.process, busy.ours) == (os.getpid(), True)
    before = busy.written()
    intake.write(Span(0, GRAIN), [model.blobs[blob.digest][:GRAIN]])
    assert busy.written() != before
    intake.close()
    assert busy.over()


@dataclass
class Time:
    """A clock that goes on by `step` with each look."""

    step: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def waiting(written: Callable[[], float], *, ours: bool = False, process: int | None = 4711) -> BusyElsewhere:
    return BusyElsewhere(lambda: 5, lambda: False, written, process, ours)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.transfer.follow._LOOK_EVERY", 0.001)


BLOB = Model.random(33, 10).manifest.layers[0]


def test_a_process_that_writes_nothing_is_followed_as_long_as_patience_lasts_and_named() -> None:
    time = Time(step=1.0)

    with pytest.raises(TransientError, match="process 4711 has it locked, and wrote nothing") as caught:
        follow(waiting(lambda: 7.0), BLOB, Patience(Rule(give_up_after=100), clock=time), lambda _: None)

    assert 100 < time.now < 110
    assert "ps -p 4711" in caught.value.hint
    assert caught.value.side is Side.DESTINATION


def test_a_lock_that_this_process_holds_itself_is_not_waited_for_like_anothers() -> None:
    time = Time(step=1.0)

    with pytest.raises(StorageError, match="another copy of this process"):
        follow(waiting(lambda: 7.0, ours=True), BLOB, Patience(clock=time), lambda _: None)

    assert time.now < 40


def test_a_process_that_writes_is_followed_for_as_long_as_it_takes() -> None:
    time, written = Time(step=1.0), iter(range(500))
    shown: list[int] = []

    with pytest.raises(TransientError):
        other = waiting(lambda: float(next(written, 499)))
        follow(other, BLOB, Patience(Rule(give_up_after=100), clock=time), shown.append)

    assert time.now > 600
    assert set(shown) == {5}


def test_of_several_errors_the_first_counts() -> None:
    """What comes after it is only how the others were let go."""
    model = Model.random(34, 20 * GRAIN, 20 * GRAIN)
    first, second = model.manifest.layers
    under_way = threading.Event()

    class Failing(Wrapped):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            if blob == first:
                under_way.wait(20)
                raise DeniedError("the first")
            if blob == second:
                under_way.set()
                patience.stop.wait(20)
                raise StorageError("the second")
            return self.inner.open(name, blob, span)

    patience = Patience(Rule(first_pause=0.01))
    with pytest.raises(DeniedError, match="the first"):
        copy(Failing(filled(model)), Memory(grain=GRAIN), NAME, options=Options(lambda: patience, jobs=4))


def test_a_blob_that_was_named_although_the_answer_was_lost_is_not_sent_again() -> None:
    """Its upload is gone by then: only looking for the blob itself tells."""
    model = Model.random(35, 5 * GRAIN)
    asked: list[str] = []

    class Acknowledging(Wrapped):
        """Loses the answer to each commit, and has no more of the upload."""

        def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
            intake = self.inner.receive(name, blob, near)
            if intake is None or isinstance(intake, BusyElsewhere):
                return intake
            commit = intake.commit

            def lost() -> None:
                asked.append("commit")
                commit()
                raise TransientError("the answer was lost", answered=True)

            def resume() -> None:
                asked.append("resume")

            intake.commit, intake.resume = lost, resume  # type: ignore[method-assign]
            return intake

    there = Acknowledging(Memory(grain=GRAIN))
    report = copy(filled(model), there, NAME, options=quick())

    assert asked == ["commit"] * len(model.blobs)
    assert report.transferred == report.size
    assert get(there, NAME) == model
