"""The head of weights that are elsewhere: the same facts, for a few requests, whatever is sent."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import models
import pytest
from real_registries import Client
from registry_double import Quirks, Registry
from sample_models import Model, put

from registry.contracts import Reading
from registry.errors import InvalidError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.names import Name
from registry.model.spans import Span
from registry.publish import gguf, head
from registry.publish.head import PIECE, read_head

NAME = Name.parse("models.example/acme/tiny:1")


@dataclass
class Bytes:
    """A source of one blob that counts what is asked for; `whole`: one without ranges."""

    data: bytes
    whole: bool = False
    most: int = 10**9
    asked: list[Span] = field(default_factory=list)
    sent: int = 0

    @property
    def blob(self) -> Descriptor:
        return Descriptor("application/vnd.ollama.image.model", Digest.of(self.data), len(self.data))

    def resolve(self, name: Name) -> Manifest:
        raise AssertionError(name)

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        self.asked.append(span)
        span = Span(0, len(self.data)) if self.whole else Span(span.offset, min(span.length, self.most))
        return Reading(span, self.Stream(self, span))

    @dataclass
    class Stream:
        source: Bytes
        span: Span

        def __iter__(self) -> Iterator[bytes]:
            for piece in self.span.cut(65_536):
                self.source.sent += piece.length
                yield self.source.data[piece.offset : piece.end]

        def close(self) -> None: ...


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "tiny.gguf"
    models.write(path, 3 * 1024 * 1024)
    return path.read_bytes()


@pytest.mark.parametrize("most", [10**9, 1000])
def test_it_says_what_the_file_says(most: int, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "PIECE", 20_000)
    source = Bytes(weights, most=most)

    found = read_head(source, NAME, source.blob)

    assert found == gguf.read(io.BytesIO(weights), len(weights))
    assert found.context_length == 256


def test_a_few_hundred_kilobytes_are_enough(weights: bytes) -> None:
    source = Bytes(weights)

    read_head(source, NAME, source.blob)

    assert len(source.asked) == 1 and source.sent <= PIECE


def test_a_registry_without_ranges_is_left_as_soon_as_the_head_is_there(weights: bytes) -> None:
    source = Bytes(weights, whole=True)

    read_head(source, NAME, source.blob)

    assert source.sent <= PIECE


def text(word: bytes) -> bytes:
    return struct.pack("<Q", len(word)) + word


def words(count: int) -> bytes:
    """A head with a table of `count` words of 10,000 bytes each."""
    pair = text(b"words") + struct.pack("<IIQ", 9, 8, count) + text(b"x" * 10_000) * count
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair


def test_a_registry_without_ranges_sends_a_long_head_once() -> None:
    """It was asked anew for each piece, and sent all that stands before it: past 4 MB there was no end."""
    source = Bytes(words(600) + bytes(1_000_000), whole=True)

    read_head(source, NAME, source.blob)

    assert len(source.asked) == 1
    assert source.sent <= 600 * 10_008 + PIECE + 65_536


def test_a_table_of_numbers_is_passed_over_unread() -> None:
    numbers = 4 * 1024 * 1024
    pair = text(b"scores") + struct.pack("<IIQ", 9, 6, numbers // 4) + bytes(numbers)
    source = Bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair)

    read_head(source, NAME, source.blob)

    assert source.sent <= 2 * PIECE


@pytest.mark.parametrize("whole", [True, False])
def test_a_long_head_costs_no_more_than_its_ceiling(whole: bool) -> None:
    source = Bytes(words(400), whole=whole)

    with pytest.raises(InvalidError, match=r"more than 1\.0 MB would have to be read"):
        read_head(source, NAME, source.blob, most=1024 * 1024)

    assert source.sent <= 1024 * 1024 + 65_536


def test_what_the_source_raises_passes_through() -> None:
    class Broken(Bytes):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            raise TransientError("connection reset")

    source = Broken(b"GGUF")

    with pytest.raises(TransientError):
        read_head(source, NAME, source.blob)


def test_what_is_no_gguf_is_said() -> None:
    source = Bytes(b"<html>")

    with pytest.raises(InvalidError, match="not a GGUF file"):
        read_head(source, NAME, source.blob)


@pytest.mark.parametrize("storage", [False, True])
def test_it_is_read_from_a_registry_also_where_blobs_are_in_storage_elsewhere(
    storage: bool, weights: bytes
) -> None:
    remote = Client(Registry(Quirks(storage=storage))).remote
    model = Model.of(weights)
    put(remote, NAME, model)

    found = read_head(remote, NAME, model.manifest.layers[0])

    assert found == gguf.read(io.BytesIO(weights), len(weights))
