"""The keys of those who sign ID tokens: fetched in threads of their own, so that no request waits for them.

An issuer is known because an administrator named it, never because a token does. Keys are fetched anew every
few minutes; those of an issuer that does not answer stay good for an hour.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from registry.contracts import Clock
from registry.errors import InvalidError, Reason, RegistryError, TransientError
from registry.server.id_tokens import KEYS_BYTES, IdToken, KeySet, UnknownKeyError, claimed_issuer, verified
from registry.wire.bodies import read_body
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Transport
from registry.wire.redirects import Reach

FRESH_SECONDS = 300.0  # after which keys are fetched again, while the old ones are still used
KEPT_SECONDS = 3600.0  # for which they are used though the issuer does not answer
AGAIN_SECONDS = 30.0  # between two questions because of a key that is not known, or in vain
_DISCOVERY_BYTES = 64 * 1024
_URL_LENGTH = 500
_SHOWN = 120
_CA_BYTES = 64 * 1024
_AT_ONCE = 8  # fetches
_DISCOVERY = "/.well-known/openid-configuration"

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs ID tokens: `url` is what they name as `iss`.

    `ca`: certificates (PEM) by which it may be recognised besides the system's. `jwks`: where its keys are,
    "" where its own discovery document says it (OpenID Connect Discovery 1.0).
    """

    url: str
    ca: str = field(default="", repr=False)
    jwks: str = ""

    @classmethod
    def named(cls, url: str, ca: str = "", jwks: str = "") -> Issuer:
        """The issuer that somebody typed, GitHub and gitlab.com with a `/` at the end or without.

        InvalidError for an address that none may have.
        """
        for each in filter(None, (url, jwks)):
            check_address(each)
        if urlsplit(url).query:
            raise InvalidError(f"an issuer has no query: {url[:80]}")
        if len(ca) > _CA_BYTES:
            raise InvalidError(f"the certificates have more than {_CA_BYTES} bytes")
        known = url.rstrip("/")
        return cls(known if known in (GITHUB, GITLAB) else url, ca, jwks)


class KeysNotYetError(TransientError):
    """The keys of an issuer are being fetched, or could not be had."""


# The two forges that all the world uses; every other issuer is named by an administrator first.
WELL_KNOWN = (Issuer(GITHUB), Issuer(GITLAB))

TransportTo = Callable[[Origin, str], Transport]
"""How an origin is reached: through this machine's proxies, with these certificates (PEM) trusted too."""


def check_address(url: str) -> Origin:
    """Where an issuer or its keys are: HTTPS, or plain HTTP on this machine. InvalidError."""
    origin = Origin.of(url)
    if len(url) > _URL_LENGTH or "#" in url:
        raise InvalidError(f"{url[:80]} is not an issuer's address")
    if origin.scheme != "https" and not origin.loopback:
        raise InvalidError(
            f"{url[:80]}: an issuer is asked over HTTPS, or on this machine",
            hint="a private CA of its own is named by --ca FILE",
        )
    return origin


@dataclass(slots=True)
class _Known:
    """What is known of one issuer; times of the server's own clock in seconds."""

    keys: KeySet | None = None
    fetched: float = float("-inf")  # when its keys last came,
    asked: float = float("-inf")  # when it was last asked for them,
    busy: bool = False  # and whether it is being asked now,
    thread: threading.Thread | None = None  # by which thread
    trouble: str = ""  # why the last question was in vain


