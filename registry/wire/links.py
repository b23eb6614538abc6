"""Link fields: where a list goes on (RFC 8288 section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 16 * 1024  # no link is longer
_BETWEEN = re.compile(r"[\s,]*")
_TARGET = re.compile(r"(?:<([^>]*)>|([^\s;,<>\"]+))\s*")  # some registries leave out the brackets
_PARAMETER = re.compile(r";\s*([^\s;,=\"]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*)))?\s*")
_PAIR = re.compile(r"\\(.)")
_NEXT_LINK = re.compile(r"[^,]+")


def following(fields: Iterable[str]) -> str:
    """The target of the first link whose relation is `next`, as it was given; "" if there is none."""
    text, at = ", ".join(fields)[:_LONGEST], 0
    while (at := _behind(_BETWEEN, text, at)) < len(text):
        link = _TARGET.match(text, at)
        if link is None:
            at = _behind(_NEXT_LINK, text, at)
            continue
        at, relation = link.end(), None
        while parameter := _PARAMETER.match(text, at):
            at = parameter.end()
            if parameter[1].lower() == "rel" and relation is None:  # only the first one counts
                quoted = parameter[2]
                relation = _PAIR.sub(r"\1", quoted) if quoted is not None else parameter[3] or ""
        if relation is not None and "next" in relation.lower().split():
            return link[1] if link[1] is not None else link[2]
    return ""


def _behind(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where `pattern` ends that may begin at `at`."""
    found = pattern.match(text, at)
    return found.end() if found else at
