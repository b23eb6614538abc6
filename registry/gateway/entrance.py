"""Who may come in: programs of this machine, and pages that it shows itself; no page of a foreign site.

PROTOCOL section 5. A browser sends a foreign page's requests to loopback addresses too: `Origin` says whose
page it is, and `Host` gives away a name that was made to point here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.errors import InvalidError
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, is_loopback

_LOCAL_SCHEMES = re.compile(r"(?:app|file|tauri|vscode-[a-z0-9-]{1,40})://[^\s]{0,512}", re.IGNORECASE)
_METHODS = "GET, HEAD, POST, OPTIONS"
_FIELDS = re.compile(r"[A-Za-z0-9, -]{1,512}")
_BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class RequestCheck:
    """Lets requests in, or says why not. `token`: what each must bring, or "" where nobody else is here."""

    token: str = field(default="", repr=False)

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """The status and the sentence for one who may not come in."""
        host = request.headers.get("Host")
        if not _is_local_host(host):
            return (
                403,
                f"this gateway is for programs of this machine; it was asked for by another name ({host})",
            )
        for origin in filter(None, request.headers.all("Origin")):
            if not is_local_origin(origin):
                return 403, f"this gateway is for programs of this machine, not for pages of {origin[:200]}"
        if self.token and request.method != "OPTIONS" and not self._knows(request):
            return 401, (
                "this gateway wants its token, as an API key (Authorization: Bearer, or x-api-key): "
                "ferry gateway --token shows it where it was started"
            )
        return None

    def _knows(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("Authorization").partition(" ")
        given = given if scheme.lower() == _BEARER else ""
        wanted = self.token.encode()
        return any(
            hmac.compare_digest(text.encode("utf-8", "replace"), wanted)
            for text in (given, request.headers.get("X-Api-Key"))
        )


def is_local_origin(origin: str) -> bool:
    """Whether a page is one that this machine shows: of a local server, or of an app."""
    if _LOCAL_SCHEMES.fullmatch(origin):
        return True
    try:
        host = Origin.of(origin).host
    except InvalidError:
        return False
    return host == "0.0.0.0" or is_loopback(host)


def _is_local_host(host: str) -> bool:
    try:
        return is_loopback(Origin.of(f"http://{host}").host)
    except InvalidError:
        return False


def allowed(request: Request) -> Mapping[str, str]:
    """The fields that let a page of this machine read an answer (the Fetch standard, CORS)."""
    origin = request.headers.get("Origin")
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}


def preflight(request: Request) -> Response:
    """What a browser asks before it sends the request of a page."""
    wanted = request.headers.get("Access-Control-Request-Headers")
    fields = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": "600"}
    if _FIELDS.fullmatch(wanted):
        fields["Access-Control-Allow-Headers"] = wanted
    return Response(204, Headers(fields))
