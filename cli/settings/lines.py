"""On which line of a TOML file a value stands: tomllib does not say, and an error has to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
"""The keys that lead to a value, and its places in arrays."""

_ENDS = ("]", "}", '"""', "'''")  # one of them is on the last line of a value that has several


class Lines:
    """Where the values and tables of `text`, which is TOML, begin."""

    def __init__(self, text: str) -> None:
        self._first: dict[Path, int] = {}
        places: dict[Path, int] = {}
        table: Path = ()
        for number, said in _statements(text):
            if isinstance(said, list):
                table = _header(said[0], places)
                self._note(table, number)
            else:
                self._take(table, said, number)

    def of(self, *path: str | int) -> int:
        """The line; 1 if there is no such value."""
        return self._first.get(path, 1)

    def _note(self, path: Path, number: int) -> None:
        for length in range(1, len(path) + 1):
            self._first.setdefault(path[:length], number)

    def _take(self, path: Path, said: object, number: int) -> None:
        """Note a value, and what is inside."""
        self._note(path, number)
        inside = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
        for key, value in inside:
            self._take((*path, key), value, number)


def _statements(text: str) -> Iterator[tuple[int, dict[str, Any] | list[dict[str, Any]]]]:
    """What each statement says alone, and its first line; what a table's header says is in a list."""
    import tomllib  # here, as most people have no such file

    pending, began = "", 0
    for number, line in enumerate(text.split("\n"), 1):  # what TOML calls lines: others may stand in texts
        if not pending:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            began = number
        elif not _may_end(line):
            pending += f"{line}\n"
            continue
        pending += f"{line}\n"
        try:
            said = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:  # it goes on
            continue
        yield began, [said] if pending.lstrip().startswith("[") else said
        pending = ""


def _may_end(line: str) -> bool:
    """Whether a value of several lines may end here: behind it are spaces at most, and a comment."""
    return line.rstrip().endswith(_ENDS) or ("#" in line and any(end in line for end in _ENDS))


def _header(said: dict[str, Any], places: dict[Path, int]) -> Path:
    """The table that a header begins; `places` counts those of each array."""
    path: Path = ()
    inner: Any = said
    while inner:
        [(key, inner)] = inner.items()
        path = (*path, key)
        if isinstance(inner, list):
            places[path] = places.get(path, -1) + 1
            inner = inner[0]
        if path in places:
            path = (*path, places[path])
    return path
