"""The depot on disk: its catalogue and its blobs, and the order in which both are written.

Bytes durable, then the transaction, then the answer: with the transaction's end a push exists (DESIGN,
"Server data"). Neither half does anything inside the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from registry.contracts import NOBODY, Actor, Blob, Clock, Document, NewId, Referrer, Tag, Upload
from registry.disk import files
from registry.disk.data import DataFile
from registry.errors import NotFoundError, RegistryError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.spans import FileSpan, Span
from registry.server.blobs import Blobs
from registry.server.catalogue import Catalogue
from registry.server.manifests import Manifests
from registry.server.room import Room
from registry.server.small_blobs import SMALL_BYTES, SmallBlobs
from registry.server.uploads import Begun, DiskUpload, Owners, Ownership

_MOST_BEGUN = 4096


@dataclass(frozen=True, slots=True)
class DiskDepot:
    """The depot in `directory`. Every method raises StorageError when disk or database fail."""

    directory: Path
    engine: Engine
    clock: Clock
    new_id: NewId
    owners: Owners = field(default_factory=Owners)
    room: Room = field(default_factory=Room)
    pulled: dict[tuple[str, str], float] = field(default_factory=dict)
    begun: dict[str, Begun] = field(default_factory=dict)  # uploads of little or nothing
    small: SmallBlobs = field(default_factory=SmallBlobs)
    catalogue: Catalogue = field(init=False)
    manifests: Manifests = field(init=False)
    blobs: Blobs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalogue", Catalogue(self.engine, self.clock))
        object.__setattr__(self, "manifests", Manifests(self.engine, self.clock, self.pulled))
        object.__setattr__(self, "blobs", Blobs(self.directory))

    # --- repositories and blobs --------------------------------------------------------------------

    def repositories(self, after: str, limit: int, readable: Callable[[str], bool]) -> list[str]:
        return self.catalogue.repositories(after, limit, readable)

    def exists(self, repository: str) -> bool:
        return self.catalogue.exists(repository)

    def blob(self, repository: str, digest: Digest, *, renew: bool = False) -> Blob | None:
        known = (self.catalogue.renew if renew else self.catalogue.size)(repository, digest)
        file = self.blobs.file(digest) if known is not None else None
        if file is None or file.size != known:
            return None
        return Blob(known, partial(self._content, digest, file))

    def _content(self, digest: Digest, file: files.Status, span: Span) -> bytes | FileSpan:
        """The bytes of a small blob; of others, and what cannot be read, where they are."""
        if file.size > SMALL_BYTES:
            return self.blobs.content(digest, span)
        data = self.small.get(digest, file)
        if data is None:
            try:
                data = b"".join(files.read_span(self.blobs.content(digest, Span(0, file.size))))
            except RegistryError:
                return self.blobs.content(digest, span)
            self.small.put(digest, file, data)
        return data[span.offset : span.end]

    def holders(self, digest: Digest) -> list[str]:
        return self.catalogue.holders(digest)

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        return self.blob(source, digest) is not None and self.catalogue.mount(repository, digest, source)

    def delete_blob(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        self.catalogue.delete_blob(repository, digest, actor)

    # --- uploads -----------------------------------------------------------------------------------

    def begin(self, repository: str) -> Upload:
        """A new session. The catalogue hears of it when there is something to lose: most blobs are small,
        and whole before that.
        """
        self.room.check()
        if self.is_crowded:
            begun = self.begun.copy()  # other threads begin and end some meanwhile
            for session in islice(begun, max(0, len(begun) + 1 - _MOST_BEGUN)):
                self._keep(session)
        session = self.new_id()
        self.begun[session] = Begun(repository.lower())
        return self._opened(repository, session, self.owners.take(session))

    @property
    def is_crowded(self) -> bool:
        """Whether the catalogue has to hear of an upload before one more can begin."""
        return len(self.begun) >= _MOST_BEGUN

    def upload(self, repository: str, session: str) -> Upload:
        self._check_upload(repository, session)
        ownership = self.owners.take(session)
        try:
            if ownership.took_over:  # the request before this one may just have finished it
                self._check_upload(repository, session)
        except BaseException:
            self.owners.give_back(session, ownership)
            raise
        return self._opened(repository, session, ownership)

    def _check_upload(self, repository: str, session: str) -> None:
        """NotFoundError if the repository has no such upload."""
        begun = self.begun.get(session)
        if begun is not None and begun.repository == repository.lower():
            return
        if not self.catalogue.has_upload(repository, session):
            raise NotFoundError(f"{repository} has no upload {session[:40]}")

    def _opened(self, repository: str, session: str, ownership: Ownership) -> Upload:
        begun = self.begun.get(session)
        try:
            return DiskUpload(
                session,
                lambda: self._file(session),
                self.owners,
                ownership,
                lambda digest, size: self._name(repository, session, digest, size),
                lambda: self._forget(session),
                lambda: self._keep(session),
                self.room.check,
                empty=begun is not None and begun.empty,
            )
        except BaseException:
            self.owners.give_back(session, ownership)
            raise

    def _file(self, session: str) -> DataFile:
        """The file of an upload, made if there is none."""
        begun, path = self.begun.get(session), self.upload_path(session)
        if begun is not None:
            begun.empty = False
        try:
            return DataFile.open(path, mode=0o600)
        except NotFoundError:
            files.make_directory(path.parent, mode=0o700)
            return DataFile.open(path, mode=0o600)

    def _keep(self, session: str) -> None:
        """Have the catalogue know an upload, so that it can go on after a restart."""
        begun = self.begun.get(session)
        if begun is not None:
            self.catalogue.begin_upload(begun.repository, session)
            self.begun.pop(session, None)

    def _name(self, repository: str, session: str, digest: Digest, size: int) -> None:
        """Make a proven, synced upload a blob: the bytes first, then the transaction.

        The bytes are looked at once more after it: a collector may have thrown away, in between, what had
        that name before. It finds the blob in use from now on.
        """
        if session in self.begun:
            self._name_begun(repository, session, digest, size)
            return
        path = self.upload_path(session)
        self.blobs.put(path, digest)
        self.catalogue.hold(repository, digest, size, session)
        if self.blobs.size(digest) != size:
            self.blobs.put(path, digest)
        files.remove(path)

    def _name_begun(self, repository: str, session: str, digest: Digest, size: int) -> None:
        """The same of an upload that ends with this process anyway: its file needs no second name."""
        path = self.upload_path(session)
        self.blobs.move_in(path, digest)
        try:
            self.catalogue.hold(repository, digest, size)
        except RegistryError:
            with contextlib.suppress(RegistryError):  # then the upload begins anew
                self.blobs.copy_out(digest, path, size)
            raise
        if self.begun.pop(session, None) is None:  # it was written down meanwhile
            self.catalogue.end_upload(session)
        if self.blobs.size(digest) != size:
            raise StorageError(f"blob {digest} was lost while it was named")

    def _forget(self, session: str) -> None:
        begun = self.begun.pop(session, None)
        if begun is None:
            self.catalogue.end_upload(session)
        if begun is None or not begun.empty:
            files.remove(self.upload_path(session))

    def upload_path(self, session: str) -> Path:
        """Where the bytes of an upload are."""
        return self.directory.joinpath("uploads", session)

    # --- manifests ---------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: Digest | str) -> Document | None:
        return self.manifests.manifest(repository, reference)

    def why_immutable(self, repository: str, tag: str) -> str:
        return self.manifests.why_immutable(repository, tag)

    def publish(
        self,
        repository: str,
        manifest: Manifest,
        tag: str | None,
        actor: Actor = NOBODY,
        public: bool | None = None,
        more: Sequence[str] = (),
        if_absent: bool = False,
    ) -> None:
        self.room.check()
        self.manifests.publish(repository, manifest, tag, actor, public, more, if_absent)

    def delete_manifest(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        self.manifests.delete_manifest(repository, digest, actor)

    def delete_tag(self, repository: str, tag: str, actor: Actor = NOBODY) -> None:
        self.manifests.delete_tag(repository, tag, actor)

    def tags(self, repository: str, after: str, limit: int) -> list[Tag]:
        return self.manifests.tags(repository, after, limit)

    def referrers(
        self, repository: str, digest: Digest, kind: str | None, after: str, limit: int
    ) -> list[Referrer]:
        return self.manifests.referrers(repository, digest, kind, after, limit)
