"""Moves spans of one blob from its source into its intake, asking again while patience lasts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from registry.contracts import Intake, Stream
from registry.errors import Side, TransientError
from registry.model.manifests import Descriptor
from registry.model.spans import Span
from registry.transfer.kept import Kept
from registry.transfer.model import ModelTransfer
from registry.transfer.pending import Pending
from registry.transfer.reader import BlobReader, fits
from registry.transfer.retry import Stopped, at
from registry.transfer.streams import Cursor

_WORTH_A_REQUEST = 256 * 1024  # bytes: an answer that broke before it brought them is a failure


class Mover:
    """What moves the bytes of one blob; several threads may use one, each for spans of its own."""

    def __init__(
        self, model: ModelTransfer, blob: Descriptor, intake: Intake, reader: BlobReader, kept: Kept
    ) -> None:
        missing = intake.received.missing(blob.size)
        self.intake = intake
        self.pending = Pending(missing, intake.chunk_rules.first)
        self.kept = kept
        self._model = model
        self._blob = blob
        self.reader = reader
        self._whole = Span(0, blob.size)

    # --- with patience -----------------------------------------------------------------------------

    def move(self, span: Span) -> None:
        """Move all of `span`, and what the source brings with it. TransientError at the end of patience."""
        self._move_patiently(deque([span]))

    def move_missing(self) -> None:
        """Move what is missing of the whole blob."""
        spans = deque([self._whole])
        self._recount(spans)
        self._move_patiently(spans)

    def _move_patiently(self, spans: deque[Span]) -> None:
        broke = False

        def attempt() -> None:
            nonlocal broke
            if broke:
                self.look()
                self._recount(spans)
            broke = True
            self._move(spans)

        self._model.patience.retry(attempt, Side.DESTINATION, look=self.look)

    def compare(self, span: Span) -> None:
        """Read `span` a second time; where it differs from what was kept, it is missing again."""

        def attempt() -> None:
            reading = self.reader.open(span)
            try:
                cursor = Cursor(self._read(reading.stream), reading.span.offset)
                cursor.skip_to(span.offset)
                self.intake.differs(span, cursor.take(span.length))
            finally:
                reading.stream.close()

        self._model.patience.retry(attempt, Side.DESTINATION)

    # --- once --------------------------------------------------------------------------------------

    def look(self) -> None:
        """After something broke: find out what the destination kept."""
        with at(Side.DESTINATION):
            self.intake.resume()
        if self.intake.chunk_rules.ordered:
            self.kept.settle(self.intake.received.total)

    def move_missing_once(self) -> None:
        """Move what is missing of the whole blob, as part of another attempt."""
        spans = deque([self._whole])
        self._recount(spans)
        self._move(spans)

    def _recount(self, spans: deque[Span]) -> None:
        """After something broke: `spans` are from now on what is missing of them."""
        if not self.intake.chunk_rules.ordered:
            received = self.intake.received
            missing = [gap for span in spans for gap in received.gaps(span)]
            spans.clear()
            spans.extend(missing)

    def _move(self, spans: deque[Span]) -> None:
        """One reading after another until nothing of `spans` is missing."""
        clock = self._model.patience.clock
        while (gap := self._gap(spans)) is not None:
            began = clock()
            reading = self.reader.open(gap)
            try:
                stream = self._read(reading.stream)
                if not fits(reading, gap):
                    self._write_from_whole(Cursor(stream, reading.span.offset), spans)
                elif self.intake.chunk_rules.ordered:
                    span = gap if reading.span.length < self._least(gap) else reading.span
                    self._write(span, self._joined(stream, span), spans)
                else:
                    self._write(reading.span, stream, spans)
            finally:
                reading.stream.close()
            self.pending.learn(self.intake.chunk_rules, gap.length, clock() - began)

    def _least(self, gap: Span) -> int:
        """The fewest bytes that one write of `gap` may bring."""
        return min(self.intake.chunk_rules.least, gap.length)

    def _joined(self, stream: Iterator[bytes], gap: Span) -> Iterator[bytes]:
        """`gap` from several readings: an answer may bring less than the destination takes at once, or break.

        A destination may lose all of a write that ends too soon. So a source that broke is asked at once for
        the rest, as long as each of its answers brings something.
        """
        at = gap.offset
        while True:
            began, broken = at, None
            try:
                for chunk in stream:
                    at += len(chunk)
                    yield chunk
            except TransientError as error:
                if at - began < _WORTH_A_REQUEST:
                    raise
                broken = error
            if at >= gap.end or at == began:
                return
            stream = self._rest(Span(at, gap.end - at), broken)

    def _rest(self, gap: Span, broken: TransientError | None) -> Iterator[bytes]:
        """`gap`, or its beginning; `broken` is raised where all that went before it would come once more."""
        reading = self.reader.open(gap)
        try:
            if broken is not None and not fits(reading, gap):
                raise broken
            cursor = Cursor(self._read(reading.stream), reading.span.offset)
            cursor.skip_to(gap.offset)
            yield from cursor.take(gap.length)
        finally:
            reading.stream.close()

    def _write_from_whole(self, cursor: Cursor, spans: deque[Span]) -> None:
        """All of the blob came, although a part was asked for: take what no other worker moves."""
        spans.extend(self.pending.take_all())
        while (gap := self._gap(spans)) is not None and gap.offset >= cursor.offset:
            cursor.skip_to(gap.offset)
            self._write(gap, cursor.take(gap.length), spans)

    def _gap(self, spans: deque[Span]) -> Span | None:
        """The first of what is missing of `spans`; in an ordered intake that is where it stands."""
        chunk_rules = self.intake.chunk_rules
        if not chunk_rules.ordered:
            return spans[0] if spans else None
        front, end = self.intake.received.front, spans[-1].end
        length = max(min(end - front, chunk_rules.most), min(chunk_rules.least, self._blob.size - front))
        return Span(front, length) if front < end else None

    def _write(self, span: Span, chunks: Iterable[bytes], spans: deque[Span]) -> None:
        """Let the intake take `span`, which is the first of `spans` or its beginning."""
        if self.intake.chunk_rules.ordered:
            self._write_in_order(span, chunks)
            return
        try:
            self.intake.write(span, self.kept.writing(chunks, kept=True))
        finally:
            self.kept.end_write()
        first = spans.popleft()
        if span.end < first.end:
            spans.appendleft(Span(span.end, first.end - span.end))

    def _write_in_order(self, span: Span, chunks: Iterable[bytes]) -> None:
        try:
            self.intake.write(span, self.kept.writing(chunks, kept=False))
        finally:
            self.kept.settle(self.intake.received.total)
        if self.intake.received.front <= span.offset:
            host = self._model.to.host
            raise TransientError(
                f"blob {self._blob.digest.short}: {host} took bytes {span.offset}-{span.end} "
                "and kept none of them",
                host=host,
                answered=True,
            )

    def _read(self, stream: Stream) -> Iterator[bytes]:
        """What comes from the source, counted; ends at once when the copy is told to stop."""
        stop = self._model.patience.stop
        try:
            with at(Side.SOURCE):
                for chunk in stream:
                    if stop.is_set():
                        raise Stopped
                    self._model.count(len(chunk))
                    self.kept.count_read(len(chunk))
                    yield chunk
        except TransientError:
            self.reader.broke()
            raise
