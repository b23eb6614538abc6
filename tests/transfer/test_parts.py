"""How long readings and ordered writes are: each costs a round trip in which nothing moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from faults import Chunks, Counted, NoRanges, ShortAnswers, Wrapped, filled
from sample_models import KiB, Model, get

from registry.contracts import ChunkRules, Intake, Reading
from registry.errors import TransientError
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span, Spans
from registry.targets.memory import Memory, MemoryIntake
from registry.transfer.copy import copy
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule
from registry.transfer.sizes import SpanSizes

NAME = Name.parse("models.example/acme/parts:1")
MiB = 1024 * KiB


@dataclass
class Upwards(Wrapped):
    """A place that takes a blob in order, so many bytes a second of a clock that only this moves."""

    chunk_rules: ChunkRules
    rate: float
    now: float = 0.0
    written: list[int] = field(default_factory=list)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
        intake = self.inner.receive(name, blob, near)
        if not isinstance(intake, MemoryIntake):
            return None
        intake.chunk_rules = self.chunk_rules
        write = intake.write

        def slowly(span: Span, chunks: Iterable[bytes]) -> None:
            write(span, chunks)
            self.now += span.length / self.rate
            self.written.append(span.length)

        intake.write = slowly  # type: ignore[method-assign]
        return intake


def parts(size: int, rate: float, *, first: int, least: int, most: int) -> list[int]:
    """The lengths of the writes that one blob of `size` is brought with."""
    model = Model.random(1, size)
    place = Upwards(Memory(), ChunkRules(True, first, least, most), rate)
    options = Options(patience=lambda: Patience(clock=lambda: place.now), jobs=1)

    copy(filled(model, NAME), place, NAME, options=options)

    assert get(place.inner, NAME) == model
    layer = model.manifest.layers[0].size
    return place.written[: -1 if sum(place.written) > layer else None]


def test_a_fast_link_is_given_the_longest_parts_at_once_and_all_alike() -> None:
    assert parts(30_000, 1e6, first=100, least=0, most=10_000) == [100, 9967, 9967, 9966]


def test_a_slow_link_is_given_parts_of_some_seconds() -> None:
    assert parts(1000, 20.0, first=100, least=0, most=10_000) == [100, 300, 300, 300]


def test_parts_never_shrink_below_the_first() -> None:
    assert parts(500, 0.5, first=100, least=0, most=10_000) == [100] * 5


@pytest.mark.parametrize("rate", [0.5, 1e6])
def test_no_part_but_the_last_is_less_than_the_registry_wants(rate: float) -> None:
    *others, _last = parts(23_000, rate, first=8000, least=8000, most=10_000)

    assert others == [8000, 8000]


ANYWHERE = ChunkRules(ordered=False, first=16, least=0, most=16)


def readings(size: int, rate: float, workers: int) -> list[int]:
    """The lengths of the readings that fetch one blob of `size`; so many workers, each as fast as `rate`."""
    sizes, lengths, left = SpanSizes(ANYWHERE.first), [], size
    while left:
        length = min(sizes.next(ANYWHERE, left, workers), left)
        left -= length
        lengths.append(length)
        sizes.moved(ANYWHERE, length, length / rate, left)
    return lengths


def test_an_upload_that_wants_its_bytes_otherwise_after_a_refusal_gets_them_so() -> None:
    model = Model.random(1, 1000)
    place = Upwards(Memory(), ChunkRules(True, 100, 0, 300), 1e6)
    written: list[Span] = []

    class Choosy(Upwards):
        """Refuses the second part, and from then on wants the whole at once."""

        def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
            intake = place.receive(name, blob, near)
            if not isinstance(intake, MemoryIntake) or blob.size != 1000:
                return intake
            write = intake.write

            def choosing(span: Span, chunks: Iterable[bytes]) -> None:
                written.append(span)
                if span.offset:
                    intake.chunk_rules = ChunkRules(True, 1000, 1000, 1000)
                    intake._partial.received = Spans()
                    raise TransientError("all at once, please", answered=True)
                write(span, chunks)

            intake.write = choosing  # type: ignore[method-assign]
            return intake

    rule = Rule(first_pause=0.001)
    choosy = Choosy(place.inner, place.chunk_rules, 1e6)
    copy(filled(model, NAME), choosy, NAME, options=Options(patience=lambda: Patience(rule), jobs=1))

    assert get(place.inner, NAME) == model
    assert written == [Span(0, 100), Span(100, 300), Span(0, 1000)]


def test_answers_shorter_than_what_the_registry_takes_at_once_are_joined() -> None:
    model = Model.random(1, 1000)
    place = Upwards(Memory(), ChunkRules(True, 1000, 1000, 1000), 1e6)

    source = ShortAnswers(filled(model, NAME), most=90)
    copy(source, place, NAME, options=Options(patience=lambda: Patience(clock=lambda: place.now), jobs=1))

    assert get(place.inner, NAME) == model
    assert sorted(place.written) == sorted(blob.size for blob in model.manifest.blobs())


def test_readings_from_a_slow_source_are_short() -> None:
    assert readings(160, 8.0, workers=1) == [16] * 10


def test_readings_from_a_fast_source_are_long_and_end_short() -> None:
    first, second, *others = readings(2048, 1e6, workers=2)

    assert (first, second) == (16, 128)
    assert max(others) == 128
    assert others == sorted(others, reverse=True)
    assert others[-4:] == [16] * 4


def test_readings_are_not_all_alike_so_that_workers_do_not_wait_all_at_once() -> None:
    lengths = readings(100_000, 60.0, workers=1)[1:-30]

    assert {48, 64, 80, 96} <= set(lengths) <= {48, 64, 80, 96, 112}


@dataclass
class Cutting(Counted):
    """A registry behind a proxy that ends every answer after `most` bytes."""

    most: int = 1000

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        reading = super().open(name, blob, span)
        return reading if span.length <= self.most else Reading(reading.span, Chunks(self._cut(reading)))

    def _cut(self, reading: Reading) -> Iterator[bytes]:
        yield next(iter(reading.stream))[: self.most]
        raise TransientError("cut off", answered=True)


def cut(most: int, *, whole: bool = False) -> tuple[list[Span], list[int]]:
    """The readings and the writes of a blob of 1 MiB for a registry that takes it whole; see `Cutting`."""
    model = Model.random(1, MiB)
    place = Upwards(Memory(), ChunkRules(True, MiB, MiB, MiB), 1e9)
    source = Cutting(filled(model, NAME), most=most)
    asked = NoRanges(source) if whole else source
    rule = Rule(give_up_after=0.0)

    with contextlib.suppress(TransientError):
        copy(asked, place, NAME, options=Options(patience=lambda: Patience(rule), jobs=1))

    return [span for blob, span in source.opened if blob.size == MiB], [*filter(MiB.__eq__, place.written)]


def test_a_source_that_breaks_costs_no_byte_of_what_the_registry_takes_at_once() -> None:
    third = 400 * KiB
    assert cut(third) == ([Span(0, MiB), Span(third, MiB - third), Span(2 * third, MiB - 2 * third)], [MiB])


def test_a_source_that_brings_next_to_nothing_and_one_without_ranges_are_asked_again_patiently_only() -> None:
    assert cut(1000) == ([Span(0, MiB)], [])
    assert cut(400 * KiB, whole=True) == ([Span(0, MiB)] * 2, [])
