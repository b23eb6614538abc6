"""A digest is a type, parsed once, and the only way to a blob's path."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from registry.errors import InvalidError

# OCI image specification, descriptor.md "Digests": the registered algorithms, lower-case hex only.
_HEX_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_LONGEST = len("sha512:") + 128


class Hasher(Protocol):
    """The part of a hashlib object that is used here."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`algorithm:hex`; only `sha256` and `sha512`, only lower-case hex of the right length."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = _HEX_LENGTHS.get(self.algorithm)
        if length is None:
            raise InvalidError(f"digest algorithm {self.algorithm[:20]!r} is not sha256 or sha512")
        if len(self.hex) != length or not _HEX.fullmatch(self.hex):
            raise InvalidError(f"a {self.algorithm} digest is {length} lower-case hex digits")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that `text` spells; InvalidError for any other spelling."""
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise InvalidError("not a digest: expected sha256: or sha512: and lower-case hex digits")
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise InvalidError(f"not a digest: {text[:20]!r} has no algorithm in front")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data`."""
        hasher = new_hasher(algorithm)
        hasher.update(data)
        return cls(algorithm, hasher.hexdigest())

    def hasher(self) -> Hasher:
        """A fresh hash of this digest's algorithm."""
        return new_hasher(self.algorithm)

    def matches(self, hasher: Hasher) -> bool:
        """Whether everything fed to `hasher` has this digest."""
        return hasher.hexdigest() == self.hex

    @property
    def short(self) -> str:
        """The first twelve hex digits: what people compare by eye."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def new_hasher(algorithm: str) -> Hasher:
    """A fresh hash; InvalidError for an algorithm that no digest here may have."""
    if algorithm not in _HEX_LENGTHS:
        raise InvalidError(f"digest algorithm {algorithm[:20]!r} is not sha256 or sha512")
    return hashlib.new(algorithm)
