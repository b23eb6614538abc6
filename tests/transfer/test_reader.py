"""An answer that does not fit is asked for again; only a source that insists is believed to mean it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from faults import NAME, Chunks, NoRanges, Wrapped, filled, quick
from sample_models import GRAIN, Model, get

from registry.contracts import Reading
from registry.errors import ProtocolError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.memory import Memory
from registry.targets.peer import Peer
from registry.targets.remote import Remote
from registry.transfer.copy import copy
from registry.transfer.model import BlobSource
from registry.transfer.reader import BlobReader
from registry.wire.headers import Headers
from registry.wire.messages import Origin, Request, Response

SIZE = 40 * GRAIN


class Garbling(Wrapped):
    """Garbles the answers that `when` says, counted from 0."""

    def __init__(self, model: Model, when: Callable[[int], bool], *, whole: bool = False) -> None:
        super().__init__(filled(model))
        self.asked = 0
        self.most = 0
        self._when = when
        self._whole = whole

    def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
        number, self.asked = self.asked, self.asked + 1
        if not self._when(number):
            reading = self.inner.open(name, blob, span)
            self.most += reading.span.length
            return reading
        if self._whole:
            return Reading(Span(0, blob.size), Chunks(self._counted(name, blob)))
        raise ProtocolError("asked for one thing, got another", garbled=True)

    def _counted(self, name: Name, blob: Descriptor) -> Iterator[bytes]:
        for chunk in self.inner.open(name, blob, Span(0, blob.size)).stream:
            self.most += len(chunk)
            yield chunk


def test_a_line_that_garbles_now_and_then_costs_nothing_but_time() -> None:
    model = Model.random(1, SIZE)
    source, there = Garbling(model, lambda number: number % 3 == 1), Memory(grain=GRAIN)

    copy(source, there, NAME, options=quick(jobs=3))

    assert get(there, NAME) == model


def test_a_whole_answer_where_ranges_were_given_before_is_not_read() -> None:
    model = Model.random(2, SIZE)
    source, there = Garbling(model, lambda number: number % 3 == 1, whole=True), Memory(grain=GRAIN)

    copy(source, there, NAME, options=quick(jobs=1))

    assert get(there, NAME) == model
    assert source.most <= 1.1 * SIZE


def test_a_source_that_gives_up_ranges_in_the_middle_is_read_all_the_same() -> None:
    model = Model.random(3, SIZE)
    source, there = Garbling(model, lambda number: number > 5, whole=True), Memory(grain=GRAIN)

    copy(source, there, NAME, options=quick(jobs=1))

    assert get(there, NAME) == model


@pytest.mark.parametrize(("from_the_start", "asked"), [(True, 3), (False, 4 + 11)])
def test_a_source_that_insists_on_nonsense_is_told_so(from_the_start: bool, asked: int) -> None:
    model = Model.random(4, SIZE)
    source = Garbling(model, lambda number: from_the_start or number >= 4)

    with pytest.raises(ProtocolError, match="got another"):
        copy(source, Memory(grain=GRAIN), NAME, options=quick(jobs=1))

    assert source.asked == asked


def test_a_source_without_ranges_is_believed_at_once() -> None:
    model = Model.random(5, SIZE)
    there = Memory(grain=GRAIN)

    copy(NoRanges(filled(model)), there, NAME, options=quick(jobs=3))

    assert get(there, NAME) == model


def test_an_etag_that_changes_in_the_middle_is_no_reason_to_start_over() -> None:
    """Whoever serves it: only the digest says which bytes they are."""
    data, tags = b"0123456789", itertools.count()

    def answer(request: Request) -> Response:
        first, last = (int(text) for text in request.headers.get("Range").removeprefix("bytes=").split("-"))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}", "ETag": f'"{next(tags)}"'}
        return Response(206, Headers(headers), data[first : last + 1])

    remote = Remote(Peer(answer, Origin("https", "models.example", 443)))
    reader = BlobReader([BlobSource(remote, NAME)], Descriptor("x", Digest.of(data), len(data)))

    assert b"".join(b"".join(reader.open(Span(at, 2)).stream) for at in range(0, 10, 2)) == data
    assert next(tags) == 5
