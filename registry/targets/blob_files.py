"""Which file of a store a blob is: `blobs/sha256-<hex>`, as Ollama has it (PROTOCOL section 2)."""

from __future__ import annotations

import functools
from pathlib import Path

from registry.errors import InvalidError
from registry.model.digests import Digest


def file_name(digest: Digest) -> str:
    """A blob's file name."""
    return f"{digest.algorithm}-{digest.hex}"


@functools.lru_cache(maxsize=1024)  # a blob on its way is looked for many times, and pathlib is slow
def blob_path(blobs: Path, digest: Digest) -> Path:
    """Where a blob of the store is."""
    return blobs / file_name(digest)


def digest_in(name: str) -> Digest | None:
    """The digest a blob's file name spells; None for any other name."""
    try:
        digest = Digest.parse(name.replace("-", ":", 1))
    except InvalidError:
        return None
    return digest if file_name(digest) == name else None
