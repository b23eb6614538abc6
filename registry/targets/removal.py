"""What goes with a manifest that is deleted at a registry, and what needs it and stays.

A list of tags may be wrong: every tag that it names is asked for, and what cannot be read is an error.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Protocol

from registry.errors import InvalidError, NotFoundError, ProtocolError
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import Name
from registry.model.nesting import check_nesting

_LONGEST = 4  # manifests of which each refers to the next


class ManifestSource(Protocol):
    """A registry, asked for what it has. RegistryError."""

    def tags(self, name: Name) -> Iterator[str]:
        """Every tag of the repository."""

    def digest(self, name: Name) -> Digest:
        """What `name` stands for."""

    def resolve(self, name: Name) -> Manifest:
        """The manifest."""


def digests_of(remote: ManifestSource, name: Name, tags: Iterable[str]) -> dict[str, Digest]:
    """What each of `tags` stands for, of those that are there. RegistryError if that of one is not told."""
    found: dict[str, Digest] = {}
    for tag in tags:
        try:
            found[tag] = remote.digest(name.with_reference(tag))
        except NotFoundError:
            continue
    return found


def needed_by(remote: ManifestSource, name: Name, references: Iterable[Digest | str]) -> dict[Digest, str]:
    """The manifests of `references`, tags or digests, and those in their indexes; each with what needs it.

    InvalidError for indexes that are nested too deeply: nobody looked what they need. RegistryError.
    """
    found: dict[Digest, str] = {}

    def keep(reference: Digest | str, needs: Digest | str, depth: int) -> None:
        if reference in found:
            return
        check_nesting(depth, name.with_reference(needs))
        try:
            manifest = remote.resolve(name.with_reference(reference))
        except NotFoundError:
            return
        found.setdefault(manifest.digest, str(needs))
        for child in manifest.manifests:
            keep(child.digest, needs, depth + 1)

    for reference in references:
        keep(reference, reference, 0)
    return found


def subject_among(
    remote: ManifestSource, name: Name, digest: Digest, kept: Container[Digest]
) -> Digest | None:
    """Which of `kept` a manifest refers to, or what it refers to does; None for none. RegistryError."""
    for _ in range(_LONGEST):
        try:
            subject = remote.resolve(name.with_reference(digest)).subject
        except NotFoundError:
            return None
        if subject is None or subject.digest in kept:
            return subject.digest if subject else None
        digest = subject.digest
    return None


def tags_that_go(remote: ManifestSource, name: Name, digest: Digest) -> list[str]:
    """The tags that go with a manifest. InvalidError if an index that stays needs it."""
    listed = list(remote.tags(name))
    if name.digest is None and name.tag not in listed:
        raise ProtocolError(
            f"{name.host} leaves {name.tag} out of its list of tags, so that others may be missing too; "
            "nothing was removed",
            host=name.host,
        )
    there = digests_of(remote, name, listed)
    staying = needed_by(remote, name, (tag for tag, each in there.items() if each != digest))
    if digest in staying:
        raise InvalidError(
            f"{name.host} deletes whole manifests only, and {staying[digest]} needs that of {name}",
            host=name.host,
        )
    return [tag for tag, each in there.items() if each == digest]
