"""A registry over HTTP as a target: OCI distribution 1.1, with Ollama's manifest type.

Says what is asked next; how it is signed and sent is the transport's business.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from registry.contracts import Intake, Publication, Reading
from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    NotFoundError,
    ProtocolError,
    Reason,
    TransientError,
)
from registry.model.digests import Digest
from registry.model.manifests import MANIFEST_BYTES, Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets import referrers
from registry.targets.access import reading
from registry.targets.answer_checks import check_digest, garbled, span_of
from registry.targets.direct import Direct
from registry.targets.listing import PAGE, listed
from registry.targets.manifest_push import ACCEPT, ManifestPush, PushOptions
from registry.targets.methods import Methods, memory_methods
from registry.targets.mounted import MountedIntake
from registry.targets.peer import Peer
from registry.targets.publications import publications
from registry.targets.refused import Refused
from registry.targets.sessions import Sessions, memory_sessions
from registry.targets.small_uploads import SinglePostIntake, SinglePosts, mounted_onto_itself
from registry.targets.upload import FIRST_PART, SMALL_BYTES, UploadIntake
from registry.wire import faults, routes
from registry.wire.headers import Headers
from registry.wire.immutable import IMMUTABLE
from registry.wire.messages import Access

# Nobody answered that could be believed: the registry has refused nothing.
_NOT_ITSELF = (
    Reason.CERTIFICATE,
    Reason.CERTIFICATE_HOST,
    Reason.CERTIFICATE_DATES,
    Reason.CLIENT_CERTIFICATE,
)
_CHANCES = 4  # for a list that another process puts at the same time
_SENTENCE = 500  # characters of why a registry does not do something


@dataclass(frozen=True, slots=True)
class Remote:
    """The registry `peer`; `sessions` remembers the uploads that were begun there.

    With `direct`, blobs go past it to its storage where it offers that. `methods` remembers how it takes
    bytes, `refused` what it does not do, `single_posts` what it offers; `first_part` is how many bytes an
    upload's first PATCH brings. `options` is what a push asks for besides.
    """

    peer: Peer
    sessions: Sessions = field(default_factory=memory_sessions)
    direct: Direct | None = None
    first_part: int = FIRST_PART
    methods: Methods = field(default_factory=memory_methods)
    options: PushOptions = field(default_factory=PushOptions)
    refused: Refused = field(default_factory=Refused)
    single_posts: SinglePosts = field(default_factory=SinglePosts)
    immutable: dict[str, tuple[Digest, str]] = field(default_factory=dict)  # by name: it stays, and why
    recent: dict[Name, Digest | None] = field(default_factory=dict)  # what names stood for, for one check
    merging: threading.Lock = field(default_factory=threading.Lock, compare=False)  # lists of referrers

    # --- reading -----------------------------------------------------------------------------------

    def resolve(self, name: Name) -> Manifest:
        """The manifest; ProtocolError if it breaks a rule, CorruptError if it is not the digest's."""
        doing = f"reading the manifest of {name}"
        path = routes.manifest(name.repository, name.reference)
        response = self.peer.ask("GET", path, doing, ok=(200,), access=reading(name), headers=ACCEPT)
        raw = self.peer.read(response, MANIFEST_BYTES, doing)
        if faults.is_web_page(raw):
            raise faults.web_page(doing, self.peer.host)
        check_digest(self.peer, raw, str(name.digest or ""), doing)
        check_digest(self.peer, raw, response.headers.get("Docker-Content-Digest"), doing)
        algorithm = name.digest.algorithm if name.digest else "sha256"
        try:
            return Manifest.parse(
                raw, content_type=response.headers.get("Content-Type"), digest=Digest.of(raw, algorithm)
            )
        except InvalidError as error:
            raise ProtocolError(
                f"{doing}: {self.peer.host} sent one that cannot be used: {error.message}",
                host=self.peer.host,
                name=str(name),
            ) from None

    def digest(self, name: Name) -> Digest:
        """The digest `name` stands for, by one HEAD where the registry tells it."""
        doing = f"asking for {name}"
        path = routes.manifest(name.repository, name.reference)
        try:
            response = self.peer.head(path, doing, access=reading(name), headers=ACCEPT)
            if response is None:
                return self.resolve(name).digest
            self.single_posts.begin(name.repository, response.headers)
            if response.status == 404:
                raise self.peer.error_of(self.peer.refusal(response, doing), doing)
            digest = Digest.parse(response.headers.get("Docker-Content-Digest"))
            if why := response.headers.get(IMMUTABLE):
                self.immutable[str(name)] = digest, faults.printable(why)[:_SENTENCE]
            return digest
        except InvalidError:
            return self.resolve(name).digest
        except ProtocolError as error:
            if not error.garbled:  # a redirect to a link that is signed for GET
                raise
            return self.resolve(name).digest

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        """`span` of a blob, or all of it where the registry has no ranges."""
        doing = f"reading blob {blob.digest.short} of {name}"
        whole = span == Span(0, blob.size)
        wanted = Headers({} if whole else {"Range": f"bytes={span.offset}-{span.end - 1}"})
        path = routes.blob(name.repository, blob.digest)
        response = self.peer.ask("GET", path, doing, ok=(200, 206, 416), access=reading(name), headers=wanted)
        if response.status == 416:
            refusal = self.peer.refusal(response, doing)
            raise garbled(self.peer, self.peer.error_of(refusal, doing).message)
        try:
            self.peer.check_coding(response, doing)
            got = span_of(self.peer, response, blob, span, doing)
        except ProtocolError:
            response.close()
            raise
        return Reading(got, self.peer.stream(response, got.length, doing))

    def size(self, name: Name, blob: Descriptor) -> int | None:
        """The size a HEAD tells, if it is the descriptor's: the registry has proven what it holds.

        Not known (None) where it answers no HEAD, or sends it on to a link that is signed for GET.
        """
        if (name.repository, blob.digest) in self.refused.blobs:
            return None
        doing = f"asking for blob {blob.digest.short} of {name}"
        path = routes.blob(name.repository, blob.digest)
        try:
            response = self.peer.head(path, doing, access=reading(name))
        except ProtocolError as error:
            if not error.garbled:
                raise
            return None
        if response is None:
            return None
        length = response.headers.get("Content-Length") or str(blob.size)
        return blob.size if response.status == 200 and length == str(blob.size) else None

    def tags(self, name: Name) -> Iterator[str]:
        """Every tag of the repository, sorted."""
        path = routes.tags(name.repository, limit=PAGE)
        return listed(self.peer, path, "tags", f"listing the tags of {name.repository}", reading(name))

    def publications(self, name: Name) -> Mapping[str, Publication | None]:
        """Every tag of the repository, sorted, and what the registry says of it: most say nothing."""
        said: dict[str, Publication] = {}
        path = routes.tags(name.repository, limit=PAGE)
        doing = f"listing the tags of {name.repository}"
        tags = listed(self.peer, path, "tags", doing, reading(name), said)
        return {tag: said.get(tag) for tag in tags}

    def publication(self, name: Name) -> Publication | None:
        """What the registry says of one tag, if it is one that says such things."""
        doing = f"looking when {name} was published"
        for page in self.peer.pages(routes.tags(name.repository, limit=PAGE), doing, reading(name)):
            said = dict(publications(page))
            if name.tag in said or not said:
                return said.get(name.tag)
        return None

    def repositories(self) -> Iterator[str]:
        """Every repository the caller may read; NotFoundError or ProtocolError without a catalogue."""
        path = routes.catalog(limit=PAGE)
        return listed(self.peer, path, "repositories", "listing the repositories", None)

    def referrers(self, name: Name, tags: Container[str] | None = None) -> Sequence[Descriptor]:
        """What refers to the manifest `name`, a digest: by the registry's list, else by the tag for that.

        Where `tags` are known and that is not among them, it is not asked for.
        """
        if not self.refused.referrers.is_set():
            found = referrers.listed(self.peer, name)
            if found is not None:
                return found
            self.refused.referrers.set()
        tag = referrers.fallback(name)
        if tags is not None and tag.tag not in tags:
            return ()
        try:
            return self.resolve(tag).children
        except NotFoundError:
            return ()

    # --- writing -----------------------------------------------------------------------------------

    def prepare(self, name: Name, manifest: Manifest) -> None:
        """Refuse what the registry has said, or says now, that it would refuse at the end."""
        self._push.check(name, manifest)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
        """A mount where `near` is another repository here, else an upload; a remembered one goes on.

        A mount comes first: each of many models that share a blob may have begun an upload of it.
        A small blob may be sent without asking for it: then the one request comes with `commit`.
        """
        believed = (name.repository, blob.digest) not in self.refused.blobs
        source = near if near is not None and near.repository != name.repository and believed else None
        alone = blob.size <= SMALL_BYTES and source is None and believed
        if alone and near is None and self.single_posts.take(name.repository, blob.size):
            posted = SinglePostIntake(self.single_posts, self.peer, self.sessions, self.methods, name, blob)
            if posted.is_by_one_body:
                return posted
        intake = self._upload(name, blob, self.sessions)
        if alone:
            mounted = mounted_onto_itself(intake, name, self.refused, self.single_posts)
            if mounted is not None:
                return intake if mounted.status == 202 else None
        if self.size(name, blob) is not None:
            return None
        goes_on = intake.remembered()
        if source is not None:
            mounting = self._upload(name, blob, memory_sessions()) if goes_on else intake
            with contextlib.suppress(DeniedError):  # no right to read there: the bytes go up instead
                if mounting.mount(source).status == 201:
                    intake.forget()
                    return MountedIntake(blob)
                return intake
        if goes_on:
            return intake
        if self.direct is not None and blob.size > SMALL_BYTES:
            begun = self.direct.begin(self.peer, intake, blob)
            if begun is not None:
                return begun
            if self.size(name, blob) is not None:  # it said so, and now it must be seen
                return None
        self.single_posts.hear(intake.begin().headers)
        return intake

    def _upload(self, name: Name, blob: Descriptor, sessions: Sessions) -> UploadIntake:
        return UploadIntake(self.peer, sessions, self.methods, name, blob, self.first_part)

    def current(self, name: Name) -> Digest | None:
        """What `name` stands for; None also where the registry refuses to say, or is broken there."""
        try:
            there: Digest | None = self.digest(name)
        except NotFoundError:
            there = None
        except DeniedError as error:
            if error.reason in _NOT_ITSELF:
                raise
            return None
        except TransientError as error:
            path = routes.manifest(name.repository, name.reference)
            is_busy = not error.answered or error.retry_after is not None  # then it is asked nothing more
            if is_busy or not self.peer.is_broken(path, access=reading(name), headers=ACCEPT):
                raise
            return None
        except ProtocolError as error:
            if error.reason is Reason.HTTPS_THERE:  # then nothing else is answered either
                raise
            return None
        if self.options.asks:
            self.recent[name] = there
        return there

    def publish(self, name: Name, manifest: Manifest, was: Digest | None = None) -> None:
        """Put the manifest and read it back: done only when exactly those bytes are returned."""
        self._push.publish(name, manifest, was)

    @property
    def _push(self) -> ManifestPush:
        return ManifestPush(self.peer, self.digest, self.refused, self.immutable, self.options, self.recent)

    def refer(self, name: Name, found: Sequence[Descriptor]) -> None:
        """Have `found`, which are here, listed as referring to `name`; most registries do that themselves."""
        if not self.refused.referrers.is_set() and referrers.listed(self.peer, name) is None:
            self.refused.referrers.set()
        if self.refused.referrers.is_set():
            with self.merging:  # of two threads each would put the list without what the other adds
                self._list(referrers.fallback(name), found)

    def _list(self, tag: Name, found: Sequence[Descriptor]) -> None:
        """Have the index `tag` name `found` too. CorruptError if others put theirs again and again."""
        for chance in range(1, _CHANCES + 1):
            try:
                there: Manifest | None = self.resolve(tag)
            except NotFoundError:
                there = None
            index = referrers.merged(there, found)
            if index is None:
                break
            try:
                replace(self._push, options=PushOptions()).publish(tag, index, None)
                break
            except CorruptError:  # another process put its own, which may lack ours
                if chance == _CHANCES:
                    raise

    def untag(self, name: Name) -> bool:
        """Delete the tag alone; False where the registry deletes by digest only. NotFoundError."""
        doing = f"deleting {name}"
        path = routes.manifest(name.repository, name.reference)
        deleting = Access(name.repository, ("delete",))
        response = self.peer.ask("DELETE", path, doing, ok=(200, 202, 204, 400, 405), access=deleting)
        if response.status < 400:
            return True
        refusal = self.peer.refusal(response, doing)
        if name.digest is not None:
            raise self.peer.error_of(refusal, doing)
        return False
