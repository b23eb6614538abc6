"""What the parts are to each other, on one page.

A *target* is somewhere models live: the local store, a registry, a bundle, memory. `transfer` moves
models between targets and knows nothing else of them. A *depot* is what the embedded registry keeps.
All sizes and offsets are bytes, all times seconds.

Rules every implementation keeps:
- errors are raised by the call, never by a generator's first item; a stream that breaks in the middle
  raises TransientError;
- an error of a stream handed in passes through unchanged;
- a blob is visible only when every byte of it was proven, a name only when all its blobs are there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import FileSpan, Span, Spans


class How(StrEnum):
    """How a blob came to be at its destination."""

    PRESENT = "present"
    FETCHED = "fetched"
    RESUMED = "resumed"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class Stream(Protocol):
    """Bytes read once, in order; `close` gives up what was not read."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source answered: the bytes of `span`.

    A registry without ranges answers with the whole blob, so `span` may be wider than what was asked;
    `stream` then begins at `span.offset`, and yields exactly `span.length` bytes or raises.
    """

    span: Span
    stream: Stream


class Source(Protocol):
    """Somewhere models can be read from."""

    def resolve(self, name: Name) -> Manifest:
        """The manifest `name` stands for. NotFoundError, DeniedError, InvalidError (unreadable)."""

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        """Begin to read `span` of a blob of `name`. NotFoundError if the blob is not there."""


@dataclass(frozen=True, slots=True)
class ChunkRules:
    """How an intake wants its bytes: each write between `least` and `most` bytes (the last may be less).

    `ordered`: one write after another, each where the last one ended; what a write brought is kept when
    `received` says so after it, and after a failed one the intake may want its bytes otherwise: it is asked
    before each. Else any number side by side, and each byte is kept as it is taken.
    """

    ordered: bool
    first: int
    least: int
    most: int


class Intake(Protocol):
    """One blob on its way into a destination. Safe for writes side by side unless ordered."""

    @property
    def how(self) -> How:
        """What the blob will have come by, once committed."""

    @property
    def chunk_rules(self) -> ChunkRules:
        """How it wants its bytes."""

    @property
    def received(self) -> Spans:
        """What is there already, from this run or an earlier one."""

    def write(self, span: Span, chunks: Iterable[bytes]) -> None:
        """Take exactly `span.length` bytes from `chunks` (more, or fewer: ProtocolError).

        After an error, `resume` must be called before the next write of an ordered intake.
        """

    def resume(self) -> None:
        """After a failed write: find out what was kept, so that `received` is true again."""

    def prove(self) -> None:
        """Hash along the contiguous front until the whole blob is hashed; meant for a thread of its own.

        An ordered intake is asked when everything was written, and returns at once where the far side does
        the proving. CorruptError if the bytes are not the digest's.
        """

    def suspect(self) -> Spans:
        """After `prove` failed: drop the bytes that this side damaged, and say which those were.

        Empty if all bytes are as they came: then the source sent them wrong.
        """

    def differs(self, span: Span, chunks: Iterable[bytes]) -> bool:
        """Whether a second reading of `span` differs from what was kept; if so `span` is missing again."""

    def commit(self) -> None:
        """Give the proven blob its name. CorruptError, StorageError; nothing is visible before."""

    def close(self) -> None:
        """Let go; what was received is kept for a later run where that is possible. May come twice."""


@dataclass(frozen=True, slots=True)
class BusyElsewhere:
    """A blob that another copy on this machine is receiving into the same place right now.

    `received()` is how many bytes that copy has; `over()` whether it ended, well or not: then ask the
    destination again. `written()` is another number whenever a byte arrived there. `process` is the number
    of the process that makes that copy, where it is known; `ours` whether it is this very process.
    """

    received: Callable[[], int]
    over: Callable[[], bool]
    written: Callable[[], float]
    process: int | None = None
    ours: bool = False

    @property
    def who(self) -> str:
        """For people: `process 4711`."""
        if self.ours:
            return "another copy of this process"
        return f"process {self.process}" if self.process else "another process"


class Destination(Protocol):
    """Somewhere models can be written to."""

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Refuse, before a byte moves, what could not be published under `name`.

        InvalidError for a name or kind of manifest this place cannot hold, StorageError where the blobs
        that are missing do not fit (needed minus present minus already received, against what is free).
        """

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The blob's size if it is there and proven, else None. A blob of another size is not there."""

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | BusyElsewhere | None:
        """Begin or go on to take a blob. BusyElsewhere while another process does; None if it is there.

        `near`: a name at the same place that is known to hold the blob, so that it may be mounted.
        """

    def current(self, name: Name) -> Digest | None:
        """The digest `name` stands for now; None if for nothing, or where that is not told."""

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """Make `name` stand for `manifest`, at one instant. InvalidError while a blob of it is missing.

        `was` is what `current` said: where that is this manifest, nothing has to be written.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a listing; where the place does not say, `modified` (Unix seconds) is None and `by` empty."""

    name: Name
    digest: Digest
    size: int | None = None
    modified: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a registry says of a tag: what it stands for, since when (Unix seconds), and by whom."""

    digest: Digest
    moved: float | None = None
    by: str = ""


class Target(Source, Destination, Protocol):
    """Somewhere models live."""

    def tags(self, name: Name) -> Iterator[str]:
        """The tags of `name`'s repository, sorted. NotFoundError if there is no such repository."""


