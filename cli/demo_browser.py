"""A browser without a screen, as far as `ferry demo` needs one: it keeps a cookie, and sends forms."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from registry.errors import RegistryError
from registry.net.http import Http
from registry.wire.bodies import read_body
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

_PAGE_BYTES = 1024 * 1024
_HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">')
_REFUSED = re.compile(r'role="alert">(.*?)</div>', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


class DemoBrowser:
    """Somebody's browser at the registry at `origin`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._http = Http()
        self.cookie = ""  # `name=secret`, once it is signed in

    def send(self, target: str, **fields: str) -> None:
        """Open the page at `target`, fill its form in and send it; RegistryError if that is refused."""
        path = target.partition("#")[0]
        page = self._read(Request("GET", f"{self._origin}{path}", self._headers()))
        hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(page)}
        form = urlencode({**hidden, **fields}).encode()
        headers = self._headers({"Content-Type": "application/x-www-form-urlencoded"})
        self._read(Request("POST", f"{self._origin}{path.partition('?')[0]}", headers, form))

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _headers(self, more: Mapping[str, str] | None = None) -> Headers:
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        return Headers({"Origin": str(self._origin), **cookie, **(more or {})})

    def _read(self, request: Request) -> str:
        response: Response = self._http(request)
        if given := response.headers.get("Set-Cookie"):
            self.cookie = given.partition(";")[0]
        page = read_body(response, _PAGE_BYTES, f"reading {request.path}", self._origin.netloc).decode()
        if response.status not in (200, 303):
            refused = _REFUSED.search(page)
            said = " ".join(_TAG.sub(" ", refused[1]).split()) if refused else ""
            raise RegistryError(f"the page {request.path} answered {response.status}: {said}")
        return page
