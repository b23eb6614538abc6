"""A transport that says who it is: tokens fetched when asked for, kept while good, sent to one origin.

Knows no socket and no registry; what is said to whom is `flow`'s business.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from registry.auth import ci
from registry.auth.credentials import Account
from registry.auth.flow import Asker, Authorization, Dance, dance
from registry.auth.scopes import Scopes, Wanted
from registry.auth.secrets import Secret, shown_as
from registry.errors import (
    DeniedError,
    InvalidError,
    ProtocolError,
    Reason,
    RegistryError,
    TransientError,
)
from registry.wire import faults
from registry.wire.bodies import read_body
from registry.wire.challenges import Challenge, parse_challenges
from registry.wire.masking import Masking
from registry.wire.messages import Access, Origin, Request, Response, Transport
from registry.wire.redirects import follow

_SECRET_FIELDS = ("Authorization", "Cookie", "Proxy-Authorization")
_LINKS = ("Location", "Docker-Upload-Location", "X-Direct-Upload-URL")
_UNTRUSTED = (
    Reason.CERTIFICATE,
    Reason.CERTIFICATE_HOST,
    Reason.CERTIFICATE_DATES,
)  # it is we who refuse the host
_SENDS = 5  # of one request at most: a token that served another thread may have ended by now
_KEPT = 0.8  # the part of its life after which a token is not begun with any more


@dataclass(slots=True)
class _Entry:
    """The token cache of one repository: what its registry asks for, and the token it gave.

    One token is good for all that was asked for so far. `lock` is held while one is fetched.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    challenges: list[Challenge] = field(default_factory=list)
    grant: Authorization | None = None
    good_until: float = 0.0
    proven: Authorization | None = None  # the last grant that was accepted
    unproven: int = 0  # how many in a row since then were not
    asked: Scopes = field(default_factory=Scopes)
    refused: Scopes = field(default_factory=Scopes)  # of other repositories: mounts from there cannot be
    fetches: int = 0
    denied: DeniedError | None = None  # how the last fetch ended

    def forget(self, grant: Authorization | None) -> bool:
        """Give up `grant`; whether it was still the one in use."""
        current = self.grant is grant
        if current:
            self.grant = None
        return current


