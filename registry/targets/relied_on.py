"""Blobs that no manifest of ours names yet: kept young, so that Ollama leaves them alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from registry.contracts import Clock
from registry.disk.files import status, touch
from registry.disk.proven import Proven
from registry.model.digests import Digest

_AGED = 600.0  # seconds: a blob older than this is touched while its manifest is not written
_LOOK_AGAIN = 60.0  # seconds between two looks at the blobs' ages


class ReliedOn:
    """The blobs somebody relies on; `place` says where each is. Safe from many threads."""

    def __init__(self, place: Callable[[Digest], Path], proven: Proven, clock: Clock) -> None:
        self._place = place
        self._proven = proven
        self._clock = clock
        self._digests: set[Digest] = set()
        self._looked = 0.0
        self._lock = threading.Lock()

    def add(self, digest: Digest) -> None:
        """From now on this one too."""
        with self._lock:
            self._digests.add(digest)
        self.stay_young()

    def release(self, digests: Iterable[Digest]) -> None:
        """A manifest names them now."""
        with self._lock:
            self._digests.difference_update(digests)

    def stay_young(self) -> None:
        """Touch blobs before Ollama, starting meanwhile, takes them for an hour-old leftover."""
        now = self._clock()
        with self._lock:
            if now - self._looked < _LOOK_AGAIN:
                return
            self._looked = now
            digests = list(self._digests)
        for digest in digests:
            path = self._place(digest)
            there = status(path)
            if there is None or now - there.modified < _AGED or not self._proven.knows(digest, there):
                continue
            if touch(path) and (there := status(path)) is not None:
                self._proven.note(digest, there)
