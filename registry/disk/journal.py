"""Lines that carry their own check sum, and the journal of spans made of them.

A line that is torn, flipped or belongs to something else is not read: it costs what it said, nothing more.
A journal is a hint. Only the blob's digest proves its bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from registry.disk.data import DataFile
from registry.model.digests import Digest
from registry.model.spans import Span, Spans

JOURNAL_BYTES = 16 * 1024 * 1024
_KEPT = re.compile(r"\+ (\d{1,16}) (\d{1,16}) ([0-9a-f]{8})")
_DROPPED = re.compile(r"- (\d{1,16}) (\d{1,16})")


def seal(text: str, key: str) -> bytes:
    """`text` (ASCII, no line end) as a line that only `unseal` with the same `key` reads."""
    return f"{text} {_check(text, key)}\n".encode("ascii")


def unseal(data: bytes, key: str) -> Iterator[str]:
    """The texts of the lines in `data` that are whole and sealed with `key`; others are passed over."""
    for line in data.split(b"\n"):
        text, space, check = line.decode("ascii", "replace").rpartition(" ")
        if space and check == _check(text, key):
            yield text


def _check(text: str, key: str) -> str:
    return f"{zlib.crc32(f'{key} {text}'.encode()):08x}"


@dataclass(frozen=True, slots=True)
class Sum:
    """The CRC-32 of the bytes of one span. It locates damage, and proves nothing."""

    span: Span
    crc: int


def journal_key(digest: Digest, size: int) -> str:
    """What every line of a blob's journal is sealed with."""
    return f"{digest} {size}"


def read_sums(data: bytes, key: str, size: int) -> list[Sum]:
    """What a journal's bytes say is there: spans inside `size` that do not overlap, in order."""
    kept: list[Sum] = []
    for text in unseal(data, key):
        if found := _KEPT.fullmatch(text):
            piece = Sum(Span(int(found[1]), int(found[2])), int(found[3], 16))
            if piece.span.length and piece.span.end <= size:
                kept = [*apart(kept, piece.span), piece]
        elif found := _DROPPED.fullmatch(text):
            kept = list(apart(kept, Span(int(found[1]), int(found[2]))))
    return sorted(kept, key=lambda piece: piece.span)


def apart(sums: Iterable[Sum], span: Span) -> Iterator[Sum]:
    """Those of `sums` that have no byte in common with `span`."""
    return (piece for piece in sums if piece.span.end <= span.offset or span.end <= piece.span.offset)


def spans_of(sums: Iterable[Sum]) -> Spans:
    """All their bytes together."""
    return Spans.of(piece.span for piece in sums)


class Journal:
    """One blob's journal: lines are added at its end and each is durable when the call returns.

    Its owner holds `file`'s lock, and lets go of both.
    """

    def __init__(self, file: DataFile, digest: Digest, size: int) -> None:
        self.file = file
        self._key = journal_key(digest, size)
        self._size = size
        self._end = 0

    def read(self) -> list[Sum]:
        """What is there; a torn end is cut off, a journal that cannot be ours is emptied."""
        length = self.file.status().size
        data = self.file.read(length, 0) if length <= JOURNAL_BYTES else b""
        sums = read_sums(data, self._key, self._size)
        self._end = data.rfind(b"\n") + 1 if sums else 0
        if self._end != length:
            self.file.truncate(self._end)
        return sums

    def add(self, kept: Sequence[Sum], dropped: Sequence[Span] = ()) -> None:
        """Note that the bytes of `dropped` are no longer to be trusted, and those of `kept` are on disk."""
        texts = [f"- {span.offset} {span.length}" for span in dropped]
        texts += [f"+ {piece.span.offset} {piece.span.length} {piece.crc:08x}" for piece in kept]
        lines = b"".join(seal(text, self._key) for text in texts)
        self.file.write(lines, self._end)
        self.file.sync_data()
        self._end += len(lines)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever noted."""
        return not self._end
