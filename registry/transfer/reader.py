"""One blob at its sources, the cheapest first: readings of it, and what each has shown of itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from registry.contracts import Reading
from registry.errors import ProtocolError, RegistryError, Side, TransientError
from registry.model.manifests import Descriptor
from registry.model.spans import Span
from registry.transfer.model import BlobSource
from registry.transfer.retry import at

# Answers in a row that did not fit what was asked, before they are believed: of a source that has never
# given a fitting one, and of one that has.
_DOUBTS = {False: 2, True: 10}
_BREAKS = 3  # readings of a source that may break while there is another source


class BlobReader:
    """Where a blob comes from. Threads may share one; what they count need not be exact.

    The last source gets all the patience there is; one in front of it is left at its first refusal, or once
    it has broken a few times.
    """

    def __init__(self, sources: Sequence[BlobSource], blob: Descriptor) -> None:
        self.ranges = False  # whether the source has shown that it answers ranges
        self._source = sources[0]
        self._others = list(sources[1:])
        self._blob = blob
        self._breaks = 0
        self._doubts = 0
        self._fitted = False
        self._lock = threading.Lock()

    def open(self, gap: Span) -> Reading:
        """As `_open`, with errors that say which side they come from."""
        with at(Side.SOURCE):
            while True:
                source = self._source
                try:
                    return self._open(gap)
                except TransientError:
                    self.broke()
                    if source is self._source:
                        raise
                except RegistryError:
                    if not self.leave(source):
                        raise

    def broke(self) -> None:
        """A reading broke; after a few the next source is asked, if there is one."""
        self._breaks += 1
        if self._breaks >= _BREAKS:
            self.leave(self._source)

    def leave(self, source: BlobSource | None = None) -> bool:
        """Ask the next source from now on, unless another thread left `source` already; False without one."""
        with self._lock:
            if source is not None and source is not self._source:
                return True
            if not self._others:
                return False
            self._source = self._others.pop(0)
            self.ranges = self._fitted = False
            self._breaks = self._doubts = 0
            return True

    def _open(self, gap: Span) -> Reading:
        """A reading of `gap`, of its beginning, or of the whole blob from a source without ranges.

        An answer that does not fit is asked for again (TransientError): something on the way may have damaged
        it. After several such answers in a row the source is believed (ProtocolError, or the whole blob).
        """
        believed = self._doubts >= _DOUBTS[self._fitted]
        try:
            reading = self._source.source.open(self._source.name, self._blob, gap)
        except ProtocolError as error:
            if not error.garbled or believed:
                raise
            self._doubts += 1
            raise TransientError(error.message, answered=True, **error.details) from error
        if not fits(reading, gap) and self.ranges and not believed:
            reading.stream.close()
            self._doubts += 1
            raise TransientError(
                f"blob {self._blob.digest.short}: all of it came where a part was asked for", answered=True
            )
        if gap.length and not reading.span.length:
            reading.stream.close()
            raise TransientError(f"blob {self._blob.digest.short}: nothing came of it", answered=True)
        self._doubts = 0
        self._fitted = True
        self.ranges = self.ranges or (fits(reading, gap) and gap.length < self._blob.size)
        return reading


def fits(reading: Reading, gap: Span) -> bool:
    """Whether a reading is of what was asked for, or of its beginning."""
    return reading.span.offset == gap.offset and reading.span.length <= gap.length
