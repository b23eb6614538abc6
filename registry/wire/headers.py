"""HTTP header fields: order kept, names without case, values one line (RFC 9110 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from registry.errors import InvalidError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Headers:
    """An immutable list of fields; `get` takes the first of a name, `all` every one."""

    __slots__ = ("_fields",)
    _fields: tuple[tuple[str, str], ...]

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        checked = tuple((name, str(value)) for name, value in pairs)
        for name, value in checked:
            if not _TOKEN.fullmatch(name):
                raise InvalidError(f"{name[:40]!r} is not a header name")
            if not _VALUE.fullmatch(value):
                raise InvalidError(f"the value of {name} is not one line of text")
        self._fields = checked

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`, or `default`."""
        wanted = name.lower()
        return next((value for key, value in self._fields if key.lower() == wanted), default)

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        wanted = name.lower()
        return [value for key, value in self._fields if key.lower() == wanted]

    def with_(self, name: str, value: str) -> Headers:
        """The same fields with exactly one `name`."""
        return _known((*self.without(name), *Headers([(name, value)])))

    def without(self, *names: str) -> Headers:
        """The same fields but for `names`."""
        unwanted = {name.lower() for name in names}
        return _known(tuple(field for field in self._fields if field[0].lower() not in unwanted))

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self._fields)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        """Names only: a value may be a secret."""
        return f"Headers({', '.join(key for key, _ in self._fields)})"


def _known(fields: tuple[tuple[str, str], ...]) -> Headers:
    """Headers of fields that were looked at before."""
    made = Headers()
    made._fields = fields
    return made
