"""A mirror that only looks: what would move, and what would be mounted."""

from __future__ import annotations

import pytest
from faults import Time
from mirror_kit import DESTINATION, Pairing
from sample_models import KiB, Model, put

from registry.errors import TransientError
from registry.transfer.options import Options
from registry.transfer.pairs import Outcome, Pair
from registry.transfer.retry import Patience, Rule
from registry.wire.messages import Request, Response


@pytest.fixture
def between() -> Pairing:
    return Pairing()


def test_a_look_says_what_would_move_counting_shared_blobs_once_and_writes_nothing(between: Pairing) -> None:
    model = Model.random(3, 50 * KiB)
    for name in ("acme/a:1", "acme/b:1"):
        between.put(name, model)

    results = between.run(between.pair("acme/a:1"), between.pair("acme/b:1"), looks=True)

    assert sorted(result.would_move for result in results.values()) == [0, model.manifest.total]
    assert sorted(result.would_mount for result in results.values()) == [0, model.manifest.total]
    assert {line.split()[0] for line in between.destination.asked} == {"HEAD"}


@pytest.mark.parametrize("first", ["acme/a:1", "acme/b:1"])
def test_a_look_counts_what_one_repository_lacks_and_another_has(between: Pairing, first: str) -> None:
    """It was nothing, or all, by which of the two was asked first."""
    model = Model.random(3, 50 * KiB)
    for name in ("acme/a:1", "acme/b:1"):
        between.put(name, model)
    put(between.destination.remote, between.destination.name("acme/a:old"), model)
    pairs = [between.pair(name) for name in sorted(("acme/a:1", "acme/b:1"), key=first.__ne__)]

    results = between.run(*pairs, looks=True)

    assert (results["a:1"].would_move, results["b:1"].would_move) == (0, model.manifest.total)


def test_inside_one_registry_a_look_says_what_would_be_mounted(between: Pairing) -> None:
    model = Model.random(3, 50 * KiB)
    between.put("acme/a:1", model)
    remote, name = between.source.remote, between.source.name
    pairs = [
        Pair(remote, name("acme/a:1"), remote, name(to), name("acme/a:1")) for to in ("acme/b:1", "acme/b:2")
    ]

    results = between.run(*pairs, looks=True).values()

    assert [result.would_move for result in results] == [0, 0]
    assert sorted(result.would_mount for result in results) == [0, model.manifest.total], "once, to be there"


def test_a_look_that_was_put_off_counts_what_it_had_counted_before(between: Pairing) -> None:
    model, time = Model.random(5, 20 * KiB, 30 * KiB), Time()
    between.put("acme/m:1", model)
    asked: list[float] = []
    second = f"/blobs/{model.manifest.layers[1].digest}"

    def away(request: Request) -> Response | None:
        if request.path.endswith(second) and time() not in asked:
            asked.append(time())  # who is put off has not waited since the last attempt
            raise TransientError("refused", host=DESTINATION)
        return None

    between.destination.wrong = away
    rule = Rule(give_up_after=20, first_pause=1)
    options = Options(lambda: Patience(rule, clock=time, sleep=time.sleep), jobs=1)

    result = between.run(between.pair("acme/m:1"), options=options, looks=True)["m:1"]

    assert len(asked) > 2
    assert (result.outcome, result.would_move) == (Outcome.COPIED, model.manifest.total)
