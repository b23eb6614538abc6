"""What every place keeps, whatever it is: the one suite that memory, the store and registries pass."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import PLACES, Place
from sample_models import (
    GRAIN,
    KiB,
    Model,
    blobs_of,
    breaking,
    chunked,
    describe,
    fill,
    get,
    get_blob,
    put,
    put_blob,
    receive,
)

from registry.contracts import BusyElsewhere
from registry.errors import CorruptError, InvalidError, NotFoundError, RegistryError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor, Manifest
from registry.model.spans import Span, Spans


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as undo:
        yield PLACES[request.param](tmp_path, undo)


def only_if(condition: bool, reason: str) -> None:
    if not condition:
        pytest.skip(reason)


# --- what goes in comes out ----------------------------------------------------------------------------


def test_a_model_comes_back_byte_for_byte(place: Place) -> None:
    name, model = place.name("acme/tiny:1"), Model.random(1, 200 * KiB, 1, 0, GRAIN)

    put(place.target, name, model)

    assert get(place.again(), name) == model
    assert place.again().resolve(name).raw == model.manifest.raw


def test_unknown_fields_media_types_and_spacing_survive(place: Place) -> None:
    name, data, config = place.name("acme/odd:1"), b"opaque", b"{}"
    raw = (
        f'{{ "schemaVersion" : 2,\n\t"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        f'"x-future":{{"deep":[1.50,"\\u00e9"]}},"config":{{"mediaType":"application/x-config","size":2,'
        f'"digest":"{Digest.of(config)}"}},"layers":[{{"mediaType":"application/x-never-heard-of","size":6,'
        f'"digest":"{Digest.of(data)}","name":"a/b"}}] }}'
    ).encode()

    put(place.target, name, Model(Manifest.parse(raw), {Digest.of(data): data, Digest.of(config): config}))

    assert place.again().resolve(name).raw == raw


def test_any_part_of_a_blob_can_be_read(place: Place) -> None:
    name, model = place.name("acme/tiny:1"), Model.random(2, 100 * KiB)
    put(place.target, name, model)
    blob = model.manifest.layers[0]
    data = model.blobs[blob.digest]

    for span in (Span(0, 1), Span(blob.size - 1, 1), Span(5000, 70_000), Span(0, blob.size)):
        reading = place.target.open(name, blob, span)
        got = b"".join(reading.stream)
        assert got[span.offset - reading.span.offset :][: span.length] == data[span.offset : span.end]
        assert len(got) == reading.span.length


def test_a_tag_moves_to_another_model_as_a_whole(place: Place) -> None:
    name, old, new = place.name("acme/tiny:1"), Model.random(3, KiB), Model.random(4, KiB)
    put(place.target, name, old)

    put(place.target, name, new)

    assert get(place.again(), name) == new


# --- what is not there ---------------------------------------------------------------------------------


def test_a_name_that_is_not_there_is_not_found(place: Place) -> None:
    name, blob = place.name("acme/none:1"), describe(b"nothing")

    for ask in (
        lambda: place.target.resolve(name),
        lambda: place.target.open(name, blob, Span(0, 7)),
        lambda: place.target.tags(name),
        lambda: place.remove(name),
    ):
        with pytest.raises(NotFoundError):
            ask()
    assert place.target.size(name, blob) is None


def test_a_blob_of_another_size_is_not_there(place: Place) -> None:
    name = place.name("acme/tiny:1")
    blob = put_blob(place.target, name, b"0123456789")

    assert place.target.size(name, blob) == 10
    assert place.target.size(name, Descriptor(blob.media_type, blob.digest, 11)) is None


# --- visible only when proven --------------------------------------------------------------------------


def test_a_blob_is_not_there_before_it_is_committed(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), b"x" * 3 * GRAIN
    blob = describe(data)
    intake = receive(place.target, name, blob)

    fill(intake, data)
    before = place.again().size(name, blob)
    intake.prove()
    proven = place.again().size(name, blob)
    intake.commit()
    intake.close()

    assert (before, proven, place.again().size(name, blob)) == (None, None, blob.size)


def test_wrong_bytes_are_refused_and_never_named(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), b"right" * KiB
    blob = describe(data)
    intake = receive(place.target, name, blob)
    fill(intake, b"wrong" * KiB)

    with pytest.raises(CorruptError):
        intake.prove()
        intake.commit()
    intake.close()

    assert place.again().size(name, blob) is None


def test_a_blob_that_was_wrong_can_be_had_right_afterwards(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), b"right" * KiB
    blob = describe(data)
    intake = receive(place.target, name, blob)
    fill(intake, b"wrong" * KiB)
    with pytest.raises(CorruptError):
        intake.prove()
        intake.commit()
    intake.close()

    intake = receive(place.again(), name, blob)
    intake.resume()
    for piece in list(intake.received):
        intake.differs(piece, chunked(data[piece.offset : piece.end]))
    fill(intake, data)
    intake.prove()
    intake.commit()
    intake.close()

    assert get_blob(place.again(), name, blob) == data


def test_a_name_is_refused_while_a_blob_of_it_is_missing(place: Place) -> None:
    name, model = place.name("acme/tiny:1"), Model.random(5, KiB, KiB)
    for data in list(model.blobs.values())[1:]:
        put_blob(place.target, name, data)

    with pytest.raises(RegistryError):
        place.target.publish(name, model.manifest)

    with pytest.raises(NotFoundError):
        place.again().resolve(name)


def test_a_failed_publish_leaves_the_old_model(place: Place) -> None:
    name, old, new = place.name("acme/tiny:1"), Model.random(6, KiB), Model.random(7, KiB)
    put(place.target, name, old)

    with pytest.raises(RegistryError):
        place.target.publish(name, new.manifest)

    assert get(place.again(), name) == old


# --- on the way ----------------------------------------------------------------------------------------


def test_an_interrupted_blob_goes_on_where_it_stopped(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), bytes(range(256)) * 4 * KiB
    blob = describe(data)
    intake = receive(place.target, name, blob)
    first = intake.chunk_rules.first
    intake.write(Span(0, min(first, 300 * KiB)), chunked(data[: min(first, 300 * KiB)]))
    kept = intake.received
    intake.close()

    again = receive(place.again(), name, blob)
    assert again.received == kept == Spans.of([Span(0, min(first, 300 * KiB))])
    fill(again, data)
    again.prove()
    again.commit()
    again.close()

    assert get_blob(place.again(), name, blob) == data


def test_what_arrived_of_a_broken_stream_is_kept_and_its_error_passes_through(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), bytes(range(256)) * 800
    blob = describe(data)
    intake = receive(place.target, name, blob)
    broken = TransientError("the line went dead")

    with pytest.raises(TransientError) as caught:
        intake.write(Span(0, len(data)), breaking(data[:50_000], broken))
    intake.resume()

    assert caught.value is broken
    assert intake.received.front <= 50_000
    fill(intake, data)
    intake.prove()
    intake.commit()
    intake.close()
    assert get_blob(place.again(), name, blob) == data


def test_a_stream_of_another_length_is_refused(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), b"z" * 5000
    for wrong in (data[:-1], data + b"z"):
        intake = receive(place.target, name, describe(data))
        with pytest.raises(RegistryError):
            intake.write(Span(0, len(data)), chunked(wrong))
        intake.close()
    assert place.again().size(name, describe(data)) is None


def test_writes_come_in_any_order_and_side_by_side_where_no_order_is_wanted(place: Place) -> None:
    name, model = place.name("acme/tiny:1"), Model.random(8, 40 * GRAIN + 17)
    blob = model.manifest.layers[0]
    data = model.blobs[blob.digest]
    intake = receive(place.target, name, blob)
    if intake.chunk_rules.ordered:
        intake.close()
        pytest.skip("this place wants its bytes in order")
    pieces = list(Span(0, blob.size).cut(GRAIN))[::-1]

    def work(mine: list[Span]) -> None:
        for piece in mine:
            intake.write(piece, chunked(data[piece.offset : piece.end]))

    prover = threading.Thread(target=intake.prove, daemon=True)
    workers = [threading.Thread(target=work, args=(pieces[number::4],), daemon=True) for number in range(4)]
    for thread in (prover, *workers):
        thread.start()
    for thread in (*workers, prover):
        thread.join()
    intake.commit()
    intake.close()

    assert get_blob(place.again(), name, blob) == data


def test_a_write_to_the_wrong_place_is_refused(place: Place) -> None:
    name, data = place.name("acme/tiny:1"), b"q" * 5 * GRAIN
    intake = receive(place.target, name, describe(data))
    intake.write(Span(0, 1024), [data[:1024]])

    with pytest.raises(RegistryError):
        intake.write(Span(0, 1024), [data[:1024]])  # not missing any more
    if not intake.chunk_rules.ordered:
        with pytest.raises(InvalidError):
            intake.write(Span(len(data) - 96, 200), [b"q" * 200])  # beyond its end
    intake.close()


def test_one_blob_is_received_by_one_at_a_time(place: Place) -> None:
    only_if(place.shared, "this place lets several upload the same blob")
    name, data = place.name("acme/tiny:1"), b"w" * 3 * GRAIN
    blob = describe(data)
    mine = receive(place.target, name, blob)
    mine.write(Span(0, GRAIN), chunked(data[:GRAIN]))

    other = place.again().receive(name, blob, None)

    assert isinstance(other, BusyElsewhere)
    assert (other.received(), other.over()) == (GRAIN, False)
    mine.close()
    assert other.over()
    taken_over = receive(place.again(), name, blob)
    assert taken_over.received.total == GRAIN
    taken_over.close()


def test_an_intake_may_be_closed_twice(place: Place) -> None:
    intake = receive(place.target, place.name("acme/tiny:1"), describe(b"1"))

    intake.close()
    intake.close()


# --- taking away ---------------------------------------------------------------------------------------


def test_removing_a_name_leaves_the_blobs_another_one_needs(place: Place) -> None:
    one, two = place.name("acme/one:1"), place.name("acme/two:1")
    shared = bytes(range(200)) * 100
    first, second = Model.of(shared, b"only in the first"), Model.of(shared, b"only in the second")
    put(place.target, one, first)
    put(place.target, two, second)

    place.remove(one)

    with pytest.raises(NotFoundError):
        place.again().resolve(one)
    assert get(place.again(), two) == second


def test_two_names_of_one_model_are_removed_independently(place: Place) -> None:
    one, two, model = place.name("acme/one:1"), place.name("acme/two:1"), Model.random(9, KiB)
    put(place.target, one, model)
    put(place.target, two, model)

    place.remove(one)
    assert get(place.target, two) == model
    place.remove(two)

    with pytest.raises(NotFoundError):
        place.again().resolve(two)
    if not place.keeps_blobs:
        assert [place.again().size(two, blob) for blob in blobs_of(model)] == [None, None]


def test_what_was_removed_can_be_put_again(place: Place) -> None:
    name, model = place.name("acme/tiny:1"), Model.random(10, KiB)
    put(place.target, name, model)
    place.remove(name)

    put(place.target, name, model)

    assert get(place.again(), name) == model


# --- listing -------------------------------------------------------------------------------------------


def test_tags_are_those_of_one_repository_sorted(place: Place) -> None:
    model = Model.random(11, KiB)
    for text in ("acme/tiny:b", "acme/tiny:a", "acme/other:c"):
        put(place.target, place.name(text), model)

    assert list(place.again().tags(place.name("acme/tiny:x"))) == ["a", "b"]


def test_a_removed_tag_is_listed_no_more(place: Place) -> None:
    one, two = place.name("acme/tiny:1"), place.name("acme/tiny:2")
    put(place.target, one, Model.random(12, KiB))
    put(place.target, two, Model.random(13, KiB))

    place.remove(one)

    assert list(place.again().tags(two)) == ["2"]
