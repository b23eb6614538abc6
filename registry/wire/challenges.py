"""`WWW-Authenticate`: what a server wants to see before it answers (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from registry.errors import InvalidError

_LENGTH = 8 * 1024
_CHALLENGES = 8
_PARAMETERS = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SEPARATOR = re.compile(r"[\s,]*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*(?=,|$)')
# A scheme, perhaps with a token68 behind it, which nobody here has a use for.
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)|(?=[ \t]|,|$))")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme and its parameters, names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A parameter, or ""."""
        return self.parameters.get(name, "")


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Every challenge in the fields of one answer, in order; InvalidError for what is not a list of them."""
    text = ", ".join(values)
    if len(text) > _LENGTH:
        raise InvalidError(f"a challenge of more than {_LENGTH} characters")
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while (at := _SEPARATOR.match(text, at).end()) < len(text):  # type: ignore[union-attr]  # matches ""
        parameter = _PARAMETER.match(text, at)
        scheme = None if parameter else _SCHEME.match(text, at)
        if parameter and found:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            if name.lower() in found[-1][1]:
                raise InvalidError(f"a challenge with two of {name[:40]}")
            found[-1][1][name.lower()] = value
            at = parameter.end()
        elif scheme:
            found.append((scheme[1].lower(), {}))
            at = scheme.end()
        else:
            raise InvalidError("a challenge that cannot be read")
        if len(found) > _CHALLENGES or len(found[-1][1]) > _PARAMETERS:
            raise InvalidError("a challenge with too many parts")
    return [Challenge(scheme, parameters) for scheme, parameters in found]
