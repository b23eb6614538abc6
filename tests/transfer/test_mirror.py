"""Many names from registry to registry: what is the same moves nothing, what fails stops only itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from faults import Chunks, Time, quick
from mirror_kit import SOURCE, Pairing, Registry, models, outcomes
from sample_models import GRAIN, KiB, Model, get, index_of

from cli.mirror_report import Round, documents, line
from registry.contracts import Reading
from registry.errors import CorruptError, DeniedError, TransientError
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name
from registry.model.spans import Span
from registry.targets.remote import Remote
from registry.transfer.engine import Engine
from registry.transfer.mirror import AT_ONCE, Mirror
from registry.transfer.one_pair import Copying
from registry.transfer.options import Options
from registry.transfer.pairs import Outcome, Pair, Result, Unlisted
from registry.transfer.retry import Patience, Rule, Stopped
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response


@pytest.fixture
def between() -> Pairing:
    return Pairing()


# --- what is the same ----------------------------------------------------------------------------------


def test_what_is_the_same_costs_one_question_at_each_side_and_writes_nothing(between: Pairing) -> None:
    names = models(between, 20)
    between.run(*map(between.pair, names))

    results = between.run(*map(between.pair, names))

    assert outcomes(results.values()) == [Outcome.PRESENT] * 20
    for registry in (between.source, between.destination):
        assert sorted(registry.asked) == sorted(f"HEAD /v2/acme/m{n}/manifests/1" for n in range(20))


def test_what_the_lists_say_is_not_asked_again(between: Pairing) -> None:
    names = models(between, 3)
    between.run(*map(between.pair, names))
    told = [
        replace(
            pair,
            said=between.source.remote.digest(pair.name),
            was=between.destination.remote.digest(pair.to),
            listed=True,
        )
        for pair in map(between.pair, names)
    ]

    results = between.run(*told)

    assert outcomes(results.values()) == [Outcome.PRESENT] * 3
    assert not between.source.asked
    assert not between.destination.asked


def test_what_is_new_is_asked_for_once_at_the_destination_and_read_once_at_the_source(
    between: Pairing,
) -> None:
    names = models(between, 2)

    results = between.run(*map(between.pair, names))

    assert outcomes(results.values()) == [Outcome.COPIED] * 2
    for registry, methods in ((between.source, ["GET"]), (between.destination, ["GET", "HEAD", "PUT"])):
        asked = [line for line in registry.asked if "/manifests/" in line]
        assert sorted(asked) == [f"{method} /v2/acme/m{n}/manifests/1" for method in methods for n in (0, 1)]


def test_a_single_name_that_is_new_is_asked_for_once_too(between: Pairing) -> None:
    (name,) = models(between, 1)

    Copying(Engine(quick())).report(between.pair(name))

    asked = [line.partition(" ")[0] for line in between.destination.asked if "/manifests/" in line]
    assert asked == ["HEAD", "PUT", "GET"]


def test_a_tag_that_moved_says_from_where_and_moves_what_is_new(between: Pairing) -> None:
    before = Model.random(1, 50 * KiB, 5)
    between.put("acme/tiny:1", before)
    between.run(between.pair("acme/tiny:1"))
    after = Model.of(*(data for data in before.blobs.values() if len(data) == 50 * KiB), b"another")
    between.put("acme/tiny:1", after)

    result = between.run(between.pair("acme/tiny:1"))["tiny:1"]

    assert (result.outcome, result.was, result.digest) == (
        Outcome.COPIED,
        before.manifest.digest,
        after.manifest.digest,
    )
    assert result.transferred == len(b"another")
    assert get(between.destination.remote, between.destination.name("acme/tiny:1")) == after


def sharing(between: Pairing, count: int) -> tuple[list[str], bytes]:
    """Models with one large blob that all share, and its bytes."""
    layer = Model.random(2, 5 * GRAIN).manifest.layers[0]
    shared = Model.random(2, 5 * GRAIN).blobs[layer.digest]
    names = [f"acme/m{number}:1" for number in range(count)]
    for number, name in enumerate(names):
        between.put(name, Model.of(shared, bytes([number]) * 10))
    return names, shared


def test_blobs_that_many_models_share_move_once(between: Pairing) -> None:
    names, shared = sharing(between, 8)

    results = between.run(*map(between.pair, names))

    assert outcomes(results.values()) == [Outcome.COPIED] * 8
    assert sum(result.transferred for result in results.values()) < len(shared) + 8 * 100
    assert between.destination.moved < len(shared) + 8 * 100


def test_a_blob_that_every_model_began_to_upload_moves_once_all_the_same(between: Pairing) -> None:
    """A source that failed for a while: what was begun came before the mount of what was there by then."""
    names, shared = sharing(between, 8)
    large = f"/blobs/{Digest.of(shared)}"
    between.source.wrong = lambda request: fault("DENIED", "no") if request.path.endswith(large) else None
    assert outcomes(between.run(*map(between.pair, names)).values()) == [Outcome.FAILED] * 8
    between.source.wrong = lambda _: None

    results = between.run(*map(between.pair, names))

    assert outcomes(results.values()) == [Outcome.COPIED] * 8
    assert between.destination.moved < len(shared) + 8 * 100


# --- what fails ----------------------------------------------------------------------------------------


def refusing(words: str, *answers: Response) -> Callable[[Request], Response | None]:
    return lambda request: answers[0] if words in request.path else None


def test_one_bad_model_does_not_stop_the_others(between: Pairing) -> None:
    names = models(between, 6)
    between.source.wrong = refusing("/m3/", fault("DENIED", "no"))

    results = between.run(*map(between.pair, names))

    assert [name for name, result in results.items() if result.outcome is Outcome.FAILED] == ["m3:1"]
    error = results["m3:1"].error
    assert isinstance(error, DeniedError)
    assert len(results) == 6


def test_without_keep_going_nothing_is_begun_after_a_failure(between: Pairing) -> None:
    names = models(between, 60)
    between.source.wrong = refusing("/m0/", fault("DENIED", "no"))

    results = between.run(*map(between.pair, names), keep_going=False)

    assert results["m0:1"].outcome is Outcome.FAILED
    assert len(results) < 60


@pytest.mark.parametrize(
    ("lists", "outcome"),
    [
        ("no more", Outcome.GONE),
        ("still", Outcome.FAILED),
        ("nobody knows what", Outcome.FAILED),
        ("nothing", Outcome.FAILED),
    ],
)
def test_a_tag_that_goes_between_the_list_and_the_copy_is_no_failure(
    between: Pairing, lists: str, outcome: Outcome
) -> None:
    """One that is listed still is lost, and what no list named was never there."""
    model = Model.random(1, KiB)
    for tag in ("1", "2"):
        between.put(f"acme/tiny:{tag}", model)
    between.run(between.pair("acme/tiny:1"))
    between.source.remote.untag(between.source.name("acme/tiny:1"))
    pair = replace(between.pair("acme/tiny:1"), attached=None if lists == "nothing" else ())
    if lists in ("still", "nobody knows what"):
        answer = fault("DENIED", "no")
        if lists == "still":
            answer = Response(200, Headers(), b'{"name":"acme/tiny","tags":["1","2"]}')
        between.source.wrong = lambda request: answer if "/tags/list" in request.path else None

    result = between.run(pair)["tiny:1"]

    assert result.outcome is outcome
    assert get(between.destination.remote, between.destination.name("acme/tiny:1")) == model
    if outcome is Outcome.GONE:
        done = Round([result], 1.0)
        assert (done.exit, line(done)) == (0, "0 copied, 0 present, 0 failed, 1 gone; 0 B moved in 1.0 s")
        assert {"how": "gone", "tag": None, "digest": None}.items() <= documents(done)[0].items()
        assert between.run(pair, looks=True)["tiny:1"].outcome is outcome


def test_a_list_that_failed_is_one_failure_among_the_results(between: Pairing) -> None:
    names = models(between, 2)
    error = DeniedError("listing the tags of acme: no")

    results = between.run(
        Unlisted("source.example/acme", "destination.example/acme", error), *map(between.pair, names)
    )

    assert sorted(outcomes(results.values())) == [Outcome.COPIED, Outcome.COPIED, Outcome.FAILED]


def test_a_source_that_fails_for_minutes_does_not_end_the_run(between: Pairing) -> None:
    """It is down until all models of another source are there, longer than patience lasts."""
    names = models(between, 12)
    other = Pairing(Registry("other.example"), between.destination)
    for name in names:
        other.put(name, Model.random(77, KiB))
    asked = [0]

    def down(_request: Request) -> Response | None:
        asked[0] += 1
        far = sum("PUT /v2/acme/far" in line and "manifests" in line for line in between.destination.asked)
        if asked[0] <= 5 or far == 12:
            return None
        raise TransientError("refused")

    between.source.wrong = down
    time = Time()
    options = Options(
        lambda: Patience(Rule(give_up_after=20, first_pause=1), clock=time, sleep=time.sleep), jobs=1
    )
    pairs = [
        pair for name in names for pair in (between.pair(name), other.pair(name, name.replace("/m", "/far")))
    ]

    results = between.run(*pairs, options=options)

    assert len(results) == 24
    assert outcomes(results.values()) == [Outcome.COPIED] * 24
    assert asked[0] > 12


@pytest.mark.parametrize("looks", [False, True])
def test_indexes_inside_one_another_are_followed_four_deep(looks: bool, between: Pairing) -> None:
    between.put("acme/m:1", model := Model.random(1, KiB))
    inner = model.manifest
    for depth in range(1, 6):
        inner = index_of(inner)
        for reference in (str(depth), inner.digest):
            between.source.remote.publish(between.source.name("acme/m").with_reference(reference), inner)

    results = between.run(*(between.pair(f"acme/m:{depth}") for depth in (4, 5)), looks=looks)

    assert outcomes([results["m:4"], results["m:5"]]) == [Outcome.COPIED, Outcome.FAILED]
    assert "more than 4 indexes inside one another" in str(results["m:5"].error)


@pytest.mark.parametrize("index", [False, True])
def test_what_moved_before_a_name_failed_is_told_though_it_was_put_off(index: bool, between: Pairing) -> None:
    """Of 40 GB that had gone over a metered line it said 0 B."""
    model = Model.random(5, 20 * KiB, 30 * KiB)
    between.put("acme/m:1", model)
    if index:
        between.source.remote.publish(between.source.name("acme/m:1"), index_of(model.manifest))
    second = f"/blobs/{model.manifest.layers[1].digest}"

    def dead(request: Request) -> Response | None:
        if request.path.endswith(second) and request.method == "GET":
            raise TransientError("refused", host=SOURCE)
        return None

    between.source.wrong = dead
    time = Time()
    options = Options(
        lambda: Patience(Rule(give_up_after=20, first_pause=1), clock=time, sleep=time.sleep), jobs=1
    )

    result = between.run(between.pair("acme/m:1"), options=options)["m:1"]

    assert result.outcome is Outcome.FAILED
    assert 20 * KiB <= result.transferred < 21 * KiB


def test_a_source_that_is_dead_is_waited_for_once_and_every_name_of_it_fails(between: Pairing) -> None:
    names = [f"acme/m{number}:1" for number in range(100)]
    asked: list[str] = []

    def dead(request: Request) -> Response | None:
        asked.append(request.path)
        raise TransientError("refused", host=SOURCE)

    between.source.wrong = dead
    time = Time()
    options = Options(
        lambda: Patience(Rule(give_up_after=600, first_pause=1), clock=time, sleep=time.sleep), jobs=1
    )

    results = between.run(*map(between.pair, names), options=options)

    assert outcomes(results.values()) == [Outcome.FAILED] * 100
    assert all(isinstance(result.error, TransientError) for result in results.values())
    assert len(asked) < 60


def test_a_run_that_is_stopped_ends_and_the_next_goes_on(between: Pairing) -> None:
    names = models(between, 10, 2 * GRAIN)
    engine = Engine(quick(), at_once=AT_ONCE)
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        engine.stop()

    with pytest.raises(Stopped):
        Mirror(engine, Copying(engine), tell).run(map(between.pair, names))
    assert 0 < len(results) < 10

    again = between.run(*map(between.pair, names))

    assert {result.outcome for result in again.values()} <= {Outcome.COPIED, Outcome.PRESENT}
    for name in names:
        between.destination.remote.resolve(between.destination.name(name))


def test_a_bug_is_raised_and_hides_behind_no_result(between: Pairing) -> None:
    class Broken(Copying):
        def compare(self, pair: Pair) -> tuple[Digest | None, Digest | None]:
            raise ZeroDivisionError

    engine = Engine(quick())
    with pytest.raises(ZeroDivisionError):
        Mirror(engine, Broken(engine), lambda _: None).run(map(between.pair, models(between, 3)))
    assert threading.active_count() < 20


# --- inside one registry ------------------------------------------------------------------------------


def test_inside_one_registry_no_byte_of_a_blob_moves(between: Pairing) -> None:
    names = models(between, 5, 300 * KiB)
    source = between.source
    source.moved = 0
    pairs = [
        Pair(
            source.remote,
            source.name(name),
            source.remote,
            source.name(f"copies{name[4:]}"),
            source.name(name),
        )
        for name in names
    ]

    results = between.run(*pairs)

    assert outcomes(results.values()) == [Outcome.COPIED] * 5
    assert (source.moved, sum(result.transferred for result in results.values())) == (0, 0)


def test_bytes_that_arrive_wrong_fail_one_name(between: Pairing) -> None:
    names = models(between, 3, 2 * GRAIN)

    class Flipped(Remote):
        def open(self, name: Name, blob: Descriptor, span: Span) -> Reading:
            reading = super().open(name, blob, span)
            if name.model == "m1" and blob.size == 2 * GRAIN:
                return Reading(reading.span, Chunks(iter([bytes(reading.span.length)])))
            return reading

    wrong = Flipped(between.source.remote.peer)
    results = between.run(*(replace(between.pair(name), source=wrong) for name in names))

    failed = {name: result.error for name, result in results.items() if result.outcome is Outcome.FAILED}
    assert list(failed) == ["m1:1"]
    assert isinstance(failed["m1:1"], CorruptError)
