"""One blob at its source: readings of it, and what the source has shown of itself."""

from __future__ import annotations

from registry.contracts import Reading, Source
from registry.errors import ProtocolError, Side, TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.transfer.retry import at

# Answers in a row that did not fit what was asked, before they are believed: of a source that has never
# given a fitting one, and of one that has.
_DOUBTS = {False: 2, True: 10}


class BlobReader:
    """Where a blob comes from. Threads may share one; what they count need not be exact."""

    def __init__(self, source: Source, name: Name, blob: Descriptor) -> None:
        self.ranges = False  # whether the source has shown that it answers ranges
        self._source = source
        self._name = name
        self._blob = blob
        self._doubts = 0
        self._fitted = False

    def open(self, gap: Span) -> Reading:
        """As `_open`, with errors that say which side they come from."""
        with at(Side.SOURCE):
            return self._open(gap)

    def _open(self, gap: Span) -> Reading:
        """A reading of `gap`, of its beginning, or of the whole blob from a source without ranges.

        An answer that does not fit is asked for again (TransientError): something on the way may have damaged
        it. After several such answers in a row the source is believed (ProtocolError, or the whole blob).
        """
        believed = self._doubts >= _DOUBTS[self._fitted]
        try:
            reading = self._source.open(self._name, self._blob, gap)
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
