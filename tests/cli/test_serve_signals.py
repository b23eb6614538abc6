"""What `ferry serve` is told by signals, also where one lands at the worst instant."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
from certificates import write_certificate

from cli import serving


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[serving.ServerSignals]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(serving, "_LOOK_EVERY", 0.01)
    yield serving.ServerSignals()
    for number, handler in before.items():
        signal.signal(number, handler)


class LateQueue:
    """A queue into which a signal's number is put only once a wait has ended: the signal did not end it."""

    def __init__(self, number: int) -> None:
        self.number: int | None = None
        self.late = number

    def get(self, timeout: float) -> int:
        if self.number is None:
            self.number = self.late
            time.sleep(timeout)
            raise Empty
        return self.number


def test_a_signal_that_ends_no_wait_is_noticed_by_the_next(signals: serving.ServerSignals) -> None:
    signals._told = LateQueue(signal.SIGTERM)  # type: ignore[assignment]  # a signal at the worst instant

    assert signals.stopped(2.0, lambda: None)


def test_sighup_reads_again_and_sigterm_ends(signals: serving.ServerSignals) -> None:
    again: list[int] = []
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)

    assert signals.stopped(60.0, lambda: again.append(1))
    assert again == [1, 1]


def test_without_a_signal_the_time_passes(signals: serving.ServerSignals) -> None:
    looked: list[int] = []

    assert not signals.stopped(0.03, lambda: None, lambda: looked.append(1))
    assert looked


def test_a_certificate_whose_end_is_near_is_told_once_a_day_and_when_it_is_read_again(tmp_path: Path) -> None:
    write_certificate(tmp_path, until=0.1)
    now, told = time.time(), list[str]()
    dates = serving.CertificateDates(tmp_path / "cert.pem", told.append, lambda: now)

    dates.look()
    now += 86_000
    dates.look()
    assert [("is good until" in each) for each in told] == [True]
    now += 400
    dates.look()
    assert "was good until" in told[1]
    dates.look(anew=True)
    assert len(told) == 3
    (tmp_path / "cert.pem").unlink()  # it is being replaced
    dates.look(anew=True)
    assert len(told) == 3
