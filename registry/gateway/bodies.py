"""Request bodies that come compressed (Codex sends zstd, RFC 8878), with a ceiling before and after."""

from __future__ import annotations

import io

import zstandard

from registry.errors import InvalidError

MOST_BYTES = 20 * 1024 * 1024  # of a body, as it comes and as it is
_MOST_FRAMES = 64  # one is usual
_WINDOW = 8 * 1024 * 1024  # bytes that a decoder must offer (RFC 8878 section 3.1.1.1.2)


def plain(body: bytes, coding: str) -> bytes:
    """`body` decoded. InvalidError for another coding than zstd, what is damaged, and what is too large."""
    if coding != "zstd":
        raise InvalidError(f"the body is compressed with {coding[:40]}, and only zstd is known here")
    decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with decoder.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            decoded = reader.read(MOST_BYTES + 1)
    except zstandard.ZstdError:
        raise InvalidError("the body is not zstd, or damaged") from None
    if len(decoded) > MOST_BYTES:
        raise InvalidError(f"the body has more than {MOST_BYTES} bytes once it is decoded")
    _check_whole(body)
    return decoded


def _check_whole(body: bytes) -> None:
    """InvalidError unless the last frame is there to its end, which a stream's reader does not tell.

    Nothing here grows beyond what was decoded before.
    """
    for _ in range(_MOST_FRAMES):
        frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        frame.decompress(body)
        if not frame.eof:
            raise InvalidError("the body is cut short: its zstd frame has no end")
        body = frame.unused_data
        if not body:
            return
    raise InvalidError(f"the body has more than {_MOST_FRAMES} zstd frames")
