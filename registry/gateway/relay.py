"""Asks the other end as whom we are there: one credential after another, until one is good."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from registry.errors import ProtocolError, TransientError
from registry.wire.bodies import encoding
from registry.wire.faults import ERROR_BYTES, printable
from registry.wire.headers import Headers
from registry.wire.masking import Masking
from registry.wire.messages import Origin, Request, Response

Pairs = Iterable[tuple[str, str]]
Ask = Callable[[Request], Awaitable[Response]]
"""What sends a request, and has the answer's head; its body comes later. RegistryError."""

_SENT = ("Content-Type", "Accept", "Accept-Encoding", "anthropic-version", "anthropic-beta", "openai-beta")
_RETURNED = frozenset(
    ("content-type", "content-encoding", "cache-control", "retry-after", "request-id", "openai-version")
)
_RETURNED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_REFUSED, _SPENT = 401, 429
_PASSED = (2, 4, 5)  # hundreds of statuses
_SHOWN = 300


class UpstreamCredential(Protocol):
    """One way to say at the other end who asks."""

    def signed(self, method: str, path: str, query: Pairs, /) -> tuple[str, str]:
        """Path and query as they are to be sent, and what goes into `Authorization`."""
        ...


@dataclass(frozen=True, slots=True)
class UpstreamRefusal:
    """No credential was good: 401, or 429 where at least one was only spent. `words` are the other end's."""

    status: int
    words: str = ""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the other end; the credentials are ours, and every header is one of `_SENT`."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, request: Request, path: str, body: bytes) -> Question:
        """A program's request, its body as it is to be sent to `path`. InvalidError for a bad query."""
        fields = [(name, value) for name in _SENT for value in request.headers.all(name)]
        return cls(request.method, path, tuple(request.query), Headers(fields), body)


@dataclass(frozen=True, slots=True)
class Relay:
    """The other end at `origin`, asked by `ask`; `credentials` in the order in which they are tried.

    They may be others at the next question. `agent` is our own User-Agent. `masking` keeps our secrets out of
    the words that the other end sends.
    """

    origin: Origin
    ask: Ask
    credentials: Iterable[UpstreamCredential]
    agent: str
    masking: Masking

    async def __call__(self, question: Question) -> Response | UpstreamRefusal:
        """The answer of the first credential that is good for it. RegistryError if there is none."""
        refusals: list[UpstreamRefusal] = []
        for credential in self.credentials:
            answer = await self.asked_with(credential, question)
            if answer.status not in (_REFUSED, _SPENT):
                return self._returned(answer)
            refusals.append(await self._refusal(answer))
        spent = [refusal for refusal in refusals if refusal.status == _SPENT]
        return (spent or refusals or [UpstreamRefusal(_REFUSED)])[0]

    async def asked_with(self, credential: UpstreamCredential, question: Question) -> Response:
        """The answer to one credential, as it came."""
        target, authorization = credential.signed(question.method, question.path, question.query)
        return await self._sent(question, target, [("Authorization", authorization)])

    async def anonymous(self, path: str) -> Response:
        """The answer to nobody in particular."""
        return await self._sent(Question("GET", path), path, [])

    async def _sent(self, question: Question, target: str, who: list[tuple[str, str]]) -> Response:
        headers = Headers((*question.headers, ("User-Agent", self.agent), *who))
        return await self.ask(Request(question.method, f"{self.origin}{target}", headers, question.body))

    def _returned(self, answer: Response) -> Response:
        """The answer without what is meant for us: cookies, links. ProtocolError for what is no answer: a
        redirect, another protocol, a status that HTTP does not have."""
        if answer.status // 100 not in _PASSED:
            answer.close()
            raise ProtocolError(f"{self.origin.netloc} answered {answer.status}, which cannot be passed on")
        fields = [(name, value) for name, value in answer.headers if _is_returned(name.lower())]
        return Response(answer.status, Headers(fields), answer.body, answer.length)

    async def _refusal(self, answer: Response) -> UpstreamRefusal:
        try:
            body = b"" if encoding(answer.headers) else await read_whole(answer, ERROR_BYTES)
        except (ProtocolError, TransientError):
            body = b""  # an unreadable explanation does not hide the refusal
        answer.close()
        return UpstreamRefusal(answer.status, self.masking(_words(body)), answer.headers.get("Retry-After"))


async def read_whole(answer: Response, limit: int) -> bytes:
    """The body of at most `limit` bytes. ProtocolError beyond; what the line raises."""
    body = answer.body
    if isinstance(body, bytes):
        return body
    pieces, total = [], 0
    async for piece in body:  # type: ignore[union-attr]  # an upstream answers with nothing else
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            answer.close()
            raise ProtocolError(f"an answer has more than {limit} bytes")
    return b"".join(pieces)


def _is_returned(name: str) -> bool:
    return name in _RETURNED or name.startswith(_RETURNED_PREFIXES)


def _words(body: bytes) -> str:
    """What a refusal says, in any of the three shapes: one harmless line, "" for none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return printable(message)[:_SHOWN] if isinstance(message, str) else ""
