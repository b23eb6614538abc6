"""What commands have in common that listen until they are told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from registry.contracts import Clock
from registry.errors import InvalidError, RegistryError

_DAY = 86_400.0
_LOOK_EVERY = 1.0  # seconds: a signal that lands just before a wait begins does not end that wait


def _nothing() -> None:
    """What is done where nobody said what."""


class ServerSignals:
    """SIGTERM: running requests end, and so does the process, with 0. SIGHUP: read the certificate again."""

    def __init__(self, *numbers: int) -> None:
        # A handler runs in the middle of anything: of all queues and events, only this may be put to there.
        self._told: SimpleQueue[int] = SimpleQueue()
        for each in numbers or (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda number, _frame: self._told.put(number))

    def stopped(
        self, seconds: float, again: Callable[[], None] = _nothing, meanwhile: Callable[[], None] = _nothing
    ) -> bool:
        """Whether SIGTERM came within `seconds`; `again()` for each SIGHUP until then.

        `meanwhile()` is called about once a second.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                told = self._told.get(timeout=min(left, _LOOK_EVERY))
            except Empty:
                meanwhile()
                continue
            if told == signal.SIGTERM:
                return True
            again()
        return False


@dataclass(slots=True)
class CertificateDates:
    """Tells of a certificate that is not good, or not for long: at the start, and once a day."""

    certificate: Path
    warned: Callable[[str], object]
    clock: Clock
    _next: float = field(default=0.0, init=False)

    def look(self, *, anew: bool = False) -> None:
        """Tell, if that is due; `anew`: the file was read again. What cannot be read now tells nothing."""
        from registry.net.listener.address import dates_trouble

        now = self.clock()
        if not anew and now < self._next:
            return
        self._next = now + _DAY
        with suppress(RegistryError):
            if trouble := dates_trouble(self.certificate, now):
                self.warned(trouble)


def host_and_port(option: str, listen: str) -> tuple[str, int]:
    """`HOST:PORT`, IPv6 in brackets. InvalidError."""
    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InvalidError(f"{option} {listen}: not HOST:PORT", hint="for example 127.0.0.1:5050")
    return host.removeprefix("[").removesuffix("]"), int(port)
