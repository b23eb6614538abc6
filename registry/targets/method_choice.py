"""Which method an upload sends its bytes by, and what makes it go on to the next. Decides; sends nothing.

A registry or a proxy in front of it may refuse each method in a way of its own; what is tried in which
order, and how often, is decided here alone. Sizes are bytes.
"""

from __future__ import annotations

from registry.targets.methods import AGE, Learned, Method

MiB = 1024 * 1024
MOST_CHUNK = 1024 * MiB
LEAST_CHUNK = MiB  # the smallest chunk that a limit on bodies is tried with
_LARGE = (Method.CHUNKS, Method.PATCH, Method.PUT)
_SMALL = (Method.PUT, Method.PATCH, Method.CHUNKS)
_REFUSALS = 2  # of a method in a row, without a byte more kept, before the next one is tried
_BREAKS = 2  # of a chunk in a row, or answers that it is busy, before smaller ones are sent
_GROW = 8  # chunks that are kept, before larger ones are sent again
_WHOLE_BREAKS = 3  # of a whole body, before another method is tried
_CLOSINGS = 3  # refusals of the closing PUT, before the upload is given up
_FAILURES = 6  # answers 500 to an empty closing PUT, before the bytes are sent with it (ECR)


class MethodChoice:
    """The methods that are left for one blob, the current one first.

    Each `…ed` method is told what happened, and moves on where that calls for another method; whether it
    did shows in `method`, which is None when none is left.
    """

    def __init__(self, small: bool, learned: Learned | None = None, now: float = 0.0) -> None:
        """`small`: a blob that is worth one request only. `learned` counts until it is AGE old at `now`."""
        methods = list(_SMALL if small else _LARGE)
        self._usual = methods[0]
        self.most = MOST_CHUNK
        self.learned = learned if learned and 0 <= now - learned.since <= AGE else None
        if self.learned is not None:
            methods.sort(key=lambda method: method is not learned.method)  # type: ignore[union-attr]
            self.most = min(max(self.learned.most, LEAST_CHUNK), MOST_CHUNK)
        self._left = methods
        self._limit = self.most  # the largest chunk that is not known to be too large, by a 413
        self._tried: list[str] = []
        self._best = 0  # the most bytes that a session of this upload kept,
        self._chunks = 0  # and in how many chunks
        self._doubtful = False  # whether the current method is tried for what may be the source's fault
        self._refusals = 0
        self._breaks = 0
        self._broken_at = 0  # the size of the chunk that broke last, twice
        self._in_a_row = 0  # chunks that were kept
        self._closings = 0
        self._failures = 0

    @property
    def method(self) -> Method | None:
        """The method to send by."""
        return self._left[0] if self._left else None

    @property
    def tried(self) -> str:
        """What was tried and what came of it, for a sentence."""
        return "; ".join(self._tried)

    def kept(self, held: int) -> None:
        """The registry keeps `held` bytes."""
        if held > self._best:
            self._best = held
            self._chunks += 1
            self._refusals = self._breaks = 0
            self._in_a_row += 1
            if self.most < self._limit and self._in_a_row >= _GROW:
                self.most, self._in_a_row = min(self._limit, self.most * 2), 0

    def refused(self, why: str, *, at_once: bool) -> bool:
        """It refused a PATCH, or lost what it had kept. `at_once`: that is no chance, once is enough."""
        self._refusals += 1
        return (at_once or self._refusals >= _REFUSALS) and self._move_on(why)

    def too_large(self, size: int, least: int, why: str) -> bool:
        """A body of `size` was too large: chunks are smaller now, of at least `least`, or it is False."""
        if self.method is Method.CHUNKS:
            smaller = max(LEAST_CHUNK, size // 2 // MiB * MiB, least)
            if smaller < size:
                self.most = self._limit = smaller
            return smaller < size
        self._move_on(why)
        return Method.CHUNKS in self._left[:1]

    def broke(self, size: int, why: str) -> bool:
        """The connection broke within a body of `size`; smaller ones may pass, where nothing is kept."""
        if self.method is Method.CHUNKS:
            if self._shrink(size):
                if size <= self._broken_at:  # once more: it is not chance
                    self._limit = self.most
                self._broken_at = size
            return False
        self._breaks += 1
        self._refusals = self._closings = 0  # not in a row
        return self._breaks >= _WHOLE_BREAKS and len(self._left) > 1 and self._move_on(why)

    def busy(self, size: int) -> None:
        """It took a body of `size` and did not keep it: the next ones are smaller, until it does again."""
        if self.method is Method.CHUNKS:
            self._shrink(size)

    def wrong_bytes(self, why: str) -> bool:
        """The closing PUT says that other bytes arrived; chunks may not have been put together there.

        A single one needs no putting together: then it is rather the source that sent other bytes.
        """
        chunked = self.method is Method.CHUNKS and self._best > 0
        self._doubtful = chunked and self._chunks == 1
        return chunked and len(self._left) > 1 and self._move_on(why)

    def not_closed(self, why: str, *, at_once: bool) -> bool:
        """The closing PUT was refused for another reason."""
        self._closings += 1
        if self._closings >= _CLOSINGS:
            self._left.clear()
            self._tried.append(why)
            return True
        return (at_once or self._closings > 1) and self.method is not Method.PATCH and self._move_on(why)

    def closing_failed(self, why: str) -> bool:
        """The closing PUT was answered 500, which may mean that it must not be empty."""
        self._failures += 1
        if self._failures < _FAILURES:
            return False
        if self._failures > _FAILURES or self.method is Method.PUT:
            self._left.clear()
            self._tried.append(why)
            return True
        self._tried.append(f"an empty closing PUT: {why}")
        self._left = [Method.PUT]
        return True

    def worked(self, now: float) -> Learned | None:
        """What is worth remembering of an upload that succeeded; None if it went as usual, or may have."""
        learned = self.learned
        usual = self.method is self._usual and self._limit == MOST_CHUNK
        if self.method is None or usual or self._doubtful:
            return None
        same = learned is not None and (learned.method, learned.most) == (self.method, self._limit)
        return learned if same else Learned(self.method, self._limit, now)

    def _shrink(self, size: int) -> bool:
        """Halve the chunks where `size` failed twice in a row."""
        self._breaks += 1
        self._in_a_row = 0
        smaller = max(LEAST_CHUNK, size // 2 // MiB * MiB)
        if self._breaks < _BREAKS or smaller >= size:
            return False
        self._breaks = 0
        self.most = min(self.most, smaller)
        return True

    def _move_on(self, why: str) -> bool:
        self._tried.append(f"{_TOLD[self._left[0]]}: {why}")
        if self.learned is not None and self.learned.method is self._left[0]:
            self.learned = None
        self._left.pop(0)
        self._refusals = self._breaks = 0
        return True


_TOLD = {
    Method.CHUNKS: "chunks with Content-Range",
    Method.PATCH: "one PATCH with all bytes",
    Method.PUT: "one PUT with all bytes",
}


def mebibytes(size: int) -> str:
    """A size for people: `16 MiB`, or bytes where it is not a whole number of them."""
    return f"{size // MiB} MiB" if size and size % MiB == 0 else f"{size} bytes"
