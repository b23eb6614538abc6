"""The token bucket, and the choice of how many workers."""

from __future__ import annotations

import pytest

from registry.errors import InvalidError
from registry.transfer.limits import Bucket
from registry.transfer.workers import FEWEST, MOST, Workers


class Time:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_holds_within_five_percent_over_ten_seconds() -> None:
    time = Time()
    bucket = Bucket(1_000_000, clock=time, sleep=time.sleep)

    moved = sum(len(piece) for piece in bucket.meter([bytes(300_000)] * 34))

    assert moved == 10_200_000
    assert 0.95 <= moved / (time.now - 50) / 1_000_000 <= 1.05


def test_a_long_silence_does_not_save_up() -> None:
    time = Time()
    bucket = Bucket(1000, clock=time, sleep=time.sleep)
    bucket.take(100)
    time.now += 3600

    before = time.now
    bucket.take(1000)

    assert time.now - before == pytest.approx(0.9)


def test_metered_bytes_are_the_same_bytes() -> None:
    time = Time()
    data = bytes(range(256)) * 1000

    assert b"".join(Bucket(1e9, clock=time, sleep=time.sleep).meter([data, b"", data])) == data + data


def test_no_rate_is_no_limit() -> None:
    with pytest.raises(InvalidError):
        Bucket(0)


def settle(rate_of: dict[int, float], *, seconds: float, wanted: int = 100, busy: float = 0.0) -> int:
    """Where the number of workers settles on a link that gives `rate_of[n]` to n workers.

    The process takes the part `busy` of the machine.
    """
    workers = Workers()
    moved, now = 0.0, 1.0
    while now < seconds:
        workers.measure(now, now * busy, int(moved), 0, wanted)
        now += 0.1
        moved += rate_of[workers.limit] * 0.1
    return workers.limit


def test_a_link_throttled_per_connection_gets_many_workers() -> None:
    assert settle({n: n * 20e6 for n in range(1, 17)}, seconds=5) == MOST


def test_a_link_full_with_two_keeps_two() -> None:
    assert settle({n: min(n, 1.5) * 1e9 for n in range(1, 17)}, seconds=5) == 2


def test_a_link_full_with_one_keeps_a_second_for_the_time_between_answers() -> None:
    assert settle(dict.fromkeys(range(1, 17), 1e9), seconds=5) == 2


def test_a_process_that_keeps_the_machine_busy_gets_no_more() -> None:
    assert settle({n: n * 20e6 for n in range(1, 17)}, seconds=5, busy=0.3) == MOST
    assert settle({n: n * 20e6 for n in range(1, 17)}, seconds=5, busy=0.5) == 2


def test_a_link_full_with_eight_gets_eight() -> None:
    assert settle({n: min(n, 8) * 20e6 for n in range(1, 17)}, seconds=5) == 8


def test_one_slow_moment_does_not_make_more_workers_pay() -> None:
    workers, moved, most = Workers(), 0.0, 0
    for window in range(200):
        workers.measure(1.0 + window / 2, 0.0, int(moved), 0, 100)
        moved += (10e6 if window % 2 and workers.limit == FEWEST else 20e6) / 2
        most = max(most, workers.limit)

    assert most == 2 * FEWEST  # tried, and given up


def test_no_more_workers_than_there_is_work() -> None:
    assert settle({n: n * 20e6 for n in range(1, 17)}, seconds=5, wanted=3) <= 4


def test_many_blobs_begin_with_more() -> None:
    for blobs, expected in ((0, 2), (5, 2), (30, 3), (100, 12), (2000, 16)):
        workers = Workers()
        workers.begin(blobs)
        assert workers.limit == expected


def test_a_fixed_number_is_kept() -> None:
    workers = Workers(fixed=5)
    workers.begin(2000)
    for tenth in range(100):
        workers.measure(tenth / 10, 0.0, tenth * 10**8 * tenth, 0, 100)
    assert workers.limit == 5
