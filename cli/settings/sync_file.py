"""What `ferry mirror --file` reads: sources, destinations, filters; a wrong line is named (CLI.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import values
from cli.settings import files
from cli.settings.lines import Lines
from registry.errors import InvalidError
from registry.model.selection import Selection
from registry.transfer.pairs import Referrers

_TEMPLATE = re.compile(r"\{([^{}]*)\}")
_MOST = 10_000  # tables of one file


def destination(value: object) -> str:
    """Where a mirror goes; `{repository}` and `{tag}` may stand in it."""
    text = values.text(value)
    odd = [word for word in _TEMPLATE.findall(text) if word not in ("repository", "tag")]
    if odd or "{" in _TEMPLATE.sub("", text) or "}" in _TEMPLATE.sub("", text):
        raise InvalidError("may have {repository} and {tag} in it, and no other braces")
    return text


_FILE: Mapping[str, values.Check] = {"limit_rate": values.rate}
_MIRROR: Mapping[str, values.Check] = {
    "source": values.text,
    "destination": destination,
    "tags": values.list_of(values.text),
    "exclude": values.list_of(values.text),
    "newest": values.whole(1, 1_000_000),
    "referrers": values.choice(*Referrers),
}


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """One source and where it goes. `where` is what messages call it: file and line, or ""."""

    source: str
    destination: str
    selection: Selection = field(default_factory=Selection)
    referrers: Referrers = Referrers.CHANGED
    where: str = ""


@dataclass(frozen=True, slots=True)
class SyncFile:
    """What is to be mirrored, and how fast it may go (bytes a second, None: as the settings say)."""

    entries: tuple[MirrorEntry, ...]
    limit_rate: int | None = None


def read(path: Path) -> SyncFile:
    """The file's entries. InvalidError where there is none, or naming file, line and key."""
    raw = files.read(path, "what to mirror")
    if raw is None:
        raise InvalidError(f"there is no file {path}", hint="ferry mirror --file FILE names what to mirror")
    text, document = files.toml(path, raw)
    lines = Lines(text)
    tables = document.pop("mirror", [])
    head = _checked(path, lines, document, _FILE)
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidError(f"{path}:{lines.of('mirror')}: mirror: must be tables, [[mirror]]")
    if not tables:
        raise InvalidError(f"{path}: there is nothing to mirror", hint="each source is a table, [[mirror]]")
    if len(tables) > _MOST:
        raise InvalidError(f"{path}: more than {_MOST} tables")
    return SyncFile(
        tuple(_entry(path, lines, table, at) for at, table in enumerate(tables)), head.get("limit_rate")
    )


def _entry(path: Path, lines: Lines, table: Mapping[str, object], at: int) -> MirrorEntry:
    own = _checked(path, lines, table, _MIRROR, "mirror", at)
    where = f"{path}:{lines.of('mirror', at, 'source')}"
    for key in ("source", "destination"):
        if not own.get(key):
            raise InvalidError(f"{path}:{lines.of('mirror', at)}: mirror: has no {key}")
    if own.get("tags") == ():
        raise InvalidError(
            f"{path}:{lines.of('mirror', at, 'tags')}: mirror.tags: must name at least one pattern"
        )
    selection = Selection(own.get("tags", ("*",)), own.get("exclude", ()), own.get("newest"))
    referrers = Referrers(own.get("referrers", Referrers.CHANGED))
    return MirrorEntry(own["source"], own["destination"], selection, referrers, where)


def _checked(
    path: Path, lines: Lines, table: Mapping[str, object], keys: Mapping[str, values.Check], *at: str | int
) -> dict[str, Any]:
    own = {}
    for key, value in table.items():
        where = f"{path}:{lines.of(*at, key)}: {'mirror.' if at else ''}{key}"
        if key not in keys:
            raise InvalidError(f"{where}: no such key", hint=f"there are: {', '.join(keys)}")
        own[key] = files.checked(keys[key], value, where, None)
    return own