class Referring(Target, Protocol):
    """A target where manifests may refer to others, as signatures do (OCI image specification, `subject`)."""

    def referrers(self, name: Name, tags: Container[str] | None = None) -> Sequence[Descriptor]:
        """The manifests whose subject is the digest `name`.

        `tags` are those of the repository that refer to it, where they are known: some places keep referrers
        under one.
        """

    def refer(self, name: Name, found: Sequence[Descriptor]) -> None:
        """Have `found`, which are there, listed as referring to the digest `name`."""


# --- the embedded registry ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, for the record: account, credential and address, "" where there is none."""

    user: str = ""
    credential: str = ""
    address: str = ""


NOBODY = Actor()


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob a repository holds: its size in bytes, and what an answer's body is for a span of it."""

    size: int
    content: Callable[[Span], bytes | FileSpan]


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as it is kept: proven and checked when it came, so that it need not be read again."""

    digest: Digest
    media_type: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag in a listing: since when (Unix seconds) it stands for `digest`, and who made it so."""

    tag: str
    digest: Digest
    moved: float
    moved_by: str


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that has another as its subject, and how a list of referrers names it (JSON)."""

    digest: Digest
    descriptor: str


class Upload(Protocol):
    """An upload session of one repository: bytes appended in order until a digest closes it."""

    @property
    def id(self) -> str:
        """Its name in the upload URL."""

    @property
    def received(self) -> int:
        """How many bytes are held."""

    def rewind(self, offset: int) -> None:
        """Forget everything from `offset` on; InvalidError beyond what is held."""

    def write(self, data: bytes) -> None:
        """Append. StorageError when the disk is full or broken; what fitted is kept."""

    def is_hashed(self, digest: Digest) -> bool:
        """Whether what is here was hashed as it came, so that `commit(digest)` has nothing more to read."""

    def hash_more(self, digest: Digest) -> bool:
        """Hash some of the bytes that `commit(digest)` would have to; whether some are left. Bounded time."""

    def commit(self, digest: Digest) -> None:
        """Prove, make durable and name the blob in its repository: after this returns it survives SIGKILL.

        CorruptError keeps nothing.
        """

    def cancel(self) -> None:
        """Drop the session and its bytes, unless they are a blob by now."""

    def close(self) -> None:
        """Let go, keeping what was received."""


class Depot(Protocol):
    """What the embedded registry keeps: which repository holds what. Repositories compare without case."""

    def repositories(self, after: str, limit: int, readable: Callable[[str], bool]) -> list[str]:
        """At most `limit` repositories behind `after` that are `readable`, in order."""

    def exists(self, repository: str) -> bool:
        """Whether anything was ever published or uploaded there."""

    def blob(self, repository: str, digest: Digest, *, renew: bool = False) -> Blob | None:
        """The blob, if this repository holds it and its bytes are there, all of them.

        `renew`: a push is on its way that may need it, so it is kept for a while whatever names it.
        """

    def holders(self, digest: Digest) -> list[str]:
        """The repositories that hold the blob."""

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Let `repository` hold what `source` holds; False if `source` does not."""

    def delete_blob(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        """NotFoundError; InvalidError while a manifest of the repository names it."""

    def begin(self, repository: str) -> Upload:
        """A new, empty upload session."""

    def upload(self, repository: str, session: str) -> Upload:
        """The session, for its newest caller: an older one that stood still gets TransientError from now on.

        NotFoundError; TransientError while an older caller is at work on it.
        """

    def manifest(self, repository: str, reference: Digest | str) -> Document | None:
        """The manifest a digest or tag stands for."""

    def why_immutable(self, repository: str, tag: str) -> str:
        """The sentence that moving the tag is refused with; "" for one that may be moved."""

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
        """Keep the manifest and point the tag at it, and those of `more`, in one transaction.

        `public`: whether anybody may read the repository from then on; None leaves that as it is.
        `if_absent`: no tag is moved that stands for another manifest (ProtocolError), also in a race of two.
        NotFoundError naming the digest of a layer, config or child that the repository does not hold;
        InvalidError where it holds one of another size; ProtocolError for a tag that is to stay where it is.
        """

    def delete_manifest(self, repository: str, digest: Digest, actor: Actor = NOBODY) -> None:
        """Delete it and every tag that stands for it.

        NotFoundError; InvalidError while an index needs it; ProtocolError if one of the tags is to stay.
        """

    def delete_tag(self, repository: str, tag: str, actor: Actor = NOBODY) -> None:
        """Delete the tag only. NotFoundError; ProtocolError if it is to stay."""

    def tags(self, repository: str, after: str, limit: int) -> list[Tag]:
        """At most `limit` tags behind `after`, in order."""

    def referrers(
        self, repository: str, digest: Digest, kind: str | None, after: str, limit: int
    ) -> list[Referrer]:
        """At most `limit` manifests whose subject is `digest`, behind the digest `after`, in order.

        Fewer where they are large: those of one page (`server.descriptors.PAGE_BYTES`) and the next.

        `kind`: only those of that artifact type.
        """


# --- time and chance are arguments ---------------------------------------------------------------------

Clock = Callable[[], float]
"""Seconds: Unix time where a peer sees it, monotonic where it measures."""

NewId = Callable[[], str]
"""A fresh unguessable identifier."""
