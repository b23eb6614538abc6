"""One registry, asked: requests to it, its refusals as errors, the URLs it gives.

Knows nothing of models; `remote` and `upload` say what to ask.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin

from registry.contracts import Clock, Stream
from registry.errors import (
    InvalidError,
    NotFoundError,
    ProtocolError,
    Reason,
    RegistryError,
    TooLongError,
    TransientError,
)
from registry.wire import faults, links
from registry.wire.bodies import encoding, read_body
from registry.wire.faults import Refusal
from registry.wire.headers import NO_FIELDS, Headers
from registry.wire.messages import Access, Origin, Request, Response, Transport

PAGE_BYTES = 4 * 1024 * 1024
_PAGE_VALUES = 200_000
_PAGES = 10_000
_BROKEN = 500  # to a HEAD, and to a GET of the same
_ONE_BYTE = "bytes=0-0"
_WRITES = ("POST", "PUT", "PATCH")
_NO_HEAD = (400, 405, 501)  # it answers GET only, or tells nobody but who asks in another way what is wrong


_Page = tuple[bytes, Headers]


def once(call: Callable[[], _Page]) -> _Page:
    """Ask for a page of a list once."""
    return call()


@dataclass(frozen=True, slots=True)
class Peer:
    """The registry at `origin`, asked through `transport`; `now` is Unix seconds.

    `patiently` asks for each page of a list: as often as the reader of the list has patience.
    """

    transport: Transport
    origin: Origin
    now: Clock = time.time
    patiently: Callable[[Callable[[], _Page]], _Page] = once

    @property
    def host(self) -> str:
        """Host and port, as messages name it."""
        return self.origin.netloc

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        ok: tuple[int, ...],
        access: Access | None = None,
        headers: Headers = NO_FIELDS,
        body: bytes = b"",
    ) -> Response:
        """The answer, if its status is one of `ok`; else the error it means, saying what was being done."""
        request = Request(method, f"{self.origin}{path}", headers, body, access=access)
        response = self.transport(request)
        if response.status in ok:
            return response
        raise self.error_of(self.refusal(response, doing), doing, writing=method in _WRITES)

    def head(self, path: str, doing: str, *, access: Access, headers: Headers = NO_FIELDS) -> Response | None:
        """The answer to a HEAD, 200 or 404; None where it says nothing of what is there.

        A refusal of a HEAD comes without words: the error is that of a GET, which says why. What answers 500
        to both is broken there: Debian's registry does so for ever of a blob that it had no room to link.
        """
        request = Request("HEAD", f"{self.origin}{path}", headers, access=access)
        response = self.transport(request)
        response.close()
        if response.status in (200, 404):
            return response
        if response.status == _BROKEN and self.is_broken(path, access=access, headers=headers):
            return None
        if faults.passes(response.status):
            raise self.error_of(self.refusal(response, doing), doing)
        if response.status not in _NO_HEAD:
            one_byte = headers.with_("Range", _ONE_BYTE)
            self.ask("GET", path, doing, ok=(200, 206, 416), access=access, headers=one_byte).close()
        return None

    def is_broken(self, path: str, *, access: Access, headers: Headers = NO_FIELDS) -> bool:
        """Whether a GET is answered 500."""
        one_byte = headers.with_("Range", _ONE_BYTE)
        response = self.transport(Request("GET", f"{self.origin}{path}", one_byte, access=access))
        response.close()
        return response.status == _BROKEN

    def refusal(self, response: Response, doing: str) -> Refusal:
        """What an unwanted answer says."""
        try:
            body = read_body(response, faults.ERROR_BYTES, doing, self.host)
        except (ProtocolError, TransientError):
            body = b""  # an unreadable explanation does not hide the refusal
        return Refusal.of(response, body)

    def error_of(self, refusal: Refusal, doing: str, *, writing: bool = False) -> RegistryError:
        """The error that a refusal means; `writing`: whether bytes were to be kept."""
        return faults.error_of(refusal, doing, host=self.host, now=self.now(), writing=writing)

    def read(self, response: Response, limit: int, doing: str) -> bytes:
        """The whole body, at most `limit` bytes; ProtocolError beyond."""
        return read_body(response, limit, doing, self.host)

    def check_coding(self, response: Response, doing: str) -> None:
        """ProtocolError for a blob that comes compressed: its bytes are not the blob's."""
        if encoding(response.headers):
            raise ProtocolError(
                f"{doing}: {self.host} sent the bytes compressed, though it was asked not to",
                host=self.host,
                reason=Reason.PROXY,
            )

    def stream(self, response: Response, length: int, doing: str) -> Stream:
        """The body as exactly `length` bytes, or ProtocolError beyond and TransientError below."""
        return _Bounded(response, length, doing, self.host)

    def pages(
        self, path: str, doing: str, access: Access | None, *, most: int | None = None
    ) -> Iterator[Mapping[str, object]]:
        """The JSON objects of a paged list, each page asked for as it is needed (`Link`, RFC 8288).

        ProtocolError for a list without end, for one that breaks off or has more than `most` bytes, and for
        errors that come with 200 instead of a page.
        """
        asked: set[int] = set()  # hashes: a link may be long
        taken = 0
        for _ in range(_PAGES):
            asked.add(hash(path))
            try:
                raw, headers = self.patiently(partial(self._page, path, doing, access))
            except NotFoundError as error:
                if not taken:
                    raise
                message = f"the list breaks off: {error.message}"  # which is not that there is none
                raise ProtocolError(message, host=self.host) from None
            taken += len(raw)
            if most is not None and taken > most:
                raise TooLongError(f"{doing}: {self.host} has more than {most} bytes of it", host=self.host)
            page = self._object(raw, doing)
            if page.get("errors"):
                raise ProtocolError(f"{doing}: {self.host} sent errors with 200, and no list", host=self.host)
            yield page
            target = links.following(headers.all("Link"))
            if not target:
                return
            following = Request("GET", self.locate(target, f"{self.origin}{path}", doing)).target
            if following == path:
                return
            if hash(following) in asked:
                break
            path = following
        raise ProtocolError(f"{doing}: {self.host} sends a list without end", host=self.host)

    def _page(self, path: str, doing: str, access: Access | None) -> _Page:
        response = self.ask("GET", path, doing, ok=(200,), access=access)
        return self.read(response, PAGE_BYTES, doing), response.headers

    def _object(self, raw: bytes, doing: str) -> Mapping[str, object]:
        """The JSON object in `raw`. ProtocolError; small values take many times their bytes in memory."""
        if sum(map(raw.count, (b",", b"[", b"{"))) > _PAGE_VALUES:
            raise TooLongError(f"{doing}: {self.host} sent more than {_PAGE_VALUES} values", host=self.host)
        try:
            page = json.loads(raw)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, dict):
            if faults.is_web_page(raw):
                raise faults.web_page(doing, self.host)
            raise ProtocolError(f"{doing}: {self.host} sent no JSON object", host=self.host)
        return page

    def locate(self, location: str, base: str, doing: str) -> str:
        """An absolute URL from one the peer gave, its query kept byte for byte; another origin is refused."""
        if not location:
            raise ProtocolError(f"{doing}: {self.host} gave no location", host=self.host)
        if location.startswith("/") and not location.startswith("//"):
            url = f"{self.origin}{location}"
        else:
            url = location if "://" in location[:9] else urljoin(base, location)
        try:
            origin = Origin.of(url)
        except InvalidError as error:
            raise ProtocolError(f"{doing}: {self.host} gave {error.message}", host=self.host) from None
        if origin != self.origin:
            raise ProtocolError(
                f"{doing}: {self.host} sends us to {origin}, which is another place",
                host=self.host,
                hint="a registry behind a proxy must know its public address",
            )
        return url


class _Bounded:
    """A response's body that enforces its length (DESIGN, rule 4)."""

    def __init__(self, response: Response, length: int, doing: str, host: str) -> None:
        self._response = response
        self._left = length
        self._doing = doing
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._response.pieces:
            self._left -= len(chunk)
            if self._left < 0:
                raise ProtocolError(f"{self._doing}: {self._host} sent too many bytes", host=self._host)
            yield chunk
        if self._left:
            raise TransientError(
                f"{self._doing}: the answer of {self._host} ended {self._left} bytes early",
                host=self._host,
                answered=True,
            )

    def close(self) -> None:
        self._response.close()
