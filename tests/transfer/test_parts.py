"""How long the writes of an ordered intake are: each costs a round trip in which nothing moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from faults import Wrapped, filled
from goods import Model, get

from registry.contracts import Appetite, Intake
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory, MemoryIntake
from registry.transfer.copy import Options, copy
from registry.transfer.retry import Patience

NAME = Name.parse("models.example/acme/parts:1")


@dataclass
class Upwards(Wrapped):
    """A place that takes a blob in order, so many bytes a second of a clock that only this moves."""

    appetite: Appetite
    rate: float
    now: float = 0.0
    written: list[int] = field(default_factory=list)

    def receive(self, name: Name, blob: Descriptor, near: Name | None) -> Intake | None:
        intake = self.inner.receive(name, blob, near)
        if not isinstance(intake, MemoryIntake):
            return None
        intake.appetite = self.appetite
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
    place = Upwards(Memory(), Appetite(True, first, least, most), rate)
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
