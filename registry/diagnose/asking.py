"""The hops at a registry: does one answer, who are we there, what may we do, are the bytes right.

Asks through the same `Session` and `Remote` as every transfer.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
from dataclasses import dataclass, field
from functools import partial

from registry.auth.flow import Authorization
from registry.auth.scopes import Scopes
from registry.auth.session import Session
from registry.auth.signing import FRESH_SECONDS
from registry.contracts import Clock
from registry.diagnose.findings import Finding, Hops, failed, note, ok, skipped
from registry.errors import (
    CorruptError,
    DeniedError,
    InvalidError,
    NotFoundError,
    ProtocolError,
    Reason,
    RegistryError,
)
from registry.model.amounts import amount
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.access import reading, writing
from registry.targets.remote import Remote
from registry.wire import faults, routes
from registry.wire.bodies import read_body
from registry.wire.challenges import Challenge, parse_challenges
from registry.wire.headers import Headers
from registry.wire.messages import Access, Origin, Request, Response, Transport
from registry.wire.redirects import follow

_FAR_APART = 60.0  # seconds between two clocks
_PART = 64 * 1024  # bytes of a large blob that are asked for
_WHOLE = 1024 * 1024  # a blob no larger is read whole, and proven
_SHOWN = 200


@dataclass(slots=True)
class Asking:
    """What is asked of the registry at `remote`: by `bare` as nobody, by `session` as whom we are there.

    `name`: the model that is looked at, None: the registry alone. `key_signs`: whether the secret that is
    asked with is a key, whose signatures are good for minutes only. `now` is Unix seconds. `pushing`: the
    model need not be there yet.
    """

    bare: Transport
    session: Session
    remote: Remote
    name: Name | None
    key_signs: bool
    now: Clock
    pushing: bool = False
    _answer: Response = field(default_factory=lambda: Response(200))
    _manifest: Manifest | None = None
    _trouble: RegistryError | None = None

    @property
    def hops(self) -> Hops:
        """In order."""
        return (
            ("http", self.http),
            ("clock", self.clock),
            ("challenge", self.challenge),
            ("token", self.token),
            ("scope", self.scope),
            ("manifest", self.manifest),
            ("blob", self.blob),
        )

    def http(self) -> Finding:
        """What answers there, asked as nobody in particular."""
        path = routes.manifest(self.name.repository, self.name.reference) if self.name else "/v2/"
        elsewhere: list[Origin] = []

        def followed(request: Request) -> Response:
            elsewhere.append(request.origin)
            return self.bare(request)

        answer, body = asked(
            partial(follow, self.bare, followed), Request("GET", f"{self._origin}{path}", Headers(_ACCEPT))
        )
        self._answer = answer
        check_answer(answer, body, self._origin, self.now())
        who = f" ({answer.headers.get('Server')[:40]})" if answer.headers.get("Server") else ""
        seen = faults.printable(f"{answer.status} to GET {path}{who}")
        if elsewhere:
            return note(
                "http", f"{seen}, from {elsewhere[-1].netloc}, to which {self._origin.netloc} redirects"
            )
        if self.name is None and answer.status == 404:
            return note("http", f"{seen}: some registries have no such page, other servers have none either")
        if self.name is None and answer.status not in (200, 401):
            raise faults.error_of(
                faults.Refusal.of(answer, body), _DOING, host=self._origin.netloc, now=self.now()
            )
        if self.name is None and answer.status == 200:
            self._check_registry()
        return ok("http", seen)

    def _check_registry(self) -> None:
        """ProtocolError for what says yes to everything: it has a manifest that nobody can have made."""
        path = routes.manifest("ferry/doctor", _NOBODYS)
        answer, _ = asked(self.bare, Request("GET", f"{self._origin}{path}", Headers(_ACCEPT)))
        if answer.status == 200:
            host = self._origin.netloc
            message = f"{host} answers 200 to everything, also to what no registry has: it is none"
            raise ProtocolError(message, host=host, reason=Reason.NO_REGISTRY_THERE)

    def clock(self) -> Finding:
        """Whether the two clocks agree."""
        return compared(self._answer, self._origin, self.now(), self.key_signs)

    def challenge(self) -> Finding:
        """What the registry wants to see."""
        if self._answer.status != 401:
            return ok("challenge", f"none: it answers {self._answer.status} to anybody")
        host = self._origin.netloc
        try:
            challenges = parse_challenges(self._answer.headers.all("WWW-Authenticate"))
        except InvalidError as error:
            raise ProtocolError(f"{host} answered 401 with {error.message}", host=host) from None
        if not challenges:
            raise ProtocolError(f"{host} answered 401 and does not say what it wants to see", host=host)
        return ok("challenge", "; ".join(map(_spelled, challenges))[:_SHOWN])

    def token(self) -> Finding:
        """Whether we are known: what a token, or its refusal, says."""
        try:
            self._manifest = self._asked_as_ourselves()
        except RegistryError as error:
            self._trouble = error
        grant, trouble = self._grant, self._trouble
        if grant is None:
            if self._answer.status != 401 or trouble is None:
                return skipped("token", "none is wanted")
            raise trouble
        if grant.refusal is None:
            kind = grant.authorization.partition(" ")[0]
            good = f", good for {grant.seconds:.0f} s" if grant.seconds else ""
            return ok("token", f"{'a token' if grant.scopes else f'{kind}, the secret itself'}{good}")
        if trouble is not None or (self.name is None and grant.refusal.reason is not Reason.NOT_SIGNED_IN):
            return failed("token", grant.refusal)
        return note("token", f"as nobody in particular: {grant.refusal.message}", grant.refusal)

    def scope(self) -> Finding:
        """What was asked for, and what the token grants of it."""
        if self.pushing and self.name is not None and self._answer.status == 401:
            path = routes.manifest(self.name.repository, self.name.reference)
            asked(self.session, Request("HEAD", f"{self._origin}{path}", access=writing(self.name)))
        grant = self._grant
        if grant is None or grant.scopes is None or not grant.scopes.actions:
            return skipped("scope", "nothing was asked for that needs one")
        wanted = " ".join(grant.scopes.texts)
        granted = granted_by(grant)
        if granted is None:
            return ok("scope", f"asked for {wanted}; the token does not say what it grants")
        seen = f"asked for {wanted}; granted {' '.join(granted.texts) or 'nothing'}"
        if self._trouble is not None and not self._to_be_made and not granted.cover(grant.scopes):
            return failed("scope", self._trouble, f"{seen}: {self._trouble.message}")
        if self.pushing and self.name and not granted.cover(Scopes.of_repository(writing(self.name))):
            message = f"{self._origin.netloc} gives no right to push to {self.name.repository}"
            error = DeniedError(message, host=self._origin.netloc, reason=Reason.NOT_ALLOWED)
            return failed("scope", error, f"{seen}: {message}")
        return ok("scope", seen) if granted.cover(grant.scopes) else note("scope", seen)

    def manifest(self) -> Finding:
        """Whether the model is there."""
        if self._trouble is not None and self._to_be_made:
            return note("manifest", f"there is no {self.name} yet, or it is not for you to see")
        if self._trouble is not None:
            raise self._trouble
        if self._manifest is None:
            return skipped("manifest", "no model was named")
        if self._manifest.children:
            seen = f"{self._manifest.digest.short}, an index of {len(self._manifest.children)} manifests"
            return note("manifest", f"{seen}: each has a digest to be pulled by")
        blobs = list(self._manifest.blobs())
        size = sum(blob.size for blob in blobs)
        return ok("manifest", f"{self._manifest.digest.short}, {len(blobs)} blobs, {amount(size)}")

    def blob(self) -> Finding:
        """Whether bytes come: the end of the largest blob, and the smallest one whole, which is proven."""
        blobs = sorted(self._manifest.blobs(), key=lambda blob: blob.size) if self._manifest else []
        if not blobs or self.name is None:
            return skipped("blob", "there is no model to read")
        smallest, largest = blobs[0], blobs[-1]
        if smallest.size <= _WHOLE:
            self._prove(self.name, smallest)
        span = Span(max(0, largest.size - _PART), min(_PART, largest.size))
        got = self.remote.open(self.name, largest, span)
        with contextlib.closing(got.stream):
            for _chunk in got.stream if got.span == span else ():
                pass
        if got.span != span:
            seen = f"{self._origin.netloc} sends a whole blob where a part is asked for: it has no ranges"
            return note("blob", f"{seen}, and a download that breaks off begins anew")
        return ok("blob", f"{span.length} bytes at {span.offset} of {largest.digest.short} came")

    def _prove(self, name: Name, blob: Descriptor) -> None:
        got = self.remote.open(name, blob, Span(0, blob.size))
        with contextlib.closing(got.stream):
            raw = b"".join(got.stream)
        if Digest.of(raw, blob.digest.algorithm) != blob.digest:
            host = self._origin.netloc
            message = f"blob {blob.digest.short} of {name} is damaged at {host}"
            raise CorruptError(f"{message}: its bytes are not its digest's", host=host, name=str(name))

    def _asked_as_ourselves(self) -> Manifest | None:
        if self.name is not None:
            return self.remote.resolve(self.name)
        answer, body = asked(self.session, Request("GET", f"{self._origin}/v2/"))
        if answer.status not in (200, 404):
            refusal = faults.Refusal.of(answer, body)
            raise faults.error_of(refusal, "asking for /v2/", host=self._origin.netloc, now=self.now())
        return None

    @property
    def found(self) -> Manifest | None:
        """The model, once it was seen."""
        return self._manifest

    @property
    def _grant(self) -> Authorization | None:
        return self.session.grant(self._access)

    @property
    def _to_be_made(self) -> bool:
        """Whether a push would make what is not there."""
        return self.pushing and isinstance(self._trouble, NotFoundError)

    @property
    def _access(self) -> Access | None:
        return reading(self.name) if self.name else None

    @property
    def _origin(self) -> Origin:
        return self.remote.peer.origin


_ACCEPT = {"Accept": "*/*"}
_NOBODYS = Digest("sha256", "0" * 64)
_DOING = "asking what is there"


def asked(transport: Transport, request: Request) -> tuple[Response, bytes]:
    """The answer, and as much of its body as a refusal may have; what cannot be read is nothing."""
    response = transport(request)
    try:
        return response, read_body(response, faults.ERROR_BYTES, "asking", request.origin.netloc)
    except RegistryError:
        response.close()
        return response, b""


def check_answer(answer: Response, body: bytes, origin: Origin, now: float) -> None:
    """Raise what an answer means that no host gives that is asked in the right place, and is well."""
    refusal = faults.Refusal.of(answer, body)
    wrong = answer.status in (407, 421) or faults.passes(answer.status)
    if wrong or (refusal.page and answer.status != 401):
        if answer.status == 200:
            raise faults.web_page(_DOING, origin.netloc)
        error = faults.error_of(refusal, _DOING, host=origin.netloc, now=now)
        if isinstance(error, DeniedError):  # by a page: it is no registry that knows who may do what
            error.reason = Reason.NONE
        raise error


def compared(answer: Response, origin: Origin, now: float, key_signs: bool) -> Finding:
    """The server's clock, by the `Date` of an answer, beside ours."""
    try:
        theirs = email.utils.parsedate_to_datetime(answer.headers.get("Date")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return skipped("clock", f"{origin.netloc} does not say what time it is")
    apart = abs(theirs - now)
    if apart <= _FAR_APART:
        return ok("clock", f"as that of {origin.netloc}, within {_FAR_APART:.0f} s")
    which = "behind" if theirs > now else "ahead of"
    message = f"this machine's clock is {apart:.0f} s {which} that of {origin.netloc}"
    error = DeniedError(message, host=origin.netloc, reason=Reason.CLOCK)
    if key_signs and apart > FRESH_SECONDS:
        return failed("clock", error, f"{message}; a signature is good for {FRESH_SECONDS} s")
    return note("clock", message, error)


def granted_by(grant: Authorization) -> Scopes | None:
    """What a token says that it grants, where it is a JWT with distribution's `access`; it is not verified,
    that is the server's business. None where it does not say."""
    try:
        payload = grant.authorization.rpartition(" ")[2].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        rows = [
            (f"{row['type']}:{row['name']}", tuple(map(str, row["actions"] or ())))
            for row in claims["access"]
        ]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return Scopes({faults.printable(resource): actions for resource, actions in rows if actions})


def _spelled(challenge: Challenge) -> str:
    told = (f'{name}="{value}"' for name, value in challenge.parameters.items())
    return faults.printable(f"{challenge.scheme.capitalize()} {' '.join(told)}".strip())
