"""Check sums of the spans of a blob: they locate damage, and prove nothing.

A sum says its kind. Poly1305 takes a third of the time of zlib's CRC-32, which Ferry 0.1 wrote: that is read
for ever, and written where there is no Poly1305 (FIPS). The key is fixed and everybody knows it: somebody who
forges bytes is found out by the blob's digest.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Protocol

from registry.model.spans import Span, Spans

_POLY1305 = "poly1305:"
_KEY = sha256(b"ferry span sums").digest()

PATTERN = rf"(?:{_POLY1305}[0-9a-f]{{32}}|[0-9a-f]{{8}})"
"""How a sum is written: the bare eight digits are a CRC-32."""


class Summer(Protocol):
    """Sums up the bytes of one span, in order."""

    def update(self, data: bytes | memoryview) -> object:
        """These come next."""

    def text(self) -> str:
        """The sum as it is written, once nothing comes any more."""


class Crc32:
    """CRC-32 as zlib computes it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = zlib.crc32(data, self._value)

    def text(self) -> str:
        return f"{self._value:08x}"


class Poly1305:
    """RFC 8439, section 2.5. `cryptography`'s UnsupportedAlgorithm where it is forbidden."""

    def __init__(self) -> None:
        # Here, because `ferry list` sums up nothing and shall not wait for it.
        from cryptography.hazmat.primitives import poly1305

        self._inner = poly1305.Poly1305(_KEY)
        self.update = self._inner.update

    def text(self) -> str:
        return f"{_POLY1305}{self._inner.finalize().hex()}"


@cache
def kinds() -> tuple[Callable[[], Summer], ...]:
    """What this build can compute, the fastest first."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        Poly1305()
    except UnsupportedAlgorithm:
        return (Crc32,)
    return (Poly1305, Crc32)


def new_summer() -> Summer:
    """One of the fastest kind that there is."""
    return kinds()[0]()


@dataclass(frozen=True, slots=True)
class Sum:
    """The check sum of the bytes of one span, as it is written."""

    span: Span
    check: str

    def summer(self) -> Summer | None:
        """One that computes the same kind; None where this build cannot."""
        kind = Poly1305 if self.check.startswith(_POLY1305) else Crc32
        return kind() if kind in kinds() else None


class Sums:
    """Sums of spans that do not overlap, in order. One more costs the same however many there are."""

    def __init__(self) -> None:
        self.total = 0  # bytes
        self._offsets: list[int] = []
        self._sums: list[Sum] = []

    def __iter__(self) -> Iterator[Sum]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, piece: Sum) -> None:
        """Put it in the place of those it overlaps."""
        self._replace(piece.span, [piece])

    def overlapping(self, span: Span) -> list[Sum]:
        """Those that have a byte in common with `span`."""
        first, last = self._overlapping(span)
        return self._sums[first:last]

    def drop(self, span: Span) -> None:
        """Forget those that have a byte in common with `span`."""
        self._replace(span, [])

    def _replace(self, span: Span, pieces: list[Sum]) -> None:
        first, last = self._overlapping(span)
        gone = sum(piece.span.length for piece in self._sums[first:last])
        self.total += sum(piece.span.length for piece in pieces) - gone
        self._offsets[first:last] = [piece.span.offset for piece in pieces]
        self._sums[first:last] = pieces

    def _overlapping(self, span: Span) -> tuple[int, int]:
        first = bisect_right(self._offsets, span.offset)
        if first and self._sums[first - 1].span.end > span.offset:
            first -= 1
        return first, max(first, bisect_left(self._offsets, span.end))


def spans_of(sums: Iterable[Sum]) -> Spans:
    """All their bytes together."""
    return Spans.of(piece.span for piece in sums)
