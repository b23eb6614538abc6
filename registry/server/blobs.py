"""Bytes by digest, on disk: opened, put, thrown away, listed and measured. Knows no repository and no SQL.

What is thrown away lies in a trash for days, and is brought back when it is asked for: so it does no harm
when one process throws away the bytes that another is just naming anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.disk import files
from registry.disk.data import also_name
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.spans import FileSpan, Span

_LEAVING = "leaving"  # the blobs that a collector is throwing away, one a line
_LEAVING_BYTES = 256 * 1024 * 1024  # some three millions
TRASH_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the blobs' or the trash: its digest, its size in bytes, and when it was last changed."""

    digest: Digest
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs below `directory`. Every method raises StorageError when the disk fails."""

    directory: Path

    def size(self, digest: Digest) -> int | None:
        """How many bytes are there under the digest; None if there is no such file."""
        found = self.file(digest)
        return found.size if found is not None else None

    def file(self, digest: Digest) -> files.Status | None:
        """What the disk says of the blob's file; None if there is none."""
        found = files.status(self._path(digest)) or self._brought_back(digest)
        return found if found is not None and found.is_file else None

    def content(self, digest: Digest, span: Span) -> FileSpan:
        """What an answer's body is for a span of the blob."""
        return FileSpan(self._path(digest), span.offset, span.length)

    def kept(self, digest: Digest, span: Span) -> FileSpan:
        """The same, wherever the bytes are: for one who does not bring them back from the trash."""
        path = self._path(digest)
        here = path if files.status(path) is not None else self._trashed(digest)
        return FileSpan(here, span.offset, span.length)

    def name(self, digest: Digest) -> str:
        """Where a blob is, seen from the data directory."""
        return str(self._path(digest).relative_to(self.directory))

    def put(self, upload: Path, digest: Digest) -> None:
        """Give the proven, synced file of an upload its blob's name too, durably, whatever had it before.

        Until the upload is removed it is an upload too: a process killed in between loses none of it.
        """
        also_name(upload, self._path(digest), upload.with_name(f"{upload.name}.named"), self._owner())

    def move_in(self, upload: Path, digest: Digest) -> None:
        """The same of an upload that nobody goes on with if its server is killed: it is none from now on."""
        files.move(upload, self._path(digest))

    def copy_out(self, digest: Digest, upload: Path, size: int) -> None:
        """Give an upload that was moved in its `size` bytes again, in a file of its own: few, and nobody else
        may lose the blob by what becomes of it.
        """
        data = b"".join(files.read_span(FileSpan(self._path(digest), 0, size)))
        files.write_atomic(upload, data, scratch=upload.parent, mode=0o600, durably=False)

    def note_leaving(self, digests: Collection[Digest]) -> tuple[Digest, ...]:
        """Note that these are about to be thrown away; they, and those of one who was killed meanwhile.

        On a disk that is full nothing is noted: room is made all the same.
        """
        left = self._leaving()
        if digests:
            lines = "".join(f"{each}\n" for each in (*left, *digests))
            with contextlib.suppress(StorageError):
                path = self.directory / _LEAVING
                files.write_atomic(path, lines.encode(), scratch=self.directory, owner=self._owner())
        return *left, *digests

    def forget_leaving(self) -> None:
        """All that was noted has been thrown away."""
        if files.status(self.directory / _LEAVING) is not None:
            files.remove(self.directory / _LEAVING)

    def throw_away(self, digest: Digest, now: float) -> int:
        """Into the trash, from now (Unix seconds) on; how many bytes that were."""
        found = files.status(self._path(digest))
        if found is None:
            return 0
        files.set_modified(self._path(digest), now)
        files.move(self._path(digest), self._trashed(digest), self._owner())
        return found.size

    def trash(self) -> Iterator[Found]:
        """What lies in the trash, and since when."""
        for name in files.names(self.directory / "trash"):
            yield from _found(self.directory / "trash" / name, name.replace("-", ":", 1))

    def remove_trash(self, digest: Digest) -> None:
        """Delete it for good."""
        files.remove(self._trashed(digest))

    def list(self) -> Iterator[Found]:
        """Every blob file. What has no digest for a name is none of ours, and left out."""
        top = self.directory / "blobs"
        for algorithm in files.names(top):
            for start in files.names(top / algorithm):
                for name in files.names(top / algorithm / start):
                    yield from _found(top / algorithm / start / name, f"{algorithm}:{name}")

    def exists(self) -> bool:
        """Whether there is a directory for blobs at all."""
        return files.status(self.directory / "blobs") is not None

    def any(self) -> bool:
        """Whether there is any blob file, looking no longer than for the first."""
        return next(self.list(), None) is not None

    def _leaving(self) -> tuple[Digest, ...]:
        try:
            lines = files.read_bounded(self.directory / _LEAVING, _LEAVING_BYTES).decode("ascii").splitlines()
            return tuple(map(Digest.parse, lines))
        except (
            NotFoundError,
            InvalidError,
            UnicodeDecodeError,
        ):  # the latter two: it is not as it was written
            return ()

    def _brought_back(self, digest: Digest) -> files.Status | None:
        """Out of the trash, if it is there: the caller has a use for it."""
        if files.status(self._trashed(digest)) is None:
            return None
        with contextlib.suppress(NotFoundError):  # somebody else has just done the same
            files.move(self._trashed(digest), self._path(digest), self._owner())
        return files.status(self._path(digest))

    def _owner(self) -> files.Owner | None:
        """Whose directories are that root makes here: the server is seldom root."""
        return files.owner_to_keep(self.directory)

    def _path(self, digest: Digest) -> Path:
        return self.directory.joinpath("blobs", digest.algorithm, digest.hex[:2], digest.hex)

    def _trashed(self, digest: Digest) -> Path:
        return self.directory / "trash" / f"{digest.algorithm}-{digest.hex}"


def _found(path: Path, text: str) -> Iterator[Found]:
    try:
        digest = Digest.parse(text)
    except InvalidError:
        return
    status = files.status(path)
    if status is not None and status.is_file:
        yield Found(digest, status.size, status.modified)
