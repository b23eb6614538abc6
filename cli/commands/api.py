"""One call to a host's API, with whatever says who we are there; its answer is passed on as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cli import accounts
from cli.options import NETWORK, Invocation, choices, command
from cli.passing import Passing
from cli.render import complain, error_document
from registry.errors import DeniedError, InvalidError, NotFoundError, Reason, RegistryError, TransientError

if TYPE_CHECKING:
    from registry.auth.calls import ApiCall
    from registry.wire.messages import Response

# Their advice is for who pulls and pushes.
_OF_MODELS = (Reason.NAME_NOT_THERE, Reason.BLOB_NOT_THERE, Reason.NO_REGISTRY_THERE)
# A model may think for minutes before its first word, and its words are few bytes a second.
_PATIENCE = {"stall": 600.0, "floor": 0.0}


@command(*NETWORK, beside=True)
@click.argument("method", **choices("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
@click.argument("path")
@click.option("-d", "--data", "body", metavar="DATA|@FILE|-", help="The body, or where it is.")
@click.option("--host", metavar="HOST", help="Who is asked [FERRY_REGISTRY, ollama.com].")
def api(invocation: Invocation, method: str, path: str, body: str | None, host: str | None) -> int:
    """Call a host's API as whom you are there.

    \b
      ferry api POST /api/generate -d '{"model":"gpt-oss:120b","prompt":"Hi"}'
      ferry api GET /api/account --host models.acme.example
    """
    from registry.auth.calls import ApiCall, prepared

    ApiCall(method.upper(), path)  # what is wrong with these is said before standard input is waited for
    call = ApiCall(method.upper(), path, _body(body))
    with accounts.opened(invocation, host, _PATIENCE) as there:
        account = there.opened.credentials.account(there.origin)
        if not there.is_ollama:  # a login that is an API key may do little there, as in `ferry keys`
            account = account.keys_first
        ready = prepared(call, there.origin, account, time.time(), lambda _text: None)
        if not account.candidates:
            invocation.terminal.note(f"ferry: {there.origin.netloc} is asked as nobody in particular")
        answer = _Answer(
            call,
            there.origin.netloc,
            there.opened.session_as(there.origin, account)(ready.request),
            ready.refused,
        )
        return _documented(invocation, answer) if invocation.terminal.json else _passed_on(invocation, answer)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What `host` answered to `call`; `refused` is why, if that is 401."""

    call: ApiCall
    host: str
    response: Response
    refused: Reason

    @property
    def doing(self) -> str:
        """As errors say it."""
        return f"{self.call.method} {self.call.path}"

    def error(self, begun: bytes) -> RegistryError | None:
        """What its status means, with the words in its first bytes; None for a success."""
        from registry.wire import faults

        if 200 <= self.response.status < 300:
            return None
        refusal = faults.Refusal.of(self.response, begun)
        error = faults.error_of(refusal, self.doing, host=self.host, now=time.time())
        if self.response.status == 401 and isinstance(error, DeniedError):
            error.reason = self.refused
        elif error.reason in _OF_MODELS:
            error.reason, error.hint = Reason.NONE, "check the path, and what the request names"
        elif isinstance(error, TransientError):
            error.reason = Reason.NONE  # nothing was begun here that would go on
            error.hint = f"ask again {f'in {error.retry_after:.0f} s' if error.retry_after else 'later'}"
        return error


def _passed_on(invocation: Invocation, answer: _Answer) -> int:
    """The answer's bytes on standard output, each as it comes; the exit code."""
    from registry.wire.faults import ERROR_BYTES

    passing = Passing(invocation.terminal)
    begun = b""
    body = answer.response.body
    for chunk in (body,) if isinstance(body, bytes) else cast(Iterable[bytes], body):
        passing.write(chunk)
        begun += chunk[: ERROR_BYTES - len(begun)]
    passing.end()
    error = answer.error(begun)
    if error is None:
        return 0
    complain(error, invocation.terminal, short=False)
    return error.exit


def _documented(invocation: Invocation, answer: _Answer) -> int:
    """One document: `{"status","headers","body"}`, and `error` where it is one; the exit code."""
    from registry.wire.bodies import read_body
    from registry.wire.messages import BODY_BYTES

    raw = read_body(answer.response, BODY_BYTES, answer.doing, answer.host)
    headers: dict[str, str] = {}
    for name, value in answer.response.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    document = {"status": answer.response.status, "headers": headers, "body": _value(raw)}
    error = answer.error(raw)
    if error is None:
        invocation.terminal.document(document)
        return 0
    invocation.terminal.document({**document, **error_document(error)})
    complain(error, invocation.terminal, short=True)
    return error.exit


def _value(raw: bytes) -> object:
    """A body as JSON has it; else its text."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")


def _body(data: str | None) -> bytes:
    """The bytes that `-d` means. InvalidError where they are too many, or the file is not there."""
    from registry.disk import files
    from registry.wire.messages import BODY_BYTES

    if data is None or not (data == "-" or data.startswith("@")):
        return (data or "").encode("utf-8", "surrogateescape")
    named = data[1:] if data != "-" else "/dev/stdin"
    try:
        body = files.read_given(Path(named), BODY_BYTES + 1).data
    except NotFoundError:
        raise InvalidError(f"-d {data}: there is no such file") from None
    if len(body) > BODY_BYTES:
        where = "standard input" if data == "-" else named
        raise InvalidError(
            f"-d {data}: {where} has more than {BODY_BYTES // 1024**2} MiB, the most that a body may have"
        )
    return body
