"""A registry that keeps its blobs elsewhere, and that storage; both do as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from sample_models import GRAIN, Model, put

from registry.errors import TransientError
from registry.model.digests import Digest
from registry.model.names import Name
from registry.targets.direct import Direct
from registry.targets.memory import Memory
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.progress import Report
from registry.transfer.retry import Patience, Rule
from registry.wire import faults
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

ORIGIN = Origin("https", "models.example", 443)
NAME = Name.parse("models.example/acme/tiny:1")
SIZE = 300 * 1024
MODEL = Model.random(1, SIZE)
BLOB = MODEL.manifest.layers[0]
DATA = MODEL.blobs[BLOB.digest]
URL = "https://bucket.storage.example/a%2Fb%2fc/../d+e?X-Sig=%2b%2F&x=1&X-Sig=2"

T = TypeVar("T")
Fields = list[tuple[str, str]]


def offering(url: str = URL, *more: tuple[str, str]) -> Fields:
    """The headers of an answer that offers `url`."""
    return [("X-Direct-Upload-URL", url), *more]


@dataclass
class Far:
    """`offers`: what each asking POST is answered with, and `storing` each PUT to storage, the last for ever.

    An offer is the headers to add to an honest answer, or another answer. A storage answer that is a number
    of bytes: the line breaks after so many.
    """

    offers: list[Fields | Response] = field(default_factory=lambda: [offering()])
    storing: list[Response | int] = field(default_factory=lambda: [Response(200)])
    keeps: bool = True  # whether storage keeps what it says it keeps
    closing: list[Response] = field(default_factory=list)  # answers before the closing PUT is taken
    asked: list[Request] = field(default_factory=list)
    stored: list[Request] = field(default_factory=list)
    patched: int = 0
    _sessions: dict[str, bytearray] = field(default_factory=dict)
    _blobs: dict[str, bytes] = field(default_factory=dict)
    _manifest: bytes = b""

    def registry(self, request: Request) -> Response:
        self.asked.append(request)
        if "/manifests/" in request.path:
            return self._manifests(request)
        if request.method == "POST":
            return self._begin(request)
        if request.method == "HEAD":
            held = self._blobs.get(request.path.rpartition("/")[2])
            return Response(404) if held is None else Response(200, length=len(held))
        session = self._sessions.get(request.path)
        if session is None:
            return faults.fault("BLOB_UPLOAD_UNKNOWN", "no such upload")
        if request.method == "PATCH":
            assert not isinstance(request.body, bytes)
            for chunk in request.body:
                session += chunk
                self.patched += len(chunk)
        if request.method == "PUT":
            return self._finish(request, session)
        told = {"Location": request.path, "Range": f"0-{max(len(session) - 1, 0)}"}
        return Response(202 if request.method == "PATCH" else 204, Headers(told))

    def storage(self, request: Request) -> Response:
        self.stored.append(request)
        answer = _next(self.storing)
        taken = bytearray()
        assert not isinstance(request.body, bytes)
        for chunk in request.body:
            taken += chunk
            if isinstance(answer, int) and len(taken) > answer:
                raise TransientError("the line broke", host="bucket.storage.example", answered=True)
        assert isinstance(answer, Response)
        if answer.status < 300 and self.keeps:
            self._kept = bytes(taken)
        return answer

    @property
    def asks(self) -> int:
        """How often a direct upload was asked for."""
        return sum("X-Redirect-Uploads" in request.headers for request in self.asked)

    def hold(self, data: bytes) -> None:
        self._blobs[str(Digest.of(data))] = data

    def drop_sessions(self) -> None:
        self._sessions.clear()

    _kept: bytes = b""

    def _manifests(self, request: Request) -> Response:
        if request.method == "PUT":
            assert isinstance(request.body, bytes)
            self._manifest = request.body
            return Response(201)
        return Response(200, Headers(), self._manifest)

    def _begin(self, request: Request) -> Response:
        more: Fields = []
        if "X-Redirect-Uploads" in request.headers:
            offer = _next(self.offers)
            if isinstance(offer, Response):
                return offer
            more = offer
        place = f"/v2/acme/tiny/blobs/uploads/{len(self._sessions) + 1}"
        self._sessions[place] = bytearray()
        return Response(202, Headers((("Location", place), *more)))

    def _finish(self, request: Request, session: bytearray) -> Response:
        if self.closing:
            return self.closing.pop(0)
        digest = request.parameter("digest") or ""
        assert isinstance(request.body, bytes)
        came: Iterable[bytes] = (bytes(session), self._kept, request.body)
        found = next((data for data in came if str(Digest.of(data)) == digest), None)
        if found is None:
            return faults.fault("DIGEST_INVALID", "that is something else")
        self._blobs[digest] = found
        return Response(201)


def remote(far: Far) -> Remote:
    return Remote(Peer(far.registry, ORIGIN, now=lambda: 1000.0), direct=Direct(far.storage))


def push(far: Far, pauses: list[float] | None = None) -> Report:
    """The whole verb, from memory to there; nobody waits, but how long they would have is noted."""
    source = Memory(grain=GRAIN)
    put(source, NAME, MODEL)
    slept = pauses if pauses is not None else []

    def sleep(seconds: float) -> bool:
        slept.append(seconds)
        return False

    rule = Rule(give_up_after=1000, first_seconds=1000)
    patience: Callable[[], Patience] = lambda: Patience(rule, clock=lambda: 0.0, sleep=sleep)  # noqa: E731
    return copy(source, remote(far), NAME, options=Options(patience=patience, jobs=1))


def _next(answers: list[T]) -> T:
    return answers.pop(0) if len(answers) > 1 else answers[0]
