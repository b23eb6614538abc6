"""The fields of a query or of a form (URL-encoded), as OAuth has them: each of them once, but for scopes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from registry.errors import InvalidError
from registry.server.tokens import MOST_SCOPES, Scope

Pairs = Sequence[tuple[str, str]]


def parse_form(body: bytes) -> Pairs:
    """The fields of a form. InvalidError."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=64, errors="strict")
    except ValueError:
        raise InvalidError("the form cannot be read") from None


def only(pairs: Pairs, name: str) -> str:
    """The one value of a parameter, or ""; several would let two readers read it differently."""
    values = [value for key, value in pairs if key == name]
    if len(values) > 1:
        raise InvalidError(f"{name} is there {len(values)} times")
    return values[0] if values else ""


def scopes_in(pairs: Pairs) -> tuple[Scope, ...]:
    """What a token is asked for: several parameters, or several in one. InvalidError, also for too many."""
    scopes = [scope for key, value in pairs if key == "scope" for scope in value.split()]
    if len(scopes) > MOST_SCOPES:
        raise InvalidError(f"a token is good for at most {MOST_SCOPES} scopes, not {len(scopes)}")
    return tuple(map(Scope.parse, scopes))
