"""Keys that ask to be connected: each has signed `/api/me` here a short while ago (PROTOCOL section 4).

Strangers make these, so they are kept in memory, few of them, and for minutes. A key that is forgotten asks
again by itself: a client that waits for its approval repeats its call every few seconds. Nobody refuses one,
as everybody with an account could do that to everybody else: what is not approved is forgotten.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from threading import Lock

from registry.auth.keys import PublicKey
from registry.contracts import Clock
from registry.server.throttle import network_of

ASKED_SECONDS = 600.0  # a key that has not signed for longer than this cannot be approved
_MOST = 1000  # keys at once,
_MOST_OF_ONE = 20  # and of one address
_MOST_ADDRESSES = 4
_CODE_SECONDS = 3600.0
_CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that looks like another
_CODE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A key that signed `/api/me` from `addresses` in `networks`, first and last then (Unix seconds).

    `shows_code`: its client has shown a code, which has to be typed where the key is approved.
    """

    key: PublicKey
    first: float
    last: float
    addresses: tuple[str, ...]
    networks: tuple[str, ...]
    shows_code: bool = False


@dataclass(frozen=True, slots=True)
class Connecting:
    """The keys that wait; `clock` in Unix seconds. Codes are made with `secret`, and kept nowhere.

    May be used by several threads.
    """

    secret: bytes = field(repr=False)
    clock: Clock
    _asked: dict[str, Asked] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def note(self, key: PublicKey, address: str, *, shows_code: bool) -> Asked:
        """The key has signed from `address`. Once its client has shown a code, one is asked for."""
        now = self.clock()
        with self._lock:
            self._forget(now)
            known = self._asked.pop(key.text, None) or Asked(key, now, now, (), ())
            addresses = _with(known.addresses, address)
            networks = _with(known.networks, network_of(address))
            shows = known.shows_code or shows_code
            noted = replace(known, last=now, addresses=addresses, networks=networks, shows_code=shows)
            self._make_room(networks[-1])
            self._asked[key.text] = noted  # at the end: the oldest go first
        return noted

    def find(self, key: PublicKey) -> Asked | None:
        """What is known of a key that has signed within ASKED_SECONDS."""
        with self._lock:
            self._forget(self.clock())
            return self._asked.get(key.text)

    def settle(self, key: PublicKey) -> None:
        """Forget the key: it is connected."""
        with self._lock:
            self._asked.pop(key.text, None)

    def code(self, key: PublicKey) -> str:
        """What the key's client shows now, as `XXXX-XXXX`."""
        text = self._code(key, int(self.clock() // _CODE_SECONDS))
        return f"{text[: _CODE_LENGTH // 2]}-{text[_CODE_LENGTH // 2 :]}"

    def is_code(self, key: PublicKey, typed: str) -> bool:
        """Whether it is what the key's client shows, or did within the hour; case and dashes are nothing."""
        plain = "".join(each for each in typed.upper() if each.isalnum())[: _CODE_LENGTH + 1]
        return any(hmac.compare_digest(plain.encode(), code.encode()) for code in self._good(key))

    def _good(self, key: PublicKey) -> Iterator[str]:
        hour = int(self.clock() // _CODE_SECONDS)
        yield self._code(key, hour)
        yield self._code(key, hour - 1)

    def _code(self, key: PublicKey, hour: int) -> str:
        text = f"connect\0{key.text}\0{hour}".encode()
        number = int.from_bytes(hmac.digest(self.secret, text, hashlib.sha256)[:8], "big")
        letters = []
        for _ in range(_CODE_LENGTH):
            number, letter = divmod(number, len(_CODE_LETTERS))
            letters.append(_CODE_LETTERS[letter])
        return "".join(letters)

    def _forget(self, now: float) -> None:
        """Drop the keys that have not signed for long: the first ones, as each that signs goes to the end."""
        over = takewhile(lambda item: item[1].last <= now - ASKED_SECONDS, self._asked.items())
        for text in [text for text, _ in over]:
            del self._asked[text]

    def _make_room(self, network: str) -> None:
        same = [text for text, each in self._asked.items() if network in each.networks]
        for text in same[: max(0, len(same) - _MOST_OF_ONE + 1)]:
            del self._asked[text]
        while len(self._asked) >= _MOST:
            del self._asked[next(iter(self._asked))]


def _with(known: tuple[str, ...], one: str) -> tuple[str, ...]:
    """Where a key has signed, this last; no more than a few."""
    return (*(each for each in known if each != one), one)[-_MOST_ADDRESSES:]
