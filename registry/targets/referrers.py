"""What refers to a manifest (signatures, SBOMs): the registry's own list, else an index under a tag.

OCI distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from registry.errors import DeniedError, InvalidError, NotFoundError, ProtocolError, Reason, TooLongError
from registry.model.digests import Digest
from registry.model.manifests import OCI_INDEX, Descriptor, Kind, Manifest
from registry.model.names import Name
from registry.targets.peer import Peer
from registry.wire import routes
from registry.wire.messages import Access

_MOST = 10_000  # referrers of one manifest,
_BYTES = 8 * 1024 * 1024  # and of all that is said of them: annotations may be of any length


def fallback(name: Name) -> Name:
    """The tag under which clients keep the list where a registry keeps none: `sha256-<hex>`."""
    digest = _digest_of(name)
    return name.with_reference(f"{digest.algorithm}-{digest.hex}"[:128])


def listed(peer: Peer, name: Name) -> list[Descriptor] | None:
    """The registry's own list for the manifest `name`, a digest; None where it keeps none.

    ProtocolError if it is too long, or breaks off behind its first page.
    """
    digest = _digest_of(name)
    doing = f"listing what refers to {digest.short} of {name.repository}"
    found: list[Descriptor] = []
    path, access = routes.referrers(name.repository, digest), Access(name.repository)
    try:
        for page in peer.pages(path, doing, access, most=_BYTES):
            found += _entries(page, doing, peer.host)
            if len(found) > _MOST:
                raise TooLongError(f"{doing}: {peer.host} has more than {_MOST}", host=peer.host)
    except (NotFoundError, DeniedError, ProtocolError) as error:
        if not found and not isinstance(error, TooLongError):
            return None  # 404, 400, 405, a web page: it does not know the question
        raise ProtocolError(error.message, host=error.host, reason=Reason.REFERRERS_UNREADABLE) from None
    return found


def _digest_of(name: Name) -> Digest:
    if name.digest is None:
        raise InvalidError(f"{name}: referrers are those of a digest")
    return name.digest


def _entries(page: Mapping[str, object], doing: str, host: str) -> list[Descriptor]:
    """The descriptors of a page, which is an index."""
    items = page.get("manifests")
    if not isinstance(items, list):
        raise ProtocolError(f"{doing}: {host} sent no index", host=host)
    try:
        return [Descriptor.parse(item, f"manifests[{at}]") for at, item in enumerate(items)]
    except InvalidError as error:
        raise ProtocolError(
            f"{doing}: {host} sent an index that is none: {error.message}", host=host
        ) from None


def merged(there: Manifest | None, more: Iterable[Descriptor]) -> Manifest | None:
    """The index that names what `there` does, and `more`; None if that is nothing new."""
    known = list(there.children) if there is not None and there.kind is Kind.INDEX else []
    digests: set[Digest] = {child.digest for child in known}
    new = [each for each in more if each.digest not in digests]
    if not new:
        return None
    entries: Sequence[object] = [each.fields or each.as_json() for each in (*known, *new)]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Manifest.parse(json.dumps(document, separators=(",", ":")).encode())
