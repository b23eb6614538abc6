"""What goes wrong between a registry and its clients: the standard error document, both ways.

OCI distribution specification 1.1, "Error Codes". The server makes it, the client reads it.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    NotFoundError,
    ProtocolError,
    Reason,
    RegistryError,
    StorageError,
    TransientError,
)
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Response

ERROR_BYTES = 64 * 1024
RETRY_AFTER_CEILING = 7 * 24 * 3600.0
LONGEST_PAUSE = 600.0  # seconds that anybody waits because a peer asks for it
_OLLAMA = "registry.ollama.ai"  # its 412 means that it wants a newer client (PROTOCOL section 3)
_TOO_MANY = "TOOMANYREQUESTS"
_REDIRECTS = (301, 302, 303, 307, 308)
# How registries say that they are full: their disk's own words, Harbor's quotas, and what others say.
_FULL = re.compile(
    r"no space left|disk (?:is )?full|insufficient storage|out of (?:disk )?space"
    r"|(?:storage|disk)[ _]?(?:quota|limit)|quota (?:is |has been )?(?:exceeded|used up|reached)"
    r"|exceed\w* .{0,40}quota|exceed the configured upper limit|QUOTA_?EXCEEDED",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"quota|limit", re.IGNORECASE)  # which others may not share
# CNCF's registry says it in `detail` only: as an errno of its disk (ENOSPC, EDQUOT), since v3 in its words.
_FULL_DETAIL = re.compile(rb'"Err"\s*:\s*(?:28|122)\b|: (?:no space left on device|disk quota exceeded)"')
_DIGEST = re.compile(rb"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})(?![0-9a-f])")
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
    "TAG_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "PRECONDITION": 412,
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an unwanted answer says: its status, the first error's code and message ("" without), all fields.

    `page`: a web page came where a registry answers in JSON. `full`: no space is left there, by its words.
    `digests`: every one that it names. `detail`: what CNCF's registry says only there, "" mostly.
    """

    status: int
    code: str
    message: str
    headers: Headers
    page: bool
    full: bool
    digests: frozenset[str] = frozenset()
    detail: str = ""

    @classmethod
    def of(cls, response: Response, body: bytes) -> Refusal:
        """The refusal in an answer of which at most ERROR_BYTES were read."""
        code, message = _first_error(body)
        spaceless = bool(_FULL.search(f"{code} {message}") or _FULL_DETAIL.search(body))
        return cls(
            response.status,
            code,
            message,
            response.headers,
            page=is_web_page(body),
            full=response.status == 507 or (spaceless and response.status != 429 and code != _TOO_MANY),
            digests=frozenset(found.decode() for found in _DIGEST.findall(body)),
            detail=_detail(body) if code == "UNKNOWN" else "",
        )

    def __str__(self) -> str:
        return f"{self.status} {self.words}".strip()

    @property
    def words(self) -> str:
        """Code and message, one harmless line; "" if it says nothing that can be read."""
        if self.page:
            return "with a web page"
        said = f"{self.code} {self.message}".strip()
        return printable(f"{said}: {self.detail}" if self.detail else said)[:_SHOWN]


# What a registry of this kind says where an API key is for less than was asked, and its account perhaps not.
KEY_SCOPES = "the scopes of this API key do not cover"


def error_of(
    refusal: Refusal, doing: str, *, host: str, name: str = "", now: float = 0.0, writing: bool = False
) -> RegistryError:
    """The error that a refusal means.

    `doing` is what was tried ("reading the manifest of acme/tiny"); `now` Unix seconds, for a `Retry-After`
    that is a date; `writing`: whether bytes were to be kept there.
    """
    status = refusal.status
    words = "" if refusal.page else refusal.words
    message = f"{doing}: {host} answered {status}" + (f": {words}" if words else "")
    if refusal.page:
        message += " with a web page"
    if writing and refusal.full:
        return StorageError(
            f"{doing}: {host} has no space left, or a quota is used up there ({refusal})",
            host=host,
            name=name,
            reason=Reason.REGISTRY_FULL,
            quota=bool(_QUOTA.search(f"{refusal.code} {refusal.message}")),
        )
    if status == 401:
        return DeniedError(message, host=host, name=name, reason=Reason.NOT_SIGNED_IN)
    if status in (403, 451):
        reason = Reason.KEY_SCOPES if KEY_SCOPES in refusal.message else Reason.NOT_ALLOWED
        return DeniedError(message, host=host, name=name, reason=reason)
    if status in (404, 410):
        reason = Reason.NO_REGISTRY_THERE if refusal.page else Reason.NAME_NOT_THERE
        if refusal.code == "BLOB_UNKNOWN":
            reason = Reason.BLOB_NOT_THERE
        return NotFoundError(message, host=host, name=name, reason=reason)
    if status == 421:
        return ProtocolError(message, host=host, name=name, reason=Reason.HOST_LOST)
    if passes(status):
        return _transient(refusal, message, host, name, now)
    if status in _REDIRECTS:
        message = f"{message}, a redirect to {_host_of(refusal.headers.get('Location'))}"
    if status == 412 and not words and host == _OLLAMA:
        message = f"{doing}: {host} wants a newer client for this model"
    reason = Reason.NONE if words else Reason.UNEXPECTED_ANSWER
    if status == 412 and refusal.code == "PRECONDITION":  # Harbor says it so too
        reason = Reason.TAG_IMMUTABLE
    if refusal.page:
        reason = Reason.NO_REGISTRY_THERE
    return ProtocolError(message, host=host, name=name, reason=reason)


