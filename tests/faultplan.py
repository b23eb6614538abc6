"""What shall go wrong on the way between a client and a registry, and what did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# What may befall a request that brings a body, one whose answer brings one, and one with neither.
UPLOAD_FAULTS = (
    *("refuse", "reset", "close", "stall", "drip", "flip", "lost", "restart"),
    *("401", "416", "429", "500", "503"),
)
DOWNLOAD_FAULTS = (
    *("refuse", "reset", "close", "stall", "drip", "truncate", "flip", "lie", "whole", "restart"),
    *("401", "416", "429", "500", "503"),
)
# What may still befall a body that a fault has struck without ending it.
LATER_FAULTS = {"reset", "close", "stall", "drip", "truncate", "flip", "restart"}
SMALL_FAULTS = ("refuse", "lost", "401", "429", "500", "503")


@dataclass
class Plan:
    """What goes wrong: `faults` in all; `odds` is the chance that one befalls a small message, or a
    mebibyte of a larger one."""

    seed: int = 0
    faults: int = 0
    up: tuple[str, ...] = UPLOAD_FAULTS
    down: tuple[str, ...] = DOWNLOAD_FAULTS
    small: tuple[str, ...] = SMALL_FAULTS
    odds: float = 0.5
    spare: int = 4  # so many requests pass unharmed: the registry has answered once
    stall: float = 3.0  # seconds
    flips: int = 1  # a flipped bit costs a whole blob: no more than so many


@dataclass
class Link:
    """What the line is like: bytes a second (0: no limit), seconds."""

    per_connection: float = 0
    total: float = 0
    latency: float = 0.0  # a round trip


@dataclass
class Stats:
    """What passed, in bytes, and what was broken."""

    up: int = 0
    down: int = 0
    connections: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
