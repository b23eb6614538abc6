"""What goes wrong, as a page where a browser asks and as a document where a program does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from registry.errors import RegistryError
from registry.server.pages.html import Templates, sentence
from registry.wire.faults import answer_to
from registry.wire.messages import Accept, Exchange, Request, Response

_TITLES: Mapping[int, str] = {
    400: "That cannot be read",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not done here",
    413: "Too much was sent",
    429: "Too many attempts",
    503: "Not just now",
    507: "No space left",
}
_OF_PROGRAMS = ("/v2/", "/api/", "/oauth/")


@dataclass(frozen=True, slots=True)
class ForBrowsers:
    """An exchange around another one: its error documents become pages for those who read pages."""

    exchange: Exchange
    templates: Templates

    def __call__(self, request: Request) -> Response | Accept:
        answer = self.exchange(request)
        if not _reads_pages(request):
            return answer
        if isinstance(answer, Response):
            return self._shown(request, answer)
        then = answer.then

        def shown() -> Response:
            try:
                return self._shown(request, then())
            except RegistryError as error:
                return self._shown(request, answer_to(error))

        return replace(answer, then=shown, told=partial(self._shown, request))

    def _shown(self, request: Request, answer: Response) -> Response:
        if answer.status < 400 or answer.headers.get("Content-Type") != "application/json":
            return answer
        assert isinstance(answer.body, bytes)
        values = {"title": _TITLES.get(answer.status, "That went wrong"), "said": _message(answer.body)}
        page = self.templates.page("error.html", None, values, instead_of=answer)
        return replace(page, body=b"", length=page.length) if request.method == "HEAD" else page


def _reads_pages(request: Request) -> bool:
    """Whether a browser asks for a page."""
    return "text/html" in request.headers.get("Accept") and not request.path.startswith(_OF_PROGRAMS)


def _message(body: bytes) -> str:
    """The sentence of an error document; "" for another one."""
    try:
        document = json.loads(body)
        said = document["errors"][0]["message"]
    except (ValueError, LookupError, TypeError):
        return ""
    return sentence(said) if isinstance(said, str) and said else ""
