"""One name of a mirror: compared, then copied with what refers to it; or only looked at."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from registry.errors import NotFoundError, ProtocolError, Reason, Side
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.nesting import all_blobs, all_manifests
from registry.model.selection import attached_to, lists_referrers
from registry.transfer.copy import copy
from registry.transfer.engine import Engine
from registry.transfer.pairs import Pair, Referrers
from registry.transfer.progress import Report

T = TypeVar("T")

_DIGITS = 64  # of a digest that a tag has at least: of longer ones the rest may be cut off
_DEEPEST = 4  # referrers of referrers
_MOST = 10_000  # manifests of one name that are asked about for what refers to them


@dataclass(frozen=True, slots=True)
class Done:
    """What a name is from now on; the bytes that moved for it, or would move or be mounted."""

    digest: Digest
    transferred: int = 0
    would_move: int = 0
    would_mount: int = 0


class NameTask(Protocol):
    """What is done with each name."""

    def compare(self, pair: Pair) -> tuple[Digest | None, Digest | None]:
        """What it is at its source and at its destination; None where it is not, or that is not told."""

    def same(self, pair: Pair, digest: Digest) -> Done:
        """Both ends agree; what refers to it may be new all the same."""

    def changed(self, pair: Pair, was: Digest | None) -> Done:
        """They do not."""

    def is_gone(self, pair: Pair) -> bool:
        """Whether the source, which has not what it listed, does not list it any more either."""


class Looking:
    """Compares both ends, and says what would move; a blob that several names share counts once.

    Each repository is asked for it. Once the first of them has it, the others mount it from there, if that
    registry does such a thing. `_carried` and `_refer` say what is done with a manifest that refers to
    another: nothing here.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Which name a blob of a repository, or of all repositories of a host, is counted for.
        self._looked_for: dict[tuple[str, str, Digest], Name] = {}
        self._counted: dict[tuple[str, Digest], Name] = {}
        self._known: defaultdict[Name, set[Digest]] = defaultdict(set)  # blobs, by the names under way
        self._mounts: Counter[Name] = Counter()  # bytes, by the names under way
        self._lock = threading.Lock()
        self._listing = threading.Lock()  # a list may be as long as fits into memory: one at a time

    def compare(self, pair: Pair) -> tuple[Digest | None, Digest | None]:
        """A question at each side, none where the lists have answered it, or nothing is there to compare."""
        said, was = pair.said, pair.was
        if not pair.listed:
            was = self._asked(pair, Side.DESTINATION, lambda: pair.destination.current(pair.to))
        if said is None and was is not None:
            said = self._asked(pair, Side.SOURCE, lambda: pair.source.current(pair.name))
        return said, was

    def same(self, pair: Pair, digest: Digest) -> Done:
        """The sizes of what refers to it that the destination has not, where that is asked for."""
        with self._counting(pair):
            size = self._new_referrers(pair, digest)
            return Done(digest, would_move=size, would_mount=self._mounts[pair.to])

    def changed(self, pair: Pair, was: Digest | None) -> Done:
        """The sizes of the blobs that the destination has not, also of what refers to it."""
        with self._counting(pair):
            manifest = self._resolved(pair, pair.name)
            size = self._missing(pair, manifest) + self._all_referrers(pair, manifest)
            return Done(manifest.digest, would_move=size, would_mount=self._mounts[pair.to])

    def is_gone(self, pair: Pair) -> bool:
        """One more look at the list that named it; what no list named is not gone, but was never there."""
        if pair.attached is None:
            return False
        with self._listing:
            tags = self._asked(pair, Side.SOURCE, lambda: list(pair.source.tags(pair.name)))
        return pair.name.tag not in tags

    def _missing(self, pair: Pair, manifest: Manifest) -> int:
        """The bytes that would move; those that would be mounted are added to `_mounts`."""
        moves = 0
        for blob in all_blobs(manifest, pair.name, self._finds(pair)):
            if self._is_looked_for_first(pair, blob) and self._is_missing(pair, blob):
                if self._moves_first(pair, blob):
                    moves += blob.size
                else:
                    self._mounts[pair.to] += blob.size
        return moves

    def _is_missing(self, pair: Pair, blob: Descriptor) -> bool:
        return self._asked(pair, Side.DESTINATION, lambda: pair.destination.size(pair.to, blob)) is None

    @contextmanager
    def _counting(self, pair: Pair) -> Iterator[None]:
        """While the block lasts, blobs are counted for a name; it may be put off, and tried anew."""
        try:
            yield
        finally:
            self._known.pop(pair.to, None)
            self._mounts.pop(pair.to, None)

    def _is_looked_for_first(self, pair: Pair, blob: Descriptor) -> bool:
        """Whether the blob is this name's to count, and was not counted yet."""
        key = (pair.to.host, pair.to.repository, blob.digest)
        with self._lock:
            known = self._known[pair.to]
            first = self._looked_for.setdefault(key, pair.to) == pair.to and blob.digest not in known
            known.add(blob.digest)
        return first

    def _moves_first(self, pair: Pair, blob: Descriptor) -> bool:
        """Whether no other repository of that registry has the blob by then, as far as this run knows."""
        with self._lock:
            first = self._counted.setdefault((pair.to.host, blob.digest), pair.to) == pair.to
        return first and pair.near is None

    def _finds(self, pair: Pair) -> Callable[[Digest], Manifest]:
        """What finds a manifest that an index names."""
        return lambda digest: self._resolved(pair, pair.name.with_reference(digest))

    def _resolved(self, pair: Pair, name: Name) -> Manifest:
        return self._asked(pair, Side.SOURCE, lambda: pair.source.resolve(name))

    def _asked(self, pair: Pair, side: Side, question: Callable[[], T]) -> T:
        """The answer, with patience."""
        return self._engine.ask(question, side, pair.name, pair.to)

    # --- what refers to it ---------------------------------------------------------------------------

    def referring(self, pair: Pair, manifest: Manifest, was: Digest | None) -> int:
        """What refers to a name goes along: the bytes of it. `was`: what the name is at its destination.

        Both ends are asked where the name is the same, and only what refers to it may be new.
        """
        digests = all_manifests(manifest, pair.name, self._finds(pair))
        if was != manifest.digest or any(self._lacks_referrers(pair, digest) for digest in digests):
            return self._all_referrers(pair, manifest)
        return 0

    def _new_referrers(self, pair: Pair, digest: Digest) -> int:
        """The same for a name that is the same at both ends.

        It is asked for where that always goes along, or a tag of the source's list says that something does.
        """
        attached = _attached(pair, digest)
        if pair.referrers is Referrers.ALWAYS:
            return self._all_referrers(pair, self._resolved(pair, pair.name.with_reference(digest)))
        if pair.referrers is Referrers.NEVER or not attached:
            return 0
        if lists_referrers(attached[0]) and self._lacks_referrers(pair, digest):
            return self._referring(pair, digest, 0, set())
        return sum(self._carried(pair, tag) for tag in attached if not lists_referrers(tag))

    def _all_referrers(self, pair: Pair, manifest: Manifest) -> int:
        """What refers to a manifest, and to all that an index names, goes along: the bytes of it."""
        if pair.referrers is Referrers.NEVER:
            return 0
        known: set[Digest] = set()
        digests = all_manifests(manifest, pair.name, self._finds(pair))
        return sum(self._referring(pair, digest, 0, known) for digest in digests)

    def _referring(self, pair: Pair, digest: Digest, depth: int, known: set[Digest]) -> int:
        """What refers to a manifest goes along, and what refers to that: the bytes of it.

        `known` are the manifests that were asked about for this name: what a source says may go in a circle.
        """
        if depth > _DEEPEST or digest in known:
            return 0
        known.add(digest)
        if len(known) > _MOST:
            raise ProtocolError(
                f"{pair.name}: {pair.name.host} says that more than {_MOST} manifests refer to it",
                host=pair.name.host,
                reason=Reason.REFERRERS_UNREADABLE,
            )
        name, to = pair.name.with_reference(digest), pair.to.with_reference(digest)
        listed: Sequence[Descriptor] = self._asked(
            pair, Side.SOURCE, lambda: pair.source.referrers(name, _known(pair, digest))
        )
        moved = 0
        found = []
        for each in listed:
            try:
                moved += self._carried(pair, each.digest)
            except NotFoundError:  # a list outlives what was deleted
                if self._is_at_source(pair, each.digest):
                    raise
                continue
            found.append(each)
            moved += self._referring(pair, each.digest, depth + 1, known)
        if found:
            self._refer(pair, to, found)
        carried = (tag for tag in _attached(pair, digest) if not lists_referrers(tag))
        return moved + sum(self._carried(pair, tag) for tag in carried)

    def _lacks_referrers(self, pair: Pair, digest: Digest) -> bool:
        """Whether something refers to it at its source which does not at its destination: both are asked."""
        if pair.referrers is Referrers.NEVER:
            return False
        name, to = pair.name.with_reference(digest), pair.to.with_reference(digest)
        said = self._asked(pair, Side.SOURCE, lambda: pair.source.referrers(name, _known(pair, digest)))
        if not said:
            return False
        there = self._asked(pair, Side.DESTINATION, lambda: pair.destination.referrers(to))
        return not {each.digest for each in said} <= {each.digest for each in there}

    def _is_at_source(self, pair: Pair, digest: Digest) -> bool:
        try:
            self._resolved(pair, pair.name.with_reference(digest))
        except NotFoundError:
            return False
        return True

    def _carried(self, pair: Pair, reference: Digest | str) -> int:
        """Another manifest of the same two repositories: the bytes of it that the destination has not."""
        name = pair.name.with_reference(reference)
        return 0 if self._is_carried(pair, reference) else self._missing(pair, self._resolved(pair, name))

    def _is_carried(self, pair: Pair, reference: Digest | str) -> bool:
        name, to = pair.name.with_reference(reference), pair.to.with_reference(reference)
        there = self._asked(pair, Side.DESTINATION, lambda: pair.destination.current(to))
        said = name.digest or self._asked(pair, Side.SOURCE, lambda: pair.source.current(name))
        return there is not None and there == said

    def _refer(self, pair: Pair, to: Name, found: Sequence[Descriptor]) -> None:
        """Have `found` listed as referring to `to`."""


