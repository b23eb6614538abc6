"""Just enough HTTP/1.1 to stand between two who speak it: heads, and where bodies end."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

CHUNK = 256 * 1024
HEAD = 64 * 1024


class Broken(Exception):
    """This connection ends here."""


def head(stream: BufferedReader) -> bytes:
    """Start line and fields, up to and with the empty line; b"" at the end of the connection."""
    lines = b""
    while not lines.endswith(b"\r\n\r\n"):
        line = stream.readline(HEAD)
        if not line:
            return b""
        lines += line
        if len(lines) > HEAD:
            raise Broken
    return lines


def final_head(stream: BufferedReader) -> bytes:
    """The head of the answer proper; those that only say "100 Continue" are dropped."""
    lines = head(stream)
    while lines and status(lines) // 100 == 1:
        lines = head(stream)
    return lines


def status(lines: bytes) -> int:
    """The number in an answer's first line."""
    return int(lines.split(b" ", 2)[1])


def field(lines: bytes, name: bytes) -> bytes | None:
    """The first value of a field; names in lower case."""
    for line in lines.split(b"\r\n")[1:]:
        key, colon, value = line.partition(b":")
        if colon and key.strip().lower() == name:
            return value.strip()
    return None


def replaced(lines: bytes, name: bytes, value: bytes) -> bytes:
    """The head with one field's value changed."""
    kept = [line for line in lines.split(b"\r\n")[:-2] if not line.lower().startswith(name + b":")]
    return b"\r\n".join([*kept, name + b": " + value, b"", b""])


def without(lines: bytes, name: bytes) -> bytes:
    """The head without one field."""
    return b"\r\n".join(line for line in lines.split(b"\r\n") if not line.lower().startswith(name + b":"))


def length(lines: bytes) -> int:
    """The stated length of the body, 0 where none is stated."""
    return int(field(lines, b"content-length") or 0)


def is_chunked(lines: bytes) -> bool:
    """Whether the body says itself where it ends."""
    return b"chunked" in (field(lines, b"transfer-encoding") or b"").lower()


def body(stream: BufferedReader, left: int) -> Iterator[bytes]:
    """So many bytes, as they come."""
    while left:
        chunk = stream.read1(min(CHUNK, left))
        if not chunk:
            raise Broken
        left -= len(chunk)
        yield chunk


def chunks(stream: BufferedReader) -> Iterator[bytes]:
    """A chunked body as it is, framing and all."""
    while True:
        line = stream.readline(HEAD)
        size = int(line.split(b";")[0], 16)
        yield line + stream.read(size + 2)
        if not size:
            return


def lied(content_range: bytes) -> bytes:
    """A `Content-Range` moved on by one byte."""
    unit, _, rest = content_range.partition(b" ")
    span, _, whole = rest.partition(b"/")
    first, _, last = span.partition(b"-")
    return b"%s %d-%d/%s" % (unit, int(first) + 1, int(last) + 1, whole)
