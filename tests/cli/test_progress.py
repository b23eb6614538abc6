"""Progress starts with what was there, never runs backwards, and fits who is watching."""

from __future__ import annotations

import io
import json
import random
import re

import pytest

from cli.bars import Bars
from cli.counts import Counts, clock_face
from cli.progress import JsonLines, ManyLines, Nothing, Plain, observer
from cli.render import Terminal
from registry.contracts import How
from registry.model.digests import Digest
from registry.model.manifests import Descriptor
from registry.model.names import Name

NAME = Name.parse("tiny:1.0")
BLOBS = [
    Descriptor(f"application/vnd.ollama.image.{n}", Digest.of(n.encode()), 1000) for n in ("a", "b", "c")
]


class Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(err: io.StringIO, *, quiet: bool = False) -> Terminal:
    return Terminal(io.StringIO(), err, quiet=quiet)


def test_numbers_never_run_backwards() -> None:
    counts = Counts(BLOBS, 0.0)
    chance = random.Random(7)
    seen = 0
    for moment in range(500):
        counts.at(chance.choice(BLOBS), chance.randrange(-50, 1500), float(moment))
        assert seen <= counts.done <= counts.total
        seen = counts.done


def test_what_was_there_before_counts_from_the_start_but_for_no_rate() -> None:
    counts = Counts(BLOBS, 0.0)
    counts.at(BLOBS[0], 900, 0.0)
    assert (counts.done, counts.moved, counts.rate(1.0)) == (900, 0, 0.0)
    counts.at(BLOBS[0], 1000, 2.0)
    assert counts.rate(2.0) == 50.0
    assert counts.left(2.0) == 40.0


def test_a_rate_that_is_no_longer_true_is_none() -> None:
    counts = Counts(BLOBS, 0.0)
    counts.at(BLOBS[0], 0, 0.0)
    counts.at(BLOBS[0], 800, 2.0)
    assert (counts.rate(4.0), counts.whole.waiting(4.0)) == (200.0, False)
    assert (counts.rate(5.5), counts.left(5.5), counts.whole.waiting(5.5)) == (0.0, None, True)
    counts.at(BLOBS[0], 1000, 6.0)
    assert counts.rate(6.0) > 0


def test_a_plain_line_comes_every_few_seconds_and_not_more_often() -> None:
    err, clock = io.StringIO(), Clock()
    plain = Plain(terminal(err), clock)
    plain.begin(NAME, BLOBS)
    for done in range(0, 1000, 10):
        clock.now += 0.1
        plain.at(NAME, BLOBS[0], done)
    lines = err.getvalue().splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"tiny:1\.0: \d+%, \d+ B of 3\.0 KB, \d+ B/s, \d+:\d\d left", lines[0])


def test_json_lines_have_the_documented_members_and_end_with_everything() -> None:
    err, clock = io.StringIO(), Clock()
    lines = JsonLines(err, clock)
    lines.begin(NAME, BLOBS)
    lines.at(NAME, BLOBS[0], 500)
    clock.now += 1
    lines.at(NAME, BLOBS[0], 600)
    for blob in BLOBS:
        lines.done(NAME, blob, How.FETCHED)
    told = [json.loads(line) for line in err.getvalue().splitlines()]
    assert all({"event", "name", "digest", "done", "total", "rate"} <= line.keys() for line in told)
    assert [line["event"] for line in told] == ["begin", "progress", "progress", "done", "done", "done"]
    assert told[0] == {
        "event": "begin", "name": "tiny:1.0", "digest": None, "done": 0, "total": 3000, "rate": 0
    }  # fmt: skip


def test_a_note_of_a_peer_cannot_paint_the_terminal() -> None:
    err = io.StringIO()
    Plain(terminal(err)).note("wait \x1b[31mred\n")
    assert err.getvalue() == "ferry: wait \\x1b[31mred\\n\n"


def test_what_each_round_would_note_is_noted_once() -> None:
    err = io.StringIO()
    rounds = terminal(err).noting_once()

    for text in ("no login", "no login", "no key", "no login"):
        rounds.note(text)
    rounds.complain("no key")

    assert err.getvalue().splitlines() == ["no login", "no key", "no key"]


@pytest.mark.parametrize(
    ("wish", "quiet", "kind"),
    [
        ("auto", False, Plain),
        ("plain", False, Plain),
        ("json", False, JsonLines),
        ("none", False, Nothing),
        ("auto", True, Nothing),
        ("json", True, JsonLines),
        ("bar", False, Bars),
    ],
)
def test_who_watches_is_who_was_wished_for(wish: str, quiet: bool, kind: type) -> None:
    assert isinstance(observer(terminal(io.StringIO(), quiet=quiet), wish), kind)


def test_a_plain_line_says_waiting_and_no_rate_when_nothing_comes() -> None:
    err, clock = io.StringIO(), Clock()
    plain = Plain(terminal(err), clock)
    plain.begin(NAME, BLOBS)
    plain.at(NAME, BLOBS[0], 500)
    clock.now += 10
    plain.at(NAME, BLOBS[0], 500)
    assert err.getvalue() == "tiny:1.0: 16%, 500 B of 3.0 KB, waiting\n"


def test_time_left_is_shown_as_people_read_it() -> None:
    assert [clock_face(seconds) for seconds in (None, 0, 61.2, 3725)] == ["?", "0:00", "1:01", "1:02:05"]


def test_of_many_models_one_line_says_how_far_those_are_that_move() -> None:
    err, clock = io.StringIO(), Clock()
    shown = ManyLines(terminal(err), clock)
    names = [Name.parse(f"tiny:{number}") for number in range(3)]
    for name in names:
        shown.begin(name, BLOBS)
        shown.at(name, BLOBS[0], 0)
    for _ in range(24):
        clock.now += 1.0
        shown.at(names[0], BLOBS[0], int(10 * (clock.now - 100)))
        if clock.now < 110:
            shown.at(names[1], BLOBS[1], int(20 * (clock.now - 100)))

    assert err.getvalue().splitlines() == [
        "ferry: 2 models on their way: 4%, 280 B of 6.0 KB, 26 B/s",
        "ferry: tiny:0: 6%, 200 B of 3.0 KB, 10 B/s",
    ]
