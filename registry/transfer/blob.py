"""One blob's transfer, as steps that workers take: open, move spans, finish.

A step is handed out once and runs without a lock; what steps share is guarded by the transfer's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from functools import partial

from registry.contracts import BusyElsewhere, How, Intake
from registry.errors import Side
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.transfer.finish import Finish
from registry.transfer.follow import follow
from registry.transfer.kept import Kept
from registry.transfer.model import ModelTransfer
from registry.transfer.mover import Mover
from registry.transfer.progress import BlobReport
from registry.transfer.prover import Prover
from registry.transfer.reader import BlobReader
from registry.transfer.retry import Stopped

_SMALL = 1024 * 1024  # bytes that one worker moves from beginning to end
_LOOK_EVERY = 0.2  # seconds between two looks at whether the copy goes on


class _State(Enum):
    WAITING = "waiting"
    OPENING = "opening"
    MOVING = "moving"
    FINISHING = "finishing"
    DONE = "done"


class BlobTransfer:
    """One blob of a model: which step comes next, and what became of it."""

    def __init__(self, model: ModelTransfer, blob: Descriptor) -> None:
        self.blob = blob
        self._model = model
        self._state = _State.WAITING
        self._how = How.PRESENT
        self._running = 0  # moves that are under way
        self._reader = BlobReader(model.sources, blob)
        self._kept = Kept(model.patience.progress, self._show)
        self._mover: Mover | None = None
        self._prover: Prover | None = None
        self._shown = -1
        self._closed = False
        self._begun = False  # whether other models of the engine wait for this transfer of the blob
        self._lock = threading.Lock()

    # --- what is to be done ------------------------------------------------------------------------

    @property
    def small(self) -> bool:
        """Whether its first step is all there is to do."""
        return self.blob.size <= _SMALL

    @property
    def done(self) -> bool:
        """Whether the blob is at its destination."""
        return self._state is _State.DONE

    def next_step(self) -> Callable[[], None] | None:
        """A step to take now, or None while others must end first."""
        with self._lock:
            if self._state is _State.WAITING:
                self._state = _State.OPENING
                return self._all_steps if self.small else self._open
            mover = self._mover
            if self._state is not _State.MOVING or mover is None:
                return None
            if mover.pending.total and not self._has_room(mover):
                return None
            span = mover.pending.take(mover.intake.chunk_rules, self._running + 1)
            if span is not None:
                self._running += 1
                return partial(self._move, mover, span)
            if self._running:
                return None
            self._state = _State.FINISHING
            return partial(self._finish, mover)

    def width(self) -> int:
        """How many further workers would find a step here."""
        with self._lock:
            if self._state is _State.WAITING:
                return 1
            mover = self._mover
            if self._state is not _State.MOVING or mover is None or not self._has_room(mover):
                return 0
            return -(-mover.pending.total // mover.pending.sizes.grain)

    def report(self) -> BlobReport:
        """What became of it."""
        return BlobReport(self.blob, self._kept.read, self._how)

    def close(self, holder: Name | None = None) -> None:
        """Let go of what is there, keeping it for a later run; what is opened later is let go of then.

        `holder`: the name that has the blob now.
        """
        with self._lock:
            self._closed = True
            mover = self._mover
            begun, self._begun = self._begun, False
        if mover is not None:
            mover.intake.close()
        if begun:
            self._model.current_blobs.end(self._model.key(self.blob), holder)

    def _has_room(self, mover: Mover) -> bool:
        return not self._running or (self._reader.ranges and not mover.intake.chunk_rules.ordered)

    # --- the steps ---------------------------------------------------------------------------------

    def _all_steps(self) -> None:
        """A small blob's steps one after another: finding the next worker would take longer than they do."""
        self._open()
        while (step := self.next_step()) is not None:
            step()

    def _take_turn(self) -> None:
        """Wait while another model of this engine moves the blob to the same host."""
        model = self._model
        while (other := model.current_blobs.begin(model.key(self.blob))) is not None:
            while not other.wait(_LOOK_EVERY):
                if model.patience.stop.is_set():
                    raise Stopped
        with self._lock:
            self._begun = True
            closed = self._closed
        if closed:  # the copy failed meanwhile
            self.close()
            raise Stopped

    def _open(self) -> None:
        """Find out what is missing; a blob that is there already is done."""
        model = self._model
        self._take_turn()

        def begin() -> Intake | BusyElsewhere | None:
            if model.unchanged and model.destination.size(model.to, self.blob) is not None:
                return None  # where nothing is missing, nothing is written either
            return model.destination.receive(model.to, self.blob, model.near_to(self.blob))

        while isinstance(begun := model.patience.retry(begin, Side.DESTINATION), BusyElsewhere):
            model.observer.note(f"blob {self.blob.digest.short}: following {begun.who}, which receives it")
            follow(begun, self.blob, model.patience, self._show)
        if begun is None:
            self._arrived(How.PRESENT)
        else:
            self._begin(begun)

    def _begin(self, intake: Intake) -> None:
        try:
            mover = Mover(self._model, self.blob, intake, self._reader, self._kept)
            if missing := mover.pending.total:
                self._model.full.check(self._model.to, self.blob, missing)
            self._kept.begin(self.blob.size - missing)
            with self._lock:
                if self._closed:  # the copy failed while this was being opened
                    raise Stopped
                self._mover = mover
                self._how = intake.how
                if missing > mover.pending.sizes.grain and not intake.chunk_rules.ordered:
                    self._prover = Prover(intake)
                self._state = _State.MOVING
        except BaseException:
            intake.close()
            raise

    def _move(self, mover: Mover, span: Span) -> None:
        try:
            mover.move(span)
        finally:
            with self._lock:
                self._running -= 1

    def _finish(self, mover: Mover) -> None:
        prover, self._prover = self._prover, None
        Finish(self._model, self.blob, mover, prover).run()
        self._arrived(self._how)

    # --- what is said of it ------------------------------------------------------------------------

    def _arrived(self, how: How) -> None:
        self._how = how
        self.close(self._model.to)
        self._mover = None  # its intake may hold a small blob's bytes
        self._show(self.blob.size)
        with self._lock:
            self._state = _State.DONE
        self._model.done(self.blob, how)

    def _show(self, position: int) -> None:
        """Tell the observer; a position never goes back, and never beyond the whole."""
        position = min(position, self.blob.size)
        with self._model.lock:
            if position > self._shown:
                self._shown = position
                self._model.at(self.blob, position)
