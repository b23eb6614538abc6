"""Which tags of a repository are meant: by pattern, and the newest of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry.errors import InvalidError

# The tags under which clients keep what refers to a manifest: OCI's fallback, and cosign's before it.
_ATTACHED = re.compile(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64,120})(\.[A-Za-z0-9_-]+)?")
_NUMBER = re.compile(r"(\d+)")
_Key = tuple[tuple[int, int, str], ...]


def attached_to(tag: str) -> str:
    """`sha256-<hex>` of the manifest that what is under `tag` refers to; "" for an ordinary tag."""
    found = _ATTACHED.fullmatch(tag)
    return found[1] if found else ""


def lists_referrers(tag: str) -> bool:
    """Whether what is under `tag` is OCI's list of what refers to a manifest, and not one such thing."""
    return attached_to(tag) == tag


def version_key(tag: str) -> _Key:
    """What versions are ordered by: numbers as numbers, and `1.0-rc1` before `1.0`."""
    text = tag[1:] if re.match(r"[vV]\d", tag) else tag
    key = [
        (2, int(part[:18]), "") if part.isdigit() else (0 if part[:1] == "-" or not at else 1, 0, part)
        for at, part in enumerate(_NUMBER.split(text))
        if part
    ]
    return (*key, (0, 1, ""))


@dataclass(frozen=True, slots=True)
class Selection:
    """Tags that match one of `tags` and none of `exclude` (globs); of those the `newest` so many."""

    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    newest: int | None = None

    def __post_init__(self) -> None:
        if self.newest is not None and self.newest < 1:
            raise InvalidError("newest must be at least 1")

    @property
    def everything(self) -> bool:
        """Whether no tag is left out."""
        return self.tags == ("*",) and not self.exclude and self.newest is None

    def covers(self, tag: str) -> bool:
        """Whether the patterns mean `tag`, be it new or old."""
        return any(fnmatchcase(tag, each) for each in self.tags) and not any(
            fnmatchcase(tag, each) for each in self.exclude
        )

    def chosen(self, tags: Mapping[str, float | None]) -> list[str]:
        """Those of `tags` that are meant, in their order; each with when it was published (Unix seconds).

        Where one of them does not tell that, version order says which are the newest.
        """
        covered = [tag for tag in tags if not attached_to(tag) and self.covers(tag)]
        if self.newest is None or len(covered) <= self.newest:
            return covered
        moments = {tag: moment for tag in covered if (moment := tags[tag]) is not None}
        if len(moments) == len(covered):
            order = sorted(covered, key=lambda tag: (moments[tag], version_key(tag)))
        else:
            order = sorted(covered, key=version_key)
        kept = set(order[-self.newest :])
        return [tag for tag in covered if tag in kept]
