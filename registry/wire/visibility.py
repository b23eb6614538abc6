"""Whether anybody may read a repository, as a push says it: `X-Ferry-Visibility`, a header of ours.

A registry that knows it says `supported` where a push begins, and what was set where it ends; `denied` to who
may write there and not say so. Who gets no such word knows that what is pushed would be as visible as the
registry sees fit.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors import InvalidError

VISIBILITY = "X-Ferry-Visibility"
DENIED = "denied"
SUPPORTED = (VISIBILITY, "supported")
_WORDS = {"private": False, "public": True}


def read_visibility(values: Sequence[str]) -> bool | None:
    """Whether it is to be public; None where no header says it. InvalidError for another word.

    An empty one is another word: a script's variable was empty, and what is published is not called back.
    """
    if not values:
        return None
    value = ",".join(values)
    if value not in _WORDS:
        raise InvalidError(f"{VISIBILITY} {value[:20]!r} is not private or public")
    return _WORDS[value]


def write_visibility(public: bool) -> str:
    """The word for it."""
    return "public" if public else "private"
