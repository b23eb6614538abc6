"""HTTP header fields: order kept, names without case, values one line (RFC 9110 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from registry.errors import InvalidError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LINES = re.compile(f"^({_TOKEN.pattern}):({_VALUE.pattern})$", re.MULTILINE)


class Headers:
    """An immutable list of fields; `get` takes the first of a name, `all` every one."""

    __slots__ = ("_fields", "_named")
    _fields: tuple[tuple[str, str], ...]
    _named: dict[str, list[str]] | None

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        checked = tuple((name, str(value)) for name, value in pairs)
        for name, value in checked:
            if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value)):
                raise InvalidError(_fault(name, value))
        self._fields = checked
        self._named = None

    @classmethod
    def parse(cls, lines: str) -> Headers:
        """The fields of a message's head, one a line (RFC 9112 section 5). InvalidError for what is none."""
        fields = _LINES.findall(lines)
        if lines and len(fields) <= lines.count("\n"):
            raise InvalidError(next(filter(None, map(_line_fault, lines.split("\n")))))
        return _known(tuple((name, value.strip(" \t")) for name, value in fields))

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`, or `default`."""
        found = (self._named or self._by_name()).get(name.lower())
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return list((self._named or self._by_name()).get(name.lower(), ()))

    def with_(self, name: str, value: str) -> Headers:
        """The same fields with exactly one `name`."""
        return _known((*self.without(name), *Headers([(name, value)])))

    def without(self, *names: str) -> Headers:
        """The same fields but for `names`."""
        unwanted = {name.lower() for name in names}
        return _known(tuple(field for field in self._fields if field[0].lower() not in unwanted))

    def __contains__(self, name: str) -> bool:
        return name.lower() in (self._named or self._by_name())

    def _by_name(self) -> dict[str, list[str]]:
        """The values of each name in lower case: made once, when the first is asked for."""
        if self._named is None:
            named: dict[str, list[str]] = {}
            for key, value in self._fields:
                named.setdefault(key.lower(), []).append(value)
            self._named = named
        return self._named

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


NO_FIELDS = Headers()


def _fault(name: str, value: str) -> str:
    """What is wrong with a field, or "" where nothing is."""
    if not _TOKEN.fullmatch(name):
        return f"{name[:40]!r} is not a header name"
    return "" if _VALUE.fullmatch(value) else f"the value of {name} is not one line of text"


def _line_fault(line: str) -> str:
    """What is wrong with a line of a head, or "" where nothing is."""
    name, colon, value = line.partition(":")
    return _fault(name, value) if colon else f"{name[:40]!r} is not a header"


def _known(fields: tuple[tuple[str, str], ...]) -> Headers:
    """Headers of fields that were looked at before."""
    made = Headers.__new__(Headers)
    made._fields, made._named = fields, None
    return made
