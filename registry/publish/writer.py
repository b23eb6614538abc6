"""Writes small GGUF files with nothing but the standard library, so that `ferry demo` needs no more.

GGUF specification (ggml docs/gguf.md), version 3, little endian.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.publish.gguf import ALIGNMENT, MAGIC

F32, F16 = 0, 1
_CODES = {F32: "f", F16: "e"}
_PIECE = "▁"  # SentencePiece's mark for the beginning of a word
_WORDS = """
the of and to in is that it for was on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many
then them these so some her would make like him into time has look two more write go see number no way could
people my than first water been call who oil its now find long down day did get come made may part ferry
model carries every byte
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """One tensor to write: its numbers in order, as F32 or F16."""

    name: str
    shape: tuple[int, ...]
    numbers: Sequence[float] = field(repr=False)
    type: int = F16


def write(metadata: Mapping[str, object], tensors: Sequence[Weights]) -> bytes:
    """A GGUF file: texts, whole numbers (32 bits), floats, booleans and lists of them as metadata."""
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _text(key) + _typed(value)
    data = bytearray()
    for tensor in tensors:
        head += _text(tensor.name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
        head += struct.pack("<IQ", tensor.type, len(data))
        data += _padded(struct.pack(f"<{len(tensor.numbers)}{_CODES[tensor.type]}", *tensor.numbers))
    return bytes(_padded(bytes(head)) + data)


def tiny(seed: int = 20260823) -> bytes:
    """A genuine llama model of about 0.4 MB: a tokenizer table, Gaussian weights, nothing worth saying."""
    chance = random.Random(seed)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [f"{_PIECE}{word}" for word in dict.fromkeys(_WORDS.split())]
    width, inner, layers = 64, 128, 2
    metadata: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": "Ferry tiny",
        "general.file_type": F16,
        "general.license": "CC0-1.0",
        "llama.block_count": layers,
        "llama.context_length": 256,
        "llama.embedding_length": width,
        "llama.feed_forward_length": inner,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(index) for index in range(len(tokens))],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }

    def gaussian(name: str, *shape: int) -> Weights:
        return Weights(name, shape, [chance.gauss(0, 0.02) for _ in range(math.prod(shape))])

    def ones(name: str) -> Weights:
        return Weights(name, (width,), [1.0] * width, F32)

    tensors = [gaussian("token_embd.weight", width, len(tokens)), ones("output_norm.weight")]
    tensors.append(gaussian("output.weight", width, len(tokens)))
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += [ones(f"{block}.attn_norm.weight"), ones(f"{block}.ffn_norm.weight")]
        tensors += [
            gaussian(f"{block}.attn_{part}.weight", width, width) for part in ("q", "k", "v", "output")
        ]
        tensors += [gaussian(f"{block}.ffn_{part}.weight", width, inner) for part in ("gate", "up")]
        tensors.append(gaussian(f"{block}.ffn_down.weight", inner, width))
    return write(metadata, tensors)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _typed(value: object) -> bytes:
    kind, data = _plain(value)
    return struct.pack("<I", kind) + data


def _plain(value: object) -> tuple[int, bytes]:
    """A value's type number, and its bytes."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return (4, struct.pack("<I", value)) if value >= 0 else (5, struct.pack("<i", value))
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        kind = items[0][0] if items else 4
        return 9, struct.pack("<IQ", kind, len(items)) + b"".join(data for _, data in items)
    raise TypeError(f"{type(value).__name__} has no place in GGUF metadata")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
