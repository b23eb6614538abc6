"""What the event loop may ask of a depot: what a few small rows decide, and bytes that are in memory.

Everything that waits for a disk, or writes, is a thread's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial

from sqlalchemy import Engine

from registry.contracts import Blob, Upload
from registry.disk.files import Status
from registry.model.digests import Digest
from registry.model.spans import FileSpan, Span
from registry.server.depot import DiskDepot


class ThreadNeededError(Exception):
    """To answer this one waits for a disk or for others."""


@dataclass(frozen=True, slots=True)
class PromptDepot(DiskDepot):
    """The same depot over a connection that never waits and writes nothing.

    `whole`: that depot. Its threads finish what is begun here.
    """

    whole: DiskDepot = field(kw_only=True)

    @classmethod
    def before(cls, whole: DiskDepot, quick: Engine) -> PromptDepot:
        """In front of `whole`; `quick` is a connection to its database."""
        shared = {each.name: getattr(whole, each.name) for each in fields(whole) if each.init}
        return cls(**{**shared, "engine": quick}, whole=whole)

    def blob(self, repository: str, digest: Digest, *, renew: bool = False) -> Blob | None:
        """What is small and was asked for before; None for what is not there."""
        known = self.catalogue.size(repository, digest)
        if known is None:
            return None
        if renew or digest not in self.small:
            raise ThreadNeededError
        file = self.blobs.file(digest)
        if file is None or file.size != known:
            raise ThreadNeededError
        return Blob(known, partial(self._in_memory, digest, file))

    def _in_memory(self, digest: Digest, file: Status, span: Span) -> bytes | FileSpan:
        data = self.small.get(digest, file)
        if data is None:
            raise ThreadNeededError
        return data[span.offset : span.end]

    def holders(self, digest: Digest) -> list[str]:
        raise ThreadNeededError

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        if self.catalogue.size(source, digest) is not None:
            raise ThreadNeededError
        return False

    def begin(self, repository: str) -> Upload:
        if self.is_crowded:
            raise ThreadNeededError
        return self.whole.begin(repository)

    def upload(self, repository: str, session: str) -> Upload:
        """One that has no file yet."""
        begun = self.begun.get(session)
        if begun is None or not begun.empty:
            raise ThreadNeededError
        return self.whole.upload(repository, session)
