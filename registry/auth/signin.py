"""How a machine's key gets connected to an account: signed calls, and waiting until a person approved it.

PROTOCOL section 4, "Signed API calls" and "Sign-in". Knows no socket: calls go through a transport.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from registry.auth import signing
from registry.auth.call_credentials import KeySigned
from registry.auth.credentials import OLLAMA_API
from registry.auth.keys import PrivateKey
from registry.auth.secrets import ApiKey
from registry.errors import DeniedError, NotFoundError, ProtocolError, Reason, TransientError
from registry.wire import faults
from registry.wire.bodies import read_body
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response, Transport

ANSWER_BYTES = 64 * 1024
POLL_SECONDS = 1.0
_CODE_LENGTH = 32
_UNKNOWN_KEY = "unauthorized"  # the word for it in a 401, ours and ollama.com's
# What else it says, by a word of it, and what that means.
_WHY = {
    "clock": Reason.CLOCK,
    "administrator": Reason.WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Me:
    """Whom a registry takes a key for; a `name` of "" is nobody. `code` is what its page wants typed."""

    name: str
    id: str = ""
    email: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls to `origin` that are signed with `key`; `now` is Unix seconds.

    Such a signature is good at every other server too while it is fresh: nothing may be asked in this way
    whose repetition elsewhere would do harm. `me` names its host in the query: `ferry serve` takes it from
    nobody who passes it on.
    """

    transport: Transport
    origin: Origin
    key: PrivateKey
    now: Callable[[], float]

    def call(self, method: str, path: str, query: signing.Pairs = ()) -> Response:
        """The answer to one signed call."""
        target, signed = KeySigned(self.key, self.now).signed(method, path, query)
        return self.transport(Request(method, f"{self.origin}{target}", Headers({"Authorization": signed})))

    def me(self, query: signing.Pairs = ()) -> Me:
        """Whom the key belongs to.

        NotFoundError where no accounts of this kind are kept; DeniedError for a signature that is refused,
        reason CLOCK where that is why.
        """
        host = self.origin.netloc
        bound = () if self.origin == OLLAMA_API else (("host", host),)
        return read_me(self.call("POST", "/api/me", (*query, *bound)), host, self.now())


def read_me(response: Response, host: str, now: float) -> Me:
    """What an answer of `/api/me` says."""
    doing = f"asking {host} who we are"
    body = read_body(response, ANSWER_BYTES, doing, host)
    if response.status in (404, 405):
        raise NotFoundError(
            f"{doing}: it keeps no accounts of this kind",
            host=host,
            hint="plain registries take the login that docker or podman made",
        )
    if response.status not in (200, 401):
        raise faults.error_of(faults.Refusal.of(response, body), doing, host=host, now=now)
    answer = json_object(body)
    if response.status == 401:
        error = str(answer.get("error", _UNKNOWN_KEY))
        if error == _UNKNOWN_KEY:
            return Me("", code=_code(answer.get("code")))
        reason = next((why for word, why in _WHY.items() if word in error.lower()), Reason.NOT_ALLOWED)
        raise DeniedError(f"{doing}: {faults.printable(error)[:300]}", host=host, reason=reason)
    name = answer.get("name")
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"{doing}: the answer has no name in it", host=host)
    return Me(name, *(str(answer.get(key) or "") for key in ("id", "email")))


def connect_url(origin: Origin, key: PrivateKey, machine: str) -> str:
    """The page where a person approves `key`; `machine` is the name that the page shows for it."""
    return f"{origin}/connect?name={quote(machine or 'ferry', safe='')}&key={key.public.connect}"


def until_approved(
    ask: Callable[[], Me],
    *,
    seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    note: Callable[[str], None] = lambda _text: None,
) -> Me | None:
    """Ask until the key is somebody's; None when `seconds` are over. Errors as `Caller.me`.

    A registry that cannot answer now is asked again, and `note` is told once.
    """
    end = clock() + seconds
    told = ""
    while (left := end - clock()) > 0:
        pause = POLL_SECONDS
        try:
            me = ask()
            if me.name:
                return me
        except TransientError as error:
            pause = max(pause, error.retry_after or 0)
            if error.message != told:
                note(error.message)
            told = error.message
        sleep(min(pause, left))
    return None


def json_object(raw: bytes) -> dict[str, object]:
    """The JSON object in `raw`; an empty one if it is none."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _code(value: object) -> str:
    """The code as a person is to type it; "" for what is none."""
    fits = isinstance(value, str) and len(value) <= _CODE_LENGTH and value.isascii() and value.isprintable()
    return str(value) if fits else ""


def ollama_api_key(transport: Transport, origin: Origin, secret: ApiKey, now: float) -> str:
    """Whose API key of ollama.com this is, "" where that is not said.

    Checked by a chat without a question, which costs nothing: 400 to a good key, 401 to a bad one.
    DeniedError for a bad one.
    """
    host, doing = origin.netloc, f"checking the API key at {origin.netloc}"
    headers = Headers({"Authorization": f"Bearer {secret.text}", "Content-Type": "application/json"})
    response = transport(Request("POST", f"{origin}/v1/chat/completions", headers, b"{}"))
    body = read_body(response, ANSWER_BYTES, doing, host)
    if response.status == 401:
        raise DeniedError(
            f"{host} does not accept the API key: it is invalid or revoked",
            host=host,
            reason=Reason.API_KEY_REFUSED,
        )
    if response.status not in (200, 400):
        raise faults.error_of(faults.Refusal.of(response, body), doing, host=host, now=now)
    asked = transport(Request("POST", f"{origin}/api/me", headers.without("Content-Type")))
    try:
        return read_me(asked, host, now).name
    except (DeniedError, NotFoundError, ProtocolError):
        return ""
