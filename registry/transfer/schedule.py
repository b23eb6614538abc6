"""Moves the blobs of one manifest: what is missing, by as many workers as it pays for.

Knows order and concurrency; the targets know places, `retry` patience, `blob` the steps of one blob.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from registry.contracts import Clock
from registry.model.manifests import Descriptor
from registry.transfer.blob import BlobTransfer
from registry.transfer.model import ModelTransfer
from registry.transfer.options import Options
from registry.transfer.progress import BlobReport
from registry.transfer.retry import Stopped
from registry.transfer.workers import Workers

_LOOK_EVERY = 0.1  # seconds between two looks at the rate
_LET_GO_WITHIN = 0.8  # seconds all threads together get to let go once they were told to


def move(
    model: ModelTransfer, blobs: Iterable[Descriptor], workers: Workers, options: Options
) -> list[BlobReport]:
    """Every one of `blobs` that is missing at the destination; one report a blob, in order.

    Raises the first error that patience does not cover, after every thread was told to let go.
    """
    transfers = [BlobTransfer(model, blob) for blob in blobs]
    workers.begin(len(transfers))
    run = _Run(model, transfers, workers)
    threads: list[threading.Thread] = []
    try:
        while not run.over():
            if options.stop.is_set():
                raise Stopped
            while len(threads) < workers.limit:
                thread = threading.Thread(target=run.work, daemon=True)
                thread.start()
                threads.append(thread)
            run.wait(_LOOK_EVERY)
            workers.measure(options.clock(), options.taken(), model.moved, run.calls, run.wanted())
    except BaseException:
        run.fail(Stopped())
        options.interrupt()
        raise
    finally:
        _let_go(threads, transfers, options.clock)
    if run.failure is not None:
        raise run.failure
    return [transfer.report() for transfer in transfers]


def _let_go(threads: Sequence[threading.Thread], transfers: Sequence[BlobTransfer], clock: Clock) -> None:
    deadline = clock() + _LET_GO_WITHIN
    for thread in threads:
        thread.join(max(0.0, deadline - clock()))
    for transfer in transfers:
        transfer.close()


class _Run:
    """Which worker does what next. A worker's task is one step of one transfer."""

    def __init__(self, model: ModelTransfer, transfers: Sequence[BlobTransfer], workers: Workers) -> None:
        self.failure: BaseException | None = None
        self.calls = 0
        self._workers = workers
        self._waiting = deque(transfers)
        self._open: list[BlobTransfer] = []  # but the small ones: the worker that begins one ends it
        self._busy = 0
        self._model = model
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
                self._model.full.hear(self._model.to, error)
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
            self._model.patience.stop.set()
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
