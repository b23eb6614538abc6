"""What Ferry's own registry says beside a list of tags: what each stands for, since when, and by whom.

An addition to the answer: other registries send none, and what cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from registry.contracts import Publication
from registry.errors import InvalidError
from registry.model.digests import Digest

BYTES = 500  # what one takes of memory
_KEY = "published"
_YEAR_10000 = 253_402_300_800
_BY = 80  # characters of an account's name


def publications(page: Mapping[str, object]) -> Iterator[tuple[str, Publication]]:
    """Each tag of a page of the list that something is said of, and what."""
    entries = page.get(_KEY)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(tag := entry.get("tag"), str):
            found = _publication(entry)
            if found is not None:
                yield tag, found


def _publication(entry: Mapping[str, object]) -> Publication | None:
    try:
        digest = Digest.parse(str(entry.get("digest")))
    except InvalidError:
        return None
    by = entry.get("by")
    return Publication(digest, _moment(entry.get("at")), by[:_BY] if isinstance(by, str) else "")


def _moment(text: object) -> float | None:
    """RFC 3339 as Unix seconds."""
    try:
        moment = datetime.fromisoformat(text).timestamp() if isinstance(text, str) else -1.0
    except (ValueError, OverflowError):
        return None
    return moment if 0 <= moment < _YEAR_10000 else None
