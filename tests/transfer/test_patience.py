"""Patience: quick where nobody ever answered, long where somebody did, and progress resets it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from registry.errors import DeniedError, InvalidError, Side, TransientError
from registry.transfer.retry import Patience, Rule, at


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return False


def patient(time: Time, **rule: float) -> Patience:
    return Patience(Rule(**rule), clock=time, sleep=time.sleep, chance=lambda: 1.0)  # type: ignore[arg-type]


def failing(times: int, error: TransientError, then: str = "done") -> Callable[[], str]:
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return then

    return call


def test_what_is_asked_for_otherwise_is_asked_for_at_once() -> None:
    time = Time()
    patience = patient(time)

    done = patience.retry(failing(5, TransientError("smaller", answered=True, at_once=True)), Side.SOURCE)

    assert done == "done"
    assert time.pauses == []


def test_a_place_that_never_answered_is_asked_three_times() -> None:
    time = Time()
    calls = []

    def call() -> None:
        calls.append(1)
        raise TransientError("refused")

    with pytest.raises(TransientError, match="refused"):
        patient(time).retry(call, Side.SOURCE)

    assert len(calls) == 3
    assert time.now - 1000 <= 5


def test_a_place_that_answered_is_asked_until_the_budget_is_spent() -> None:
    time = Time()
    busy = TransientError("busy", answered=True)

    with pytest.raises(TransientError):
        patient(time, give_up_after=600).retry(failing(10_000, busy), Side.SOURCE)

    assert 500 < time.now - 1000 <= 600


def test_a_success_makes_the_next_failure_a_patient_one() -> None:
    time = Time()
    patience = patient(time)

    patience.retry(lambda: None, Side.SOURCE)

    assert patience.retry(failing(8, TransientError("reset")), Side.SOURCE) == "done"


def test_one_side_that_answered_says_nothing_of_the_other() -> None:
    time = Time()
    patience = patient(time)
    patience.retry(lambda: None, Side.SOURCE)

    with pytest.raises(TransientError):
        patience.retry(failing(8, TransientError("refused")), Side.DESTINATION)


def test_pauses_double_up_to_the_longest_and_progress_begins_them_anew() -> None:
    time = Time()
    patience = patient(time, first_pause=1, longest_pause=8)
    tries: list[float] = []

    def call() -> str:
        tries.append(time())
        if len(tries) == 6:
            patience.progress()
        if len(tries) > 7:
            return "done"
        raise TransientError("reset", answered=True)

    patience.retry(call, Side.SOURCE)

    assert [after - before for before, after in itertools.pairwise(tries)] == [1, 2, 4, 8, 8, 1, 2]


def test_a_pause_ends_when_others_are_served_meanwhile() -> None:
    """128 MiB over a line with 40 faults: the last pieces waited up to 25 s each."""
    time = Time()
    tries: list[float] = []

    def sleep(seconds: float) -> bool:
        if time.sleep(seconds) or len(tries) == 6:
            patience.progress()
        return False

    def call() -> str:
        tries.append(time())
        if len(tries) > 6:
            return "done"
        raise TransientError("reset", answered=True)

    patience = Patience(Rule(first_pause=1), clock=time, sleep=sleep, chance=lambda: 1.0)
    patience.retry(call, Side.SOURCE)

    assert [after - before for before, after in itertools.pairwise(tries)] == [1, 2, 4, 8, 16, 1]


def test_a_pause_that_the_peer_wished_for_is_kept_whoever_is_served() -> None:
    time = Time()
    patience = patient(time)

    def sleep(seconds: float) -> bool:
        patience.progress()
        return time.sleep(seconds)

    patience.sleep = sleep
    patience.retry(failing(1, TransientError("busy", retry_after=20, answered=True)), Side.SOURCE)

    assert time.now == 1020


def test_a_call_that_runs_for_an_hour_and_breaks_has_used_up_no_patience() -> None:
    time = Time()
    patience = patient(time, give_up_after=10)
    calls = [0]

    def call() -> str:
        calls[0] += 1
        if calls[0] == 1:
            time.now += 3600
            raise TransientError("reset", answered=True)
        return "done"

    assert patience.retry(call, Side.DESTINATION) == "done"


def test_before_patience_ends_it_is_asked_what_a_broken_call_achieved() -> None:
    time = Time()
    patience = patient(time, give_up_after=10)
    calls = [0]

    def call() -> str:
        calls[0] += 1
        if calls[0] < 5:
            time.now += 3600  # a long body, most of which is kept, and then it breaks
            raise TransientError("reset", answered=True)
        return "done"

    assert patience.retry(call, Side.DESTINATION, look=patience.progress) == "done"
    calls[0] = 0
    with pytest.raises(TransientError):
        patience.retry(call, Side.DESTINATION)
    assert calls[0] == 2


def test_a_call_that_asks_nobody_is_no_sign_that_somebody_is_there() -> None:
    patience = patient(Time())
    patience.retry(lambda: None, Side.DESTINATION, answers=False)

    with pytest.raises(TransientError) as caught:
        patience.retry(failing(3, TransientError("refused")), Side.DESTINATION)

    assert caught.value.side is Side.DESTINATION


def test_an_error_that_knows_its_side_is_judged_by_that() -> None:
    patience = patient(Time())
    patience.retry(lambda: None, Side.SOURCE)
    unanswered = failing(8, TransientError("reset"))

    def from_source() -> str:
        with at(Side.SOURCE):
            return unanswered()

    assert patience.retry(from_source, Side.DESTINATION) == "done"


def test_pauses_are_jittered_downwards() -> None:
    time = Time()
    patience = Patience(Rule(first_pause=1), clock=time, sleep=time.sleep, chance=lambda: 0.0)

    patience.retry(failing(1, TransientError("x", answered=True)), Side.SOURCE)

    assert time.pauses == [0.5]


def test_the_peers_wish_is_obeyed_up_to_a_ceiling() -> None:
    time = Time()
    patience = patient(time, give_up_after=10_000)

    patience.retry(failing(1, TransientError("busy", retry_after=7, answered=True)), Side.SOURCE)
    patience.retry(failing(1, TransientError("busy", retry_after=600, answered=True)), Side.SOURCE)
    with pytest.raises(TransientError):
        patience.retry(failing(1, TransientError("busy", retry_after=601, answered=True)), Side.SOURCE)

    assert time.pauses == [7, 600]


def test_a_wish_longer_than_the_budget_ends_at_once() -> None:
    time = Time()

    with pytest.raises(TransientError):
        patient(time, give_up_after=60).retry(
            failing(1, TransientError("busy", retry_after=120, answered=True)), Side.SOURCE
        )

    assert time.pauses == []


def test_other_errors_are_never_retried() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise DeniedError("certificate")

    with pytest.raises(DeniedError):
        patient(Time()).retry(call, Side.SOURCE)

    assert len(calls) == 1


def test_a_stop_ends_the_pause_with_the_error() -> None:
    patience = Patience(Rule(first_pause=30, longest_pause=30))
    patience.stop.set()

    with pytest.raises(TransientError, match="reset"):
        patience.retry(failing(1, TransientError("reset", answered=True)), Side.SOURCE)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidError):
        Rule(first_pause=0)
    with pytest.raises(InvalidError):
        Rule(first_pause=5, longest_pause=1)


def test_the_same_reason_is_told_once_in_a_while() -> None:
    time = Time()
    told: list[str] = []
    patience = Patience(Rule(first_pause=1, longest_pause=4), clock=time, sleep=time.sleep, note=told.append)
    for reason in ("busy", "busy", "reset", "busy"):
        patience.retry(failing(1, TransientError(reason, answered=True)), Side.SOURCE)
    time.now += 60
    patience.retry(failing(1, TransientError("busy", answered=True)), Side.SOURCE)

    assert [text.partition(";")[0] for text in told] == ["busy", "reset", "busy", "busy"]


def test_of_copies_that_wait_for_one_host_one_says_so() -> None:
    time = Time()
    told: list[str] = []
    first, second = (Patience(clock=time, sleep=time.sleep, note=told.append) for _ in range(2))
    second.hosts = first.hosts
    for patience in (first, second):
        patience.retry(failing(1, TransientError("busy", answered=True)), Side.SOURCE)

    assert len(told) == 1
