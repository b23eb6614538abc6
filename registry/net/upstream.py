"""Asks one host for others, over aiohttp: answers are passed on as they come, and hold no thread.

For servers that stand between a client and another server. Nothing is added to a request, followed, decoded
or asked twice.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeGuard, TypeVar

import aiohttp
from aiohttp import ClientTimeout
from urllib3.exceptions import ProxyError
from yarl import URL

from registry.errors import Reason, RegistryError, TransientError
from registry.net.failures import explain
from registry.net.network import Network
from registry.net.tls import show, trust
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

T = TypeVar("T")

SILENCE = 600.0  # seconds before the first byte, or between two: a model may think for long
_BUFFER = 32 * 1024  # bytes of an answer that are read, or decrypted, before the client takes them
_AT_ONCE = 64 * 1024  # bytes of a body that are sent in one piece
_OURS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # what aiohttp would add by itself
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)


class Upstream:
    """The host at `origin`, reached as `network` says; used from one event loop."""

    def __init__(self, origin: Origin, network: Network, *, silence: float = SILENCE) -> None:
        """`silence`: seconds in which something of an answer must come. InvalidError for wrong CAs."""
        self._origin = origin
        self._proxy = network.proxy_for(origin) or None
        self._timeout = ClientTimeout(
            total=None, connect=None, sock_connect=network.connect, sock_read=silence
        )
        self._silence = silence
        self._tls: ssl.SSLContext | bool = True
        if origin.scheme == "https":
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust(self._tls, ca=network.ca, insecure=network.insecure)
            ours = network.certificate
            if ours is not None and ours.origin == origin and not (self._proxy or "").startswith("https:"):
                show(self._tls, ours)  # an encrypted proxy would see it too
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, request: Request) -> Response:
        """The answer, once its head is here; its body is read as it comes, and closed by who took it.

        RegistryError if there is none. To cancel this, or to close the body early, ends it there too.
        """
        try:
            async with asyncio.timeout(self._silence):
                answer = await self._opened().request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=list(request.headers) + _length_of(request),
                    data=_sent(request),
                    allow_redirects=False,
                    proxy=self._proxy,
                )
        except _FAILURES as error:
            raise self._explained(error, answered=False) from None
        headers = Headers(
            (name.decode("latin-1"), text.decode("latin-1")) for name, text in answer.raw_headers
        )
        if request.method == "HEAD" or answer.status in (204, 304):
            answer.release()
            return Response(answer.status, headers, length=answer.content_length)
        body = _Coming(answer, lambda error: self._explained(error, answered=True))
        return Response(answer.status, headers, body, answer.content_length)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Each TLS connection keeps so much to decrypt into: asyncio's 256 KiB are too many for hundreds.
            sslproto.SSLProtocol.max_size = _BUFFER
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                skip_auto_headers=_OURS,
                auto_decompress=False,
                trust_env=False,
                read_bufsize=_BUFFER,
            )
        return self._session

    def _explained(self, error: BaseException, *, answered: bool) -> RegistryError:
        host = self._origin.netloc
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            why = f"{host} could not be reached in time"
            return TransientError(why, host=host, reason=Reason.LINE_BROKE)
        cause = _cause(error)
        if self._proxy and _is_of_first(error):
            cause = ProxyError("the proxy", error.os_error)
        return explain(cause, self._origin, proxy=self._proxy or "", answered=answered)


def _is_of_first(error: BaseException) -> TypeGuard[aiohttp.ClientConnectorError]:
    """Whether the first host on the way was not found, or took no connection."""
    return isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError)


def _cause(error: BaseException) -> BaseException:
    """What aiohttp's error says, as the standard library would have said it."""
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return OSError(f"Tunnel connection failed: {status}")
        case aiohttp.ClientConnectorCertificateError():
            return error.certificate_error
        case aiohttp.ClientConnectorError():
            return error.os_error
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return ConnectionResetError()
        case aiohttp.ClientResponseError(message=message):  # what came is no head of an answer
            return http.client.BadStatusLine(message.partition("\n")[0].removesuffix(":"))
    return error


class _Coming:
    """The body of an answer, in pieces as they come. Closed before its end, the connection goes too."""

    def __init__(
        self, answer: aiohttp.ClientResponse, explained: Callable[[BaseException], RegistryError]
    ) -> None:
        self._answer = answer
        self._explained = explained

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._answer.content.readany()
        except _FAILURES as error:
            raise self._explained(error) from None
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        self._answer.close()


def one_at_a_time() -> AbstractAsyncContextManager[object]:
    """What one task of the event loop holds at a time; the others wait for it."""
    return asyncio.Lock()


def at_most(seconds: float) -> AbstractAsyncContextManager[object]:
    """What raises TimeoutError in a task that is not out of it after so long."""
    return asyncio.timeout(seconds)


async def aside(call: Callable[[], T]) -> T:
    """What `call` returns, found by a thread: for what would keep the event loop busy for long."""
    return await asyncio.to_thread(call)


def _length_of(request: Request) -> list[tuple[str, str]]:
    """Said, as what is sent in pieces would go out without."""
    return [("Content-Length", str(request.length))] if request.length else []


def _sent(request: Request) -> bytes | AsyncIterator[bytes] | None:
    body = request.body
    assert isinstance(body, bytes)
    return (_cut(body) if len(body) > _AT_ONCE else body) or None


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _AT_ONCE):
        yield body[start : start + _AT_ONCE]
