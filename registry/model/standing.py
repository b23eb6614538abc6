"""How a name here compares with the same name at its registry: which of the two moved since. Pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from registry.model.digests import Digest


class Standing(StrEnum):
    """What became of a name here, and where it came from."""

    CURRENT = "current"  # the same here and there
    OUTDATED = "outdated"  # it moved there
    CHANGED = "changed"  # it moved here
    DIVERGED = "diverged"  # it moved here, and there too
    UNKNOWN = "unknown"  # here is another than there, and nothing says which of them moved
    ONLY_HERE = "only here"  # its registry has no such name
    MADE_HERE = "made here"  # its registry was never asked for it
    CLOUD = "cloud"  # it runs elsewhere, nothing of it is kept here


def standing(
    here: Digest, fetched: Digest | None, there: Digest | None, was_there: Callable[[], bool]
) -> Standing:
    """Compare what a name stands for `here` and `there` with what was `fetched` once.

    `was_there` asks whether the registry has what is here by its digest: where nobody knows what was
    fetched, that is the sign that it came from there.
    """
    if there is None:
        return Standing.ONLY_HERE
    if here == there:
        return Standing.CURRENT
    if fetched is None:
        return Standing.OUTDATED if was_there() else Standing.UNKNOWN
    if here == fetched:
        return Standing.OUTDATED
    return Standing.CHANGED if there == fetched else Standing.DIVERGED
