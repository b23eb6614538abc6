"""What is signed, letter by letter, for both sides: PROTOCOL section 4.

Pure: time and nonce are arguments, and so is every name. Nothing here knows a socket or a file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from registry.auth.keys import SIGNATURE_BYTES, PrivateKey, PublicKey
from registry.errors import DeniedError, InvalidError

FRESH_SECONDS = 300  # how far the two clocks may differ
_HEADER_LENGTH = 512
_TIME_DIGITS = 12

# base64 of the hex SHA-256 of the empty string: a token request has no body.
_NO_BODY = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="

Pairs = Iterable[tuple[str, str]]


def token_url(realm: str, service: str, scopes: Sequence[str], *, now: float, nonce: str) -> str:
    """Where a token is asked for: the realm with `service`, one `scope` each, `ts` and `nonce`.

    `service` and `scope` are there also when empty. A query the realm has is kept. `now` in Unix seconds.
    """
    base = urlsplit(realm)
    query = form(
        (
            *parse_qsl(base.query, keep_blank_values=True),
            ("service", service),
            *(("scope", scope) for scope in scopes or ("",)),
            ("ts", str(int(now))),
            ("nonce", nonce),
        )
    )
    return base._replace(query=query, fragment="").geturl()


def token_text(url: str) -> str:
    """What is signed of a token request to `url`, the whole of it as it is sent."""
    return f"GET,{url},{_NO_BODY}"


def call_target(path: str, query: Pairs = (), *, now: float) -> str:
    """Path and query of a signed API call, `ts` among its parameters; `now` in Unix seconds."""
    return f"{path}?{form((*query, ('ts', str(int(now)))))}"


def call_text(method: str, target: str) -> str:
    """What is signed of an API call to `target`, path and query as they are sent."""
    return f"{method},{target}"


def authorization(key: PrivateKey, text: str) -> str:
    """The `Authorization` header's value: public key and signature of `text`, no scheme word."""
    signature = base64.b64encode(key.sign(text.encode())).decode()
    return f"{key.public.text}:{signature}"


def form(pairs: Pairs) -> str:
    """Form-encoded, keys in sorted order; the values of one key keep theirs."""
    return urlencode(sorted(pairs, key=lambda pair: pair[0]))


# --- the other side ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signature:
    """An `Authorization` header's claim that `key` signed something."""

    key: PublicKey
    raw: bytes = field(repr=False)

    @classmethod
    def parse(cls, header: str) -> Signature:
        """The claim in `<public key>:<signature>`; DeniedError for any other form."""
        key, colon, signature = header.partition(":")
        if not colon or len(header) > _HEADER_LENGTH:
            raise DeniedError("the Authorization header is not <public key>:<signature>")
        try:
            raw = base64.b64decode(signature, validate=True)
            public = PublicKey.parse(key)
        except (binascii.Error, ValueError, InvalidError):
            raise DeniedError("the Authorization header is not an ed25519 key and its signature") from None
        if len(raw) != SIGNATURE_BYTES or base64.b64encode(raw).decode() != signature:
            raise DeniedError("the Authorization header has no ed25519 signature in it")
        return cls(public, raw)

    def check(self, text: str) -> None:
        """DeniedError unless the key signed exactly `text`."""
        if not self.key.verifies(self.raw, text.encode()):
            raise DeniedError(
                "the signature does not match",
                hint="the client may have asked under another name than this server's own",
            )


def check_fresh(ts: str, *, now: float) -> None:
    """DeniedError unless `ts` (Unix seconds as text) is within FRESH_SECONDS of `now`, saying by how much."""
    if not (ts.isascii() and ts.isdigit() and len(ts) <= _TIME_DIGITS):
        raise DeniedError("the signed request does not say when it was made (ts)")
    apart = abs(int(now) - int(ts))
    if apart > FRESH_SECONDS:
        raise DeniedError(
            f"the clocks differ by {apart} s, and a signature is good for {FRESH_SECONDS} s",
            hint="set this machine's clock, or ask for the server's to be set",
        )
