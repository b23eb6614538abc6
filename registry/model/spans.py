"""Half-open byte ranges and sets of them: pure arithmetic, all numbers in bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import InvalidError

_TOLD = 5  # spans of a set that are told one by one


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """`length` bytes from `offset` on; may be empty."""

    offset: int
    length: int

    def __post_init__(self) -> None:
        if self.offset < 0 or self.length < 0:
            raise InvalidError(f"a span of {self.length} bytes at {self.offset} is not one")

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length

    def cut(self, grain: int) -> Iterator[Span]:
        """The span as pieces of at most `grain` bytes, in order."""
        for offset in range(self.offset, self.end, grain):
            yield Span(offset, min(grain, self.end - offset))


@dataclass(frozen=True, slots=True)
class Spans:
    """A set of bytes as sorted spans that neither touch nor overlap, and are never empty."""

    items: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Spans:
        """The union of `spans`, which may overlap and come in any order."""
        merged: list[Span] = []
        for span in sorted(spans):
            if not span.length:
                continue
            if merged and span.offset <= merged[-1].end:
                last = merged[-1]
                merged[-1] = Span(last.offset, max(last.end, span.end) - last.offset)
            else:
                merged.append(span)
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[Span]:
        return iter(self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __str__(self) -> str:
        """For people: `0-16384, 32768-49152 and 3 more`, ends not included."""
        told = ", ".join(f"{item.offset}-{item.end}" for item in self.items[:_TOLD])
        return f"{told} and {len(self.items) - _TOLD} more" if len(self.items) > _TOLD else told

    @property
    def total(self) -> int:
        """How many bytes are in the set."""
        return sum(span.length for span in self.items)

    @property
    def front(self) -> int:
        """How many bytes from zero on are in the set without a gap."""
        return self.items[0].end if self.items and self.items[0].offset == 0 else 0

    def add(self, span: Span) -> Spans:
        """The set with `span` in it too."""
        return Spans.of((*self.items, span))

    def within(self, span: Span) -> Spans:
        """The part of the set that lies in `span`."""
        return Spans.of(
            Span(first, min(item.end, span.end) - first)
            for item in self.items
            if (first := max(item.offset, span.offset)) < min(item.end, span.end)
        )

    def gaps(self, span: Span) -> Iterator[Span]:
        """The bytes of `span` that are not in the set, in order. Costs no more than what is found."""
        at, index = span.offset, max(0, bisect_right(self.items, span.offset, key=_offset) - 1)
        while at < span.end:
            here = self.items[index] if index < len(self.items) else Span(span.end, 0)
            if here.offset > at:
                yield Span(at, min(here.offset, span.end) - at)
            at, index = max(at, here.end), index + 1

    def missing(self, size: int) -> Spans:
        """What a blob of `size` bytes still needs."""
        gaps: list[Span] = []
        at = 0
        for span in self.items:
            if span.offset >= size:
                break
            if span.offset > at:
                gaps.append(Span(at, span.offset - at))
            at = span.end
        if at < size:
            gaps.append(Span(at, size - at))
        return Spans(tuple(gaps))


class SpanSet:
    """A set of bytes that changes: what a call costs does not grow with the number of spans in it."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        merged = Spans.of(spans)
        self._starts = [span.offset for span in merged]
        self._ends = [span.end for span in merged]
        self._total = merged.total
        self._frozen: Spans | None = merged

    @property
    def total(self) -> int:
        """How many bytes are in the set."""
        return self._total

    def add(self, span: Span) -> None:
        """Put all bytes of `span` in."""
        if span.length:
            self._replace(span.offset, span.end, inside=True)

    def discard(self, span: Span) -> None:
        """Take all bytes of `span` out."""
        if span.length:
            self._replace(span.offset, span.end, inside=False)

    def touches(self, span: Span) -> bool:
        """Whether any byte of `span` is in the set."""
        at = bisect_right(self._ends, span.offset)
        return span.length > 0 and at < len(self._starts) and self._starts[at] < span.end

    def reach(self, offset: int) -> int:
        """Up to where all bytes from `offset` on are in the set."""
        at = bisect_right(self._starts, offset) - 1
        return max(offset, self._ends[at]) if at >= 0 else offset

    def frozen(self) -> Spans:
        """The set as it is now."""
        if self._frozen is None:
            pairs = zip(self._starts, self._ends, strict=True)
            self._frozen = Spans(tuple(Span(start, end - start) for start, end in pairs))
        return self._frozen

    def _replace(self, start: int, end: int, *, inside: bool) -> None:
        """Make the bytes from `start` to `end` all in the set, or none of them."""
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        starts, ends = self._starts[first:last], self._ends[first:last]
        left, right = min([start, *starts[:1]]), max([end, *ends[-1:]])
        if inside:
            pieces = [(left, right)]
        else:
            pieces = [piece for piece in ((left, start), (end, right)) if piece[0] < piece[1]]
        self._total += sum(b - a for a, b in pieces) - sum(ends) + sum(starts)
        self._starts[first:last] = [piece[0] for piece in pieces]
        self._ends[first:last] = [piece[1] for piece in pieces]
        self._frozen = None


def _offset(span: Span) -> int:
    return span.offset


@dataclass(frozen=True, slots=True)
class FileSpan:
    """`length` bytes of a file from `offset` on, to be sent without passing through memory."""

    path: Path
    offset: int
    length: int
