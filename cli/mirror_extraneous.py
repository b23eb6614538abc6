"""Tags at a mirror's destination that its source has no more: found, shown, asked about, taken away.

A list may be wrong: it failed, it is empty, a page of it is missing. So nothing goes of a repository in which
anything failed, nothing for an empty list, and the source is asked once more before anything does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from cli.mirror_names import Mirrored
from cli.options import Invocation
from cli.render import visible
from registry.errors import InvalidError, NotFoundError, RegistryError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.model.selection import attached_to
from registry.transfer.pairs import Outcome, Result

_SHOWN = 20  # tags of one repository


@dataclass(frozen=True, slots=True)
class Extraneous:
    """Tags of one repository at the destination that are to go."""

    place: Mirrored
    tags: tuple[str, ...]

    @property
    def where(self) -> str:
        """`HOST/REPOSITORY`."""
        return f"{self.place.name.host}/{self.place.name.repository}"

    def __str__(self) -> str:
        more = f" and {len(self.tags) - _SHOWN} more" if len(self.tags) > _SHOWN else ""
        return f"{self.where}: {', '.join(self.tags[:_SHOWN])}{more}"

    def rows(self) -> Iterator[str]:
        """Each as `HOST/REPOSITORY:TAG`."""
        return (f"{self.where}:{tag}" for tag in self.tags)


def find(mirrored: Iterable[Mirrored], results: Sequence[Result]) -> list[Extraneous]:
    """What is there, meant by the filters and in no source any more; nothing where a name failed."""
    failed = [result.destination for result in results if result.outcome is Outcome.FAILED]
    found = []
    for place in mirrored:
        where = f"{place.name.host}/{place.name.repository}:"
        if any(each.startswith(where) for each in failed):
            continue
        there = list(place.remote.tags(place.name))
        tags = [tag for tag in there if _is_extraneous(place, tag)]
        if tags and (tags := _after_a_second_look(place, tags)):
            found.append(Extraneous(place, tuple(tags)))
    return found


def _is_extraneous(place: Mirrored, tag: str) -> bool:
    meant = any(selection.covers(tag) for _, _, selection in place.sources)
    return meant and tag not in place.expected and not attached_to(tag)


def _after_a_second_look(place: Mirrored, tags: Sequence[str]) -> list[str]:
    """Those that every source's list lacks once more; none if one of them is empty now, or cannot be had."""
    left = list(tags)
    for remote, repository, selection in place.sources:
        try:
            said = remote.publications(repository)
        except RegistryError:
            return []
        chosen = selection.chosen({tag: each.moved if each else None for tag, each in said.items()})
        if not chosen:
            return []
        left = [tag for tag in left if tag not in chosen]
    return left


def agreed(invocation: Invocation, found: Sequence[Extraneous]) -> bool:
    """Show the plan, and have somebody say yes. InvalidError where nobody is there to ask."""
    count = sum(len(each.tags) for each in found)
    for each in found:
        invocation.terminal.complain(visible(f"ferry: to delete at {each}"))
    if invocation.settings.on("yes"):
        return True
    if not invocation.terminal.interactive:
        raise InvalidError(
            f"{count} tags would be deleted, and nobody is here to ask; none was",
            hint="say --yes to delete them",
        )
    return click.confirm(f"Delete {'this tag' if count == 1 else f'these {count} tags'}?", err=True)


def delete(found: Sequence[Extraneous], done: Callable[[str, RegistryError | None], None]) -> None:
    """Take them away; `done` is told of each, with what kept it if something did."""
    for each in found:
        digests: dict[str, Digest] = {}
        for tag in each.tags:
            try:
                _delete(each, tag, digests)
            except NotFoundError:  # it went with another tag, or by another hand
                done(f"{each.where}:{tag}", None)
            except RegistryError as error:
                done(f"{each.where}:{tag}", error)
            else:
                done(f"{each.where}:{tag}", None)


def _delete(each: Extraneous, tag: str, digests: dict[str, Digest]) -> None:
    """The tag alone; where only manifests can be deleted, one that no tag needs which stays."""
    remote, name = each.place.remote, each.place.name.with_reference(tag)
    if remote.untag(name):
        return
    if not digests:
        digests.update(_digests(each))
    digest = digests.get(tag) or remote.digest(name)
    staying = [other for other, its in digests.items() if its == digest and other not in each.tags]
    if staying:
        raise InvalidError(
            f"{name.host} deletes whole manifests only, and {', '.join(staying[:3])} is the same one"
        )
    remote.untag(name.with_reference(digest))


def _digests(each: Extraneous) -> dict[str, Digest]:
    name: Name = each.place.name
    remote = each.place.remote
    return {tag: remote.digest(name.with_reference(tag)) for tag in remote.tags(name)}
