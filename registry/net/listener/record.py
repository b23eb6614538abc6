"""What is told of each request when it is over: for the log and the metrics, never a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One request that was answered: sizes of the bodies in bytes, time in seconds; no secrets.

    `peer` is the connection's other end, `address` who asked, which differs behind a trusted proxy.
    `whole`: whether the answer went out to its end.
    """

    id: str
    peer: str
    address: str
    method: str = ""
    path: str = ""
    route: str = "none"
    repository: str = ""
    user: str = ""
    credential: str = ""
    status: int = 0
    received: int = 0
    sent: int = 0
    seconds: float = 0.0
    whole: bool = True


Record = Callable[[AccessRecord], None]
