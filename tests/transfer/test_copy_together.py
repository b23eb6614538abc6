"""Copies side by side, what a watcher sees of one, and how one ends when it is told to."""

from __future__ import annotations

import _thread
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from faults import Breaking, Counted, Wrapped, filled, quick
from sample_models import GRAIN, Model, get

from registry.contracts import BusyElsewhere, How, Intake, Reading, Target
from registry.errors import InvalidError, TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.progress import Report

NAME = Name.parse("models.example/acme/tiny:1")


# --- together ------------------------------------------------------------------------------------------


def test_two_pulls_into_one_place_fetch_each_blob_once() -> None:
    model = Model.random(21, 30 * GRAIN, 10 * GRAIN)
    source, target = Counted(filled(model)), Memory(grain=GRAIN)
    errors: list[BaseException] = []

    def pull() -> None:
        try:
            copy(source, target, NAME, options=quick())
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert get(target, NAME) == model
    assert source.bytes_opened == sum(len(data) for data in model.blobs.values())


def test_workers_run_side_by_side_where_ranges_are_answered() -> None:
    model = Model.random(22, 30 * GRAIN)
    source = _Slow(filled(model))

    copy(source, Memory(grain=GRAIN), NAME, options=quick(jobs=8))

    assert source.most_at_once > 2


@dataclass
class _Slow(Wrapped):
    """Takes its time, and counts how many read at once."""

    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.01)
        with self.lock:
            self.at_once -= 1
        return self.inner.open(name, blob, span)


# --- what a watcher sees -------------------------------------------------------------------------------


@dataclass
class Watcher:
    """Remembers everything it is told."""

    at_: dict[str, list[int]] = field(default_factory=dict)
    done_: list[tuple[str, How]] = field(default_factory=list)
    ended: list[Report] = field(default_factory=list)

    def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
        self.at_ = {str(blob.digest): [] for blob in blobs}

    def at(self, name: Name, blob: Descriptor, done: int) -> None:
        self.at_[str(blob.digest)].append(done)

    def done(self, name: Name, blob: Descriptor, how: How) -> None:
        self.done_.append((str(blob.digest), how))

    def note(self, text: str) -> None: ...

    def end(self, report: Report) -> None:
        self.ended.append(report)


@pytest.mark.seeds(3)
def test_progress_never_runs_backwards_and_ends_at_the_whole(seed: int) -> None:
    model = Model.random(23, 40 * GRAIN, 5 * GRAIN, 0)
    watcher = Watcher()

    copy(
        Breaking(filled(model), random.Random(seed), faults=20),
        Memory(grain=GRAIN),
        NAME,
        options=quick(observer=watcher),
    )

    for blob in model.manifest.blobs():
        seen = watcher.at_[str(blob.digest)]
        assert seen == sorted(seen)
        assert seen[-1] == blob.size
    assert len(watcher.done_) == len(watcher.at_)
    assert len(watcher.ended) == 1


def test_a_stop_ends_every_wait() -> None:
    """What Ctrl-C does: the thread that called `copy` is interrupted while workers wait for a peer."""
    woken = threading.Event()
    model = Model.random(24, 4 * GRAIN)

    class Hanging(Wrapped):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            woken.wait(20)
            raise TransientError("cut", answered=True)

    class Interrupting(Watcher):
        def begin(self, name: Name, blobs: Sequence[Descriptor]) -> None:
            super().begin(name, blobs)
            threading.Timer(0.2, _thread.interrupt_main).start()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        copy(
            Hanging(filled(model)),
            Memory(grain=GRAIN),
            NAME,
            options=quick(observer=Interrupting(), interrupt=woken.set),
        )

    assert time.monotonic() - began < 10  # a fifth of a second, and what a busy machine adds; else 20


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidError):
        Options(jobs=0)
    with pytest.raises(InvalidError):
        Options(jobs=1000)


def test_the_fakes_are_what_they_stand_for() -> None:
    target: Target = Counted(Memory())
    intake: Intake | BusyElsewhere | None = target.receive(NAME, Model.random(1, 5).manifest.layers[0], None)
    assert intake
