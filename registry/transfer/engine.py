"""Moves the blobs of one manifest: what is missing, by as many workers as it pays for.

Knows order and concurrency; the targets know places, `retry` patience, `blob` the steps of one blob.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.contracts import Clock, Destination, Source
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.transfer.blob import BlobTransfer
from registry.transfer.model import ModelTransfer
from registry.transfer.progress import BlobReport, Observer
from registry.transfer.retry import Patience, Stopped
from registry.transfer.workers import Workers

_LOOK_EVERY = 0.1  # seconds between two looks at the rate
_LET_GO_WITHIN = 0.8  # seconds all threads together get to let go once they were told to


@dataclass(frozen=True, slots=True)
class Engine:
    """Two targets and what it takes to move blobs from one to the other.

    `interrupt` wakes every thread that waits for a peer, for good. `stop` is set to end it from outside.
    """

    source: Source
    destination: Destination
    patience: Patience
    workers: Workers
    interrupt: Callable[[], None]
    stop: threading.Event
    clock: Clock
    taken: Clock

    def move(
        self,
        manifest: Manifest,
        name: Name,
        to: Name,
        near: Name | None,
        unchanged: bool,
        observer: Observer,
    ) -> list[BlobReport]:
        """Every blob of `manifest` that is missing at the destination; one report a blob, in order.

        `unchanged`: whether `to` stands for this manifest already.
        Raises the first error that patience does not cover, after every thread was told to let go.
        """
        model = ModelTransfer(
            self.source, self.destination, name, to, near, unchanged, self.patience, observer
        )
        transfers = [BlobTransfer(model, blob) for blob in manifest.blobs()]
        self.workers.begin(len(transfers))
        run = _Run(transfers, self.workers, self.patience.stop)
        threads: list[threading.Thread] = []
        try:
            while not run.over():
                if self.stop.is_set():
                    raise Stopped
                while len(threads) < self.workers.limit:
                    threads.append(threading.Thread(target=run.work, daemon=True))
                    threads[-1].start()
                run.wait(_LOOK_EVERY)
                self.workers.measure(self.clock(), self.taken(), model.moved, run.calls, run.wanted())
        except BaseException:
            run.fail(Stopped())
            self.interrupt()
            raise
        finally:
            self._let_go(run, threads, transfers)
        if run.failure is not None:
            raise run.failure
        return [transfer.report() for transfer in transfers]

    def _let_go(
        self, run: _Run, threads: Sequence[threading.Thread], transfers: Sequence[BlobTransfer]
    ) -> None:
        deadline = self.clock() + _LET_GO_WITHIN
        for thread in threads:
            thread.join(max(0.0, deadline - self.clock()))
        for transfer in transfers:
            transfer.close()


class _Run:
    """Which worker does what next. A worker's task is one step of one transfer."""

    def __init__(self, transfers: Sequence[BlobTransfer], workers: Workers, stop: threading.Event) -> None:
        self.failure: BaseException | None = None
        self.calls = 0
        self._workers = workers
        self._waiting = deque(transfers)
        self._open: list[BlobTransfer] = []  # but the small ones: the worker that begins one ends it
        self._busy = 0
        self._stop = stop
        self._lock = threading.Lock()
        self._step_there = threading.Condition(self._lock)
        # Not a Condition: a signal whose handler raises in its `wait` leaves it without its lock.
        self._ended = threading.Lock()
        self._ended.acquire()

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
        """Whether everything is done, or something failed."""
        with self._lock:
            return self._over()

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most `seconds`."""
        self._ended.acquire(timeout=seconds)

    def wanted(self) -> int:
        """How many workers would have something to do."""
        with self._lock:
            return self._busy + len(self._waiting) + sum(transfer.width() for transfer in self._open)

    def fail(self, error: BaseException) -> None:
        """Give out no further step, and tell those that run to let go. The first error counts."""
        with self._lock:
            self.failure = self.failure or error
            self._stop.set()
            self._tell()

    def _tell(self) -> None:
        """Wake all at the end, else one worker: a worker that ended a step looks for the next one itself."""
        if self._over():
            if self._ended.locked():
                self._ended.release()
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
        """The next step of an open transfer, else the next transfer; both in the manifest's order."""
        self._open = [transfer for transfer in self._open if not transfer.done]
        for transfer in self._open:
            if (step := transfer.next_step()) is not None:
                return step
        if not self._waiting:
            return None
        transfer = self._waiting.popleft()
        if not transfer.small:
            self._open.append(transfer)
        return transfer.next_step()

    def _over(self) -> bool:
        if self.failure is not None:
            return True
        return not self._busy and not self._waiting and all(transfer.done for transfer in self._open)
