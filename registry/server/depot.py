"""The depot on disk: blobs as files named by their digest, everything else in the database.

A transaction that follows the blob's fsyncs is the moment a push exists (DESIGN, "Server data").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select, update

from registry.contracts import Blob, Clock, NewId, Upload
from registry.disk import files
from registry.disk.data import DataFile, also_name
from registry.errors import InvalidError, NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.spans import FileSpan
from registry.server.database import open_database, reading, writing
from registry.server.tables import BLOBS, LINKS, MANIFESTS, PARTS, REPOSITORIES, TAGS, UPLOADS
from registry.server.uploads import DiskUpload, Hold, Ledger

GRACE = 24 * 3600.0  # seconds that a blob no manifest names, or an upload nobody goes on with, is kept


@dataclass(frozen=True, slots=True)
class DiskDepot:
    """The depot in `directory`. Every method raises StorageError when disk or database fail."""

    directory: Path
    engine: Engine
    clock: Clock
    new_id: NewId
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(cls, directory: Path, clock: Clock, new_id: NewId, ledger: Ledger | None = None) -> DiskDepot:
        """The depot in `directory`, made if it is not there."""
        depot = cls(directory, open_database(directory), clock, new_id, ledger or Ledger())
        depot._empty_trash()
        return depot

    # --- repositories and blobs --------------------------------------------------------------------

    def repositories(self, after: str, limit: int, readable: Callable[[str], bool]) -> list[str]:
        query = (
            select(REPOSITORIES.c.name)
            .where(REPOSITORIES.c.name > after.lower())
            .order_by(REPOSITORIES.c.name)
        )
        found: list[str] = []
        with reading(self.engine) as database:
            for (name,) in database.execute(query):
                if readable(name):
                    found.append(name)
                if len(found) == limit:
                    break
        return found

    def exists(self, repository: str) -> bool:
        with reading(self.engine) as database:
            return _repository(database, repository) is not None

    def blob(self, repository: str, digest: Digest) -> Blob | None:
        query = (
            select(BLOBS.c.size)
            .join(LINKS, LINKS.c.digest == BLOBS.c.digest)
            .join(REPOSITORIES, REPOSITORIES.c.id == LINKS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), LINKS.c.digest == str(digest))
        )
        with reading(self.engine) as database:
            size = database.execute(query).scalar()
        return None if size is None else Blob(size, FileSpan(self._path(digest), 0, size))

    def holders(self, digest: Digest) -> list[str]:
        query = (
            select(REPOSITORIES.c.name)
            .join(LINKS, LINKS.c.repository == REPOSITORIES.c.id)
            .where(LINKS.c.digest == str(digest))
            .order_by(REPOSITORIES.c.name)
        )
        with reading(self.engine) as database:
            return list(database.execute(query).scalars())

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        with writing(self.engine) as database:
            origin = _repository(database, source)
            if origin is None or not _held(database, origin, digest):
                return False
            self._link(database, _ensured(database, repository), digest)
            return True

    def delete_blob(self, repository: str, digest: Digest) -> None:
        with writing(self.engine) as database:
            found = _repository(database, repository)
            if found is None or not _held(database, found, digest):
                raise NotFoundError(f"{repository} holds no blob {digest}")
            named = select(PARTS.c.manifest).filter_by(repository=found, part=str(digest)).limit(1)
            manifest = database.execute(named).scalar()
            if manifest is not None:
                raise InvalidError(f"manifest {manifest} of {repository} needs this blob")
            database.execute(delete(LINKS).filter_by(repository=found, digest=str(digest)))

    # --- uploads -----------------------------------------------------------------------------------

    def begin(self, repository: str) -> Upload:
        session = self.new_id()
        with writing(self.engine) as database:
            row = {"id": session, "repository": _ensured(database, repository), "touched": self.clock()}
            database.execute(insert(UPLOADS).values(**row))
        return self._opened(repository, session, self.ledger.take(session))

    def upload(self, repository: str, session: str) -> Upload:
        self._check_upload(repository, session)
        hold = self.ledger.take(session)
        try:
            if hold.took_over:  # the request before this one may just have finished it
                self._check_upload(repository, session)
        except BaseException:
            self.ledger.give_back(session, hold)
            raise
        return self._opened(repository, session, hold)

    def _check_upload(self, repository: str, session: str) -> None:
        """NotFoundError if the repository has no such upload."""
        query = (
            select(UPLOADS.c.id)
            .join(REPOSITORIES, REPOSITORIES.c.id == UPLOADS.c.repository)
            .where(UPLOADS.c.id == session, REPOSITORIES.c.name == repository.lower())
        )
        with reading(self.engine) as database:
            if database.execute(query).scalar() is None:
                raise NotFoundError(f"{repository} has no upload {session[:40]}")

    def _opened(self, repository: str, session: str, hold: Hold) -> Upload:
        try:
            path = self._upload_path(session)
            files.make_directory(path.parent, mode=0o700)
            return DiskUpload(
                session,
                DataFile.open(path, mode=0o600),
                self.ledger,
                hold,
                lambda digest, size: self._name(repository, session, digest, size),
                lambda: self._forget(session),
            )
        except BaseException:
            self.ledger.give_back(session, hold)
            raise

    def _name(self, repository: str, session: str, digest: Digest, size: int) -> None:
        """Give a proven, synced upload its blob's name; with the transaction's end it exists.

        Until then it is an upload too: whoever is killed in between loses none of it.
        """
        path = self._upload_path(session)
        with writing(self.engine) as database:
            also_name(path, self._path(digest), path.with_name(f"{session}.named"))
            if database.execute(select(BLOBS.c.size).filter_by(digest=str(digest))).scalar() is None:
                database.execute(insert(BLOBS).values(digest=str(digest), size=size))
            self._link(database, _ensured(database, repository), digest)
            database.execute(delete(UPLOADS).filter_by(id=session))
        files.remove(path)

    def _forget(self, session: str) -> None:
        with writing(self.engine) as database:
            self._drop_upload(database, session)

    # --- manifests ---------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: Digest | str) -> Manifest | None:
        query = (
            select(MANIFESTS.c.digest, MANIFESTS.c.media_type, MANIFESTS.c.raw)
            .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower())
        )
        if isinstance(reference, Digest):
            query = query.where(MANIFESTS.c.digest == str(reference))
        else:
            tagged = (TAGS.c.repository == MANIFESTS.c.repository) & (TAGS.c.digest == MANIFESTS.c.digest)
            query = query.join(TAGS, tagged).where(TAGS.c.tag == reference)
        with reading(self.engine) as database:
            row = database.execute(query).first()
        return _manifest(*row) if row else None

    def publish(self, repository: str, manifest: Manifest, tag: str | None) -> None:
        with writing(self.engine) as database:
            found = _ensured(database, repository)
            for blob in manifest.blobs():
                if not _held(database, found, blob.digest):
                    raise NotFoundError(f"blob {blob.digest} is not in {repository}")
            for child in manifest.children:
                known = select(MANIFESTS.c.digest).filter_by(repository=found, digest=str(child.digest))
                if database.execute(known).scalar() is None:
                    raise NotFoundError(f"manifest {child.digest} is not in {repository}")
            self._keep(database, found, manifest)
            if tag is not None:
                database.execute(delete(TAGS).filter_by(repository=found, tag=tag))
                row = {"repository": found, "tag": tag, "digest": str(manifest.digest)}
                database.execute(insert(TAGS).values(**row))

    def _keep(self, database: Connection, repository: int, manifest: Manifest) -> None:
        same = {"repository": repository, "digest": str(manifest.digest)}
        if database.execute(select(MANIFESTS.c.digest).filter_by(**same)).scalar() is not None:
            return
        subject = str(manifest.subject.digest) if manifest.subject else None
        row = {**same, "media_type": manifest.media_type, "subject": subject, "raw": manifest.raw}
        database.execute(insert(MANIFESTS).values(**row, pushed=self.clock()))
        parts = dict.fromkeys(str(part.digest) for part in (*manifest.blobs(), *manifest.children))
        if parts:
            rows = [
                {"repository": repository, "manifest": str(manifest.digest), "part": part} for part in parts
            ]
            database.execute(insert(PARTS), rows)

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        with writing(self.engine) as database:
            found = _repository(database, repository)
            gone = delete(MANIFESTS).filter_by(repository=found, digest=str(digest))
            if found is None or not database.execute(gone).rowcount:
                raise NotFoundError(f"{repository} has no manifest {digest}")
            database.execute(delete(PARTS).filter_by(repository=found, manifest=str(digest)))
            database.execute(delete(TAGS).filter_by(repository=found, digest=str(digest)))

    def delete_tag(self, repository: str, tag: str) -> None:
        with writing(self.engine) as database:
            found = _repository(database, repository)
            gone = delete(TAGS).filter_by(repository=found, tag=tag)
            if found is None or not database.execute(gone).rowcount:
                raise NotFoundError(f"{repository} has no tag {tag}")

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        query = (
            select(TAGS.c.tag)
            .join(REPOSITORIES, REPOSITORIES.c.id == TAGS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), TAGS.c.tag > after)
            .order_by(TAGS.c.tag)
            .limit(limit)
        )
        with reading(self.engine) as database:
            return list(database.execute(query).scalars())

    def referrers(self, repository: str, digest: Digest) -> list[Manifest]:
        query = (
            select(MANIFESTS.c.digest, MANIFESTS.c.media_type, MANIFESTS.c.raw)
            .join(REPOSITORIES, REPOSITORIES.c.id == MANIFESTS.c.repository)
            .where(REPOSITORIES.c.name == repository.lower(), MANIFESTS.c.subject == str(digest))
            .order_by(MANIFESTS.c.pushed, MANIFESTS.c.digest)
        )
        with reading(self.engine) as database:
            return [_manifest(*row) for row in database.execute(query)]

    # --- what is no longer needed --------------------------------------------------------------------

    def collect(self, grace: float = GRACE) -> int:
        """Reclaim blobs that no manifest names, uploads nobody goes on with, and files that a crash left.

        The bytes given back. What was touched in the last `grace` seconds stays: a push may be on its way.
        Safe beside a running server.
        """
        before = self.clock() - grace
        reclaimed = 0
        with writing(self.engine) as database:
            stale = select(UPLOADS.c.id).where(UPLOADS.c.touched < before)
            for session in list(database.execute(stale).scalars()):
                written = files.status(self._upload_path(session))
                if written is None or written.modified < before:
                    reclaimed += self._drop_upload(database, session)
            needed = select(PARTS.c.part).where(
                PARTS.c.repository == LINKS.c.repository, PARTS.c.part == LINKS.c.digest
            )
            database.execute(delete(LINKS).where(LINKS.c.since < before, ~needed.exists()))
            held = select(LINKS.c.digest).where(LINKS.c.digest == BLOBS.c.digest)
            for text, size in list(
                database.execute(select(BLOBS.c.digest, BLOBS.c.size).where(~held.exists()))
            ):
                database.execute(delete(BLOBS).filter_by(digest=text))
                files.move(self._path(Digest.parse(text)), self._trash / text.replace(":", "-"))
                reclaimed += size
            reclaimed += self._drop_strays(database)
        self._empty_trash()
        return reclaimed

    def _drop_strays(self, database: Connection) -> int:
        """Remove the files that the database knows nothing of: a crash came between the two."""
        known = {self._upload_path(session) for session in database.execute(select(UPLOADS.c.id)).scalars()}
        known |= {
            self._path(Digest.parse(text)) for text in database.execute(select(BLOBS.c.digest)).scalars()
        }
        reclaimed = 0
        for path in (*_files(self.directory / "uploads"), *_files(self.directory / "blobs")):
            found = files.status(path)
            if path not in known and found is not None:
                files.remove(path)
                reclaimed += found.size
        return reclaimed

    def _drop_upload(self, database: Connection, session: str) -> int:
        path = self._upload_path(session)
        found = files.status(path)
        database.execute(delete(UPLOADS).filter_by(id=session))
        files.remove(path)
        return found.size if found else 0

    def _empty_trash(self) -> None:
        """Delete what was thrown away; what the database still names was not meant to be (a crash)."""
        with writing(self.engine) as database:
            for name in files.names(self._trash):
                digest = Digest.parse(name.replace("-", ":", 1))
                known = database.execute(select(BLOBS.c.size).filter_by(digest=str(digest))).scalar()
                if known is not None and files.status(self._path(digest)) is None:
                    files.move(self._trash / name, self._path(digest))
                else:
                    files.remove(self._trash / name)

    @property
    def _trash(self) -> Path:
        return self.directory / "trash"

    def _upload_path(self, session: str) -> Path:
        return self.directory / "uploads" / session

    def _path(self, digest: Digest) -> Path:
        return self.directory / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def _link(self, database: Connection, repository: int, digest: Digest) -> None:
        same = {"repository": repository, "digest": str(digest)}
        if not database.execute(update(LINKS).filter_by(**same).values(since=self.clock())).rowcount:
            database.execute(insert(LINKS).values(**same, since=self.clock()))


def _files(directory: Path) -> Iterator[Path]:
    """Every file below a directory."""
    for name in files.names(directory):
        found = files.status(directory / name)
        if found is not None and found.is_directory:
            yield from _files(directory / name)
        else:
            yield directory / name


def _repository(database: Connection, name: str) -> int | None:
    return database.execute(select(REPOSITORIES.c.id).filter_by(name=name.lower())).scalar()


def _ensured(database: Connection, name: str) -> int:
    found = _repository(database, name)
    if found is None:
        database.execute(insert(REPOSITORIES).values(name=name.lower()))
        found = _repository(database, name)
    if found is None:
        raise StorageError(f"the database lost the repository {name} it was just given")
    return found


def _held(database: Connection, repository: int, digest: Digest) -> bool:
    held = select(LINKS.c.digest).filter_by(repository=repository, digest=str(digest))
    return database.execute(held).scalar() is not None


def _manifest(digest: str, media_type: str, raw: bytes) -> Manifest:
    return Manifest.parse(raw, content_type=media_type, digest=Digest.parse(digest))
