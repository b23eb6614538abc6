"""How often somebody may guess: failures are counted in memory, by account and address and by address."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass, field

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from registry.errors import Reason, TransientError

# A person who mistypes a password five times waits; nobody can keep an account's owner out from elsewhere.
_PAIR = RateLimitItemPerMinute(5, 15)
_ADDRESS = RateLimitItemPerMinute(50, 15)  # one guess at each of many accounts


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts guesses at `account` from `address`; a guess counts when it begins, so that many at once do too.

    All methods may be called from several threads. An IPv6 address stands for its /64: a person who
    has one has all of them. Strangers from very many networks could fill the memory: with `most` counts in
    it, it begins anew. They have very many guesses as it is, and passwords take their time.
    """

    pair: RateLimitItem = _PAIR
    address: RateLimitItem = _ADDRESS
    most: int = 20_000
    _counts: MemoryStorage = field(default_factory=MemoryStorage, repr=False)
    _limiter: MovingWindowRateLimiter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_limiter", MovingWindowRateLimiter(self._counts))

    def guess(self, what: str, account: str, address: str) -> None:
        """Count one guess at the account. TransientError, with the seconds to wait, for one too many."""
        network = network_of(address)
        if len(self._counts.events) >= self.most:
            self._counts.reset()
        if not self._limiter.test(self.address, what, network):
            raise self._too_many(self.address, address, what, network)
        if not self._limiter.hit(self.pair, what, account, network):
            raise self._too_many(self.pair, address, what, account, network)

    def wrong(self, what: str, address: str) -> None:
        """Count it for the address too, as it was wrong: whole offices sign in from one address."""
        self._limiter.hit(self.address, what, network_of(address))

    def right(self, what: str, account: str, address: str) -> None:
        """Forget the guesses at `account`: one was right."""
        self._limiter.clear(self.pair, what, account, network_of(address))

    def _too_many(self, item: RateLimitItem, address: str, *who: str) -> TransientError:
        ends = self._limiter.get_window_stats(item, *who).reset_time
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