class Session:
    """The client's transport to the registry at `origin`; threads may share one.

    Requests to other origins go out without secrets. A request whose body cannot be sent twice is not:
    it fails with TransientError once a fresh token is there, and the transfer goes on.
    """

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        account: Account,
        *,
        clock: Callable[[], float],
        new_nonce: Callable[[], str],
        realms: Collection[Origin] = (),
        masking: Masking | None = None,
    ) -> None:
        """`clock` is Unix seconds; `realms` are other origins that may ask for a signature.

        `masking` is told every secret, and asked about every word of the peer's.
        """
        self._mask = masking or Masking()
        self._transport = transport
        self._origin = origin
        self._account = account
        self._clock = clock
        self._new_nonce = new_nonce
        self._realms = realms
        self._broken = set(account.faults)  # what might have said who we are, and could not be used
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def __call__(self, request: Request) -> Response:
        """The answer, never a 401 that a secret in hand could have prevented; redirects of reads followed.

        DeniedError when the secret is missing or refused; else what the transport raises.
        """
        try:
            return self._without_secrets(follow(self._inside, self._outside, request))
        except RegistryError as error:
            self._mask.error(error)
            if isinstance(error, DeniedError):
                raise self._with_faults(error) from None
            raise

    @property
    def accepted(self) -> bool:
        """Whether the registry asked who we are, and let us in as somebody."""
        with self._lock:
            proven = [entry.proven for entry in self._entries.values() if entry.proven is not None]
        return any(grant.refusal is None for grant in proven)

    def grant(self, access: Access | None) -> Authorization | None:
        """What requests for `access` are made with now; None where nothing was wanted, or given."""
        return self._entry(access).grant

    def _without_secrets(self, response: Response) -> Response:
        """A refusal whose words repeat nothing that is ours, and no link that carries a permission."""
        if response.status < 400:
            return response
        body = self._mask(self._words(response).decode("utf-8", "surrogateescape"))
        return replace(response, body=body.encode("utf-8", "surrogateescape"), length=None)

    def _words(self, response: Response) -> bytes:
        """What a refusal says, as far as it can be read."""
        try:
            return read_body(response, faults.ERROR_BYTES, "asking", self._origin.netloc)
        except (ProtocolError, TransientError):
            return b""  # an unreadable explanation does not hide the refusal

    def _with_faults(self, error: DeniedError) -> DeniedError:
        """The refusal, with what could not be used to prevent it; no login makes a certificate good."""
        if not self._broken or error.host != self._origin.netloc or error.reason in _UNTRUSTED:
            return error
        broken = "; ".join(sorted(self._broken))
        return DeniedError(f"{error.message}; could not be used: {broken}", **error.details)

    def _outside(self, request: Request) -> Response:
        """Ask another origin: without anything that is meant for ours."""
        bare = request.headers.without(*_SECRET_FIELDS)
        return self._exchange(replace(request, headers=bare))

    def _inside(self, request: Request) -> Response:
        if request.origin != self._origin:
            return self._outside(request)
        if "Authorization" in request.headers:  # a signed call: it says itself who it is
            return self._exchange(request)
        entry = self._entry(request.access)
        fetches = entry.fetches
        for _ in range(_SENDS - 1):
            grant = self._grant(entry, request.access, fetches)
            response = self._sent(request, entry, grant)
            if response.status != 401 or not self._learn(entry, grant, response, request.access):
                return response
            if not request.replayable:
                self._grant(entry, request.access, fetches)
                raise TransientError(
                    f"{self._origin.netloc} wanted a new token in the middle of an upload; there is one now",
                    host=self._origin.netloc,
                    answered=True,
                )
        return self._sent(request, entry, self._grant(entry, request.access, fetches))

    def _entry(self, access: Access | None) -> _Entry:
        """What is remembered of a repository; what is about none has an entry of its own."""
        repository = access.repository if access else ""
        with self._lock:
            entry = self._entries.get(repository)
            if entry is None:
                entry = self._entries[repository] = _Entry()
            return entry

    def _grant(self, entry: _Entry, access: Access | None, fetches: int) -> Authorization | None:
        """The grant for a request, fetched anew if there is a challenge but no good grant. One at a time.

        Of several requests at once, one is told no by the token server, and that is the others' answer too:
        `fetches` is how many there were when this request began. DeniedError also where a mount's source
        may not be read; that costs no token.
        """
        needed, source = Scopes.of_repository(access), Scopes.of_mount(access)
        with entry.lock:
            if source.actions and entry.refused.cover(source):
                raise self._no_mount(access)
            if entry.challenges and not self._serves(entry, needed | source):
                if entry.denied and entry.fetches > fetches:
                    raise DeniedError(entry.denied.message, **entry.denied.details)
                self._fetch(entry, Wanted(needed, entry.asked.without(entry.refused.actions) | source))
            if source.actions and entry.grant is not None and not entry.grant.serves(source):
                entry.refused |= source
                raise self._no_mount(access)
            return entry.grant

    def _serves(self, entry: _Entry, needed: Scopes) -> bool:
        return entry.grant is not None and self._clock() < entry.good_until and entry.grant.serves(needed)

    def _fetch(self, entry: _Entry, wanted: Wanted) -> None:
        """Ask for a token, with the entry's lock held."""
        now = self._clock()
        secrets = self._secrets()
        asker = Asker(self._origin, secrets, self._realms, now, self._new_nonce())
        entry.grant, entry.denied = None, None
        try:
            grant = self._danced(dance(entry.challenges, asker, wanted))
        except DeniedError as error:
            entry.denied = error
            raise
        finally:
            entry.fetches += 1
        if grant.told:
            self._account.note(grant.told)
        entry.grant = grant
        entry.good_until = float("inf") if grant.seconds is None else now + grant.seconds * _KEPT
        entry.asked |= grant.scopes or Scopes()

    def _sent(self, request: Request, entry: _Entry, grant: Authorization | None) -> Response:
        """Send it with `grant`. DeniedError if that is nobody's in particular, and does not suffice."""
        if grant is None:
            return self._exchange(request)
        response = self._exchange(request.with_header("Authorization", grant.authorization))
        status = response.status
        refused = status == 403 or (status == 404 and request.method == "GET")
        if refused and (error := self._refusal(response, grant)) is not None:
            raise error
        if status != 401:
            entry.proven, entry.unproven = grant, 0
        return response

    def _secrets(self) -> Iterator[Secret]:
        for secret in self._account.secrets(self._broken.add):
            self._mask.keep(*shown_as(secret))
            yield secret

    def _exchange(self, request: Request) -> Response:
        """Send it; what says who we are in it, and where the answer leads, is not to be shown."""
        if said := request.headers.get("Authorization"):
            self._mask.passing(*re.split("[ :]", said)[1:])
        if told := ci.told_in(request):
            self._mask.passing(*told)
        response = self._transport(request)
        for name in _LINKS:
            if link := response.headers.get(name):
                self._mask.link(link)
        return response

    def _refusal(self, response: Response, grant: Authorization) -> RegistryError | None:
        """What a 403, or a 404 to a GET, means where we came as nobody, or a login could not be used."""
        nobody = grant.refusal is not None and grant.refusal.reason is Reason.NOT_SIGNED_IN
        if response.status == 404 and (grant.refusal is None or nobody):
            if nobody:
                asked = f"{self._origin.netloc} was asked as nobody in particular"
                self._account.note(f"{asked}: there is no key or login for it")
            return None
        if grant.refusal is None and not self._broken:
            return None
        host, body = self._origin.netloc, self._words(response)
        if grant.refusal is None:
            return faults.error_of(faults.Refusal.of(response, body), "asking", host=host, now=self._clock())
        words = faults.said(body) if nobody else ""
        message = f"{grant.refusal.message}: {words}" if words else grant.refusal.message
        return DeniedError(message, **grant.refusal.details)

    def _learn(
        self, entry: _Entry, grant: Authorization | None, response: Response, access: Access | None
    ) -> bool:
        """Remember what a 401 asks for, if anything; the grant it did not accept is forgotten.

        DeniedError if that grant never opened anything, and the answer asks for nothing new. Where an earlier
        one did, only the second in a row is believed to be refused: a 401 by chance ends no transfer.
        """
        try:
            challenges = parse_challenges(response.headers.all("WWW-Authenticate"))
        except InvalidError as error:
            raise ProtocolError(
                f"{self._origin.netloc} answered 401 with {error.message}", host=self._origin.netloc
            ) from None
        with entry.lock:
            new = _asks_for_more(challenges, entry, grant)
            if challenges:
                entry.challenges = challenges
            in_use = entry.forget(grant)
            if in_use and grant is not None and entry.proven is not grant and not new:
                entry.unproven += 1
                source = Scopes.of_mount(access)
                if entry.proven is None or entry.unproven > 1 or source.actions:
                    response.close()
                    entry.refused |= source
                    raise grant.refusal or grant.unaccepted or self._unimpressed()
        if challenges:
            response.close()
        return bool(challenges)

    def _unimpressed(self) -> DeniedError:
        host = self._origin.netloc
        return DeniedError(
            f"{host} gave a token and then did not accept it",
            reason=Reason.NOT_ALLOWED,
            host=host,
        )

    def _no_mount(self, access: Access | None) -> DeniedError:
        host = self._origin.netloc
        return DeniedError(
            f"{host} gives no right to take a blob over from {access.mounted_from if access else ''}",
            reason=Reason.NOT_ALLOWED,
            host=host,
        )

    def _danced(self, steps: Dance) -> Authorization:
        """Drive the dance over the wire."""
        try:
            request = next(steps)
            while True:
                response = self._without_secrets(self._exchange(request))
                try:
                    request = steps.send(response)
                finally:
                    response.close()
        except StopIteration as done:
            grant: Authorization = done.value
            return grant
        finally:
            steps.close()  # it may hold a lock that others wait for


def _asks_for_more(challenges: Sequence[Challenge], entry: _Entry, grant: Authorization | None) -> bool:
    """Whether a 401 names a scheme, a realm, or a right that `grant` was not made with."""
    known = {(one.scheme, one.get("realm"), one.get("service")) for one in entry.challenges}
    return any(
        (one.scheme, one.get("realm"), one.get("service")) not in known
        or not (grant is None or grant.serves(Scopes.parse(one.get("scope"))))
        for one in challenges
    )
