"""A transport that says who it is: tokens fetched when asked for, kept while good, sent to one origin.

Knows no socket and no registry; what is said to whom is `flow`'s business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from registry.auth.credentials import Credentials
from registry.auth.flow import Asker, Dance, Grant, dance
from registry.auth.secrets import Secret
from registry.errors import DeniedError, InvalidError, ProtocolError, TransientError
from registry.wire import routes
from registry.wire.challenges import Challenge, parse_challenges
from registry.wire.messages import Origin, Request, Response, Transport
from registry.wire.redirects import follow

_READS = ("GET", "HEAD")
_SECRET_FIELDS = ("Authorization", "Cookie", "Proxy-Authorization")
_SENDS = 5  # of one request at most: a token that served another thread may have ended by now
_KEPT = 0.8  # the part of its life after which a token is not begun with any more


@dataclass(slots=True)
class _Door:
    """One kind of request, and what opens the way to it. Its lock is held while a token is fetched."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    challenges: list[Challenge] = field(default_factory=list)
    grant: Grant | None = None
    good_until: float = 0.0
    proven: bool = False  # whether `grant` was ever accepted


class Session:
    """The client's transport to the registry at `origin`; threads may share one.

    Requests to other origins go out without secrets. A request whose body cannot be sent twice is not:
    it fails with TransientError once a fresh token is there, and whoever moves the bytes goes on.
    """

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        credentials: Credentials,
        *,
        clock: Callable[[], float],
        new_nonce: Callable[[], str],
        realms: Collection[Origin] = (),
    ) -> None:
        """`clock` is Unix seconds; `realms` are other origins that may ask for a signature."""
        self._transport = transport
        self._origin = origin
        self._credentials = credentials
        self._clock = clock
        self._new_nonce = new_nonce
        self._realms = realms
        self._lock = threading.Lock()
        self._doors: dict[tuple[str, str], _Door] = {}

    def __call__(self, request: Request) -> Response:
        """The answer, never a 401 that a secret in hand could have prevented; redirects of reads followed.

        DeniedError when the secret is missing or refused; else what the transport raises.
        """
        return follow(self._inside, self._outside, request)

    def _outside(self, request: Request) -> Response:
        """Ask another origin: without anything that is meant for ours."""
        bare = request.headers.without(*_SECRET_FIELDS)
        return self._transport(Request(request.method, request.url, bare, request.body, request.length))

    def _inside(self, request: Request) -> Response:
        if request.origin != self._origin:
            return self._outside(request)
        if "Authorization" in request.headers:  # a signed call: it says itself who it is
            return self._transport(request)
        door = self._door(request)
        for _ in range(_SENDS - 1):
            grant = self._grant(door)
            response = self._sent(request, door, grant)
            if response.status != 401 or not self._learn(door, grant, response):
                return response
            if not request.replayable:
                self._grant(door)
                raise TransientError(
                    f"{self._origin.netloc} wanted a new token in the middle of an upload; there is one now",
                    host=self._origin.netloc,
                    answered=True,
                )
        return self._sent(request, door, self._grant(door))

    def _door(self, request: Request) -> _Door:
        """What is remembered of this kind of request: one repository, one sort of action."""
        place = routes.match(request.path)
        where = place.repository if place else ""  # some registries' upload locations look like nothing
        asks = request.method in _READS and not (place and place.route is routes.Route.UPLOAD)
        action = "pull" if asks else "delete" if request.method == "DELETE" else "push"
        with self._lock:
            return self._doors.setdefault((where, action), _Door())

    def _grant(self, door: _Door) -> Grant | None:
        """The grant for this door, fetched anew if there is a challenge but no good grant. One at a time."""
        with door.lock:
            if door.challenges and (door.grant is None or self._clock() >= door.good_until):
                now = self._clock()
                asker = Asker(self._origin, self._secret(), self._realms, now, self._new_nonce())
                door.grant = self._danced(dance(door.challenges, asker))
                seconds = door.grant.seconds
                door.good_until = float("inf") if seconds is None else now + seconds * _KEPT
                door.proven = False
            return door.grant

    def _sent(self, request: Request, door: _Door, grant: Grant | None) -> Response:
        """Send it with `grant`. DeniedError if a grant that never opened anything does not do so now."""
        if grant is None:
            return self._transport(request)
        response = self._transport(request.with_header("Authorization", grant.authorization))
        status = response.status
        missing = status == 404 and request.method == "GET"
        if grant.refusal is not None and (status in (401, 403) or missing):
            response.close()
            raise grant.refusal
        with door.lock:
            if status != 401:
                door.proven = door.proven or door.grant is grant
            elif door.grant is grant and not door.proven:
                door.grant = None
                response.close()
                raise self._unimpressed()
        return response

    def _unimpressed(self) -> DeniedError:
        host = self._origin.netloc
        return DeniedError(
            f"{host} gave a token and then did not accept it",
            host=host,
            hint="you may not have the right; ferry whoami shows who you are there",
        )

    def _learn(self, door: _Door, grant: Grant | None, response: Response) -> bool:
        """Remember what a 401 asks for, if anything; the grant it did not accept is forgotten."""
        try:
            challenges = parse_challenges(response.headers.all("WWW-Authenticate"))
        except InvalidError as error:
            raise ProtocolError(
                f"{self._origin.netloc} answered 401 with {error.message}", host=self._origin.netloc
            ) from None
        if not challenges:
            return False
        response.close()
        with door.lock:
            door.challenges = challenges
            if door.grant is grant:
                door.grant = None
        return True

    def _secret(self) -> Secret:
        return self._credentials.for_origin(self._origin)

    def _danced(self, steps: Dance) -> Grant:
        """Drive the dance over the wire."""
        try:
            request = next(steps)
            while True:
                response = self._transport(request)
                try:
                    request = steps.send(response)
                finally:
                    response.close()
        except StopIteration as done:
            grant: Grant = done.value
            return grant
