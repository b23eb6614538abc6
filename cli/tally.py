"""What a transfer's numbers are: they start with what was there before and never run backwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from registry.model.digests import Digest
from registry.model.manifests import Descriptor

Clock = Callable[[], float]

_RATE_WINDOW = 10.0  # seconds the shown rate looks back


class Tally:
    """The bytes of one model: per blob and in all, and how fast they grow."""

    def __init__(self, blobs: Sequence[Descriptor], now: float) -> None:
        self.blobs = {blob.digest: blob for blob in blobs}
        self.total = sum(blob.size for blob in self.blobs.values())
        self.began = now
        self._done: dict[Digest, int] = {}
        self._fresh: deque[tuple[float, int]] = deque([(now, 0)])
        self.moved = 0  # bytes that came in this run

    @property
    def done(self) -> int:
        """The bytes that are there."""
        return sum(self._done.values())

    def at(self, blob: Descriptor, done: int, now: float) -> int:
        """Take note; how many bytes more there are of the blob than before. The first call sets its start."""
        before = self._done.get(blob.digest)
        after = min(max(done, before or 0), blob.size)
        self._done[blob.digest] = after
        if before is None:
            return after
        self.moved += after - before
        self._fresh.append((now, self.moved))
        while now - self._fresh[0][0] > _RATE_WINDOW and len(self._fresh) > 2:
            self._fresh.popleft()
        return after - before

    def of(self, blob: Descriptor) -> int:
        """The bytes that are there of one blob."""
        return self._done.get(blob.digest, 0)

    def rate(self, now: float) -> float:
        """Bytes a second over the last few seconds."""
        since, moved = self._fresh[0]
        return (self.moved - moved) / (now - since) if now - since > 0.05 else 0.0

    def left(self, now: float) -> float | None:
        """Seconds left at this rate, or None if nothing moves."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate else None


def clock_face(seconds: float | None) -> str:
    """`1:02:03` or `2:03`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
