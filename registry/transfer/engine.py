"""Moves the blobs of one manifest: what is missing, by as many workers as it pays for.

Knows order and concurrency; the targets know places, `retry` knows patience, `flight` one blob's way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.contracts import Clock, Destination, Source
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.transfer.flight import Flight, Stopped, Trip
from registry.transfer.progress import BlobReport, Observer
from registry.transfer.retry import Patience
from registry.transfer.workers import Workers

_LOOK_EVERY = 0.1  # seconds between two looks at the rate
_LET_GO_WITHIN = 0.8  # seconds all threads together get to let go once they were told to


@dataclass(frozen=True, slots=True)
class Engine:
    """Two targets and what it takes to move blobs from one to the other.

    `interrupt` wakes every thread that waits for a peer, for good.
    """

    source: Source
    destination: Destination
    patience: Patience
    workers: Workers
    interrupt: Callable[[], None]
    clock: Clock
    taken: Clock

    def move(
        self, manifest: Manifest, name: Name, to: Name, near: Name | None, observer: Observer
    ) -> list[BlobReport]:
        """Every blob of `manifest` that is missing at the destination; one report a blob, in order.

        Raises the first error that patience does not cover, after every thread was told to let go.
        """
        trip = Trip(self.source, self.destination, name, to, near, self.patience, observer)
        flights = [Flight(trip, blob) for blob in manifest.blobs()]
        self.workers.begin(len(flights))
        run = _Run(flights, self.workers, self.patience.stop)
        threads: list[threading.Thread] = []
        try:
            while not run.over():
                while len(threads) < self.workers.limit:
                    threads.append(threading.Thread(target=run.work, daemon=True))
                    threads[-1].start()
                run.wait(_LOOK_EVERY)
                self.workers.measure(self.clock(), self.taken(), trip.moved, run.calls, run.wanted())
        except BaseException:
            run.fail(Stopped())
            self.interrupt()
            raise
        finally:
            self._let_go(run, threads, flights)
        if run.failure is not None:
            raise run.failure
        return [flight.report() for flight in flights]

    def _let_go(self, run: _Run, threads: Sequence[threading.Thread], flights: Sequence[Flight]) -> None:
        deadline = self.clock() + _LET_GO_WITHIN
        for thread in threads:
            thread.join(max(0.0, deadline - self.clock()))
        for flight in flights:
            flight.close()


class _Run:
    """Which worker does what next. A worker's task is one step of one flight."""

    def __init__(self, flights: Sequence[Flight], workers: Workers, stop: threading.Event) -> None:
        self.failure: BaseException | None = None
        self.calls = 0
        self._workers = workers
        self._waiting = deque(flights)
        self._open: list[Flight] = []
        self._busy = 0
        self._stop = stop
        self._lock = threading.Lock()
        self._step_there = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)

    def work(self) -> None:
        """A worker's life: steps, until there are none."""
        while (step := self._next()) is not None:
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that called `move`
                self.fail(error)
            finally:
                with self._lock:
                    self._busy -= 1
                    self.calls += 1
                    self._tell()

    def over(self) -> bool:
        """Whether everything landed, or something failed."""
        with self._lock:
            return self._over()

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most `seconds`."""
        with self._ended:
            self._ended.wait_for(self._over, seconds)

    def wanted(self) -> int:
        """How many workers would have something to do."""
        with self._lock:
            return self._busy + len(self._waiting) + sum(flight.width() for flight in self._open)

    def fail(self, error: BaseException) -> None:
        """Give out no further step, and tell those that run to let go. The first error counts."""
        with self._lock:
            self.failure = self.failure or error
            self._stop.set()
            self._tell()

    def _tell(self) -> None:
        """Wake all at the end, else one worker: whoever ended a step looks for the next one itself."""
        if self._over():
            self._ended.notify_all()
            self._step_there.notify_all()
        else:
            self._step_there.notify()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            while not self._over():
                if self._busy < self._workers.limit and (step := self._find()) is not None:
                    self._busy += 1
                    return step
                self._step_there.wait(_LOOK_EVERY)
            return None

    def _find(self) -> Callable[[], None] | None:
        """The next step of an open flight, else the next flight; both in the manifest's order."""
        self._open = [flight for flight in self._open if not flight.landed]
        for flight in self._open:
            if (step := flight.next_step()) is not None:
                return step
        if not self._waiting:
            return None
        self._open.append(self._waiting.popleft())
        return self._open[-1].next_step()

    def _over(self) -> bool:
        if self.failure is not None:
            return True
        return not self._busy and not self._waiting and all(flight.landed for flight in self._open)
