"""Rounds of a mirror that goes on: none begins before the last has ended, chance is an argument."""

from __future__ import annotations

import gc
import io
import json
import threading
import weakref
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cli.mirror_report import Round, markdown, row
from cli.mirror_watch import Numbers, watch
from cli.options import Invocation
from cli.render import Terminal
from cli.settings import Settings
from registry.errors import DeniedError, TransientError
from registry.transfer.pairs import Outcome, Result
from registry.transfer.retry import Stopped

FINE = Result("a.example/x:1", "b.example/x:1", Outcome.COPIED, transferred=5)
LOST = Result("c.example/y:1", "b.example/y:1", Outcome.FAILED, error=TransientError("c.example refused"))


class Stop(threading.Event):
    """Remembers for how long it was waited for."""

    def __init__(self, time: list[float]) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._time = time

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        self._time[0] += timeout or 0.0
        return self.is_set()


@dataclass
class Rounds:
    """So many rounds, of so many seconds each, and then a signal in the middle of one."""

    takes: list[float]
    results: list[Result] = field(default_factory=lambda: [FINE])
    time: list[float] = field(default_factory=lambda: [0.0])
    begun: list[float] = field(default_factory=list)
    dry_run: bool = False
    deleted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stop = Stop(self.time)
        self.engine = SimpleNamespace(options=SimpleNamespace(stop=self.stop))

    def round(self) -> Round:
        self.begun.append(self.time[0])
        if not self.takes:
            self.stop.set()
            raise Stopped
        seconds = self.takes.pop(0)
        self.time[0] += seconds
        return Round(self.results, seconds, self.dry_run, self.deleted)


def watched(
    rounds: Any, every: float, chance: float = 0.5, as_json: bool = False
) -> tuple[str, str, Numbers]:
    out, err, numbers = io.StringIO(), io.StringIO(), Numbers()
    invocation = Invocation(Settings({}, {}), Terminal(out, err, json=as_json))
    code = watch(
        invocation,
        rounds,
        every,
        numbers,
        clock=lambda: rounds.time[0],
        now=lambda: 1_800_000_000.0 + rounds.time[0],
        chance=lambda: chance,
    )
    assert code == 0
    return out.getvalue(), err.getvalue(), numbers


def test_a_round_begins_when_the_time_has_come_and_the_one_before_has_ended() -> None:
    rounds = Rounds([10.0, 200.0, 10.0])

    watched(rounds, 60.0)

    assert rounds.begun == [0.0, 60.0, 260.0, 320.0]


def test_what_a_round_leaves_in_circles_is_gone_before_the_next() -> None:
    """Each round's TLS has a megabyte, which Python counts as a few objects: a day of rounds took 80 MB."""

    class Circle:
        def __init__(self) -> None:
            self.itself = self

    class Connected(Rounds):
        def round(self) -> Round:
            left.append(weakref.ref(Circle()))
            return super().round()

    left: list[weakref.ref[Circle]] = []
    gc.disable()
    try:
        watched(Connected([1.0, 1.0]), 60.0)
    finally:
        gc.enable()

    assert [each() for each in left[:2]] == [None, None]


def test_the_pause_is_a_little_more_or_less_by_chance() -> None:
    sooner, later = Rounds([0.0]), Rounds([0.0])

    watched(sooner, 100.0, chance=0.0)
    watched(later, 100.0, chance=1.0)

    assert [sooner.stop.pauses, later.stop.pauses] == [[pytest.approx(90.0)], [pytest.approx(110.0)]]


def test_a_round_is_one_line_and_what_failed_is_said_beside_it() -> None:
    out, err, _ = watched(Rounds([1.0, 2.0], [FINE, LOST]), 60.0)

    assert len(out.splitlines()) == 2
    assert out.startswith("2027-01-15T08:00:01Z  1 copied, 0 present, 1 failed; 5 B moved in 1.0 s\n")
    assert err.splitlines()[0] == "ferry: b.example/y:1: c.example refused"


def test_one_cause_of_many_failures_is_one_line() -> None:
    lost = [replace(LOST, destination=f"b.example/y:{number}") for number in range(100)]

    _, err, _ = watched(Rounds([1.0], [FINE, *lost]), 60.0)

    assert err == "ferry: b.example/y:0 and 99 more: c.example refused\n"


