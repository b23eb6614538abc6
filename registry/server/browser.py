"""What a browser brings along, and is given: the cookie of its session, and where a form comes from.

Known to the guard, who decides by it, and to the pages, who hand it out.
"""

from __future__ import annotations

from registry.errors import InvalidError
from registry.server.names import Known
from registry.wire.messages import Origin, Request

_COOKIE_BYTES = 256


def cookie_name(here: Known) -> str:
    """Over https a name that browsers hold to this one host; on this machine, one for each server's port."""
    origin = here.origin
    return "__Host-ferry" if origin.scheme == "https" else f"ferry-{origin.port}"


def cookie(here: Known, secret: str, seconds: int) -> tuple[str, str]:
    """The header that gives a browser its session; with 0 seconds it takes it away (RFC 6265bis)."""
    secure = "; Secure" if here.origin.scheme == "https" else ""
    value = f"{cookie_name(here)}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return "Set-Cookie", value


def secret_of(request: Request, here: Known) -> str:
    """The secret in the session's cookie, "" without one. Two of them are none: one might be planted."""
    wanted = cookie_name(here)
    found = []
    for line in request.headers.all("Cookie"):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == wanted:
                found.append(value)
    return found[0] if len(found) == 1 and len(found[0]) <= _COOKIE_BYTES else ""


def is_own_form(request: Request, here: Known) -> bool:
    """Whether what was sent comes out of one of this server's own pages, as the browser says itself.

    Browsers say `Origin` with every form; a few that are old say it in `Sec-Fetch-Site` only.
    """
    origins = request.headers.all("Origin")
    if not origins:
        return request.headers.all("Sec-Fetch-Site") == ["same-origin"]
    try:
        return len(origins) == 1 and Origin.of(origins[0]) == here.origin
    except InvalidError:
        return False
