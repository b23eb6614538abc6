"""Our own secrets, and links that carry a permission, struck out of what others say.

A peer may repeat what it was sent in its error message; that message is shown, logged and mailed around. Pure
but for what it remembers; threads may share one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, urlsplit

from registry.errors import RegistryError

MASK = "***"
_RECENT = 128  # tokens, signatures and links: they come and go, and are repeated at once or never
_SHORT = 4  # a secret shorter than this is masked in no other spelling
_LONG = 8  # a spelling shorter than this is masked as a whole word only: digests and names are full of such
_LINK = re.compile(r"(/v2/_(?:capability|storage)/)(?!…)[^\s\"'<>]+")
_PERMISSION = re.compile(
    r"([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|sig|signature|policy|token|access_token)=)[^&\s\"'<>]+",
    re.IGNORECASE,
)


class Masking:
    """What is not to be shown. Call it with a text, and have that text without it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, None] = {}
        self._recent: dict[str, None] = {}
        self._by_secret: dict[str, tuple[str, ...]] = {}  # the spellings of each
        # Of all, longest first; None: not known since there was a new secret.
        self._spellings: tuple[str, ...] | None = ()

    def keep(self, *secrets: str) -> None:
        """Mask these for good: passwords, keys."""
        self._remember(self._kept, secrets)

    def passing(self, *secrets: str) -> None:
        """Mask these until many others came after them: tokens, signatures."""
        self._remember(self._recent, secrets)

    def link(self, url: str) -> None:
        """Mask what a peer's link may carry as permission: its query."""
        query = url.partition("#")[0].partition("?")[2]
        if not query:
            return
        values = [part.partition("=")[2] for part in query.split("&")]
        self.passing(*(text for text in (query, *values) if len(text) >= 2 * _LONG))

    def __call__(self, text: str) -> str:
        """`text`, with each secret in it, in whatever usual spelling, as `***`."""
        if not text:  # as every refusal of a HEAD
            return text
        for spelling in self._all_spellings():
            if spelling in text:
                text = _without(text, spelling)
        if "=" in text or "/v2/_" in text:
            text = _PERMISSION.sub(rf"\1{MASK}", _LINK.sub(rf"\1{MASK}", text))
        return text

    def error(self, error: RegistryError) -> None:
        """Mask what an error says."""
        error.message, error.hint, error.detail = map(self, (error.message, error.hint, error.detail))
        error.args = (error.message,)

    def _remember(self, where: dict[str, None], secrets: tuple[str, ...]) -> None:
        """Cheap, for a link comes with every answer: spellings are worked out when something is shown."""
        new = [secret for secret in secrets if secret and secret not in where]
        if not new:
            return
        with self._lock:
            where.update(dict.fromkeys(new))
            while len(self._recent) > _RECENT:
                self._recent.pop(next(iter(self._recent)))
            self._spellings = None

    def _all_spellings(self) -> tuple[str, ...]:
        with self._lock:
            if self._spellings is None:
                secrets, known = (*self._kept, *self._recent), self._by_secret
                self._by_secret = {one: known.get(one) or tuple(_spellings(one)) for one in secrets}
                every = {spelling for each in self._by_secret.values() for spelling in each}
                self._spellings = tuple(sorted(every, key=len, reverse=True))
            return self._spellings


def password_of(url: str) -> str:
    """The password in a URL (a proxy's), or ""."""
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _without(text: str, secret: str) -> str:
    if len(secret) >= _LONG:
        return text.replace(secret, MASK)
    return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)


def _spellings(secret: str) -> Iterator[str]:
    """The ways in which a peer may repeat it: as it is, escaped, percent-encoded, in base64."""
    yield secret
    if len(secret) < _SHORT:
        return
    for ascii_only in (False, True):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")  # as PHP writes it
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    for inside in _in_base64(secret.encode()):
        yield inside
        yield inside.replace("+", "-").replace("/", "_")


def _in_base64(data: bytes) -> Iterator[str]:
    """`data` in base64, alone and at each place it may have inside of something longer."""
    yield base64.b64encode(data).decode().rstrip("=")
    if len(data) < _LONG:
        return
    for before in range(3):
        # Characters that hold bits of what stands before or behind are left out.
        start = (before * 8 + 5) // 6
        end = (before + len(data)) * 8 // 6
        yield base64.b64encode(bytes(before) + data).decode()[start:end]
