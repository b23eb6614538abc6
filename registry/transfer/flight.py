"""One blob's way from source to destination, as steps that workers take: open, fly pieces, land.

A step is handed out once and runs without a lock; what steps share is guarded by the flight's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from registry.contracts import Destination, Elsewhere, How, Intake, Source
from registry.errors import CorruptError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.transfer.portions import Portions
from registry.transfer.progress import BlobReport, Observer
from registry.transfer.retry import Patience
from registry.transfer.streams import Cursor
from registry.transfer.supply import Supply, fits

_LOOK_EVERY = 0.2  # seconds between two looks at another process's progress
_SMALL = 1024 * 1024  # bytes that one worker carries from end to end
_CHANCES = 2  # a blob that turns out wrong is mended once


class Stopped(Exception):
    """Another flight failed, or the copy was told to stop: this one lets go at once."""


@dataclass(slots=True)
class Trip:
    """What all flights of one manifest share; `moved` counts the bytes of this run."""

    source: Source
    destination: Destination
    name: Name
    to: Name
    near: Name | None
    patience: Patience
    observer: Observer
    moved: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _State(Enum):
    WAITING = "waiting"
    OPENING = "opening"
    FLYING = "flying"
    LANDING = "landing"
    LANDED = "landed"


class Flight:
    """One blob on its way."""

    def __init__(self, trip: Trip, blob: Descriptor) -> None:
        self.blob = blob
        self._trip = trip
        self._state = _State.WAITING
        self._how = How.PRESENT
        self._intake: Intake | None = None
        self._left: list[Span] = []  # not handed out yet; the next one last
        self._running = 0
        self._supply = Supply(trip.source, trip.name, blob)
        self._portions = Portions()
        self._prover: _Prover | None = None
        self._doubtful = Spans()  # what was moved once more, because the whole was wrong
        self._kept = 0  # bytes the intake has
        self._in_air: dict[int, int] = {}  # bytes each running write has handed over
        self._shown = -1
        self._transferred = 0
        self._lock = threading.Lock()

    # --- what is to be done ------------------------------------------------------------------------

    @property
    def landed(self) -> bool:
        """Whether the blob is at its destination."""
        return self._state is _State.LANDED

    def next_step(self) -> Callable[[], None] | None:
        """A step to take now, or None while others must end first."""
        with self._lock:
            if self._state is _State.WAITING:
                self._state = _State.OPENING
                return self._open if self.blob.size > _SMALL else self._all_the_way
            if self._state is not _State.FLYING:
                return None
            if self._left:
                return self._take_off() if self._has_room() else None
            if self._running:
                return None
            self._state = _State.LANDING
            return self._land

    def width(self) -> int:
        """How many further workers would find a step here."""
        with self._lock:
            if self._state is _State.WAITING:
                return 1
            if self._state is not _State.FLYING or not self._has_room():
                return 0
            return -(-self._bytes_left() // self._portions.grain)

    def report(self) -> BlobReport:
        """What became of it."""
        return BlobReport(self.blob, self._transferred, self._how)

    def close(self) -> None:
        """Let go of what is there, keeping it for a later run."""
        if self._intake is not None:
            self._intake.close()

    def _has_room(self) -> bool:
        return not self._running or (self._supply.ranges and not self._intake_now().appetite.ordered)

    def _take_off(self) -> Callable[[], None]:
        most = self._portions.next(self._intake_now().appetite, self._bytes_left(), self._running + 1)
        span = self._left.pop()
        if span.length > most:
            self._left.append(Span(span.offset + most, span.length - most))
            span = Span(span.offset, most)
        self._running += 1
        return lambda: self._fly([span])

    def _bytes_left(self) -> int:
        return sum(span.length for span in self._left)

    def _intake_now(self) -> Intake:
        if self._intake is None:
            raise RuntimeError("the flight is not open")
        return self._intake

    # --- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Find out what is missing; a blob that is there already has landed."""
        trip = self._trip

        def begin() -> Intake | Elsewhere | None:
            return trip.destination.receive(trip.to, self.blob, trip.near)

        while isinstance(begun := trip.patience.retry(begin, "destination"), Elsewhere):
            self._follow(begun)
        if begun is None:
            self._arrived(How.PRESENT)
        else:
            self._begin(begun)

    def _all_the_way(self) -> None:
        """A small blob's steps one after another: finding the next worker would take longer than they do."""
        self._open()
        while (step := self.next_step()) is not None:
            step()

    def _follow(self, other: Elsewhere) -> None:
        """Watch another process's progress until it ends."""
        self._trip.observer.note(f"blob {self.blob.digest.short}: following {other.who}, which receives it")
        while not other.over():
            self._show(other.received())
            if self._trip.patience.stop.wait(_LOOK_EVERY):
                raise Stopped

    def _begin(self, intake: Intake) -> None:
        missing = intake.received.missing(self.blob.size)
        with self._lock:
            self._intake = intake
            self._how = intake.how
            self._kept = self.blob.size - missing.total
            self._portions = Portions(intake.appetite.first)
            self._left = list(missing)[::-1]
            if missing.total > self._portions.grain and not intake.appetite.ordered:
                self._prover = _Prover(intake)
            self._state = _State.FLYING
        self._show(self._kept)

    # --- flying ------------------------------------------------------------------------------------

    def _fly(self, pieces: list[Span]) -> None:
        """Carry pieces until they are there, asking again while patience lasts."""
        intake = self._intake_now()
        failed = False

        def attempt() -> None:
            nonlocal failed
            if failed:
                intake.resume()
            failed = True
            self._carry(intake, pieces)

        try:
            self._trip.patience.retry(attempt, "source")
        finally:
            with self._lock:
                self._running -= 1

    def _carry(self, intake: Intake, pieces: list[Span]) -> None:
        """One reading after another until nothing of `pieces` is missing."""
        trip = self._trip
        while (gap := self._gap(intake, pieces)) is not None:
            began = trip.patience.clock()
            reading = self._supply.open(gap)
            try:
                stream = self._counted(reading.stream)
                if fits(reading, gap):
                    self._write(intake, reading.span, stream)
                else:  # all of it, although a part was asked for: take from it whatever nobody else carries
                    cursor = Cursor(stream, reading.span.offset)
                    self._claim(intake, pieces)
                    while (part := self._gap(intake, pieces)) is not None:
                        cursor.skip_to(part.offset)
                        self._write(intake, part, cursor.take(part.length))
            finally:
                reading.stream.close()
            seconds = trip.patience.clock() - began
            with self._lock:
                self._portions.moved(intake.appetite, gap.length, seconds, self._bytes_left())

    def _gap(self, intake: Intake, pieces: list[Span]) -> Span | None:
        """The first of what is missing of `pieces`; in an ordered intake that is where it stands."""
        last = max(piece.end for piece in pieces)
        appetite = intake.appetite
        if appetite.ordered:
            front = intake.received.front
            length = max(min(last - front, appetite.most), min(appetite.least, self.blob.size - front))
            return Span(front, length) if front < last else None
        missing = intake.received.missing(self.blob.size)
        return min((gap for piece in pieces for gap in missing.within(piece)), default=None)

    def _claim(self, intake: Intake, pieces: list[Span]) -> None:
        """Carry everything that is not handed out too."""
        with self._lock:
            pieces.extend(self._left)
            self._left.clear()

    def _write(self, intake: Intake, span: Span, chunks: Iterable[bytes]) -> None:
        me = threading.get_ident()
        with self._lock:
            self._in_air[me] = 0
        try:
            intake.write(span, chunks)
        except BaseException:
            with self._lock:
                self._in_air[me] = 0
                self._kept = intake.received.total
            raise
        with self._lock:
            self._in_air[me] = 0
            self._kept += span.length

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """`chunks`, each counted as progress; ends at once when the copy is told to stop."""
        trip = self._trip
        me = threading.get_ident()
        for chunk in chunks:
            if trip.patience.stop.is_set():
                raise Stopped
            trip.patience.progress()
            with trip.lock:
                trip.moved += len(chunk)
            with self._lock:
                self._transferred += len(chunk)
                self._in_air[me] = self._in_air.get(me, 0) + len(chunk)
                position = self._kept + sum(self._in_air.values())
            self._show(position)
            yield chunk

    # --- landing -----------------------------------------------------------------------------------

    def _land(self) -> None:
        """Prove and name the blob; one that turns out wrong is mended once."""
        intake = self._intake_now()
        for chance in range(1, _CHANCES + 1):
            try:
                self._prove(intake)
                self._commit(intake)
            except CorruptError as error:
                if chance == _CHANCES or not self._mend(intake):
                    raise self._beyond_mending(error) from error
            else:
                break
        self._arrived(self._how)

    def _prove(self, intake: Intake) -> None:
        prover, self._prover = self._prover, None
        if prover is None:
            intake.prove()
        else:
            prover.outcome()

    def _commit(self, intake: Intake) -> None:
        """Give the blob its name; after a failure, find out first whether it has it."""
        trip = self._trip
        failed = False

        def attempt() -> None:
            nonlocal failed
            if failed:
                if trip.destination.size(trip.to, self.blob) is not None:
                    return
                intake.resume()
                self._carry(intake, [Span(0, self.blob.size)])
            failed = True
            intake.commit()

        trip.patience.retry(attempt, "destination")

    def _mend(self, intake: Intake) -> bool:
        """Fetch again what is wrong, and only that. False if nothing can be found wrong on this side."""
        self._trip.observer.note(f"blob {self.blob.digest.short}: its bytes are wrong; finding out which")
        whole = Span(0, self.blob.size)
        self._trip.patience.retry(intake.resume, "destination")
        intake.suspect()
        if not intake.received.missing(self.blob.size):
            for piece in whole.cut(self._portions.grain):
                self._trip.patience.retry(lambda piece=piece: self._compare(intake, piece), "source")  # type: ignore[misc]
        self._doubtful = intake.received.missing(self.blob.size)
        if not self._doubtful:
            return False
        self._fly_again(intake, whole)
        return True

    def _compare(self, intake: Intake, piece: Span) -> None:
        reading = self._supply.open(piece)
        try:
            cursor = Cursor(self._counted(reading.stream), reading.span.offset)
            cursor.skip_to(piece.offset)
            intake.differs(piece, cursor.take(piece.length))
        finally:
            reading.stream.close()

    def _fly_again(self, intake: Intake, whole: Span) -> None:
        with self._lock:
            self._running += 1
        self._fly([whole])

    def _beyond_mending(self, error: CorruptError) -> CorruptError:
        tried = "a second reading was the same in every span"
        if self._doubtful:
            tried = f"bytes {self._doubtful} were moved once more, and it is wrong still"
        return CorruptError(
            f"blob {self.blob.digest} of {self._trip.name}: {error.message}; {tried}",
            host=error.host or self._trip.name.host,
            name=str(self._trip.name),
            hint=error.hint or "the source holds a damaged blob; what was proven stays, try again later",
        )

    def _arrived(self, how: How) -> None:
        self._how = how
        self.close()
        self._intake = None  # it may hold a small blob's bytes
        self._show(self.blob.size)
        with self._lock:
            self._state = _State.LANDED
        with self._trip.lock:
            self._trip.observer.done(self.blob, how)

    def _show(self, position: int) -> None:
        """Tell the observer; a position never goes back, and never beyond the whole."""
        position = min(position, self.blob.size)
        with self._trip.lock:
            if position > self._shown:
                self._shown = position
                self._trip.observer.at(self.blob, position)


class _Prover:
    """Hashes along the front in a thread of its own while workers write ahead of it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def outcome(self) -> None:
        """Wait for the end; raise what was found."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._intake.prove()
        except BaseException as error:  # noqa: BLE001 - raised by outcome, in the thread that asks
            self._error = error
