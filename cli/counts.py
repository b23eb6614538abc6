"""What a transfer's numbers are: they start with what was there before and never run backwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from registry.model.digests import Digest
from registry.model.manifests import Descriptor

_RATE_WINDOW = 10.0  # seconds the shown rate looks back
_WAITING = 3.0  # seconds without a byte after which the last rate is not true any more


class Rate:
    """How fast bytes come, over the last few seconds; what was there before the run does not count."""

    def __init__(self, now: float) -> None:
        self.moved = 0  # bytes that came in this run
        self._seen: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, count: int, now: float) -> None:
        """`count` bytes more came."""
        if not count:
            return
        self.moved += count
        self._seen.append((now, self.moved))
        while now - self._seen[0][0] > _RATE_WINDOW and len(self._seen) > 2:
            self._seen.popleft()

    def waiting(self, now: float) -> bool:
        """Whether nothing has come for so long that the last rate is not true any more."""
        return now - self._seen[-1][0] > _WAITING

    def at(self, now: float) -> float:
        """Bytes a second; 0 while waiting."""
        since, moved = self._seen[0]
        passed = now - since
        return (self.moved - moved) / passed if passed > 0.05 and not self.waiting(now) else 0.0


class Counts:
    """The bytes of one model: per blob and in all, and how fast they grow."""

    def __init__(self, blobs: Sequence[Descriptor], now: float) -> None:
        self.blobs = {blob.digest: blob for blob in blobs}
        self.total = sum(blob.size for blob in self.blobs.values())
        self.whole = Rate(now)
        self._done: dict[Digest, int] = {}
        self._rates: dict[Digest, Rate] = {}

    @property
    def done(self) -> int:
        """The bytes that are there."""
        return sum(self._done.values())

    @property
    def moved(self) -> int:
        """The bytes that came in this run."""
        return self.whole.moved

    def at(self, blob: Descriptor, done: int, now: float) -> int:
        """Take note; how many bytes more there are of the blob than before. The first call sets its start."""
        before = self._done.get(blob.digest)
        after = min(max(done, before or 0), blob.size)
        self._done[blob.digest] = after
        if before is None:
            self._rates[blob.digest] = Rate(now)
            return after
        self._rates[blob.digest].add(after - before, now)
        self.whole.add(after - before, now)
        return after - before

    def of(self, blob: Descriptor) -> int:
        """The bytes that are there of one blob."""
        return self._done.get(blob.digest, 0)

    def rate_of(self, blob: Descriptor) -> Rate | None:
        """How fast one blob grows; None before it was seen."""
        return self._rates.get(blob.digest)

    def rate(self, now: float) -> float:
        """Bytes a second over the last few seconds."""
        return self.whole.at(now)

    def left(self, now: float) -> float | None:
        """Seconds left at this rate, or None if nothing moves."""
        return seconds_left(self.whole, self.total - self.done, now)


def seconds_left(rate: Rate, missing: int, now: float) -> float | None:
    """Seconds until `missing` bytes came at this rate, or None if nothing moves."""
    speed = rate.at(now)
    return missing / speed if speed else None


def clock_face(seconds: float | None) -> str:
    """`1:02:03` or `2:03`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
