"""One member of a JSON object changed in its text, every other byte kept (RFC 8259)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from registry.errors import InvalidError

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"(?>[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")
_INSIDE = re.compile(
    rb'"(?>[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL
)  # the quote of a string without an end too
_LONGEST_KEY = 64  # bytes of a key that is looked at: `model`, each character escaped, has 32
_LONGEST_VALUE = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """A text among an object's own members; `start` and `end`: where it stands, its quotes included."""

    key: str
    value: str
    start: int
    end: int


def texts(document: bytes, keys: Collection[str]) -> list[Member]:
    """The members of the object `document` whose key is one of `keys` (any case) and whose value is a text.

    In order, and each of those that come several times. InvalidError if it is no JSON object.
    """
    wanted = {key.lower() for key in keys}
    found = []
    for key, start, end in _members(document):
        if key in wanted and document[start] == ord('"'):
            if end - start > _LONGEST_VALUE:
                raise InvalidError(f"{key} in the body has more than {_LONGEST_VALUE} bytes")
            found.append(Member(key, _text(document[start:end]), start, end))
    return found


def changed(document: bytes, members: Collection[Member], change: Callable[[str], str]) -> bytes:
    """`document` with another value in each of `members`; the same bytes where no value changes."""
    pieces, at = [], 0
    for member in members:
        new = change(member.value)
        if new != member.value:
            pieces += [document[at : member.start], json.dumps(new).encode()]
            at = member.end
    return b"".join((*pieces, document[at:])) if pieces else document


def _members(document: bytes) -> Iterator[tuple[str, int, int]]:
    """Each member of the object: its key in lower case ("" for a long one), and where its value stands."""
    at = _expect(document, _past_space(document, 0), b"{")
    at = _past_space(document, at)
    while document[at : at + 1] != b"}":
        key_end = _match(_STRING, document, at)
        key = _text(document[at:key_end]).lower() if key_end - at <= _LONGEST_KEY else ""
        start = _past_space(document, _expect(document, _past_space(document, key_end), b":"))
        end = _past_value(document, start)
        yield key, start, end
        at = _past_space(document, end)
        if document[at : at + 1] != b"}":
            at = _past_space(document, _expect(document, at, b","))
            if document[at : at + 1] == b"}":
                raise _no_json(at)
    if _past_space(document, at + 1) != len(document):
        raise _no_json(at)


def _past_value(document: bytes, at: int) -> int:
    first = document[at : at + 1]
    if first == b'"':
        return _match(_STRING, document, at)
    if first not in (b"{", b"["):
        return _match(_SCALAR, document, at)
    depth = 0
    for token in _INSIDE.finditer(document, at):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return token.end()
        elif mark == b'"':
            break
    raise _no_json(at)


def _past_space(document: bytes, at: int) -> int:
    return _match(_SPACE, document, at)


def _expect(document: bytes, at: int, mark: bytes) -> int:
    if document[at : at + 1] != mark:
        raise _no_json(at)
    return at + 1


def _match(pattern: re.Pattern[bytes], document: bytes, at: int) -> int:
    found = pattern.match(document, at)
    if found is None:
        raise _no_json(at)
    return found.end()


def _text(raw: bytes) -> str:
    try:
        text = json.loads(raw)
    except ValueError:
        raise InvalidError("the body is no JSON: a text in it cannot be read") from None
    assert isinstance(text, str)
    return text


def _no_json(at: int) -> InvalidError:
    return InvalidError(f"the body is no JSON object (byte {at})")
