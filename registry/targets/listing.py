"""Lists that a registry sends in pages: tags, repositories. Bounded, each name once, sorted."""

from __future__ import annotations

from collections.abc import Iterator

from registry.contracts import Publication
from registry.errors import ProtocolError
from registry.targets.peer import Peer
from registry.targets.publications import BYTES, publications
from registry.wire.messages import Access

PAGE = 1000
# What a list may take of memory, and what each name takes beside its letters.
_LIST_BYTES = 24 * 1024 * 1024
_NAME_BYTES = 110


def listed(
    peer: Peer,
    path: str,
    key: str,
    doing: str,
    access: Access | None,
    said: dict[str, Publication] | None = None,
) -> Iterator[str]:
    """What is listed below `key`; `said` gets what the registry says beside it. ProtocolError."""
    seen: set[str] = set()
    left = _LIST_BYTES
    for page in peer.pages(path, doing, access):
        items = page.get(key) or []
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ProtocolError(f"{doing}: {peer.host} sent no list of {key}", host=peer.host)
        for item in items:
            if item not in seen:
                seen.add(item)
                left -= len(item) + _NAME_BYTES
        if said is not None:
            known = len(said)
            said.update((tag, each) for tag, each in publications(page) if tag in seen)
            left -= BYTES * (len(said) - known)
        if left < 0:
            raise ProtocolError(
                f"{doing}: {peer.host} has more than {len(seen)} {key}, too many for one list", host=peer.host
            )
    return iter(sorted(seen))
