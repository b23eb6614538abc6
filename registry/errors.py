"""Every error Ferry raises, split by what the caller should do about it.

RegistryError                                                        exit
├── InvalidError    input or stored data breaks a rule; usage           2
├── NotFoundError   the name or blob is not there                       3
├── DeniedError     key, token or permission refused; certificate       4
├── CorruptError    bytes do not match their digest                     5
├── TransientError  asking again may help: the only one that is retried 6
├── ProtocolError   the peer broke the protocol                         7
└── StorageError    this disk, store or database: full, broken          8
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

INTERRUPTED = 130
TERMINATED = 143

# Several results end as one exit code: the worst thing that happened, in this order.
_WORST_FIRST = (1, 8, 5, 7, 4, 3, 2)


class RegistryError(Exception):
    """What failed, in one sentence, and what a person can do next.

    `message` says what was being done and the first cause; `hint` is the next step;
    `host` and `name` say where, when the place matters.
    """

    exit: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", host: str = "", name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.host = host
        self.name = name


class InvalidError(RegistryError):
    """Input or stored data breaks a rule: a name, a manifest, a setting, an option."""

    exit = 2


class NotFoundError(RegistryError):
    """The name, blob or upload is not there (or may not be seen)."""

    exit = 3


class DeniedError(RegistryError):
    """A key, token, permission or certificate was refused; asking again does not help."""

    exit = 4


class CorruptError(RegistryError):
    """Bytes do not match their digest."""

    exit = 5


class TransientError(RegistryError):
    """Asking again may help.

    `retry_after` is the peer's wish in seconds, or None; `answered` says whether the peer said
    anything at all.
    """

    exit = 6

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        host: str = "",
        name: str = "",
        retry_after: float | None = None,
        answered: bool = False,
    ) -> None:
        super().__init__(message, hint=hint, host=host, name=name)
        self.retry_after = retry_after
        self.answered = answered


class ProtocolError(RegistryError):
    """The peer broke the protocol, or wants something Ferry does not speak.

    `garbled`: one answer did not fit its question; a line that breaks things may have done that, so whoever
    moves many bytes asks again a few times before it gives up.
    """

    exit = 7

    def __init__(
        self, message: str, *, hint: str = "", host: str = "", name: str = "", garbled: bool = False
    ) -> None:
        super().__init__(message, hint=hint, host=host, name=name)
        self.garbled = garbled


class StorageError(RegistryError):
    """This disk, store or database is full, read-only, locked or broken."""

    exit = 8


def exit_code(failures: Sequence[int]) -> int:
    """The exit code of a command with several results: 0 without failures, 6 only if all are 6."""
    if not failures:
        return 0
    if all(code == TransientError.exit for code in failures):
        return TransientError.exit
    return next((code for code in _WORST_FIRST if code in failures), 1)