class Issuers:
    """The keys of issuers. Safe from several threads; no method waits for an issuer."""

    def __init__(
        self,
        transport: TransportTo | None,
        monotonic: Clock,
        told: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        """`monotonic` in seconds. Without a transport nobody's keys can be had. `told` hears of each trouble
        with an issuer once.
        """
        self._told = told
        self._transport = transport
        self._monotonic = monotonic
        self._known: dict[Issuer, _Known] = {}
        self._lock = threading.Lock()

    def verified(self, token: str, issuer: Issuer, now: float) -> IdToken:
        """What a token of that issuer says; `now` in Unix seconds. DeniedError as `id_tokens.verified`.

        KeysNotYetError where its keys, or the one that the token names, are being fetched.
        """
        keys = self._keys(issuer)
        if keys is None:
            raise self._not_yet(issuer)
        try:
            return verified(token, issuer.url, keys, now)
        except UnknownKeyError:
            if self._look_again(issuer):
                raise self._not_yet(issuer) from None
            raise

    def look(self, issuers: Iterable[Issuer]) -> None:
        """Have the keys of these fetched that are not fresh; called once in a while."""
        for each in issuers:
            self._keys(each)

    def wait(self) -> None:
        """Return when nobody is being asked: for those who cannot go on without, and for tests."""
        for each in [known.thread for known in self._known.values() if known.thread]:
            each.join()

    def _keys(self, issuer: Issuer) -> KeySet | None:
        """Its keys, if there are any that may be used; fetched in the background if they are not fresh."""
        now = self._monotonic()
        with self._lock:
            known = self._known.setdefault(issuer, _Known())
            age = now - known.fetched
            pause = AGAIN_SECONDS if known.trouble else 0.0
            due = age >= FRESH_SECONDS and now - known.asked >= pause
            keys = known.keys if age < KEPT_SECONDS else None
        if due:
            self._begin(issuer, known)
        return keys

    def _look_again(self, issuer: Issuer) -> bool:
        """Whether its keys are being fetched because of a key that is not known, at most so often."""
        with self._lock:
            known = self._known[issuer]
            due = self._monotonic() - known.asked >= AGAIN_SECONDS
            busy = known.busy
        if due and not busy:
            self._begin(issuer, known)
        return due or busy

    def _not_yet(self, issuer: Issuer) -> KeysNotYetError:
        with self._lock:
            trouble = self._known[issuer].trouble
        why = f"could not be had: {trouble}" if trouble else "are being fetched"
        return KeysNotYetError(
            f"the keys of {issuer.url} {why}; try again",
            reason=Reason.BUSY,
            retry_after=AGAIN_SECONDS if trouble else 1.0,
        )

    def _begin(self, issuer: Issuer, known: _Known) -> None:
        """Fetch in a thread, if it is not done already and not too many are."""
        with self._lock:
            if known.busy or sum(each.busy for each in self._known.values()) >= _AT_ONCE:
                return
            known.busy = True
            known.asked = self._monotonic()
        name = f"keys of {issuer.url}"
        thread = threading.Thread(target=self._fetch, args=(issuer, known), name=name, daemon=True)
        known.thread = thread
        thread.start()

    def _fetch(self, issuer: Issuer, known: _Known) -> None:
        keys, trouble = None, ""
        try:
            if self._transport is None:
                raise InvalidError("this server reaches no issuer")
            keys = fetched(issuer, self._transport)
        except RegistryError as error:
            trouble = error.message
        finally:
            with self._lock:
                new = trouble and trouble != known.trouble
                known.busy, known.trouble = False, trouble
                if keys is not None:
                    known.keys, known.fetched = keys, self._monotonic()
            if new:
                self._told(f"the keys of {issuer.url}, who signs ID tokens, could not be had: {trouble}")


def issuer_of(token: str, known: Iterable[Issuer]) -> Issuer | None:
    """The one of `known` that a token names; None for another. DeniedError for what is no token."""
    claimed = claimed_issuer(token)
    return next((each for each in known if each.url == claimed), None)


def fetched(issuer: Issuer, transport: TransportTo) -> KeySet:
    """The keys of an issuer, asked for now. RegistryError says why there are none."""
    place = issuer.jwks
    if not place:
        document = _get(f"{issuer.url.rstrip('/')}{_DISCOVERY}", issuer, transport, _DISCOVERY_BYTES)
        place = _place_of_keys(document, issuer)
    return KeySet.parse(_get(place, issuer, transport, KEYS_BYTES))


def _place_of_keys(body: bytes, issuer: Issuer) -> str:
    """Where a discovery document says that the keys are, if it is this issuer's and may say so."""
    try:
        document = json.loads(body)
        place = document["jwks_uri"]
        named = document["issuer"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidError(f"{issuer.url} has no discovery document that can be read") from None
    if named != issuer.url or not isinstance(place, str):
        called = f": it calls itself {named[:_SHOWN]!r}" if isinstance(named, str) else ""
        raise InvalidError(f"the discovery document of {issuer.url} is another issuer's{called}")
    there, here = check_address(place), Origin.of(issuer.url)
    if there != here and Reach.of(there.host) < min(Reach.of(here.host), Reach.NETWORK):
        raise InvalidError(f"{issuer.url} sends for its keys to {there.netloc}, which it may not")
    return place


def _get(url: str, issuer: Issuer, transport: TransportTo, limit: int) -> bytes:
    origin = check_address(url)
    request = Request("GET", url, Headers({"Accept": "application/json"}))
    response = transport(origin, issuer.ca)(request)
    body = read_body(response, limit, f"asking {issuer.url} for its keys", origin.netloc)
    if response.status != 200:
        raise InvalidError(f"{origin.netloc} answered {response.status}")
    return body
