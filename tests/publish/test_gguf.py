"""GGUF heads: what genuine files say, and what hostile ones cannot do."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import gguf as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import InvalidError
from registry.publish import gguf
from registry.publish.writer import F32, Weights, tiny, write

TINY = tiny()


def read(data: bytes) -> gguf.Gguf:
    return gguf.read(io.BytesIO(data), len(data))


def text(word: bytes) -> bytes:
    return struct.pack("<Q", len(word)) + word


def head(version: int = 3, tensors: int = 0, pairs: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def pair(kind: int, value: bytes, key: bytes = b"k") -> bytes:
    return head(pairs=1, rest=text(key) + struct.pack("<I", kind) + value)


def table(kind: int, length: int, rest: bytes = b"") -> bytes:
    return pair(9, struct.pack("<IQ", kind, length) + rest)


def tensor(dimensions: int, *numbers: int, kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(numbers)}Q", dimensions, *numbers)
    return head(tensors=1, rest=text(b"t") + shape + struct.pack("<IQ", kind, offset))


def nested(depth: int) -> bytes:
    return table(9, 1, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 4, 0))


def test_what_is_written_is_read_back_by_the_gguf_package_and_by_us(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(TINY)
    theirs = reference.GGUFReader(tmp_path / "tiny.gguf")
    ours = read(TINY)
    assert [(tensor.name, tensor.shape) for tensor in ours.tensors] == [
        (tensor.name, tuple(map(int, tensor.shape))) for tensor in theirs.tensors
    ]
    assert ours.metadata["llama.block_count"] == theirs.fields["llama.block_count"].contents() == 2
    assert ours.metadata["tokenizer.ggml.tokens"] is None
    assert len(theirs.fields["tokenizer.ggml.tokens"].contents()) > 300
    assert (ours.architecture, ours.file_type, ours.kind) == ("llama", 1, gguf.GgufKind.MODEL)
    assert ours.data == theirs.data_offset
    assert len(TINY) < 1_000_000


def test_the_same_seed_writes_the_same_bytes() -> None:
    assert tiny() == TINY
    assert tiny(1) != TINY


HOSTILE = {
    "nothing": (b"", "cut off"),
    "two bytes": (b"GG", "cut off"),
    "another file": (b"PK\x03\x04" + bytes(40), "not a GGUF"),
    "version 1": (head(1), "version 1"),
    "version 4": (head(4), "version 4"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "cut in its counts": (head()[:20], "cut off"),
    "more tensors than any model": (head(tensors=2**63), "number of tensors"),
    "more pairs than any model": (head(pairs=2**40), "number of metadata pairs"),
    "promised pairs": (head(pairs=60_000), "cut off"),
    "promised tensors": (head(tensors=200_000), "cut off"),
    "a key of 2^60 bytes": (head(pairs=1, rest=struct.pack("<Q", 2**60)), "length of a metadata key"),
    "a text beyond the file": (pair(8, struct.pack("<Q", 10**6)), "cut off"),
    "a text beyond everything": (pair(8, struct.pack("<Q", 2**62)), "length of k"),
    "an unknown type": (pair(13, bytes(8)), "type that GGUF does not know"),
    "a table of an unknown type": (table(99, 100, bytes(800)), "type that GGUF does not know"),
    "a table beyond the file": (table(0, 10**6), "cut off"),
    "a table beyond everything": (table(0, 2**61), "length of k"),
    "a table of texts beyond the file": (table(8, 1000, text(b"x") * 999), "cut off"),
    "a bottomless table": (nested(40), "nested deeper"),
    "a key twice": (
        head(pairs=2, rest=2 * (text(b"k") + struct.pack("<IB", 0, 1))),
        "'k' twice",
    ),
    "alignment 0": (pair(4, struct.pack("<I", 0), b"general.alignment"), "general.alignment"),
    "alignment 7": (pair(4, struct.pack("<I", 7), b"general.alignment"), "general.alignment"),
    "alignment of 4 GB": (pair(4, struct.pack("<I", 2**32 - 8), b"general.alignment"), "general.alignment"),
    "alignment in words": (pair(8, text(b"32"), b"general.alignment"), "general.alignment"),
    "a thousand dimensions": (tensor(1000), "1000 dimensions"),
    "a dimension beyond everything": (tensor(1, 2**60), "shape of t"),
    "a product beyond everything": (tensor(2, 2**40, 2**40), "more elements"),
    "an offset beyond everything": (tensor(1, 1, offset=2**60), "offset of t"),
    "an offset beyond the file": (tensor(1, 1, offset=2**30), "cut off: tensor 't'"),
    "a tensor beyond the file": (tensor(1, 10**6), "cut off: tensor 't'"),
    "one byte too few": (TINY[:-1], "cut off: tensor"),
    "cut in the tokens": (TINY[:2000], "cut off"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence_and_little_memory(case: str) -> None:
    data, words = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidError, match=words) as caught:
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert len(caught.value.message) < 300


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=9))
def test_a_damaged_head_is_read_or_refused(at: int, damage: bytes) -> None:
    data = TINY[:at] + damage + TINY[at + len(damage) :]
    try:
        assert read(data).data <= len(data)
    except InvalidError as error:
        assert len(error.message) < 500


VALUES = st.booleans() | st.integers(0, 2**32 - 1) | st.text() | st.lists(st.integers(0, 255), max_size=9)


@given(st.dictionaries(st.text(min_size=1), VALUES), st.lists(st.integers(0, 30), max_size=3))
def test_what_is_written_is_what_is_read(metadata: dict[str, object], shape: list[int]) -> None:
    metadata.pop("general.alignment", None)
    count = 1
    for number in shape:
        count *= number
    found = read(write(metadata, [Weights("t", tuple(shape), [0.5] * count, F32)]))
    assert found.metadata == metadata
    assert found.elements == count
