"""What lies in `fixtures/store-0.1.tar.xz`, and how it was made: by Ferry 0.1 (commit b5ec281), with

    PYTHONPATH=.:tests:tests/targets python3 tests/targets/earlier_store.py fixtures/store-0.1.tar.xz

run in that commit's tree. The contents are made of text, so that they can be made again and squeezed.
"""

from __future__ import annotations

import contextlib
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sample_models import Model, chunked, put, receive

from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.store import Store

GRAIN = 512 * 1024
WHOLE_NAME = Name.parse("models.example/acme/whole:1")
HALF_NAME = Name.parse("models.example/acme/half:1")


def text(name: str, size: int) -> bytes:
    lines = (f"{name} {number:8}".encode() * 64 for number in range(size // 512 + 1))
    return b"\n".join(lines)[:size]


WHOLE = Model.of(text("whole", 3 * GRAIN + 77), b"small")
HALF = Model.of(text("half", 6 * GRAIN + 123))
RECEIVED = Spans.of([Span(0, GRAIN), Span(2 * GRAIN, GRAIN), Span(4 * GRAIN, 200_000)])
"""What of `HALF` is there; the last span broke off."""


def make(models: Path) -> None:
    store = Store(models, grain=GRAIN)
    put(store, WHOLE_NAME, WHOLE)
    store.prepare(HALF_NAME, HALF.manifest)
    layer = HALF.manifest.layers[0]
    intake = receive(store, HALF_NAME, layer)
    data = HALF.blobs[layer.digest]
    for span in RECEIVED:
        with contextlib.suppress(EOFError):
            intake.write(Span(span.offset, GRAIN), breaking(data[span.offset : span.end]))
    intake.close()
    store.close()


def breaking(data: bytes) -> Iterator[bytes]:
    yield from chunked(data)
    if len(data) < GRAIN:
        raise EOFError


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory) / "models")
        with tarfile.open(sys.argv[1], "w:xz") as tar:
            tar.add(Path(directory) / "models", "models")
