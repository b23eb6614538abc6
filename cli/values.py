"""What a value may look like, wherever it was written: an option, the environment, a settings file.

Pure: text or a TOML value in, a checked value out; InvalidError says what would be right, never where
it stood (`settings` knows that), and never repeats what may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from registry.errors import InvalidError
from registry.model.names import DEFAULT_TAG, Name, check_no_user, split_scheme

SLOWEST = 1000  # bytes a second; below this a transfer would never end
FASTEST = 10**12
MOST_JOBS = 64

_RATE = re.compile(r"([0-9]{1,15})(\.[0-9]{1,6})?([KMG]?)", re.IGNORECASE)
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FACTOR = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})

_LONGEST = 100 * 365 * 86400.0

Check = Callable[[object], object]


def duration(text: str, option: str, least: float) -> float:
    """Seconds that an option says: `90d`, `24h`; at least `least`, at most 100 years."""
    try:
        return float(str(seconds(least, _LONGEST)(text)))
    except InvalidError as error:
        raise InvalidError(f"{option}: {error.message}", hint=error.hint) from None


def rate(value: object) -> int:
    """Bytes a second: `20M`, `1.5G`, `500000`; K, M and G are decimal."""
    bytes_a_second = _amount(value)
    if not SLOWEST <= bytes_a_second <= FASTEST:
        raise InvalidError("must be between 1K and 1000G")
    return bytes_a_second


def amount(value: object) -> int:
    """Bytes: `500M`, `1.5G`, `4096`; K, M and G are decimal."""
    try:
        return _amount(value)
    except InvalidError:
        raise InvalidError("must be bytes, like 500M or 1.5G") from None


def floor(value: object) -> int:
    """Bytes a second below which a connection is given up; 0 for none."""
    bytes_a_second = _amount(value)
    if bytes_a_second > 10**6:
        raise InvalidError("must be between 0 and 1M")
    return bytes_a_second


def _amount(value: object) -> int:
    found = None if isinstance(value, bool) else _RATE.fullmatch(str(value))
    if found is None:
        raise InvalidError("must be bytes a second, like 500K, 20M or 1.5G")
    return int(float(found[1] + (found[2] or "")) * _FACTOR[found[3].upper()])


def seconds(least: float, most: float) -> Check:
    """A time: `90`, `0.5s`, `10m`, `1h` or `30d`; in seconds."""

    def check(value: object) -> float:
        found = None if isinstance(value, bool) else _TIME.fullmatch(str(value))
        if found is None:
            raise InvalidError("must be a time, like 30s, 10m, 1h or 30d")
        time = float(found[1]) * _SECONDS[found[2].lower()]
        if not least <= time <= most:
            raise InvalidError(f"must be between {_spelled(least)} and {_spelled(most)}")
        return time

    return check


def _spelled(time: float) -> str:
    """Seconds in the largest unit that they are a whole number of: `7d`, `90s`, `0.5s`."""
    unit = next((unit for unit in "dhm" if time and time % _SECONDS[unit] == 0), "s")
    return f"{time / _SECONDS[unit]:g}{unit}"


def whole(least: int, most: int) -> Check:
    """A whole number between `least` and `most`."""

    def check(value: object) -> int:
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text):
            raise InvalidError(f"must be a whole number between {least} and {most}")
        if not least <= int(text) <= most:
            raise InvalidError(f"must be between {least} and {most}, not {text}")
        return int(text)

    return check


def flag(value: object) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO and isinstance(value, str):
        return False
    raise InvalidError("must be true or false")


def choice(*words: str) -> Check:
    """One of `words`."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise InvalidError(f"must be one of {', '.join(words)}")
        return value

    return check


def path(value: object) -> Path:
    """A file or directory; `~` in front is the caller's to expand."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidError("must be the path of a file or directory")
    return Path(value)


def text(value: object) -> str:
    """One line of text."""
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidError("must be one line of text")
    return value


def host(value: object) -> str:
    """`host[:port]`, with or without `http://` or `https://` in front."""
    if not isinstance(value, str):
        raise InvalidError("must be a host, like models.acme.example or 127.0.0.1:5050")
    check_no_user(value)
    scheme, rest = split_scheme(value)
    checked = Name(rest.rstrip("/"), "library/any", DEFAULT_TAG, scheme=scheme)
    return f"{scheme}://{checked.host}" if scheme else checked.host


def url(value: object) -> str:
    """An absolute http or https URL without a user in it."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", value):
        raise InvalidError("must be a URL like https://models.acme.example, without a user in it")
    return value.rstrip("/")


def proxy(value: object) -> str:
    """A proxy's URL, HTTP's where no scheme is said; it may carry a password, so errors do not repeat it."""
    from registry.net.network import is_proxy

    url = value if not isinstance(value, str) or "://" in value else f"http://{value}"
    if not isinstance(url, str) or not re.fullmatch(r"https?://[^\s/]+/?", url) or not is_proxy(url):
        raise InvalidError("must be a URL like http://proxy.acme.example:3128")
    return url


def list_of(check: Check) -> Check:
    """A list of what `check` takes: a TOML list, or words with commas or spaces between them."""

    def check_all(value: object) -> tuple[object, ...]:
        if isinstance(value, str):
            value = re.split(r"[,\s]+", value.strip()) if value.strip() else []
        if not isinstance(value, list | tuple):
            raise InvalidError("must be a list")
        return tuple(check(item) for item in value)

    return check_all
