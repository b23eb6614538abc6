"""How a registry is: what is true of it in numbers, and what somebody has to see to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.errors import StorageError
from registry.server.gauges import Numbers
from registry.server.room import Room


@dataclass(frozen=True, slots=True)
class Health:
    """Of one registry; `numbers` says what is true of it just now, as its metrics do."""

    room: Room
    numbers: Callable[[], Numbers]

    def problems(self, numbers: Numbers) -> list[str]:
        """What somebody has to see to, a sentence each."""
        problems = []
        try:
            self.room.check()
        except StorageError as error:
            problems.append(f"{error.message}. Pulls go on; delete models, or make the disk larger.")
        damaged = int(numbers.get("ferry_scrub_damaged", ("", 0.0))[1])
        if damaged:
            problems.append(f"{damaged} blobs are missing or damaged: ferry admin check --hash names them.")
        return problems
