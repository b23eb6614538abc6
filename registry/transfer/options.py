"""How copies are made: what an engine is told once, for all the names it moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.contracts import Clock
from registry.errors import InvalidError
from registry.transfer.progress import Observer, Silent
from registry.transfer.retry import Patience, nothing
from registry.transfer.workers import machine_time


@dataclass(frozen=True, slots=True)
class Options:
    """How a copy is made.

    `patience` makes a fresh one for each copy. `jobs`: transfers at once, or None to choose and adapt.
    `interrupt` wakes every thread that waits for a peer, when a copy is told to stop; the connections can be
    used again afterwards. `stop`, once it is set, ends every copy with Stopped. `taken` says how much of the
    machine's time this process has used.
    """

    patience: Callable[[], Patience] = Patience
    observer: Observer = field(default_factory=Silent)
    jobs: int | None = None
    interrupt: Callable[[], None] = nothing
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Clock = time.monotonic
    taken: Clock = machine_time

    def __post_init__(self) -> None:
        if self.jobs is not None and not 1 <= self.jobs <= 64:
            raise InvalidError("jobs must be between 1 and 64")
