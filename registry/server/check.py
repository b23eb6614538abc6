"""Looks whether every blob of the catalogue is there, of its size and of its digest; hides what is not.

A hidden blob is not there for anybody, so that the next push brings it anew; its row and its bytes stay, and
it is shown again when they are right. An error of the disk says nothing about the bytes, and hides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, update

from registry.contracts import NOBODY, Actor
from registry.disk import files
from registry.errors import NotFoundError, StorageError
from registry.model.digests import Digest
from registry.model.spans import FileSpan, Span
from registry.server.audit import record
from registry.server.catalogue import AT_ONCE
from registry.server.database import reading, writing
from registry.server.depot import DiskDepot
from registry.server.tables import BLOBS, LINKS, PARTS, REPOSITORIES, TAGS

FEW = 10  # blobs that a repair hides unasked, or
SHARE = 0.01  # this part of all: with more it is rather the disk that is not there


class Wrong(StrEnum):
    """What is wrong with a blob's bytes."""

    MISSING = "missing"
    SIZE = "size"
    DIGEST = "digest"
    UNREADABLE = "unreadable"
    RIGHT = "right"  # one that was hidden, and is right again


@dataclass(frozen=True, slots=True)
class DamagedBlob:
    """One blob that is not as the catalogue has it; `tags` are those that need it, `repository:tag`.

    `hidden`: a repair took it out of sight, and no push has brought it since.
    """

    digest: Digest
    wrong: Wrong
    repositories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    hidden: bool = False


def _at_once(_length: int) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """Examines the blobs of one depot, also while it is served.

    `pace` is told of each piece that was read, in bytes, and waits; False ends that blob, taken as right.
    """

    depot: DiskDepot
    hashing: bool = False
    pace: Callable[[int], bool] = _at_once

    def findings(self) -> Iterator[DamagedBlob]:
        """Every blob that is wrong, hidden or not, and every hidden one that is right again."""
        for digest, size, hidden in self._blobs():
            wrong = self.look(digest, size, hashing=self.hashing or hidden)
            if wrong is not None or hidden:
                yield DamagedBlob(digest, wrong or Wrong.RIGHT, *self._needed_by(digest), hidden)

    def one(self, digest: Digest, size: int) -> DamagedBlob | None:
        """What is wrong with one blob; None also if it has left the catalogue meanwhile."""
        wrong = self.look(digest, size, hashing=self.hashing)
        if wrong is None:
            return None
        known = select(BLOBS.c.size).where(BLOBS.c.digest == str(digest), BLOBS.c.hidden.is_(None))
        with reading(self.depot.engine) as database:
            if database.execute(known).first() is None:
                return None
        return DamagedBlob(digest, wrong, *self._needed_by(digest))

    def look(self, digest: Digest, size: int, *, hashing: bool) -> Wrong | None:
        """What is wrong with the bytes of a blob. A digest that differs is read a second time."""
        try:
            there = files.status(self._bytes(digest, size).path)
            if there is None:
                return Wrong.MISSING
            if there.size != size:
                return Wrong.SIZE
            if hashing and not self._hashes(digest, size) and not self._hashes(digest, size):
                return Wrong.DIGEST
        except NotFoundError:
            return Wrong.MISSING
        except StorageError:
            return Wrong.UNREADABLE
        return None

    def repair(
        self, findings: Sequence[DamagedBlob], *, however_many: bool = False, actor: Actor = NOBODY
    ) -> int:
        """Hide what is wrong, and show what is right again; how many blobs that were.

        StorageError, and nothing is changed, if that would hide many, or all that there are.
        """
        kept = (Wrong.RIGHT, Wrong.UNREADABLE)
        hide = [each for each in findings if each.wrong not in kept and not each.hidden]
        show = [each for each in findings if each.wrong is Wrong.RIGHT]
        if hide and not however_many and self._looks_unmounted(hide):
            raise StorageError(
                f"{len(hide)} blob{'s are' if len(hide) > 1 else ' is'} missing or wrong, which looks like a "
                "disk that is not there rather than like damage: nothing was changed",
                hint="see whether the disk is mounted; --yes repairs however many there are",
            )
        for found, hidden in ((hide, self.depot.clock()), (show, None)):
            for each in found:
                with writing(self.depot.engine) as database:
                    change = update(BLOBS).where(BLOBS.c.digest == str(each.digest))
                    database.execute(change.values(hidden=hidden))
                    action = "blob.hide" if hidden is not None else "blob.show"
                    record(
                        database, self.depot.clock(), actor, action, each.wrong.value, digest=str(each.digest)
                    )
        return len(hide) + len(show)

    def _looks_unmounted(self, hide: Sequence[DamagedBlob]) -> bool:
        """Whether these are many, or every one of several is missing, or the place of all blobs is."""
        hidden = [hidden for _, _, hidden in self._blobs()]
        missing = sum(each.wrong is Wrong.MISSING for each in hide)
        return (
            len(hide) > max(FEW, int(SHARE * len(hidden)))
            or missing == hidden.count(False) > 1
            or not self.depot.blobs.exists()
        )

    def _blobs(self) -> Iterator[tuple[Digest, int, bool]]:
        after = ""
        while True:
            query = select(BLOBS.c.digest, BLOBS.c.size, BLOBS.c.hidden).where(BLOBS.c.digest > after)
            with reading(self.depot.engine) as database:
                rows = database.execute(query.order_by(BLOBS.c.digest).limit(AT_ONCE)).all()
            for row in rows:
                yield Digest.parse(row.digest), row.size, row.hidden is not None
            if not rows:
                return
            after = rows[-1].digest

    def _hashes(self, digest: Digest, size: int) -> bool:
        hasher = digest.hasher()
        for chunk in files.read_span(self._bytes(digest, size)):
            hasher.update(chunk)
            if not self.pace(len(chunk)):
                return True
        return digest.matches(hasher)

    def _bytes(self, digest: Digest, size: int) -> FileSpan:
        """Where they are, also in the trash: a look brings nothing back from there."""
        return self.depot.blobs.kept(digest, Span(0, size))

    def _needed_by(self, digest: Digest) -> tuple[tuple[str, ...], tuple[str, ...]]:
        held = select(REPOSITORIES.c.name).join(LINKS, LINKS.c.repository == REPOSITORIES.c.id)
        named = (
            select(REPOSITORIES.c.name, TAGS.c.tag)
            .join(TAGS, TAGS.c.repository == REPOSITORIES.c.id)
            .join(PARTS, (PARTS.c.repository == TAGS.c.repository) & (PARTS.c.manifest == TAGS.c.digest))
            .where(PARTS.c.part == str(digest))
            .order_by(REPOSITORIES.c.name, TAGS.c.tag)
        )
        with reading(self.depot.engine) as database:
            names = database.execute(held.where(LINKS.c.digest == str(digest)).order_by(REPOSITORIES.c.name))
            repositories = tuple(names.scalars())
            tags = tuple(f"{name}:{tag}" for name, tag in database.execute(named))
        return repositories, tags
