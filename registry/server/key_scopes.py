"""What an API key is good for: `acme/*:pull,push`, a pattern of repositories and what may be done in them.

It only ever narrows what the account may. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry.errors import InvalidError

ACTIONS = ("pull", "push", "delete")
MOST_SCOPES = 16  # of one key
_LENGTH = 255
_MOST_STARS = 4
_PATTERN = re.compile(r"[a-z0-9_*][a-z0-9_.*-]*(?:/[a-z0-9_*][a-z0-9_.*-]*)*")


@dataclass(frozen=True, slots=True)
class KeyScope:
    """`actions` in every repository that `pattern` means, in which `*` stands for any characters, `/` too.

    Who may push or delete may pull too: every client reads before it writes.
    """

    pattern: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> KeyScope:
        """`acme/*:pull,push`; InvalidError. `*` for the actions means all of them."""
        pattern, _, said = text.rpartition(":")
        pattern, wanted = pattern.lower(), set(said.split(","))
        if not _PATTERN.fullmatch(pattern) or len(pattern) > _LENGTH or pattern.count("*") > _MOST_STARS:
            raise InvalidError(
                f"{text[:80]!r} is not a scope",
                hint="NAMESPACE/MODEL:pull,push,delete; * stands for any characters, as in 'acme/*:pull'",
            )
        if wanted == {"*"}:
            return cls(pattern, ACTIONS)
        if not wanted <= set(ACTIONS):
            raise InvalidError(f"{said[:40]!r} are not actions of a scope: pull, push, delete")
        return cls(pattern, tuple(each for each in ACTIONS if each in wanted | {"pull"}))

    def covers(self, repository: str, action: str) -> bool:
        """Whether it is for `action` in `repository`; names compare without case."""
        return action in self.actions and fnmatchcase(repository.lower(), self.pattern)

    def __str__(self) -> str:
        return f"{self.pattern}:{','.join(self.actions)}"


def parse_scopes(texts: Iterable[str]) -> tuple[KeyScope, ...]:
    """The scopes of one key, each once, in their order. InvalidError for a bad one, none, or too many."""
    scopes = tuple(dict.fromkeys(map(KeyScope.parse, texts)))
    if not 1 <= len(scopes) <= MOST_SCOPES:
        raise InvalidError(f"an API key has between 1 and {MOST_SCOPES} scopes, not {len(scopes)}")
    return scopes
