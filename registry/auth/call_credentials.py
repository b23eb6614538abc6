"""Single calls to an API that say who asks, each as its own: signed with a key, or with an API key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.auth import signing
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey


@dataclass(frozen=True, slots=True)
class KeySigned:
    """Calls that `key` signs; `now` is Unix seconds.

    Such a signature names no host: it is good at every other server while it is fresh (PROTOCOL section 4).
    """

    key: PrivateKey
    now: Callable[[], float]

    def signed(self, method: str, path: str, query: signing.Pairs) -> tuple[str, str]:
        """Path and query as they are to be sent, and what goes into `Authorization`."""
        others = [pair for pair in query if pair[0] != "ts"]
        target = signing.call_target(path, others, now=self.now())
        return target, signing.authorization(self.key, signing.call_text(method, target))


@dataclass(frozen=True, slots=True)
class WithApiKey:
    """Calls with an API key."""

    key: ApiKey

    def signed(self, _method: str, path: str, query: signing.Pairs) -> tuple[str, str]:
        """Path and query as they are to be sent, and what goes into `Authorization`."""
        sorted_query = signing.form(query)
        return f"{path}?{sorted_query}" if sorted_query else path, f"Bearer {self.key.text}"