def test_as_many_causes_as_failures_are_a_few_lines_all_the_same() -> None:
    """A registry that repeats the name in each answer: a thousand lines a round."""
    lost = [
        replace(
            LOST, destination=f"b.example/y:{number}", error=DeniedError(f"no {number}", host="c.example")
        )
        for number in range(1000)
    ]

    _, err, _ = watched(Rounds([1.0], [*lost, lost[0]]), 60.0)

    assert len(err.splitlines()) == 11
    assert err.splitlines()[0] == "ferry: b.example/y:0 and 1 more: no 0"
    assert err.splitlines()[-1] == "ferry: 990 more failed; --format json tells each"


def test_what_was_deleted_is_told_in_json_too() -> None:
    rounds = Rounds([1.0], [FINE])
    rounds.deleted = ["b.example/y:old"]

    out, _, _ = watched(rounds, 60.0, as_json=True)

    assert json.loads(out)["deleted"] == ["b.example/y:old"]


def test_the_numbers_tell_when_each_source_last_went_well() -> None:
    rounds = Rounds([1.0], [FINE, LOST])

    _, _, numbers = watched(rounds, 60.0)
    numbers.take(Round([LOST], 1.0), 1_900_000_000.0)

    text = numbers.text()
    assert 'ferry_mirror_last_success_timestamp_seconds{source="a.example/x"} 1800000001.0\n' in text
    assert 'ferry_mirror_failed_names{source="c.example/y"} 1\n' in text
    assert 'last_success_timestamp_seconds{source="c.example/y"}' not in text
    assert "ferry_mirror_rounds_total 2\n" in text
    assert "ferry_mirror_moved_bytes_total 5\n" in text


def test_of_a_source_that_is_gone_no_success_is_told_once_every_list_was_read() -> None:
    """An alert on the age of each source's last success was one for ever."""
    numbers, gone = Numbers(), Result("a.example/z:1", "b.example/z:1", Outcome.PRESENT)
    numbers.take(Round([FINE, gone], 1.0), 5.0)
    numbers.take(Round([LOST], 1.0), 6.0)
    kept = 'last_success_timestamp_seconds{source="a.example/z"} 5.0\n' in numbers.text()
    numbers.take(Round([FINE], 1.0), 7.0)

    assert kept
    assert "a.example/z" not in numbers.text()


def test_what_could_not_be_deleted_is_told_by_where_it_is() -> None:
    kept = Result("", "b.example/y:1", Outcome.FAILED, error=TransientError("b.example refused"))
    numbers = Numbers()
    numbers.take(Round([kept], 1.0), 5.0)

    assert 'ferry_mirror_failed_names{source="b.example/y"} 1' in numbers.text()
    assert row(kept)["source"] is None


def test_what_a_peer_calls_itself_breaks_no_line_of_the_numbers() -> None:
    numbers = Numbers()
    numbers.take(Round([Result('a"b\n# x/y:1', "b.example/y:1", Outcome.PRESENT)], 1.0), 5.0)

    assert 'source="a\\"b\\\\n# x/y"' in numbers.text()


def test_a_round_that_only_looks_says_in_json_what_would_move() -> None:
    new = Result("a.example/x:1", "b.example/x:1", Outcome.COPIED, would_move=5)
    rounds = Rounds([1.0], [new])
    rounds.dry_run = True

    told = json.loads(watched(rounds, 60.0, as_json=True)[0])

    assert {"new": 1, "would_transfer": 5}.items() <= told.items()
    assert "copied" not in told
    assert "transferred" not in told


def test_what_a_peer_says_is_no_markup_in_the_summary() -> None:
    said = "c.example said | ![x](https://spy.example/x.png) <img> `code` WWW.a.b ~~a_b~~ _c_ \x1b[2J\nmore"
    lost = Result("c.example/y:1", "b.example/y:1", Outcome.FAILED, error=TransientError(said))

    (row,) = [line for line in markdown(Round([lost], 1.0)).splitlines() if "c.example" in line]

    assert r"said \| !\[x\](https\://spy.example/x.png) &lt;img> \`code\` WWW\.a.b \~\~a_b\~\~ \_c\_ " in row
    assert "\x1b" not in row
