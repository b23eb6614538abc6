"""How often somebody may guess: failures are counted in memory, by account and address and by address."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from registry.errors import Reason, TransientError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `times` within `minutes`."""

    times: int
    minutes: int = 1


# A person who mistypes a password five times waits; nobody can keep an account's owner out from elsewhere.
_PAIR = RateLimit(5, 15)
_ADDRESS = RateLimit(50, 15)  # one guess at each of many accounts


class _Counts:
    """What is counted, from the first guess on: it takes a thread, and a library that is slow to import."""

    def __init__(self) -> None:
        self._limiter: MovingWindowRateLimiter | None = None
        self._storage: MemoryStorage | None = None
        self._lock = Lock()

    @property
    def limiter(self) -> MovingWindowRateLimiter:
        """Counts."""
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        with self._lock:
            if self._limiter is None:
                self._storage = MemoryStorage()
                self._limiter = MovingWindowRateLimiter(self._storage)
            return self._limiter

    def keep_below(self, most: int) -> None:
        """Forget everything where it is as much as that."""
        if self._storage is not None and len(self._storage.events) >= most:
            self._storage.reset()

    def __len__(self) -> int:
        return len(self._storage.events) if self._storage is not None else 0


@lru_cache
def _item(rate: RateLimit) -> RateLimitItem:
    from limits import RateLimitItemPerMinute

    return RateLimitItemPerMinute(rate.times, rate.minutes)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts guesses at `account` from `address`; a guess counts when it begins, so that many at once do too.

    All methods may be called from several threads. An IPv6 address stands for its /64: a person who
    has one has all of them. Strangers from very many networks could fill the memory: with `most` counts in
    it, it begins anew. They have very many guesses as it is, and passwords take their time.
    """

    pair: RateLimit = _PAIR
    address: RateLimit = _ADDRESS
    most: int = 20_000
    _counts: _Counts = field(default_factory=_Counts, repr=False)

    def guess(self, what: str, account: str, address: str) -> None:
        """Count one guess at the account. TransientError, with the seconds to wait, for one too many."""
        network, limiter = network_of(address), self._counts.limiter
        self._counts.keep_below(self.most)
        if not limiter.test(_item(self.address), what, network):
            raise self._too_many(self.address, address, what, network)
        if not limiter.hit(_item(self.pair), what, account, network):
            raise self._too_many(self.pair, address, what, account, network)

    def wrong(self, what: str, address: str) -> None:
        """Count it for the address too, as it was wrong: whole offices sign in from one address."""
        self._counts.limiter.hit(_item(self.address), what, network_of(address))

    def right(self, what: str, account: str, address: str) -> None:
        """Forget the guesses at `account`: one was right."""
        self._counts.limiter.clear(_item(self.pair), what, account, network_of(address))

    def _too_many(self, rate: RateLimit, address: str, *who: str) -> TransientError:
        ends = self._counts.limiter.get_window_stats(_item(rate), *who).reset_time
        wait = max(1, math.ceil(ends - time.time()))
        return TransientError(
            f"too many failed attempts from {address}: try again in {math.ceil(wait / 60)} min",
            reason=Reason.BUSY,
            retry_after=float(wait),
        )


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or an IPv6 address's /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
