"""A model is deleted: every manifest of it, also those that no tag stands for, and what is said of it.

Its bytes go with a later clean-up, where nothing else needs them.
"""

from __future__ import annotations

from contextlib import suppress

from registry.contracts import Actor, Depot
from registry.errors import InvalidError, NotFoundError
from registry.model.digests import Digest
from registry.server.immutable import check_none_stays
from registry.server.overview import Overview
from registry.server.rights import Rights


def delete_model(depot: Depot, overview: Overview, rights: Rights, name: str, actor: Actor) -> None:
    """Delete `name` for `actor`: without a manifest left, it cannot be pulled by a digest either.

    Nor is it public any more: what is pushed under its name later may be something else. ProtocolError if
    one of its tags is to stay where it is, and then nothing is done; StorageError.
    """
    check_none_stays(overview.engine, name)
    rights.set_public(name, False, actor)
    gone = True
    while gone and (digests := overview.digests(name)):
        gone = False
        for each in digests:
            with suppress(InvalidError, NotFoundError):  # an index that is still there needs it
                depot.delete_manifest(name, Digest.parse(each), actor)
                gone = True