def web_page(doing: str, host: str) -> ProtocolError:
    """The error for a page where a registry answers in JSON: a captive portal, a login, another server."""
    return ProtocolError(f"{doing}: {host} sent a web page", host=host, reason=Reason.NO_REGISTRY_THERE)


def _transient(refusal: Refusal, message: str, host: str, name: str, now: float) -> TransientError:
    pause = retry_after(refusal.headers.get("Retry-After"), now)
    if pause is not None and pause > LONGEST_PAUSE:
        message = f"{message}; it asks to be left alone for {_for_people(pause)}"
    return TransientError(message, host=host, name=name, reason=Reason.BUSY, retry_after=pause, answered=True)


def _for_people(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _host_of(location: str) -> str:
    """Where a redirect leads, no more: the rest of it may be a permission."""
    try:
        return Origin.of(location).netloc
    except InvalidError:
        return "a path there" if location.startswith("/") else "nowhere"


def is_web_page(body: bytes) -> bool:
    """Whether a body is one of HTML or XML, where a registry answers in JSON."""
    return body[:_SHOWN].lstrip()[:1] == b"<"


def passes(status: int) -> bool:
    """Whether the same request may be answered better a while later."""
    return status in _TRANSIENT or (status >= 500 and status not in _FOR_GOOD)


def retry_after(value: str, now: float) -> float | None:
    """`Retry-After` in seconds from `now`, both forms, between 0 and the ceiling; None if unreadable.

    What is longer than LONGEST_PAUSE is for people to know, not to be slept.
    """
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
    code, message = _first_error(body)
    return printable(f"{code} {message}".strip())[:_SHOWN]


def _first_error(body: bytes) -> tuple[str, str]:
    """Code and message of the first error of an error document; ("", text) of what is none."""
    try:
        document = json.loads(body)
        for error in _errors(document)[:1]:
            return str(error.get("code") or ""), str(error.get("message") or "")
        if isinstance(document, dict) and isinstance(document.get("error"), str):
            return "", document["error"]
    except (ValueError, RecursionError):
        pass
    text = body[:_SHOWN].decode("utf-8", "replace").strip()
    return "", "" if text.startswith("<") else text


def _errors(document: object) -> list[dict[str, object]]:
    """The errors of an error document, up to what is none."""
    errors = document.get("errors") if isinstance(document, dict) else None
    return [*takewhile(lambda each: isinstance(each, dict), errors)] if isinstance(errors, list) else []


def _detail(body: bytes) -> str:
    """Why: CNCF's registry says of what it has no code for that it is unknown, and in `detail` what it is."""
    errors = _errors(json.loads(body))
    details = (error.get("detail") for error in errors if error.get("code") == "UNKNOWN")
    return next((each for each in details if isinstance(each, str)), "")


def printable(text: str) -> str:
    """`text` with its control characters made visible, on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def answer_to(error: RegistryError) -> Response:
    """The standard error document for an error raised while a request was served."""
    code, status = next((answer for kind, answer in _ANSWERS if isinstance(error, kind)), ("UNKNOWN", 500))
    if error.reason is Reason.NO_ROOM:
        return fault("UNAVAILABLE", error.message, status=507)
    if error.reason is Reason.DISK_FULL:
        return fault("UNAVAILABLE", "no space left on the registry's disk", status=507)
    if error.reason in (Reason.TAG_IMMUTABLE, Reason.TAG_TAKEN):
        return fault("PRECONDITION", error.message)
    # A failing disk is the operator's business: its paths are not for its clients.
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
