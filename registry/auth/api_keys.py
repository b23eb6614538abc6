"""How an API key of `ferry serve` is written: `fry_`, 30 random characters, and their check sum.

    fry_<30 characters of 0-9A-Za-z><6 of check sum>        an account's
    fry_sa_<30 characters of 0-9A-Za-z><6 of check sum>     a service account's

The check sum is the CRC-32 of the 30 characters, in base 62 (`0-9A-Za-z` are the digits, in that order), six
digits, with `0` in front. It says nothing about who made the key: it tells a mistyped or shortened key, and a
scanner's find, from a key without asking a database. Pure.
"""

from __future__ import annotations

import re
from zlib import crc32

from registry.errors import InvalidError

PREFIX = "fry_"
SERVICE_PREFIX = "fry_sa_"
RANDOM_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 30  # characters: 178 bits
_SUM = 6
_FORM = re.compile(rf"{PREFIX}(?:sa_)?([0-9A-Za-z]{{{_BODY}}})([0-9A-Za-z]{{{_SUM}}})")
_SHOWN = 4


def make(random: bytes, prefix: str = PREFIX) -> str:
    """The API key made from `random` (32 bytes: each key is as likely as any other to within 2⁻⁷⁷).

    `prefix`: PREFIX, or SERVICE_PREFIX.
    """
    if len(random) != RANDOM_BYTES:
        raise InvalidError(f"an API key is made of {RANDOM_BYTES} random bytes, not {len(random)}")
    body = _in_base_62(int.from_bytes(random), _BODY)
    return f"{prefix}{body}{_check_sum(body)}"


def is_api_key(text: str) -> bool:
    """Whether `text` is an API key of this form, its check sum right."""
    found = _FORM.fullmatch(text)
    return found is not None and _check_sum(found[1]) == found[2]


def last_four(text: str) -> str:
    """The end of a key: what may be shown of it, so that its owner knows which one it is."""
    return text[-_SHOWN:]


def _check_sum(body: str) -> str:
    return _in_base_62(crc32(body.encode()), _SUM)


def _in_base_62(number: int, length: int) -> str:
    """The last `length` digits of `number`, most significant first."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