class Copying(Looking):
    """Copies what differs, and what refers to it."""

    def same(self, pair: Pair, digest: Digest) -> Done:
        """What refers to it is copied, where that is asked for."""
        return Done(digest, self._new_referrers(pair, digest))

    def changed(self, pair: Pair, was: Digest | None) -> Done:
        """First what refers to it, then the name, so that the next run sees one that broke."""
        manifest = self._resolved(pair, pair.name)
        moved = self._all_referrers(pair, manifest) + self._as_referrer(pair, manifest)
        new = was is None and not pair.listed  # `compare` has just asked
        report = self._copied(pair, pair.name, pair.to, manifest, new=new)
        return Done(manifest.digest, moved + report.transferred)

    def report(self, pair: Pair) -> tuple[Report, int]:
        """Copy one name, whatever is there; and the bytes of what refers to it, where that was missing."""
        manifest = self._resolved(pair, pair.name)
        was = self._asked(pair, Side.DESTINATION, lambda: pair.destination.current(pair.to))
        moved = self.referring(pair, manifest, was)
        if was != manifest.digest:
            moved += self._as_referrer(pair, manifest)
        return self._copied(pair, pair.name, pair.to, manifest, new=was is None), moved

    def _carried(self, pair: Pair, reference: Digest | str) -> int:
        """Copy another manifest of the same two repositories, unless it is there; the bytes that moved."""
        if self._is_carried(pair, reference):
            return 0
        return self._copied(
            pair, pair.name.with_reference(reference), pair.to.with_reference(reference)
        ).transferred

    def _as_referrer(self, pair: Pair, manifest: Manifest) -> int:
        """Have a manifest listed that refers to another; the bytes of it, which goes there before its name.

        OCI distribution specification 1.1, "Pushing Manifests with Subject".
        """
        if manifest.subject is None:
            return 0
        moved = self._carried(pair, manifest.digest)
        self._list_as_referrer(pair, manifest)
        return moved

    def _list_as_referrer(self, pair: Pair, manifest: Manifest) -> None:
        """The same of one that is there; an index may name some, too."""
        if manifest.subject is not None:
            self._refer(pair, pair.to.with_reference(manifest.subject.digest), [manifest.as_referrer()])

    def _refer(self, pair: Pair, to: Name, found: Sequence[Descriptor]) -> None:
        """Most registries list it themselves."""
        self._asked(pair, Side.DESTINATION, lambda: pair.destination.refer(to, found))

    def _copied(
        self, pair: Pair, name: Name, to: Name, manifest: Manifest | None = None, *, new: bool = False
    ) -> Report:
        return copy(
            pair.source,
            pair.destination,
            name,
            to=to,
            near=pair.near and name,
            manifest=manifest,
            new=new,
            engine=self._engine,
            told=lambda child: self._list_as_referrer(pair, child.manifest),
        )


def _attached(pair: Pair, digest: Digest) -> list[str]:
    """The source's tags under which what refers to a manifest is kept; the list of it (OCI) first."""
    tags, whole = pair.attached or (), f"{digest.algorithm}-{digest.hex}"
    prefix = whole[: len(digest.algorithm) + 1 + _DIGITS]
    found = []
    for at in range(bisect_left(tags, prefix), len(tags)):
        if not tags[at].startswith(prefix):
            break
        if whole.startswith(attached_to(tags[at]) or "-"):
            found.append(tags[at])
    return sorted(found, key=len)


def _known(pair: Pair, digest: Digest) -> Sequence[str] | None:
    """The same, for the source; None where its tags are not known."""
    return None if pair.attached is None else _attached(pair, digest)
