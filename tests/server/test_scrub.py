"""Blobs are read again, slowly, in the background; damage is told and counted, and nothing is changed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken import Broken
from depots import Turned, on_disk
from peers import http_call
from test_depot_contract import WEIGHTS, published, put

from registry.disk import system as calls
from registry.model.digests import Digest
from registry.server.check import Check
from registry.server.depot import DiskDepot
from registry.server.principal import Right
from registry.server.scrub import Scrub
from registry.server.service import Plan, Service

DIGEST = Digest.of(WEIGHTS)
DAY = 86_400.0
MONTH = 30 * DAY
FAST = 10**12


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[DiskDepot]:
    made = on_disk(tmp_path, Turned())
    published(made)
    yield made
    made.engine.dispose()


def damage(depot: DiskDepot) -> None:
    path = depot.directory / depot.blobs.name(DIGEST)
    path.chmod(0o600)
    path.write_bytes(b"x" + WEIGHTS[1:])


def later(depot: DiskDepot, seconds: float) -> None:
    assert isinstance(depot.clock, Turned)
    depot.clock.seconds += seconds


def test_each_blob_is_read_once_a_month(depot: DiskDepot) -> None:
    told: list[str] = []
    noted: list[str] = []
    scrub = Scrub(depot, MONTH, told.append, noted.append, FAST)
    assert not scrub.step()  # they were hashed when they came
    later(depot, MONTH)
    put(depot, b"fresh")
    assert scrub.step()
    assert (scrub.blobs, scrub.damaged) == (2, {})
    assert not scrub.step()
    assert (told, noted) == ([], ["scrub: 2 blobs read, 0 damaged"])
    later(depot, MONTH / 2)
    assert not Scrub(depot, MONTH, told.append, noted.append, FAST).step()  # a restart begins nothing anew
    later(depot, MONTH / 2)
    while scrub.step():
        pass
    assert scrub.blobs == 5


def test_what_was_read_while_the_clock_was_ahead_is_read_again(depot: DiskDepot) -> None:
    scrub = Scrub(depot, MONTH, list[str]().append, list[str]().append, FAST)
    later(depot, 12 * MONTH)
    while scrub.step():
        pass
    later(depot, -12 * MONTH)
    assert scrub.step()
    assert not scrub.step()


def test_damage_is_told_and_counted_and_nothing_is_changed(depot: DiskDepot) -> None:
    told: list[str] = []
    noted: list[str] = []
    scrub = Scrub(depot, MONTH, told.append, noted.append, FAST)
    damage(depot)
    later(depot, MONTH)
    while scrub.step():
        pass
    assert [f"{DIGEST} is not as it should be (digest), needed by acme/tiny:1" in each for each in told] == [
        True
    ]
    assert len(noted) == 1
    assert "check --hash --repair" in told[0]
    assert scrub.numbers()["ferry_scrub_damaged"][1] == 1
    assert depot.blob("acme/tiny", DIGEST) is not None  # a person decides
    (depot.directory / depot.blobs.name(DIGEST)).write_bytes(WEIGHTS)
    later(depot, MONTH)
    while scrub.step():
        pass
    assert scrub.numbers()["ferry_scrub_damaged"][1] == 0


def test_damage_is_told_each_day_also_after_a_restart_until_somebody_repairs_it(depot: DiskDepot) -> None:
    told: list[str] = []

    def begun() -> Scrub:
        return Scrub(depot, MONTH, told.append, lambda _: None, FAST)

    def counted(scrub: Scrub) -> float:
        while scrub.step():
            pass
        return scrub.numbers()["ferry_scrub_damaged"][1]

    damage(depot)
    later(depot, MONTH)
    scrub = begun()
    assert (counted(scrub), counted(begun()), len(told)) == (1, 0, 1)
    later(depot, DAY)
    again, healed = begun(), begun()
    assert (counted(again), len(told)) == (1, 2)
    check = Check(depot, hashing=True)
    assert check.repair(list(check.findings())) == 1
    assert counted(again) == 0  # hidden: nobody is given it any more
    put(depot, WEIGHTS)
    assert (counted(again), counted(healed)) == (0, 0)


def test_a_blob_that_the_disk_cannot_read_is_told_as_that(
    depot: DiskDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    later(depot, MONTH)
    monkeypatch.setattr(calls, "system", Broken("open", errno.EIO))
    assert Scrub(depot, MONTH, told.append, told.append, FAST).step()
    assert all("the disk reports an error" in each and "--repair" not in each for each in told)
    assert told


def test_what_is_deleted_while_it_is_read_is_no_damage(
    depot: DiskDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrub = Scrub(depot, MONTH, pytest.fail, pytest.fail, FAST)
    due = [(Digest.of(b"gone a moment ago"), 17)]
    monkeypatch.setattr(scrub.__class__, "_due", lambda _: due)
    assert scrub.step()
    assert scrub.damaged == {}


def test_it_reads_no_faster_than_it_may_and_ends_in_the_middle_of_a_blob(
    depot: DiskDepot, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            if len(waits) == 3:
                self.set()
            return self.is_set()

    big = put(depot, bytes(5 * 1024 * 1024))
    damage(depot)
    later(depot, MONTH)
    scrub = Scrub(depot, MONTH, pytest.fail, pytest.fail, 2 * 1024 * 1024, Event())
    monkeypatch.setattr(scrub.__class__, "_due", lambda _: [(big, 5 * 1024 * 1024), (DIGEST, len(WEIGHTS))])
    scrub.step()
    assert waits == [0.5, 0.5, 0.5]  # seconds for each MiB
    assert scrub.blobs == 0


def test_a_served_registry_scrubs_by_itself_and_its_metrics_say_so(tmp_path: Path) -> None:
    told: list[str] = []
    heard = threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        heard.set()

    service = Service(Plan(tmp_path / "data", anonymous=Right.WRITE, scrub=1e-6, told=tell))
    published(service.registry.depot)
    damage(service.registry.depot)
    url = service.start()
    try:
        assert heard.wait(30)
        text = http_call("GET", f"{url}/metrics").body.decode()
    finally:
        service.stop()
    assert "ferry_scrub_damaged 1.0" in text
    assert str(DIGEST) in told[0]
