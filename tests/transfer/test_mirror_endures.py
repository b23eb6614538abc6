"""Mirrors of many where a token ends midway, the room at the destination, or the source for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import pytest
from faults import Time, quick
from mirror_kit import DESTINATION, SOURCE, Pairing, models, outcomes
from sample_models import KiB, Model, get

from registry.auth.credentials import Credentials
from registry.auth.prefixes import Prefix
from registry.auth.secrets import Login
from registry.auth.session import Session
from registry.errors import Reason, Side, StorageError, TransientError
from registry.targets.remote import Remote
from registry.transfer.engine import Engine
from registry.transfer.mirror import AT_ONCE, Mirror
from registry.transfer.one_pair import Copying
from registry.transfer.options import Options
from registry.transfer.pairs import Outcome, Result
from registry.transfer.retry import Patience, Rule
from registry.wire.faults import fault
from registry.wire.headers import Headers
from registry.wire.messages import Request, Response, Transport

USES = 30  # requests that a token is good for


@dataclass
class Tokens:
    """In front of a registry: each token opens it so many times, whatever was said of its age."""

    inner: Transport
    given: int = 0
    left: int = 0
    refused: int = 0

    def __call__(self, request: Request) -> Response:
        if request.path == "/token":
            self.given, self.left = self.given + 1, USES
            return Response(200, Headers(), f'{{"token":"t{self.given}","expires_in":3600}}'.encode())
        if request.headers.get("Authorization") == f"Bearer t{self.given}" and self.left:
            self.left -= 1
            return self.inner(request)
        self.refused += 1
        words = f'Bearer realm="{request.origin}/token",service="s",scope="repository:acme/m:pull,push"'
        return replace(
            fault("UNAUTHORIZED", "a token is wanted"), headers=Headers({"WWW-Authenticate": words})
        )


def through_tokens(remote: Remote) -> tuple[Remote, Tokens]:
    peer = remote.peer
    tokens = Tokens(peer.transport)
    credentials = Credentials(logins={Prefix(peer.origin.netloc): Login("ada", "secret")})
    session = Session(
        tokens,
        peer.origin,
        credentials.account(peer.origin),
        clock=lambda: 1_800_000_000.0,
        new_nonce=lambda: "nonce",
    )
    return Remote(replace(peer, transport=session)), tokens


def test_a_token_that_ends_in_the_middle_of_a_mirror_of_50_is_fetched_anew() -> None:
    between = Pairing()
    names = [f"acme/m:{number}" for number in range(50)]
    for number, name in enumerate(names):
        between.put(name, Model.random(number, 300 * KiB))
    source, asked_there = through_tokens(between.source.remote)
    destination, asked_here = through_tokens(between.destination.remote)

    results = between.run(
        *(replace(between.pair(name), source=source, destination=destination) for name in names)
    )

    assert outcomes(results.values()) == [Outcome.COPIED] * 50
    assert min(asked_there.given, asked_here.given) > 4
    assert max(asked_there.refused, asked_here.refused) < 8 * asked_here.given
    for number in (0, 25, 49):
        there = get(between.destination.remote, between.destination.name(names[number]))
        assert there == Model.random(number, 300 * KiB)


def test_where_the_destination_is_full_what_fits_is_there_and_the_next_run_goes_on() -> None:
    between = Pairing()
    names = models(between, 50, 20 * KiB)
    room = [20]

    def full(request: Request) -> Response | None:
        if request.length and "/blobs/uploads/" in request.path:
            room[0] -= 1
            if room[0] < 0:
                return Response(507)
        return None

    between.destination.wrong = full
    first = between.run(*map(between.pair, names))
    between.destination.wrong = lambda _: None
    between.destination.moved = 0

    again = between.run(*map(between.pair, names))

    failed = [result.error for result in first.values() if result.outcome is Outcome.FAILED]
    assert 0 < len(failed) < 50
    assert all(isinstance(error, StorageError) for error in failed)
    assert {error.reason for error in failed if error} == {Reason.REGISTRY_FULL}
    present = [result for result in again.values() if result.outcome is Outcome.PRESENT]
    assert len(present) == 50 - len(failed)
    assert between.destination.moved <= len(failed) * 21 * KiB


@dataclass
class Disk:
    """In front of a registry: blobs find no room once so many bytes came, those of `model` alone, or none."""

    room: int
    model: str = "/v2/"
    answer: Response = field(default_factory=lambda: Response(507))

    def __call__(self, request: Request) -> Response | None:
        if self.model not in request.path or "/blobs/uploads/" not in request.path:
            return None
        self.room -= request.length or 0
        return self.answer if self.room < 0 else None


def test_what_needs_bytes_is_not_begun_any_more_where_the_destination_said_that_it_is_full() -> None:
    between = Pairing()
    names = models(between, 50, 20 * KiB)
    shared = Model.random(0, 20 * KiB)
    for tag in range(2, 8):  # all of it is there, or can be mounted
        between.put(f"acme/m0:{tag}", shared)
        names.append(f"acme/m0:{tag}")
    between.run(between.pair(names[0]))
    between.destination.moved, between.destination.wrong = 0, Disk(100 * KiB)

    results = between.run(*map(between.pair, names))

    failed = [result.error for result in results.values() if result.outcome is Outcome.FAILED]
    assert len(failed) >= 44
    assert {error.reason for error in failed if error} == {Reason.REGISTRY_FULL}
    assert {error.exit for error in failed if error} == {8}
    assert any(
        error and "not begun: destination.example has no space left" in error.message for error in failed
    )
    assert {results[f"m0:{tag}"].outcome for tag in range(2, 8)} == {Outcome.COPIED}
    # What fits, what was on its way by then, and a few blobs that are smaller.
    assert between.destination.moved < (100 + 2 * AT_ONCE * 20 + 20) * KiB


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_model_that_finds_no_room_stops_those_as_large_and_no_smaller_one(method: str) -> None:
    between, large = Pairing(), Model.random(99, 300 * KiB)
    layer = large.manifest.layers[0].digest.hex

    def full(request: Request) -> Response | None:
        refused = request.method == method and (method == "PATCH" or layer in request.url)
        return Response(507) if refused and "/acme/large/" in request.path else None

    for name, model in [("large", large), ("as-large", Model.random(98, 300 * KiB))]:
        between.put(f"acme/{name}:1", model)
    smaller = models(between, 3, 20 * KiB)
    between.destination.wrong, engine = full, Engine(quick())
    results: list[Result] = []
    mirror = Mirror(engine, Copying(engine), results.append)

    for name in ["acme/large:1", "acme/as-large:1", *smaller]:
        mirror.run([between.pair(name)])

    assert outcomes(results) == [Outcome.FAILED] * 2 + [Outcome.COPIED] * 3
    errors = [result.error for result in results[:2] if result.error]
    assert ["not begun" in error.message for error in errors] == [False, True]


def test_the_fewest_bytes_that_were_refused_count_and_where_there_is_no_room_at_all_a_mount_goes_on() -> None:
    between, model, engine = Pairing(), Model.random(1, 20 * KiB), Engine(quick())
    for name in ("acme/m:1", "acme/mounted:1", "acme/other:1"):
        between.put(name, Model.random(2, KiB) if "other" in name else model)
    results: list[Result] = []
    mirror = Mirror(engine, Copying(engine), results.append)
    mirror.run([between.pair("acme/m:1")])
    for length in (10 * KiB, 0, 5 * KiB):
        refused = StorageError("full", reason=Reason.REGISTRY_FULL, length=length)
        engine.full.hear(between.destination.name("acme/m:1"), refused)

    for name in ("acme/other:1", "acme/mounted:1"):
        mirror.run([between.pair(name)])

    assert outcomes(results) == [Outcome.COPIED, Outcome.FAILED, Outcome.COPIED]
    assert [result.transferred for result in results[1:]] == [0, 0]


def test_a_quota_of_one_namespace_is_none_of_another() -> None:
    between, used_up = Pairing(), fault("DENIED", "the storage quota is used up", status=403)
    for number, name in enumerate(["acme/a:1", "acme/b:1", "other/c:1"]):
        between.put(name, Model.random(number, 20 * KiB))
    between.destination.wrong = Disk(0, "/acme/", used_up)
    pairs = map(between.pair, ["acme/a:1", "acme/b:1", "other/c:1"])

    results = between.run(*pairs, options=Options(quick().patience, jobs=1))

    assert {name: result.outcome for name, result in results.items()} == {
        "a:1": Outcome.FAILED,
        "b:1": Outcome.FAILED,
        "c:1": Outcome.COPIED,
    }


def test_a_new_round_asks_a_destination_that_was_full_again() -> None:
    between, engine = Pairing(), Engine(quick())
    between.put("acme/m:1", Model.random(1, 20 * KiB))
    between.destination.wrong = Disk(0)
    results: list[Result] = []
    mirror = Mirror(engine, Copying(engine), results.append)
    mirror.run([between.pair("acme/m:1")])
    between.destination.wrong = lambda _: None

    mirror.run([between.pair("acme/m:1")])
    engine.forgive()
    mirror.run([between.pair("acme/m:1")])

    assert outcomes(results) == [Outcome.FAILED, Outcome.FAILED, Outcome.COPIED]


@pytest.mark.parametrize("changed", [False, True])
def test_a_name_costs_the_same_among_many_as_among_few(changed: bool) -> None:
    """Counted in requests: what looked through all names at each would show here."""

    def cost(count: int) -> float:
        between = Pairing()
        names = models(between, count)
        if not changed:
            between.run(*map(between.pair, names))
        results = between.run(*map(between.pair, names), options=Options(quick().patience, jobs=1))
        assert len(results) == count
        assert not [line for line in between.destination.asked if DESTINATION in line]
        return (len(between.source.asked) + len(between.destination.asked)) / count

    few, many = cost(10), cost(60)

    assert abs(many - few) <= 0.1 * few
    assert changed or many == 2


def test_what_moved_before_a_name_was_put_off_is_told_with_what_moved_after_it() -> None:
    between, model, time = Pairing(), Model.random(5, 20 * KiB, 30 * KiB), Time()
    between.put("acme/m:1", model)
    asked: list[float] = []
    second = f"/blobs/{model.manifest.layers[1].digest}"

    def away(request: Request) -> Response | None:
        if request.path.endswith(second) and request.method == "GET" and time() not in asked:
            asked.append(time())  # who is put off has not waited since the last attempt
            raise TransientError("refused", host=SOURCE)
        return None

    between.source.wrong = away
    options = Options(
        lambda: Patience(Rule(give_up_after=20, first_pause=1), clock=time, sleep=time.sleep), jobs=1
    )

    result = between.run(between.pair("acme/m:1"), options=options)["m:1"]

    assert len(asked) > 2
    assert (result.outcome, result.transferred) == (Outcome.COPIED, model.manifest.total)


def test_of_names_that_are_gone_one_at_a_time_has_its_list_read() -> None:
    """A list of 100,000 tags took 155 MB, when eight of them were read at once."""
    between = Pairing()
    reading, most = [0], [0]

    def far(request: Request) -> Response | None:
        if "/tags/list" not in request.path:
            return None
        reading[0] += 1
        most[0] = max(most[0], *reading)
        time.sleep(0.005)
        reading[0] -= 1
        return Response(200, Headers(), b'{"name":"acme/tiny","tags":[]}')

    between.source.wrong = far

    results = between.run(*(replace(between.pair(f"acme/tiny:{tag}"), attached=()) for tag in range(8)))

    assert {each.outcome for each in results.values()} == {Outcome.GONE}
    assert most == [1]


def test_a_list_goes_on_where_a_page_of_it_failed() -> None:
    """It was read anew: one that is longer than a registry answers at once never ended."""
    between, asked = Pairing(), [0] * 4

    def paged(request: Request) -> Response:
        at = int(request.parameter("last") or 0)
        asked[at] += 1
        if asked[at] == 1:
            return Response(429, Headers({"Retry-After": "0"}))
        more = {"Link": f'</v2/acme/tiny/tags/list?last={at + 1}>; rel="next"'} if at < 3 else {}
        return Response(200, Headers(more), f'{{"name":"acme/tiny","tags":["v{at}"]}}'.encode())

    between.source.wrong = paged

    found = between.source.patient(Side.SOURCE).publications(between.source.name("acme/tiny"))

    assert list(found) == ["v0", "v1", "v2", "v3"]
    assert asked == [2] * 4
