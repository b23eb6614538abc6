"""Lines that carry their own check sum, and the journal of spans made of them.

A line that is torn, flipped or belongs to something else is not read: it costs what it said, nothing more.
A journal is a hint. Only the blob's digest proves its bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from registry.disk.data import DataFile
from registry.disk.files import move
from registry.disk.sums import PATTERN, Sum, Sums
from registry.model.digests import Digest
from registry.model.spans import Span

JOURNAL_BYTES = 16 * 1024 * 1024
_LINE_BYTES = 96  # of the longest lines of blobs below a terabyte
_KEPT = re.compile(rf"\+ (\d{{1,16}}) (\d{{1,16}}) ({PATTERN})")
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


class SealedLines:
    """The lines of a file that others add to, each read once. A file longer than `limit` bytes has none."""

    def __init__(self, path: Path, key: str, limit: int) -> None:
        self._path = path
        self._key = key
        self._limit = limit
        self._file: DataFile | None = None  # open, so that no other file gets its inode number
        self._at = 0

    def more(self) -> tuple[bool, Iterator[str]]:
        """What was added since the last call, and whether this is another file, read from its beginning.

        NotFoundError, StorageError.
        """
        anew = self._file is None or not self._file.is_at(self._path)
        if self._file is None or anew:
            self._close()
            self._file = DataFile.open_read_only(self._path)
        size = self._file.status().size
        if size < self._at or anew:
            anew, self._at = True, 0
        data = self._file.read(size - self._at, self._at) if size <= self._limit else b""
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return anew, unseal(whole, self._key)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def journal_key(digest: Digest, size: int) -> str:
    """What every line of a blob's journal is sealed with."""
    return f"{digest} {size}"


def note(sums: Sums, texts: Iterable[str], size: int) -> None:
    """Bring `sums` up to date with what a journal's lines say of a blob of `size` bytes."""
    for text in texts:
        if found := _KEPT.fullmatch(text):
            piece = Sum(Span(int(found[1]), int(found[2])), found[3])
            if piece.span.length and piece.span.end <= size:
                sums.add(piece)
        elif found := _DROPPED.fullmatch(text):
            sums.drop(Span(int(found[1]), int(found[2])))


def read_sums(data: bytes, key: str, size: int) -> list[Sum]:
    """What a journal's bytes say is there: spans inside `size` that do not overlap, in order."""
    sums = Sums()
    note(sums, unseal(data, key), size)
    return list(sums)


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

    def make_room(self, lines: int) -> None:
        """Have disk space for so many more lines, or as many as a journal may have. StorageError.

        The zeros behind the last line are no line: the next that reads the journal cuts them off.
        """
        self.file.allocate(min(self._end + lines * _LINE_BYTES, JOURNAL_BYTES // 2))

    def give_back_room(self) -> None:
        """The opposite of `make_room`. StorageError."""
        self.file.truncate(self._end)

    def add(self, kept: Sequence[Sum], dropped: Sequence[Span] = ()) -> None:
        """Note that the bytes of `dropped` are no longer to be trusted, and those of `kept` are on disk."""
        texts = [f"- {span.offset} {span.length}" for span in dropped]
        texts += [f"+ {piece.span.offset} {piece.span.length} {piece.check}" for piece in kept]
        lines = b"".join(seal(text, self._key) for text in texts)
        self.file.write(lines, self._end)
        self.file.sync_data()
        self._end += len(lines)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever noted."""
        return not self._end

    def keep_as(self, path: Path, _sums: Sequence[Sum]) -> None:
        """Keep what is noted in the file `path`, for as long as the blob lives."""
        self.give_back_room()
        move(self.file.path, path, durably=False)

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()
