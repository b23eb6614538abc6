"""The account API's documents: JSON both ways, and refusals that are one sentence (`{"error": …}`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from registry.errors import InvalidError, RegistryError
from registry.model.manifests import decode_json
from registry.wire.faults import answer_to
from registry.wire.headers import Headers
from registry.wire.messages import Accept, Response, accept_small

# Bodies of clients that have not signed in: little, and soon (DESIGN, rule 15).
STRANGERS_BYTES = 16 * 1024
STRANGERS_SECONDS = 5.0
_PRIVATE = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def answer(status: int, document: object, more: Iterable[tuple[str, str]] = ()) -> Response:
    """`document` as JSON that nobody keeps."""
    return Response(status, Headers((*_PRIVATE, *more)), json.dumps(document).encode() + b"\n")


def accept_object(
    then: Callable[[Mapping[str, object]], Response],
    limit: int = STRANGERS_BYTES,
    seconds: float = STRANGERS_SECONDS,
) -> Accept:
    """Ask for a small JSON object (no body is the empty one), and answer with `then(object)`."""

    def read(body: bytes) -> Response:
        try:
            return then(_object(body))
        except RegistryError as error:
            return answer_to(error)

    return accept_small(read, limit, seconds)


def _object(body: bytes) -> Mapping[str, object]:
    document = decode_json(body, "the body") if body.strip() else {}
    if not isinstance(document, dict):
        raise InvalidError("the body is not a JSON object")
    return document


def check_known(document: Mapping[str, object], *names: str) -> None:
    """InvalidError for a field that means nothing here: mistyped, it would be overheard."""
    for name in document:
        if name not in names:
            raise InvalidError(f"there is no field {name[:40]!r} here, only {', '.join(names)}")


def text_field(document: Mapping[str, object], name: str, without: str = "") -> str:
    """A field that is text; `without` where it is missing. InvalidError."""
    value = document.get(name, without)
    if not isinstance(value, str):
        raise InvalidError(f"{name} is not text")
    return value


def flag_field(document: Mapping[str, object], name: str) -> bool | None:
    """A field that is true or false; None where it is missing. InvalidError."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidError(f"{name} is neither true nor false")
    return value


def number_field(document: Mapping[str, object], name: str) -> int | None:
    """A field that is a whole number; None where it is missing or null. InvalidError."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidError(f"{name} is not a whole number")
    return value


def texts_field(document: Mapping[str, object], name: str) -> list[str] | None:
    """A field that is a list of texts; None where it is missing. InvalidError."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidError(f"{name} is not a list of texts")
    return value


def in_a_sentence(given: Response | Accept) -> Response | Accept:
    """The same answer, with a refusal as the account API has it: `{"error": sentence}`."""
    if isinstance(given, Accept):
        then = given.then
        return replace(given, then=lambda: _in_a_sentence(then()), told=_in_a_sentence)
    return _in_a_sentence(given)


def _in_a_sentence(given: Response) -> Response:
    if given.status < 400 or not isinstance(given.body, bytes) or not given.body.startswith(b'{"errors"'):
        return given
    document = json.loads(given.body)["errors"][0]
    return replace(
        given,
        headers=given.headers.with_("Cache-Control", "no-store"),
        body=json.dumps({"error": document["message"]}).encode() + b"\n",
        length=None,
    )
