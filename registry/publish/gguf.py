"""What is in a weights file: GGUF, read within bounds.

GGUF specification (ggml docs/gguf.md), versions 2 and 3, little endian. Only the head is read: metadata and
tensor descriptions; long tables are skipped over, and the weights are never touched.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO

from registry.errors import InvalidError

MAGIC = b"GGUF"
ALIGNMENT = 32
_VERSIONS = (2, 3)
_MOST_PAIRS = 65_536
_MOST_TENSORS = 262_144
_MOST_DIMENSIONS = 8
_KEY_BYTES = 65_535
_STRING_BYTES = 16 * 1024 * 1024  # a chat template may be long, a licence too
_MOST_ELEMENTS = 16 * 1024 * 1024  # of one table: the largest vocabularies have less than a million
_DEEPEST_TABLE = 4
_KEPT_ELEMENTS = 64  # a longer table is known by its length only
_HEAD_BYTES = 512 * 1024 * 1024
_MAX_COUNT = 2**53

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# Type number: (elements a block, bytes a block). ggml.h, `ggml_type`.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip

# `general.file_type` as Ollama names it.
_FILE_TYPES = {
    1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S",
    27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip

Value = bool | int | float | str | list["Value"] | None
"""A metadata value; a table of more than a few elements is None."""


class GgufKind(Enum):
    """What a GGUF file is to a model."""

    MODEL = "model"
    ADAPTER = "adapter"
    PROJECTOR = "projector"
    SHARD = "shard"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's description: its `offset` in bytes from the start of the data, and its type number."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Gguf:
    """The head of a GGUF file. `data` is where the tensors begin, in bytes."""

    version: int
    metadata: Mapping[str, Value] = field(repr=False)
    tensors: tuple[Tensor, ...] = field(repr=False)
    data: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, "" if it is not said."""
        return self._text("general.architecture")

    @property
    def elements(self) -> int:
        """The number of elements of all tensors: the model's parameters."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def file_type(self) -> int:
        """`general.file_type`, 0 if it is not said."""
        return self._number("general.file_type")

    @property
    def context_length(self) -> int:
        """How many tokens it was made for, 0 if it is not said."""
        return self._number(f"{self.architecture}.context_length")

    @property
    def embedding_length(self) -> int:
        """How wide its layers are, 0 if it is not said."""
        return self._number(f"{self.architecture}.embedding_length")

    @property
    def quantization(self) -> str:
        """What `file_type` is called, as Ollama calls it."""
        return _FILE_TYPES.get(self.file_type, "unknown")

    @property
    def chat_template(self) -> str:
        """`tokenizer.chat_template`, "" if there is none."""
        return self._text("tokenizer.chat_template")

    @property
    def kind(self) -> GgufKind:
        """What it is to a model (CREATE, "GGUF kinds")."""
        general = self._text("general.type")
        architecture = self.architecture
        blocks = f"{architecture}.block_count" in self.metadata
        if general == "adapter":
            return GgufKind.ADAPTER
        if general in ("projector", "mmproj"):
            return GgufKind.PROJECTOR
        if not blocks and self._number(f"{architecture}.vision.block_count") > 0:
            return GgufKind.PROJECTOR
        encodes = any(self.metadata.get(f"clip.has_{sense}_encoder") for sense in ("vision", "audio"))
        if architecture == "clip" and not blocks and encodes:
            return GgufKind.PROJECTOR
        return GgufKind.SHARD if self._number("split.count") > 1 else GgufKind.MODEL

    def _text(self, key: str) -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def _number(self, key: str) -> int:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


def read(file: BinaryIO, size: int) -> Gguf:
    """The head of a GGUF file of `size` bytes. InvalidError says what is wrong with it."""
    reader = _Reader(file, size)
    if reader.take(4, "its first bytes") != MAGIC:
        raise InvalidError("it is not a GGUF file: its first bytes are not GGUF")
    version = reader.number("I", "version")
    if version not in _VERSIONS:
        if version in (v << 24 for v in (1, 2, 3)):
            raise InvalidError("it is a big-endian GGUF file, which Ollama does not run")
        raise InvalidError(f"it is GGUF version {version}; only versions 2 and 3 can be used")
    tensor_count = reader.count(_MOST_TENSORS, "number of tensors")
    pair_count = reader.count(_MOST_PAIRS, "number of metadata pairs")
    metadata: dict[str, Value] = {}
    for _ in range(pair_count):
        key = reader.string(_KEY_BYTES, "a metadata key")
        if key in metadata:
            raise InvalidError(f"its metadata has {key[:80]!r} twice")
        metadata[key] = reader.value(reader.number("I", key), key)
    tensors = tuple(reader.tensor() for _ in range(tensor_count))
    return _checked(Gguf(version, metadata, tensors, _aligned(reader.at, _alignment(metadata))), size)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or not 8 <= alignment <= 65_536 or alignment % 8:
        raise InvalidError("its general.alignment is not a multiple of 8 up to 65536")
    return alignment


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _checked(head: Gguf, size: int) -> Gguf:
    """Every tensor must lie inside the file: a download that was cut off is found here."""
    for tensor in head.tensors:
        block = _BLOCKS.get(tensor.type)
        length = -(-tensor.elements // block[0]) * block[1] if block else 0
        end = head.data + tensor.offset + length
        if end > size:
            name = tensor.name[:80]
            raise InvalidError(f"it is cut off: tensor {name!r} ends at byte {end}, the file at {size}")
    return head


class _Reader:
    """A file's head, read forward; every count and length has a ceiling."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.at = 0

    def take(self, length: int, what: str) -> bytes:
        """Exactly `length` bytes."""
        self._reach(length, what)
        data = b""
        while len(data) < length:
            piece = self._file.read(length - len(data))
            if not piece:
                raise InvalidError(f"it is cut off in {what[:80]}")
            data += piece
        return data

    def skip(self, length: int, what: str) -> None:
        """Pass over `length` bytes."""
        self._reach(length, what)
        self._file.seek(length, 1)

    def _reach(self, length: int, what: str) -> None:
        self.at += length
        if self.at > self._size:
            raise InvalidError(f"it is cut off in {what[:80]}")
        if self.at > _HEAD_BYTES:
            raise InvalidError(f"its head is longer than {_HEAD_BYTES} bytes")

    def number(self, code: str, what: str) -> int:
        """One little-endian number."""
        value: int = struct.unpack(f"<{code}", self.take(struct.calcsize(code), what))[0]
        return value

    def count(self, most: int, what: str) -> int:
        """A count, with its ceiling."""
        value = self.number("Q", what)
        if value > most:
            raise InvalidError(f"its {what[:80]} is {value}, more than the {most} allowed")
        return value

    def string(self, most: int, what: str) -> str:
        """A length and that many bytes of UTF-8; what is not UTF-8 is replaced."""
        return self.take(self.count(most, f"length of {what}"), what).decode("utf-8", "replace")

    def value(self, kind: int, key: str, depth: int = 0) -> Value:
        """One metadata value."""
        if kind == _STRING:
            return self.string(_STRING_BYTES, key)
        if kind == _ARRAY:
            return self._table(key, depth + 1)
        code = self._code(kind, key)
        number: Value = struct.unpack(f"<{code}", self.take(struct.calcsize(code), key))[0]
        return number

    def _table(self, key: str, depth: int) -> Value:
        if depth > _DEEPEST_TABLE:
            raise InvalidError(f"its {key[:80]} is a table nested deeper than {_DEEPEST_TABLE}")
        kind = self.number("I", key)
        length = self.count(_MOST_ELEMENTS, f"length of {key}")
        if length <= _KEPT_ELEMENTS:
            return [self.value(kind, key, depth) for _ in range(length)]
        if kind == _STRING:
            self._skip_strings(length, key)
        elif kind == _ARRAY:
            for _ in range(length):
                self._table(key, depth + 1)
        else:
            self.skip(length * struct.calcsize(self._code(kind, key)), key)
        return None

    def _skip_strings(self, length: int, key: str) -> None:
        """Pass over the words of a vocabulary: hundreds of thousands, and nothing is made of them."""
        read, seek, size_of = self._file.read, self._file.seek, struct.Struct("<Q").unpack
        for _ in range(length):
            raw = read(8)
            if len(raw) < 8:
                raise InvalidError(f"it is cut off in {key[:80]}")
            (bytes_of_it,) = size_of(raw)
            if bytes_of_it > _STRING_BYTES:
                raise InvalidError(
                    f"its length in {key[:80]} is {bytes_of_it}, more than the {_STRING_BYTES} allowed"
                )
            self._reach(8 + bytes_of_it, key)
            seek(bytes_of_it, 1)

    def tensor(self) -> Tensor:
        """One tensor's description."""
        name = self.string(_KEY_BYTES, "a tensor's name")
        dimensions = self.number("I", name)
        if dimensions > _MOST_DIMENSIONS:
            raise InvalidError(f"its tensor {name[:80]!r} has {dimensions} dimensions")
        shape = tuple(self.count(_MAX_COUNT, f"shape of {name}") for _ in range(dimensions))
        if math.prod(shape) > _MAX_COUNT:
            raise InvalidError(f"its tensor {name[:80]!r} has more elements than any model")
        return Tensor(name, shape, self.number("I", name), self.count(_MAX_COUNT, f"offset of {name}"))

    def _code(self, kind: int, key: str) -> str:
        code = _SCALARS.get(kind)
        if code is None:
            raise InvalidError(f"its {key[:80]} has a type that GGUF does not know: {kind}")
        return code
