"""A CI job's own identity: an ID token from the system that runs the job, for a token of the registry.

RFC 8693; PROTOCOL section 7. The dance is pure: it yields requests and is sent their answers. Two kinds of
request go out: to the CI system for an ID token, and to the registry with it, each to the origin it is for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlencode

from registry.disk import files
from registry.disk.secrets import read_secret
from registry.errors import DeniedError, InvalidError, Reason, RegistryError, StorageError, TransientError
from registry.wire import faults
from registry.wire.bodies import read_body
from registry.wire.exchange import ACCESS_TOKEN, GRANT, ID_TOKEN, PATH
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

TOKEN_LENGTH = 16 * 1024
AGE = 24 * 3600.0  # seconds after which no job is expected to go on with what was kept
_ANSWER_BYTES = 64 * 1024
_FORM = "application/x-www-form-urlencoded"
_REFUSED = (400, 401, 403, 404, 405, 501)  # the last three: there is no exchange at this registry


class JobTokenStore(Protocol):
    """Where a job's token is kept, so that it is renewed instead of got anew; "" for none."""

    def read(self) -> str: ...
    def keep(self, token: str) -> None: ...


class KeptInMemory:
    """For as long as this process lives."""

    def __init__(self) -> None:
        self._token = ""

    def read(self) -> str:
        return self._token

    def keep(self, token: str) -> None:
        self._token = token


class KeptInFile:
    """For the other commands of the job too: an ID token that was given is exchanged once only.

    What cannot be written is as if it were not kept; what others may read is not believed.
    """

    def __init__(self, directory: Path, id_token: str, origin: Origin) -> None:
        """The file is named by what it belongs to, and does not tell it."""
        name = hashlib.sha256(f"{origin} {id_token}".encode()).hexdigest()[:32]
        self._path = directory / f"{name}.token"
        self._here = KeptInMemory()

    def read(self) -> str:
        try:
            raw = read_secret(self._path, TOKEN_LENGTH)
        except RegistryError:
            raw = None
        return raw.decode("ascii", "replace") if raw else self._here.read()

    def keep(self, token: str) -> None:
        self._here.keep(token)
        try:
            files.make_directory(self._path.parent, mode=0o700)
            files.write_atomic(self._path, token.encode(), scratch=self._path.parent, mode=0o600)
        except StorageError:
            return


def forget(directory: Path, before: float) -> None:
    """Remove the tokens in `directory` that were kept before that time (Unix seconds)."""
    for name in files.names(directory):
        found = files.status(directory / name)
        if name.endswith(".token") and found is not None and found.modified < before:
            files.remove(directory / name)


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """The job that this process runs in, of the CI system `system` (as people call it), at one registry.

    Either the job was given an `id_token`, or it asks for one at `request_url` with `request_token`, as often
    as it likes. `lock` is held while a token is got: an ID token is exchanged once.
    """

    system: str
    request_url: str = field(default="", repr=False)
    request_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    kept: JobTokenStore = field(default_factory=KeptInMemory, compare=False, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.id_token) == bool(self.request_url and self.request_token):
            raise InvalidError(
                f"the identity of this {self.system} job is either an ID token or where to ask"
            )
        for text in (self.request_token, self.id_token):
            if len(text) > TOKEN_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
                raise InvalidError(f"what should be the ID token of this {self.system} job is none")

        if self.provider is not None and sends_in_clear(self.provider):
            raise InvalidError(f"this {self.system} job would ask {self.provider} in clear for its ID token")

    @property
    def provider(self) -> Origin | None:
        """Where it asks for ID tokens, if it does. InvalidError for what is no address."""
        return Origin.of(self.request_url) if self.request_url else None


def sends_in_clear(provider: Origin) -> bool:
    """Whether the secret of a job that asks there for ID tokens could be read on the way."""
    return provider.scheme != "https" and not provider.loopback


Exchange = Generator[Request, Response, Response]


def exchanged(job: JobIdentity, origin: Origin, scopes: Sequence[str]) -> Exchange:
    """The steps to the answer of the registry at `origin` to a question for a token for `scopes`.

    A token that is held is renewed; where that does not do, an ID token is exchanged. DeniedError if there
    is none; TransientError if the CI system is not well.
    """
    held = job.kept.read()
    if held:
        response = yield _question(origin, ACCESS_TOKEN, held, scopes)
        if response.status not in _REFUSED:
            return response
        response.close()
    id_token = job.id_token or (yield from _asked(job, origin))
    response = yield _question(origin, ID_TOKEN, id_token, scopes)
    newer = job.kept.read()
    if response.status in _REFUSED and newer != held:  # another process of the job came first
        response.close()
        response = yield _question(origin, ACCESS_TOKEN, newer, scopes)
    return response


def refused(response: Response) -> bool:
    """Whether a registry gives no token to this job, rather than none just now."""
    return response.status in _REFUSED


def told_in(request: Request) -> tuple[str, ...]:
    """The tokens in a question to a registry, which nobody is to be shown."""
    if request.method != "POST" or request.headers.get("Content-Type") != _FORM:
        return ()
    assert isinstance(request.body, bytes)
    return tuple(value for name, value in parse_qsl(request.body.decode()) if name == "subject_token")


def _question(origin: Origin, kind: str, token: str, scopes: Sequence[str]) -> Request:
    form = [("grant_type", GRANT), ("subject_token_type", kind), ("subject_token", token)]
    body = urlencode([*form, *(("scope", each) for each in scopes)]).encode()
    return Request("POST", f"{origin}{PATH}", Headers({"Content-Type": _FORM}), body)


def _asked(job: JobIdentity, origin: Origin) -> Generator[Request, Response, str]:
    """An ID token for the registry at `origin`, from the system that runs the job."""
    joint = "&" if "?" in job.request_url else "?"
    url = f"{job.request_url}{joint}audience={quote(str(origin), safe='')}"
    host = Origin.of(url).netloc
    headers = Headers({"Authorization": f"Bearer {job.request_token}", "Accept": "application/json"})
    response = yield Request("GET", url, headers)
    doing = f"asking {job.system} for this job's ID token"
    body = read_body(response, _ANSWER_BYTES, doing, host)
    if response.status != 200:
        error = faults.error_of(faults.Refusal.of(response, body), doing, host=host)
        if isinstance(error, TransientError):
            raise error
        raise DeniedError(error.message, reason=Reason.NO_ID_TOKEN, host=host)
    try:
        token = json.loads(body)["value"]
    except (ValueError, TypeError, KeyError, RecursionError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not 0 < len(token) <= TOKEN_LENGTH:
        raise DeniedError(f"{doing}: the answer has no token in it", reason=Reason.NO_ID_TOKEN, host=host)
    return token
