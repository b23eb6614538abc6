"""What a file is that is taken for GGUF weights and is not: told by its first bytes. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

HEAD = 512  # bytes that tell
_LONGEST_HEADER = 100 * 1024 * 1024  # of safetensors: what its own reader takes


@dataclass(frozen=True, slots=True)
class Format:
    """What a file is, for people, and how to come from it to a GGUF file, or ""."""

    name: str
    way: str = ""


_LLAMA = "llama.cpp's convert_hf_to_gguf.py makes a GGUF file of the model's directory"
_AGAIN = "download it again: the server sent a page instead of the file, which may need a login"
_STARTS = (
    (
        b"version https://git-lfs.github.com/spec/",
        Format("a Git LFS pointer", "git lfs pull fetches the file"),
    ),
    (b"lmgg", Format("a GGML file, older than GGUF", "look for the model as GGUF")),
    (b"fmgg", Format("a GGML file, older than GGUF", "look for the model as GGUF")),
    (b"tjgg", Format("a GGML file, older than GGUF", "look for the model as GGUF")),
    (b"algg", Format("a GGML adapter, older than GGUF", "look for the adapter as GGUF")),
    (b"PK\x03\x04", Format("a ZIP archive or a PyTorch checkpoint", _LLAMA)),
    (b"\x1f\x8b", Format("a gzip file", "gunzip it first")),
    (b"\x28\xb5\x2f\xfd", Format("a zstd file", "unzstd it first")),
)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_DIRECTORY = Format("a directory of safetensors files", _LLAMA)


def of_directory(names: Iterable[str]) -> Format | None:
    """What a directory with files of these names is; None where that is not known."""
    return _DIRECTORY if any(name.endswith(".safetensors") for name in names) else None


def told_by(head: bytes) -> Format | None:
    """What begins with `head`; None where that is not known."""
    if not head:
        return Format("an empty file")
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if _PAGE.match(head):
        return Format("a web page (HTML)", _AGAIN)
    if len(head) > 8 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] <= _LONGEST_HEADER:
        return Format("a safetensors file", _LLAMA)
    return None
