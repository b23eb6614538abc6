"""What requests say in paths and queries, read strictly: the error of each kind has the code it is due."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from registry.errors import InvalidError
from registry.model.digests import Digest
from registry.wire.messages import Request
from registry.wire.routes import Place

_PAGE = 1000  # the most entries that one page of a list has
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class MalformedError(InvalidError):
    """A part of a request breaks the specification's grammar; `code` is the specification's for that."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parsed_digest(text: str) -> Digest:
    """The digest; MalformedError with DIGEST_INVALID."""
    try:
        return Digest.parse(text)
    except InvalidError as error:
        raise MalformedError("DIGEST_INVALID", error.message) from None


def reference(place: Place) -> Digest | str:
    """A digest or a tag; MalformedError for what is neither."""
    if ":" in place.reference:
        return parsed_digest(place.reference)
    if not _TAG.fullmatch(place.reference):
        raise MalformedError("TAG_INVALID", f"{place.reference[:80]!r} is not a tag")
    return place.reference


def tag_parameters(request: Request) -> list[str]:
    """The tags in a manifest's query, each once (distribution specification, after 1.1); MalformedError."""
    tags = list(dict.fromkeys(value for key, value in request.query if key == "tag"))
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise MalformedError("TAG_INVALID", f"{tag[:80]!r} is not a tag")
    return tags


def page_limit(request: Request) -> int:
    """How many entries a page is to have: `n`, and never more than there are on the largest."""
    text = request.parameter("n")
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidError(f"n={text[:20]!r} is not a number of entries")
    return min(int(text), _PAGE)


def parsed_date(text: str) -> float:
    """A day or moment of RFC 3339 in Unix seconds, in UTC where it does not say; InvalidError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidError(f"{text[:40]!r} is not a time as RFC 3339 has it: 2026-11-30T12:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def date(seconds: float) -> str:
    """Unix seconds as RFC 3339, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
