"""Reads every blob again, slowly and in the background, and says which are not their digest any more.

It changes nothing but the time at which each was looked at: a disk that fails for a while hides no
model. `ferry admin check --repair` does, when a person says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, func, select, update

from registry.errors import StorageError
from registry.model.digests import Digest
from registry.server.catalogue import batches
from registry.server.check import Check, DamagedBlob, Wrong
from registry.server.database import reading, writing
from registry.server.depot import DiskDepot
from registry.server.tables import BLOBS

RATE = 32 * 1024 * 1024  # bytes a second: 80 TB in 30 days
_WAIT = 300.0  # seconds between two looks for what is due
_AT_ONCE = 100  # blobs, or
_BYTES_AT_ONCE = 1024**3  # bytes, that are read before it is written down that they were
_AGAIN = 86_400.0  # seconds after which one that is damaged is read and told again, also by the next process
_SEEN = BLOBS.c.hidden.is_(None)


@dataclass(slots=True)
class Scrub:
    """Looks at every blob of the depot once in `every` seconds, at most `rate` bytes a second.

    `told` hears of each damaged blob, `noted` of the end of a round.
    """

    depot: DiskDepot
    every: float
    told: Callable[[str], None]
    noted: Callable[[str], None]
    rate: int = RATE
    stopping: threading.Event = field(default_factory=threading.Event)
    blobs: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)
    damaged: dict[Digest, float] = field(default_factory=dict, init=False)  # and what `checked` says
    _round: int = field(default=0, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within a moment, also in the middle of a blob, which is then read anew the next time."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join()

    def step(self) -> bool:
        """Look at some of the blobs that are due; False if none is. StorageError if the database fails."""
        due = self._due()
        whole, damaged = list[Digest](), list[DamagedBlob]()
        for digest, size in due:
            finding = Check(self.depot, hashing=True, pace=self._pace).one(digest, size)
            if self.stopping.is_set():
                break
            self.blobs += 1
            if finding is None:
                whole.append(digest)
                self.damaged.pop(digest, None)
            else:
                damaged.append(finding)
        now = self.depot.clock()
        soon = now - self.every + min(_AGAIN, self.every)
        self.damaged.update((each.digest, soon) for each in damaged)
        try:
            self._looked_at(whole, now)
            self._looked_at([each.digest for each in damaged], soon)
        finally:
            for each in damaged:
                self._tell(each)
        self._round += len(whole) + len(damaged)
        if not due and self._round:
            self.noted(f"scrub: {self._round} blobs read, {len(self.damaged)} damaged")
            self._round = 0
        return bool(due)

    def numbers(self) -> Mapping[str, tuple[str, float]]:
        """For the metrics."""
        numbers: dict[str, tuple[str, float]] = {
            "ferry_scrub_blobs": ("Blobs read again since the start.", self.blobs),
            "ferry_scrub_bytes": ("Bytes of them.", self.bytes),
        }
        try:
            numbers["ferry_scrub_damaged"] = ("Of them, blobs that are missing or damaged.", self._still())
            with reading(self.depot.engine) as database:
                oldest = database.execute(select(func.min(BLOBS.c.checked)).where(_SEEN)).scalar()
        except StorageError:
            return numbers
        age = self.depot.clock() - oldest if oldest is not None else 0.0
        return {**numbers, "ferry_scrub_oldest_seconds": ("Since the longest unread blob was read.", age)}

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                more = self.step()
            except StorageError as error:
                self.told(f"scrub: {error.message}")
                more = False
            if not more:
                self.stopping.wait(_WAIT)

    def _due(self) -> list[tuple[Digest, int]]:
        """The blobs that were looked at longest ago, as many as one step takes.

        Where there are none, those that were while the clock was ahead: that may have been long ago.
        """
        now = self.depot.clock()
        rows = self._first(BLOBS.c.checked <= now - self.every) or self._first(BLOBS.c.checked > now)
        due, total = list[tuple[Digest, int]](), 0
        for digest, size in rows:
            if due and total + size > _BYTES_AT_ONCE:
                break
            due.append((Digest.parse(digest), size))
            total += size
        return due

    def _first(self, due: ColumnElement[bool]) -> list[tuple[str, int]]:
        query = select(BLOBS.c.digest, BLOBS.c.size).where(_SEEN, due)
        with reading(self.depot.engine) as database:
            rows = database.execute(query.order_by(BLOBS.c.checked).limit(_AT_ONCE))
            return [(digest, size) for digest, size in rows]

    def _still(self) -> int:
        """How many are as they were seen: neither repaired, nor brought anew, nor gone."""
        still, seen = 0, {str(digest): at for digest, at in self.damaged.copy().items()}
        for some in batches(seen):
            query = select(BLOBS.c.digest, BLOBS.c.checked).where(_SEEN, BLOBS.c.digest.in_(some))
            with reading(self.depot.engine) as database:
                still += sum(at <= seen[digest] for digest, at in database.execute(query))
        return still

    def _tell(self, finding: DamagedBlob) -> None:
        whose = ", ".join(finding.tags or finding.repositories) or "nothing"
        todo = "ferry admin check --hash --repair takes it out of sight, and the next push brings it anew"
        if finding.wrong is Wrong.UNREADABLE:
            todo = "the disk reports an error: look at the system's log"
        wrong = f"{finding.digest} is not as it should be ({finding.wrong.value})"
        self.told(f"scrub: {wrong}, needed by {whose}; {todo}")

    def _looked_at(self, seen: list[Digest], when: float) -> None:
        if seen:
            with writing(self.depot.engine) as database:
                rows = BLOBS.c.digest.in_([str(digest) for digest in seen])
                database.execute(update(BLOBS).where(rows).values(checked=when))

    def _pace(self, length: int) -> bool:
        """Wait as long as `length` bytes may take; False to go no further."""
        self.bytes += length
        return not self.stopping.wait(length / self.rate)
