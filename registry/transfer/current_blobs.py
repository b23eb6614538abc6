"""Blobs on their way to each host: models that share one move it once, and it is known which name has it."""

from __future__ import annotations

import threading

from registry.model.digests import Digest
from registry.model.names import Name

_REMEMBERED = 100_000  # blobs whose holder is known; of those beyond it nothing is remembered

Key = tuple[str, Digest]
"""A destination's host and a blob."""


class CurrentBlobs:
    """The blobs that copies of one engine move now, and those they have moved. Safe from many threads."""

    def __init__(self) -> None:
        self._over: dict[Key, threading.Event] = {}
        self._holders: dict[Key, Name] = {}
        self._lock = threading.Lock()

    def begin(self, key: Key) -> threading.Event | None:
        """Move it from now on, until `end`; while another copy does, what is set once that one ended."""
        with self._lock:
            other = self._over.get(key)
            if other is None:
                self._over[key] = threading.Event()
            return other

    def end(self, key: Key, holder: Name | None) -> None:
        """It is no more on its way; `holder` is the name that has it now, None where it did not arrive."""
        with self._lock:
            over = self._over.pop(key, None)
            if holder is not None and len(self._holders) < _REMEMBERED:
                self._holders[key] = holder
        if over is not None:
            over.set()

    def holder(self, key: Key) -> Name | None:
        """A name at that host whose repository has the blob, if one is known."""
        return self._holders.get(key)
