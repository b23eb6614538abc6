"""A process to be killed: puts a model into a store, span by span, slowly enough to be caught at it.

    python writer.py STORE SEED SIZES PAUSE

Prints `ready`, then `fetched <bytes>` whenever bytes were asked for, then `done`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sample_models import Model, blobs_of, get_blob

from registry.contracts import BusyElsewhere, Intake
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.store import Store

GRAIN = 64 * 1024
WORKERS = 3
NAME = Name.parse("models.example/acme/killed:1")


def fetch(store: Store, blob: Descriptor, data: bytes, pause: float) -> None:
    """One blob, by several workers, each span in four chunks."""
    while (intake := store.receive(NAME, blob, None)) is not None:
        if isinstance(intake, BusyElsewhere):
            while not intake.over():
                time.sleep(0.01)
            continue
        left = [piece for gap in intake.received.missing(blob.size) for piece in gap.cut(GRAIN)][::-1]
        arguments = (intake, left, data, pause)
        workers = 1 if intake.chunk_rules.ordered else WORKERS
        threads = [threading.Thread(target=work, args=arguments, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        if not intake.chunk_rules.ordered:
            intake.prove()  # follows them
        for thread in threads:
            thread.join()
        if intake.chunk_rules.ordered:
            intake.prove()
        intake.commit()


def work(intake: Intake, left: list[Span], data: bytes, pause: float) -> None:
    while left:
        try:
            piece = left.pop()
        except IndexError:  # another worker was faster
            return
        intake.write(piece, chunks(piece, data, pause))


def chunks(piece: Span, data: bytes, pause: float) -> Iterator[bytes]:
    for part in piece.cut(GRAIN // 4):
        time.sleep(pause)
        os.write(1, f"fetched {part.length}\n".encode())  # whole lines, whichever thread
        yield data[part.offset : part.end]


def main(directory: str, seed: str, sizes: str, pause: str) -> None:
    model = Model.random(int(seed), *(int(size) for size in sizes.split(",")))
    store = Store(Path(directory), grain=GRAIN)
    print("ready", flush=True)
    store.prepare(NAME, model.manifest)
    for blob in blobs_of(model):
        fetch(store, blob, model.blobs[blob.digest], float(pause))
    store.publish(NAME, model.manifest)
    for blob in blobs_of(model):
        assert get_blob(store, NAME, blob) == model.blobs[blob.digest]
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
