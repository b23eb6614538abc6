"""Tags at a mirror's destination that its source has no more: found, shown, asked about, taken away.

A list may be wrong: it failed, it is empty, a page of it is missing. So nothing goes of a repository in which
anything failed, nothing for an empty list, and before anything goes each source is asked for its list once
more, and then for the tag itself: also one that no list of repositories named. What was moved since the plan
was made stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from cli.mirror_names import Mirrored
from cli.options import Invocation
from cli.patient_remote import PatientRemote
from cli.render import counted, visible
from registry.errors import InvalidError, NotFoundError, ProtocolError, RegistryError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.model.selection import attached_to
from registry.targets.removal import digests_of, needed_by, subject_among
from registry.transfer.pairs import Outcome, Result

_SHOWN = 20  # tags of one repository


@dataclass(frozen=True, slots=True)
class Extraneous:
    """Tags of one repository at the destination that are to go, and what each was when that was planned."""

    place: Mirrored
    tags: Mapping[str, Digest]

    def __str__(self) -> str:
        more = f" and {len(self.tags) - _SHOWN} more" if len(self.tags) > _SHOWN else ""
        return f"{self.place.where}: {', '.join([*self.tags][:_SHOWN])}{more}"

    def rows(self) -> Iterator[str]:
        """Each as `HOST/REPOSITORY:TAG`."""
        return (f"{self.place.where}:{tag}" for tag in self.tags)


def find(
    place: Mirrored, results: Sequence[Result], left_out: Iterable[tuple[PatientRemote, Name]] = ()
) -> Extraneous | None:
    """What is there, meant by the filters and in no source any more.

    None where a name of it failed, or nothing was to come there. `left_out`: repositories that would be its
    sources too, if a list named them.
    RegistryError if a list cannot be had; ProtocolError if a source has a tag that its list leaves out, or a
    repository that was left out has any; InvalidError if the repository is a source of itself, which would
    lose what the filters leave out.
    """
    if not place.expected:
        return None
    failed = (result.destination.lower() for result in results if result.outcome is Outcome.FAILED)
    spellings = {place.where.lower(), *place.spellings}
    here = tuple(f"{each}{mark}" for each in spellings for mark in ":@")
    if any(each.startswith(here) for each in failed):
        return None
    itself = (place.registry.origin, place.name.repository.lower())
    if any((registry.origin, name.repository.lower()) == itself for registry, name, _ in place.sources):
        raise InvalidError(f"{place.where} is a source of itself; nothing is deleted there")
    try:
        there = [tag for tag in place.registry.tags(place.name) if _is_extraneous(place, tag)]
    except NotFoundError:  # a run that only looks, before the first that copies
        return None
    if not there or not (tags := _after_a_second_look(place, there)):
        return None
    for registry, repository in left_out:
        if _has_any(registry, repository, tags):
            raise ProtocolError(
                f"{repository.host} has {repository.repository}, which its lists leave out; nothing is "
                f"deleted at {place.where}, where it would go too",
                host=repository.host,
            )
    digests = digests_of(place.registry, place.name, tags)
    return Extraneous(place, digests) if digests else None


def _is_extraneous(place: Mirrored, tag: str) -> bool:
    meant = any(selection.covers(tag) for _, _, selection in place.sources)
    return meant and tag not in place.expected and not attached_to(tag)


def _after_a_second_look(place: Mirrored, tags: Sequence[str]) -> list[str]:
    """Those that every source lacks, asked once more; none if the list of one is empty now, or none."""
    left = list(tags)
    for registry, repository, selection in place.sources:
        try:
            said = registry.publications(repository)
        except NotFoundError:
            return []
        chosen = selection.chosen({tag: each.moved if each else None for tag, each in said.items()})
        if not chosen:
            return []
        left = [tag for tag in left if tag not in chosen]
        left_out = digests_of(registry, repository, (tag for tag in left if tag not in said))
        if left_out:
            raise ProtocolError(
                f"{repository.host} has {', '.join([*left_out][:3])} of {repository.repository}, which its "
                f"list of tags leaves out; nothing is deleted at {place.where}",
                host=repository.host,
            )
    return left


def _has_any(registry: PatientRemote, repository: Name, tags: Sequence[str]) -> bool:
    """Whether it has tags: in its list, or some of these."""
    with contextlib.suppress(NotFoundError):
        if registry.publications(repository):
            return True
    return bool(digests_of(registry, repository, tags))


def agreed(invocation: Invocation, found: Sequence[Extraneous]) -> bool:
    """Show the plan, and have somebody say yes. InvalidError where nobody is there to ask."""
    count = sum(len(each.tags) for each in found)
    tags = counted(count, "tag")
    for each in found:
        invocation.terminal.complain(visible(f"ferry: to delete at {each}"))
    if invocation.settings.on("yes"):
        return True
    if not invocation.terminal.interactive:
        raise InvalidError(
            f"{tags} would be deleted, and nobody is here to ask; none was",
            hint="say --yes to delete them",
        )
    return click.confirm(f"Delete {'this tag' if count == 1 else f'these {tags}'}?", err=True)


def delete(found: Sequence[Extraneous], done: Callable[[str, RegistryError | None], None]) -> None:
    """Take them away; `done` is told of each, with what kept it if something did."""
    for each in found:
        staying = _Staying(each)
        for tag, digest in each.tags.items():
            error = None
            try:
                _delete(each, tag, digest, staying)
            except NotFoundError:  # it went with another tag, or by another hand
                pass
            except RegistryError as kept:
                error = kept
            done(f"{each.place.where}:{tag}", error)


def _delete(each: Extraneous, tag: str, digest: Digest, staying: _Staying) -> None:
    """The tag alone; where only manifests can be deleted, one that nothing needs which stays."""
    registry, name = each.place.registry, each.place.name.with_reference(tag)

    def untagged() -> bool:
        """Looked at anew by each attempt: a registry may be busy for minutes between two."""
        if registry.remote.digest(name) != digest:
            raise InvalidError(f"{each.place.where}:{tag} was moved meanwhile, and stays", host=name.host)
        return registry.remote.untag(name)

    if registry.asked(name, untagged):
        return
    if why := staying.reason(digest):
        raise InvalidError(f"{name.host} deletes whole manifests only, and {why}", host=name.host)
    registry.untag(name.with_reference(digest))


class _Staying:
    """What stays at a repository where others go, and what that needs: looked up when it first matters."""

    def __init__(self, each: Extraneous) -> None:
        self._place = each.place
        self._going = each.tags
        self._seen: set[Digest | str] = set()
        self._needed: dict[Digest, str] = {}

    def reason(self, digest: Digest) -> str:
        """Why a manifest has to stay too; "" if it does not."""
        self._look()
        if digest in self._needed:
            return f"{self._needed[digest]} needs this one"
        subject = subject_among(self._place.registry, self._place.name, digest, self._needed)
        return f"this one refers to {self._needed[subject]}" if subject else ""

    def _look(self) -> None:
        """Each time at the tags that are new: what somebody pushes meanwhile must not go with another.

        What must be there stays also where the list leaves it out, or no list has it: a digest.
        """
        registry, name = self._place.registry, self._place.name
        staying = {*registry.tags(name), *self._place.expected}.difference(self._going)
        new = sorted(staying - self._seen, key=str)
        self._needed.update(needed_by(registry, name, new))
        self._seen.update(new)
