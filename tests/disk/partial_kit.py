"""One blob, and its partial data, for the tests of both."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from registry.disk.partial import Partial
from registry.model.digests import Digest
from registry.model.spans import Span

GRAIN = 4096
DATA = random.Random(1).randbytes(10 * GRAIN + 123)
DIGEST = Digest.of(DATA)
WHOLE = Span(0, len(DATA))


def opened(directory: Path, data: bytes = DATA) -> Partial:
    partial = Partial.open(directory, Digest.of(data), len(data), grain=GRAIN)
    assert isinstance(partial, Partial)
    return partial


def part(span: Span, data: bytes = DATA) -> Iterator[bytes]:
    return (data[piece.offset : piece.end] for piece in span.cut(1000))


def fill(partial: Partial, data: bytes = DATA) -> int:
    """Write what is missing; how many bytes that was."""
    missing = partial.received.missing(len(data))
    for gap in missing:
        for piece in gap.cut(GRAIN):
            partial.write(piece, part(piece, data))
    return missing.total
