"""One model on its way: what the transfers of its blobs share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from registry.contracts import Destination, Source
from registry.model.names import Name
from registry.transfer.progress import Observer
from registry.transfer.retry import Patience


@dataclass(slots=True)
class ModelTransfer:
    """`name` at `source` becomes `to` at `destination`; `near` there is known to hold the blobs.

    `unchanged`: `to` stands for the same manifest already, so its blobs are there unless one was lost.
    `lock` is held while `observer` is told something.
    """

    source: Source
    destination: Destination
    name: Name
    to: Name
    near: Name | None
    unchanged: bool
    patience: Patience
    observer: Observer
    moved: int = 0  # bytes read in this run
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, length: int) -> None:
        """So many bytes were read."""
        with self.lock:
            self.moved += length
