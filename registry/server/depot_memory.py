"""The depot in memory: the fake that keeps the contract of the one on disk."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from registry.contracts import NOBODY, Actor, Blob, Document, Referrer, Tag, Upload
from registry.errors import CorruptError, InvalidError, NotFoundError, ProtocolError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.server.descriptors import descriptor, until_full
from registry.server.immutable import TagPattern, check_stays, taken
from registry.server.uploads import Owners, Ownership


@dataclass(slots=True)
class _Repository:
    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)


class MemoryDepot:
    """What a registry holds for as long as the process lives.

    `immutable`: the tags that stay where they are, for its maker to add to.
    """

    def __init__(self, owners: Owners | None = None) -> None:
        self.immutable: list[TagPattern] = []
        self._repositories: dict[str, _Repository] = {}
        self._blobs: dict[Digest, bytes] = {}
        self._uploads: dict[tuple[str, str], bytearray] = {}
        self._owners = owners or Owners()
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    # --- repositories and blobs --------------------------------------------------------------------

    def repositories(self, after: str, limit: int, readable: Callable[[str], bool]) -> list[str]:
        with self._lock:
            names = sorted(self._repositories)
        return [name for name in names if name > after.lower() and readable(name)][:limit]

    def exists(self, repository: str) -> bool:
        return repository.lower() in self._repositories

    def blob(self, repository: str, digest: Digest, *, renew: bool = False) -> Blob | None:
        with self._lock:
            if digest not in self._at(repository).blobs:
                return None
            data = self._blobs[digest]
        return Blob(len(data), lambda span: data[span.offset : span.offset + span.length])

    def holders(self, digest: Digest) -> list[str]:
        with self._lock:
            return sorted(name for name, each in self._repositories.items() if digest in each.blobs)

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        with self._lock:
            if digest not in self._at(source).blobs:
                return False
            self._made(repository).blobs.add(digest)
            return True

    def delete_blob(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        with self._lock:
            here = self._at(repository)
            if digest not in here.blobs:
                raise NotFoundError(f"{repository} holds no blob {digest}")
            for manifest in here.manifests.values():
                if any(part.digest == digest for part in manifest.blobs()):
                    raise InvalidError(f"a manifest of {repository} needs this blob")
            here.blobs.discard(digest)

    # --- uploads -----------------------------------------------------------------------------------

    def begin(self, repository: str) -> Upload:
        with self._lock:
            self._made(repository)
            session = f"upload-{next(self._ids)}"
            self._uploads[repository.lower(), session] = bytearray()
        return self.upload(repository, session)

    def upload(self, repository: str, session: str) -> Upload:
        self._data_of(repository, session)
        ownership = self._owners.take(session)
        try:  # the request before this one may just have finished it
            data = self._data_of(repository, session)
        except NotFoundError:
            self._owners.give_back(session, ownership)
            raise
        return MemoryUpload(session, self, repository, data, self._owners, ownership)

    def _data_of(self, repository: str, session: str) -> bytearray:
        with self._lock:
            data = self._uploads.get((repository.lower(), session))
        if data is None:
            raise NotFoundError(f"{repository} has no upload {session[:40]}")
        return data

    def take(self, repository: str, session: str, data: bytes, digest: Digest | None) -> None:
        """End a session: as the blob `digest`, or as nothing."""
        with self._lock:
            self._uploads.pop((repository.lower(), session), None)
            if digest is not None:
                self._blobs[digest] = data
                self._made(repository).blobs.add(digest)

    # --- manifests ---------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: Digest | str) -> Document | None:
        with self._lock:
            here = self._at(repository)
            tag = None if isinstance(reference, Digest) else here.tags.get(reference)
            digest = reference if isinstance(reference, Digest) else tag.digest if tag else None
            found = here.manifests.get(digest) if digest else None
        return Document(found.digest, found.media_type, found.raw) if found else None

    def why_immutable(self, repository: str, tag: str) -> str:
        try:
            with self._lock:
                self._check_stays(repository, tag)
        except ProtocolError as error:
            return error.message
        return ""

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
        """As promised, but that nobody asks this depot what is public."""
        tags = [*more] if tag is None else [tag, *more]
        with self._lock:
            for each in tags:
                self._check_stays(repository, each, manifest.digest)
                there = self._at(repository).tags.get(each)
                if if_absent and there is not None and there.digest != manifest.digest:
                    raise taken(repository, each, str(there.digest))
            here = self._at(repository)
            for blob in manifest.blobs():
                if blob.digest not in here.blobs:
                    raise NotFoundError(f"blob {blob.digest} is not in {repository}")
                if len(self._blobs[blob.digest]) != blob.size:
                    size = len(self._blobs[blob.digest])
                    raise InvalidError(f"blob {blob.digest} has {size} bytes, not {blob.size}")
            for child in manifest.manifests:
                if child.digest not in here.manifests:
                    raise NotFoundError(f"manifest {child.digest} is not in {repository}")
            here = self._made(repository)
            here.manifests[manifest.digest] = manifest
            for each in tags:
                here.tags[each] = Tag(each, manifest.digest, 0.0, actor.user)

    def delete_manifest(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        with self._lock:
            here = self._at(repository)
            if digest not in here.manifests:
                raise NotFoundError(f"{repository} has no manifest {digest}")
            children = (child.digest for each in here.manifests.values() for child in each.manifests)
            if digest in children:
                raise InvalidError(f"an index of {repository} needs this manifest")
            for tag in here.tags:
                if here.tags[tag].digest == digest:
                    self._check_stays(repository, tag)
            del here.manifests[digest]
            here.tags = {tag: each for tag, each in here.tags.items() if each.digest != digest}

    def delete_tag(self, repository: str, tag: str, actor: Actor = NOBODY) -> None:
        with self._lock:
            self._check_stays(repository, tag)
            if self._at(repository).tags.pop(tag, None) is None:
                raise NotFoundError(f"{repository} has no tag {tag}")

    def tags(self, repository: str, after: str, limit: int) -> list[Tag]:
        with self._lock:
            tags = sorted(self._at(repository).tags.items())
        return [each for tag, each in tags if tag > after][:limit]

    def referrers(
        self, repository: str, digest: Digest, kind: str | None, after: str, limit: int
    ) -> list[Referrer]:
        with self._lock:
            manifests = sorted(self._at(repository).manifests.values(), key=lambda each: str(each.digest))
        found = (
            Referrer(each.digest, descriptor(each))
            for each in manifests
            if each.subject
            and each.subject.digest == digest
            and kind in (None, each.referrer_type)
            and str(each.digest) > after
        )
        return until_full(islice(found, limit))

    def _check_stays(self, repository: str, tag: str, but: Digest | None = None) -> None:
        """ProtocolError if the tag is there and is to stay, unless it stands for `but`."""
        old = self._at(repository).tags.get(tag)
        if old is not None and old.digest != but:
            check_stays(self.immutable, repository, tag, str(old.digest))

    def _at(self, repository: str) -> _Repository:
        return self._repositories.get(repository.lower()) or _Repository()

    def _made(self, repository: str) -> _Repository:
        return self._repositories.setdefault(repository.lower(), _Repository())


class MemoryUpload:
    """One request's view of an upload session; the newest request has it."""

    def __init__(
        self,
        session: str,
        depot: MemoryDepot,
        repository: str,
        data: bytearray,
        owners: Owners,
        ownership: Ownership,
    ) -> None:
        self.id = session
        self._depot = depot
        self._repository = repository
        self._data = data
        self._owners = owners
        self._ownership = ownership

    @property
    def received(self) -> int:
        return len(self._data)

    def rewind(self, offset: int) -> None:
        with self._ownership.used():
            if offset > len(self._data):
                raise InvalidError(f"byte {offset} does not follow the {len(self._data)} that are here")
            del self._data[offset:]

    def write(self, data: bytes) -> None:
        with self._ownership.used():
            self._data += data

    def is_hashed(self, digest: Digest) -> bool:
        return False

    def hash_more(self, digest: Digest) -> bool:
        return False

    def commit(self, digest: Digest) -> None:
        with self._ownership.used():
            proven = Digest.of(bytes(self._data), digest.algorithm) == digest
            self._depot.take(self._repository, self.id, bytes(self._data), digest if proven else None)
            if not proven:
                raise CorruptError(f"the {len(self._data)} bytes that arrived are not {digest}")

    def cancel(self) -> None:
        with self._ownership.used():
            self._depot.take(self._repository, self.id, b"", None)

    def close(self) -> None:
        self._owners.give_back(self.id, self._ownership)
