"""One call to a host's API: which of our secrets goes with it, and in what form (PROTOCOL section 4).

A bare signature names no host, and is good wherever it is sent while it is fresh: it goes to ollama.com, and
elsewhere only on the three calls by which a machine signs in, with the host's name in it. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from registry.auth import signing
from registry.auth.call_credentials import KeySigned
from registry.auth.credentials import OLLAMA_API, Account
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey, Secret
from registry.errors import DeniedError, InvalidError, Reason
from registry.wire.headers import Headers
from registry.wire.messages import ACCOUNT, BODY_BYTES, Origin, Request

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SIGN_IN = frozenset({("HEAD", "/"), ("POST", "/api/me"), ("POST", "/api/signout")})
# What ollama.com answers by an API key only, and where one belongs there.
_KEY_ONLY = frozenset({"/api/usage", "/api/balance"})
_FOR_API_KEYS = ("/api/", "/v1/")
_REGISTRY = "/v2"  # there an API key is changed for a token
_UNFIT = re.compile(r"[^!-~]|[\\#]")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """What is asked of a host: `target` is a path with its query, `body` at most 4 MiB.

    InvalidError for a method that is not known, and for a target that is no path on the host it is sent to.
    """

    method: str
    target: str
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidError(f"{self.method[:20]!r} is not one of {', '.join(METHODS)}")
        if not self.target.startswith("/") or self.target.startswith("//") or _UNFIT.search(self.target):
            raise InvalidError(
                f"{self.target[:80]!r} is not a path",
                hint="it begins with one slash, and has no space, backslash, # or control character in it, "
                "for example /api/tags",
            )
        if len(self.body) > BODY_BYTES:
            raise InvalidError(f"a body has at most {BODY_BYTES} bytes")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's pairs, empty values kept; InvalidError where it cannot be read."""
        try:
            return parse_qsl(self.target.partition("?")[2], keep_blank_values=True, errors="strict")
        except ValueError:
            raise InvalidError("the query cannot be read") from None

    @property
    def signs_in(self) -> bool:
        """Whether it is one of the three calls that any host takes signed."""
        return (self.method, self.path) in _SIGN_IN


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call as it is sent, and why a 401 to it would be: what it was sent with is not good there."""

    request: Request
    refused: Reason = Reason.NOT_SIGNED_IN


def prepared(
    call: ApiCall, origin: Origin, account: Account, now: float, broken: Callable[[str], None]
) -> Prepared:
    """The request for `call` to `origin`, with the first secret of `account` that may go there.

    `now` is Unix seconds; `broken` hears of secrets that do not work. Without `Authorization` the request is
    for a session, which asks for a token when one is wanted. DeniedError where only an API key is taken and
    there is none.
    """
    secrets = account.secrets(broken)
    if origin == OLLAMA_API:
        return _at_ollama(call, secrets, now)
    secret = next(secrets, None)
    if isinstance(secret, PrivateKey) and call.signs_in:
        named = [pair for pair in call.query if pair[0] != "host"]
        return _signed(call, origin, secret, [*named, ("host", origin.netloc)], now)
    if isinstance(secret, ApiKey) and call.path != _REGISTRY and not call.path.startswith(f"{_REGISTRY}/"):
        return _with_api_key(call, origin, secret)
    return Prepared(_request(call, f"{origin}{call.target}"))


def _at_ollama(call: ApiCall, secrets: Iterator[Secret], now: float) -> Prepared:
    """ollama.com gives no tokens: a signature or an API key goes with the call itself, or nothing."""
    key_only = call.path in _KEY_ONLY
    for secret in secrets:
        if isinstance(secret, ApiKey) and call.path.startswith(_FOR_API_KEYS):
            return _with_api_key(call, OLLAMA_API, secret)
        if isinstance(secret, PrivateKey) and not key_only:
            return _signed(call, OLLAMA_API, secret, call.query, now)
    if key_only:
        host = OLLAMA_API.netloc
        message = f"{host} answers {call.path} by an API key only, and there is none for it"
        raise DeniedError(message, host=host, reason=Reason.API_KEY_WANTED)
    return Prepared(_request(call, f"{OLLAMA_API}{call.target}"))


def _signed(call: ApiCall, origin: Origin, key: PrivateKey, query: signing.Pairs, now: float) -> Prepared:
    target, value = KeySigned(key, lambda: now).signed(call.method, call.path, query)
    return Prepared(_request(call, f"{origin}{target}", value), Reason.KEY_UNKNOWN)


def _with_api_key(call: ApiCall, origin: Origin, secret: ApiKey) -> Prepared:
    return Prepared(_request(call, f"{origin}{call.target}", f"Bearer {secret.text}"), Reason.API_KEY_REFUSED)


def _request(call: ApiCall, url: str, authorization: str = "") -> Request:
    fields = {"Authorization": authorization} if authorization else {}
    if call.body:
        fields["Content-Type"] = "application/json" if _is_json(call.body) else "application/octet-stream"
    return Request(call.method, url, Headers(fields), call.body, access=ACCOUNT)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
