"""Which names a mirror means: a name, a digest, a repository's tags, all repositories of a namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cli.mirror_places import is_exact, path_below, place, shown, target, without_tag
from cli.options import Invocation
from cli.patient_remote import PatientRemote
from cli.render import visible
from cli.settings.sync_file import MirrorEntry
from registry.connect import Registries
from registry.contracts import Publication
from registry.errors import DeniedError, InvalidError, NotFoundError, RegistryError, Side, TransientError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.model.selection import Selection, attached_to
from registry.targets.remote import Remote
from registry.transfer.engine import Engine
from registry.transfer.pairs import Pair, Referrers, Unlisted
from registry.wire.messages import Origin

_WORTH_A_LIST = 4  # names in one repository for which its list is asked for
_Repository = tuple[str, str]  # host and path
Tags: TypeAlias = Mapping[str, Publication | None]


@dataclass
class Mirrored:
    """One repository at the destination: the tags and digests it is to have, and who says so.

    `spellings`: `host/repository` in small letters, as each entry writes it.
    """

    registry: PatientRemote
    name: Name
    expected: set[Digest | str] = field(default_factory=set)
    sources: list[tuple[PatientRemote, Name, Selection]] = field(default_factory=list)
    spellings: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        """`HOST/REPOSITORY`."""
        return f"{self.name.host}/{self.name.repository}"


@dataclass(frozen=True)
class _Task:
    """An entry, or one repository of it: what is tried once more at the end if its list fails.

    `tags` is that list, where it was read already.
    """

    entry: MirrorEntry
    repository: Name | None = None
    tags: Tags | None = None


class MirrorNames:
    """The names of one run, told one after another as the lists come in.

    `mirrored` is what was told: each repository at a destination. `incomplete`: a list failed, or was not
    read. `ended`: every name was told.
    """

    def __init__(
        self,
        invocation: Invocation,
        opened: Registries,
        engine: Engine,
        entries: Sequence[MirrorEntry],
        noted: set[str] | None = None,
    ) -> None:
        """`noted` is what rounds before this one told: it is told once."""
        self.mirrored: dict[tuple[Origin, str], Mirrored] = {}
        self.incomplete = True
        self.ended = False
        self._invocation = invocation
        self._opened = opened
        self._engine = engine
        self._entries = entries
        self._noted: set[str] = set() if noted is None else noted
        self._remotes: dict[tuple[str, str, str], Remote] = {}
        self._there: dict[_Repository, Tags | None] = {}
        self._tells: dict[str, bool] = {}  # whether a host's lists give digests
        self._sources: dict[tuple[Origin, str, str], Pair] = {}  # what goes to each place

    def pairs(self) -> Iterator[Pair | Unlisted]:
        """Every name; a list that fails is one result, and the others go on."""
        failed = False
        for pair in self._all():
            failed = failed or isinstance(pair, Unlisted)
            yield pair
        self.incomplete, self.ended = failed, True

    def left_out(self, there: Mirrored) -> Iterator[tuple[PatientRemote, Name]]:
        """The repositories that would come `there` too, were they in a list of their registry."""
        known = {(self._opened.origin(name), name.repository.lower()) for _, name, _ in there.sources}
        for entry in self._entries:
            if is_exact(entry.source):
                continue
            base = place(self._invocation, entry.source)
            to = target(self._invocation, entry.destination, base, base)
            below = path_below(to.repository, there.name.repository)
            if below is None or self._opened.origin(to) != self._opened.origin(there.name):
                continue
            name = Name(base.host, f"{base.repository}{below}", scheme=base.scheme)
            if (self._opened.origin(name), name.repository.lower()) not in known:
                yield self._at(Side.SOURCE, name), name

    def _all(self) -> Iterator[Pair | Unlisted]:
        again: list[_Task] = []
        for entry in self._entries:
            for task in self._tasks(entry, again):
                yield from self._of(task, again)
        last, again = again, []
        for task in last:  # their hosts failed for a while; by now they may be back
            if task.repository is not None:
                yield from self._of(task, None)
                continue
            for each in self._tasks(task.entry, None):
                yield from self._of(each, None)

    # --- what an entry means -------------------------------------------------------------------------

    def _tasks(self, entry: MirrorEntry, again: list[_Task] | None) -> Iterator[_Task | Unlisted]:
        """An entry as one task a repository."""
        try:
            base = place(self._invocation, entry.source)
            if is_exact(entry.source):
                yield _Task(entry, base)
                return
            found = list(self._repositories(entry, base))
        except TransientError as error:
            if again is None:
                yield Unlisted(shown(self._invocation, entry.source), entry.destination, error)
            else:
                again.append(_Task(entry))
        except RegistryError as error:
            yield Unlisted(shown(self._invocation, entry.source), entry.destination, error)
        else:
            yield from found

    def _repositories(self, entry: MirrorEntry, base: Name) -> Iterator[_Task | Unlisted]:
        """`base`, if it is a repository that has tags; else those below it, where there is a catalogue."""
        try:
            if tags := self._tags(base):
                yield _Task(entry, base, tags)
                return
        except NotFoundError:
            pass
        origin = self._opened.origin(base)
        catalogue = PatientRemote(self._opened.remote_at(origin, base.repository), self._engine, Side.SOURCE)
        try:
            listed = catalogue.repositories(base)
        except TransientError:
            raise
        except RegistryError as error:
            told = (
                f"{entry.source} is no repository with tags, and {base.host} lists none below it "
                f"({error.message})"
            )
            if isinstance(error, DeniedError):  # who asks may become somebody who is answered
                raise DeniedError(told, **error.details) from None
            raise NotFoundError(told, host=base.host, name=entry.source) from None
        below = [path for path in listed if path.lower().startswith(f"{base.repository.lower()}/")]
        if not below:
            raise NotFoundError(
                f"{entry.source} is no repository with tags, and there is none below it at {base.host}",
                host=base.host,
                name=entry.source,
            )
        for path in below:
            try:
                name = Name(base.host, path, scheme=base.scheme)
            except InvalidError as error:  # a repository as no registry should have it stops no other
                yield Unlisted(f"{base.host}/{path}", entry.destination, error)
            else:
                self._check_outside(entry, base, name)
                yield _Task(entry, name)

    def _check_outside(self, entry: MirrorEntry, base: Name, name: Name) -> None:
        """InvalidError where `name`, of the namespace `base`, would go to another place in that namespace."""
        to = target(self._invocation, entry.destination, base, name)
        inside = self._opened.origin(to) == self._opened.origin(base) and path_below(
            base.repository, to.repository
        )
        if inside and to.repository.lower() != name.repository.lower():
            raise InvalidError(
                f"{entry.destination} is inside {entry.source}: each run would copy what the last one copied"
            )

    def _of(self, task: _Task | Unlisted, again: list[_Task] | None) -> Iterator[Pair | Unlisted]:
        if isinstance(task, Unlisted):
            yield task
            return
        entry, name = task.entry, task.repository
        assert name is not None
        try:
            pairs = self._one(entry, name) if is_exact(entry.source) else self._repository(task, name)
        except TransientError as error:
            if again is None:
                yield Unlisted(without_tag(name), entry.destination, error)
            else:
                again.append(task)
        except RegistryError as error:
            yield Unlisted(without_tag(name), entry.destination, error)
        else:
            yield from pairs

    # --- names ---------------------------------------------------------------------------------------

    def _one(self, entry: MirrorEntry, name: Name) -> list[Pair | Unlisted]:
        return [self._pair(entry, name, name, None, None)]

    def _repository(self, task: _Task, repository: Name) -> list[Pair | Unlisted]:
        entry = task.entry
        base = place(self._invocation, entry.source)
        said = task.tags or self._tags_in_catalogue(repository)
        chosen = entry.selection.chosen({tag: each.moved if each else None for tag, each in said.items()})
        attached = tuple(tag for tag in said if attached_to(tag))
        pairs: list[Pair | Unlisted] = []
        more: list[str] = []
        if entry.selection.everything and entry.referrers != "never":
            more = [tag for tag in attached if attached_to(tag) != tag]
            attached = tuple(tag for tag in attached if attached_to(tag) == tag)  # go with what they are of
        for tag in (*chosen, *more):
            try:
                name = repository.with_reference(tag)
                pairs.append(self._pair(entry, base, name, said[tag], attached))
            except InvalidError as error:  # a tag as no registry should have it stops no other
                pairs.append(Unlisted(f"{without_tag(repository)}:{tag}", entry.destination, error))
        if task.tags and not pairs:  # of a whole namespace it is usual that some have none
            self._note_once(repository, "has no tag that was asked for")
        to = [pair.to for pair in pairs if isinstance(pair, Pair)]
        if not to:
            to = [target(self._invocation, entry.destination, base, repository)]
        self._note_source(entry, repository, to)
        return self._compared(pairs)

    def _note_source(self, entry: MirrorEntry, repository: Name, to: Sequence[Name]) -> None:
        """It is a source also where it brings nothing by now: what it brought before may be there."""
        source = (self._at(Side.SOURCE, repository), repository, entry.selection)
        for name in to:
            kept = self._mirrored_at(name)
            if source not in kept.sources:
                kept.sources.append(source)

    def _pair(
        self,
        entry: MirrorEntry,
        base: Name,
        name: Name,
        said: Publication | None,
        attached: tuple[str, ...] | None,
    ) -> Pair | Unlisted:
        to = target(self._invocation, entry.destination, base, name)
        near = name if self._opened.origin(name) == self._opened.origin(to) else None
        digest = said.digest if said else None
        mode = Referrers(entry.referrers)
        pair = Pair(
            self._remote(name), name, self._remote(to), to, near, digest, attached=attached, referrers=mode
        )
        key = (self._opened.origin(to), to.repository.lower(), to.reference)
        other = self._sources.setdefault(key, pair)
        if other.name != name:
            both = InvalidError(f"{other.at_source} goes to {other.at_destination} too")
            return Unlisted(pair.at_source, pair.at_destination, both)
        self._mirrored_at(to).expected.add(to.digest or to.tag)
        return pair

    def _mirrored_at(self, to: Name) -> Mirrored:
        """The repository of `to`: one place has one, however its host and letters are written."""
        key = (self._opened.origin(to), to.repository.lower())
        if key not in self.mirrored:
            self.mirrored[key] = Mirrored(self._at(Side.DESTINATION, to), to)
        self.mirrored[key].spellings.add(f"{to.host}/{to.repository}".lower())
        return self.mirrored[key]

    def _compared(self, pairs: list[Pair | Unlisted]) -> list[Pair | Unlisted]:
        """The pairs with what the destination's lists say, where one list saves many questions."""
        counts: dict[_Repository, int] = {}
        for pair in pairs:
            if isinstance(pair, Pair):
                key = (pair.to.host, pair.to.repository)
                counts[key] = counts.get(key, 0) + 1
        done: list[Pair | Unlisted] = []
        for pair in pairs:
            if isinstance(pair, Pair) and counts[pair.to.host, pair.to.repository] >= _WORTH_A_LIST:
                there = self._list_there(pair)
                was = there.get(pair.to.tag) if there is not None else None
                if was is not None or (there is not None and pair.to.tag not in there):
                    pair = replace(pair, was=was.digest if was else None, listed=True)
            done.append(pair)
        return done

    def _list_there(self, pair: Pair) -> Tags | None:
        """What the destination's repository has; None where it does not say, or its lists give no digests."""
        key = (pair.to.host, pair.to.repository)
        if key not in self._there:
            found: Tags | None = None
            if self._tells.get(pair.to.host, True):
                try:
                    found = self._at(Side.DESTINATION, pair.to).publications(pair.to)
                except NotFoundError:
                    found = {}
                except RegistryError:
                    found = None
                if found:
                    self._tells[pair.to.host] = any(each is not None for each in found.values())
            self._there[key] = found
        return self._there[key]

    # --- asking --------------------------------------------------------------------------------------

    def _tags(self, repository: Name) -> Tags:
        return self._at(Side.SOURCE, repository).publications(repository)

    def _at(self, side: Side, name: Name) -> PatientRemote:
        return PatientRemote(self._remote(name), self._engine, side)

    def _tags_in_catalogue(self, repository: Name) -> Tags:
        """Those of a repository that a catalogue names: it may do so before anything is published there."""
        try:
            return self._tags(repository)
        except NotFoundError:
            self._note_once(repository, "has no tags")
            return {}

    def _note_once(self, repository: Name, why: str) -> None:
        """Why nothing of a repository is mirrored, also where it is looked at every quarter of an hour."""
        where = without_tag(repository)
        if where not in self._noted:
            self._noted.add(where)
            self._invocation.terminal.note(visible(f"ferry: {where} {why}: nothing of it is mirrored"))

    def _remote(self, name: Name) -> Remote:
        key = (name.scheme, name.host, name.repository)
        if key not in self._remotes:
            self._remotes[key] = self._opened.remote(name)
        return self._remotes[key]
