"""What goes wrong between a registry and its clients: the standard error document, both ways.

OCI distribution specification 1.1, "Error Codes". The server makes it, the client reads it.
"""

from __future__ import annotations

import email.utils
import json
import math
from collections.abc import Mapping

from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    StorageError,
    TransientError,
)
from registry.wire.headers import Headers
from registry.wire.messages import Response

ERROR_BYTES = 64 * 1024
RETRY_AFTER_CEILING = 600.0
_SHOWN = 300

# The specification's codes, with the status each is sent with unless the case asks for another.
STATUS: Mapping[str, int] = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "RANGE_INVALID": 416,
    "UNAVAILABLE": 503,
    "UNKNOWN": 500,
}

_TRANSIENT = frozenset({408, 425, 429})
_FOR_GOOD = frozenset({501, 505})  # the server cannot do that, or not in HTTP/1.1 (RFC 9110 section 15.6)


def fault(
    code: str, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The standard error document: `{"errors":[{"code","message"}]}`."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode() + b"\n"
    fields = Headers((*(headers or {}).items(), ("Content-Type", "application/json")))
    return Response(status or STATUS[code], fields, body)


def error_of(
    response: Response, body: bytes, doing: str, *, host: str, name: str = "", now: float = 0.0
) -> RegistryError:
    """The error a refused answer means.

    `doing` is what was tried ("reading the manifest of acme/tiny"); `body` at most ERROR_BYTES of the
    answer; `now` Unix seconds, for a `Retry-After` that is a date.
    """
    status = response.status
    words = said(body)
    message = f"{doing}: {host} answered {status}" + (f": {words}" if words else "")
    if status == 401:
        return DeniedError(
            message, host=host, name=name, hint=f"sign in: ferry signin {host}, or ferry login {host}"
        )
    if status in (403, 451):
        return DeniedError(
            message, host=host, name=name, hint="ask the owner for the right, or check --key and ferry whoami"
        )
    if status in (404, 410):
        return NotFoundError(
            message,
            host=host,
            name=name,
            hint="check the name; a private model looks the same as none to a key without the right",
        )
    if passes(status):
        return TransientError(
            message,
            host=host,
            name=name,
            hint="the registry is busy or broken; the same command goes on where this one stopped",
            retry_after=retry_after(response.headers.get("Retry-After"), now),
            answered=True,
        )
    if status == 412:
        return ProtocolError(
            f"{doing}: {host} wants a newer client for this model", host=host, name=name, hint=words
        )
    return ProtocolError(message, host=host, name=name, hint="--debug shows the requests")


def passes(status: int) -> bool:
    """Whether the same request may be answered better a while later."""
    return status in _TRANSIENT or (status >= 500 and status not in _FOR_GOOD)


def retry_after(value: str, now: float) -> float | None:
    """`Retry-After` in seconds from `now`, both forms, between 0 and the ceiling; None if unreadable."""
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return min(float(text), RETRY_AFTER_CEILING)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, moment - now), RETRY_AFTER_CEILING)


def said(body: bytes) -> str:
    """The peer's own words, one line, bounded; what is not an error document is shown as its first text."""
    try:
        document = json.loads(body)
        errors = document.get("errors") if isinstance(document, dict) else None
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            first = errors[0]
            words = " ".join(str(first[key]) for key in ("code", "message") if first.get(key))
            return printable(words)[:_SHOWN]
        if isinstance(document, dict) and isinstance(document.get("error"), str):
            return printable(document["error"])[:_SHOWN]
    except (ValueError, RecursionError):
        pass
    text = body[:_SHOWN].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else printable(text)


def printable(text: str) -> str:
    """`text` with its control characters made visible, on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def answer_to(error: RegistryError) -> Response:
    """The standard error document for an error raised while a request was served."""
    code, status = next((answer for kind, answer in _ANSWERS if isinstance(error, kind)), ("UNKNOWN", 500))
    # A failing disk is the operator's business: its paths are not for whoever asks.
    message = "the registry cannot do that just now" if isinstance(error, StorageError) else error.message
    headers: dict[str, str] = {}
    if isinstance(error, TransientError):  # clients that are not told when mostly give up
        headers["Retry-After"] = str(math.ceil(error.retry_after or 1))
    return fault(code, message, status=status, headers=headers)


_ANSWERS: tuple[tuple[type[RegistryError], tuple[str, int]], ...] = (
    (CorruptError, ("DIGEST_INVALID", 400)),
    (InvalidError, ("UNSUPPORTED", 400)),
    (NotFoundError, ("NAME_UNKNOWN", 404)),
    (DeniedError, ("DENIED", 403)),
    (TransientError, ("TOOMANYREQUESTS", 429)),
    (StorageError, ("UNAVAILABLE", 503)),
)
