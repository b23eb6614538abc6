"""Progress is what the destination keeps: a copy that achieves nothing ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from faults import NAME, Chunks, Counted, NoRanges, Ordered, ShortAnswers, Time, Wrapped, filled
from sample_models import GRAIN, Model

from registry.contracts import Reading
from registry.errors import Side, StorageError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.transfer.copy import copy
from registry.transfer.kept import Kept
from registry.transfer.options import Options
from registry.transfer.retry import Patience, Rule

GIVE_UP = 100.0
PAUSE = 30.0  # the longest
SIZE = 30 * GRAIN
MODEL = Model.random(41, SIZE)


def patient(time: Time, jobs: int = 1) -> Options:
    rule = Rule(give_up_after=GIVE_UP, longest_pause=PAUSE)
    return Options(lambda: Patience(rule, clock=time, sleep=time.sleep), jobs=jobs)


def test_a_destination_that_is_full_ends_it_at_once() -> None:
    time, taken = Time(), [0]

    def full(_span: Span, chunks: Iterable[bytes]) -> None:
        taken[0] += sum(len(chunk) for chunk in chunks)
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="full"):
        copy(filled(MODEL), Ordered(Memory(), full), NAME, options=patient(time))

    assert time.now == 1000
    assert taken[0] <= 2 * GRAIN


def test_a_destination_that_takes_each_body_and_is_busy_is_not_fed_for_ever() -> None:
    """9,587 PATCHes and 19 GiB went to such a registry: bytes that were read reset patience."""
    time, taken = Time(), [0]

    def busy(_span: Span, chunks: Iterable[bytes]) -> None:
        taken[0] += sum(len(chunk) for chunk in chunks)
        raise TransientError("busy", answered=True)

    with pytest.raises(TransientError, match="busy") as caught:
        copy(filled(MODEL), Ordered(Memory(), busy), NAME, options=patient(time))

    assert caught.value.side is Side.DESTINATION
    assert GIVE_UP - PAUSE <= time.now - 1000 <= GIVE_UP + PAUSE
    assert taken[0] <= 20 * GRAIN


def test_bytes_that_were_sent_and_not_kept_are_no_progress_however_many_more_each_time() -> None:
    time, writes = Time(), [0]

    def later_and_later(_span: Span, chunks: Iterable[bytes]) -> None:
        writes[0] += 1
        for _, _chunk in zip(range(writes[0]), chunks, strict=False):
            pass
        raise TransientError("reset", answered=True)

    with pytest.raises(TransientError, match="reset"):
        copy(_InDrops(filled(MODEL)), Ordered(Memory(), later_and_later, SIZE), NAME, options=patient(time))

    assert writes[0] < 20


def test_a_write_of_which_nothing_is_kept_is_a_failure() -> None:
    """175 PATCHes of the same bytes went out in 8 s."""
    time, writes = Time(), [0]

    def forgetful(_span: Span, chunks: Iterable[bytes]) -> None:
        writes[0] += 1
        b"".join(chunks)

    with pytest.raises(TransientError, match=r"took bytes 0-\d+ and kept none of them") as caught:
        copy(filled(MODEL), Ordered(Memory(), forgetful), NAME, options=patient(time))

    assert caught.value.side is Side.DESTINATION
    assert writes[0] < 20


def test_a_destination_where_nobody_is_is_given_up_within_seconds() -> None:
    """`ferry push NAME 127.0.0.1:5999/acme/tiny` with nobody there took 9 min 57 s."""
    time = Time()
    asked: list[str] = []

    class Nobody(Wrapped):
        def current(self, name: Name) -> Digest | None:
            asked.append(str(name))
            raise TransientError("127.0.0.1:5999 refused the connection", host="127.0.0.1:5999")

    with pytest.raises(TransientError, match="5999 refused") as caught:
        copy(filled(MODEL), Nobody(Memory()), NAME, options=patient(time))

    assert caught.value.side is Side.DESTINATION
    assert time.now - 1000 <= 5
    assert len(asked) == 3


def test_a_source_without_ranges_that_breaks_brings_nothing_new() -> None:
    """Each reading of it reads the same bytes again: that is no progress, however many they are."""
    source = Counted(NoRanges(_Broken(filled(MODEL))))

    with pytest.raises(TransientError, match="reset") as caught:
        copy(source, Memory(grain=GRAIN), NAME, options=patient(Time()))

    assert caught.value.side is Side.SOURCE
    assert len(source.opened) < 20


def test_answers_of_no_bytes_are_not_asked_for_without_end() -> None:
    source = Counted(ShortAnswers(filled(MODEL), most=0))

    with pytest.raises(TransientError, match="nothing came of it") as caught:
        copy(source, Memory(grain=GRAIN), NAME, options=patient(Time()))

    assert caught.value.side is Side.SOURCE
    assert len(source.opened) < 20


def test_a_destination_that_loses_all_it_had_now_and_then_is_given_it_again() -> None:
    """Twice; one that does so each time is given up (its losses would be progress without end)."""
    grown: list[int] = []
    kept = Kept(lambda: grown.append(1), lambda _position: None)
    kept.begin(0)
    for total in (5, 10, 0, 5, 0, 5, 0, 5, 0, 5, 10, 11):
        kept.settle(total)

    assert len(grown) == 2 + 1 + 1 + 2  # beyond the most there was: twice it begins anew, at last from 5 on


@dataclass
class _InDrops(Wrapped):
    """Streams of small chunks."""

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        reading = self.inner.open(name, blob, span)
        return Reading(reading.span, Chunks(self._drops(reading)))

    def _drops(self, reading: Reading) -> Iterator[bytes]:
        for chunk in reading.stream:
            for at in range(0, len(chunk), 10_000):
                yield chunk[at : at + 10_000]


@dataclass
class _Broken(Wrapped):
    """Readings of the whole that end half way."""

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        reading = self.inner.open(name, blob, span)
        return Reading(reading.span, Chunks(self._half(reading))) if blob.size == SIZE else reading

    def _half(self, reading: Reading) -> Iterator[bytes]:
        left = SIZE // 2
        for chunk in reading.stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise TransientError("reset", answered=True)
