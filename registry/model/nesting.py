"""Indexes in indexes: what they are made of in the end, looked for only so deep."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.model.manifests import INDEXES, Descriptor, Manifest
from registry.model.names import Name

_DEEPEST = 4  # indexes inside one another


def check_nesting(depth: int, name: Name) -> None:
    """InvalidError for what is inside so many indexes, as a registry might nest them without end."""
    if depth > _DEEPEST:
        raise InvalidError(f"{name}: more than {_DEEPEST} indexes inside one another", name=str(name))


def all_blobs(manifest: Manifest, name: Name, resolve: Callable[[Digest], Manifest]) -> Iterator[Descriptor]:
    """Each distinct blob of a manifest, and of all that an index names. InvalidError where they nest deeper.

    `resolve` finds a manifest that an index names, once.
    """
    seen: set[Digest] = set()

    def below(each: Manifest, depth: int) -> Iterator[Descriptor]:
        check_nesting(depth, name)
        for blob in each.blobs():
            if blob.digest not in seen:
                seen.add(blob.digest)
                yield blob
        for child in each.manifests:
            if child.digest not in seen:
                seen.add(child.digest)
                yield from below(resolve(child.digest), depth + 1)

    return below(manifest, 0)


def all_manifests(manifest: Manifest, name: Name, resolve: Callable[[Digest], Manifest]) -> list[Digest]:
    """A manifest and all that it names if it is an index, each once. InvalidError where they nest deeper.

    `resolve` finds an index that an index names, once.
    """
    found = {manifest.digest: None}

    def below(each: Manifest, depth: int) -> None:
        check_nesting(depth, name)
        for child in each.manifests:
            known = child.digest in found
            found[child.digest] = None
            if not known and child.media_type in INDEXES:
                below(resolve(child.digest), depth + 1)

    below(manifest, 0)
    return list(found)
