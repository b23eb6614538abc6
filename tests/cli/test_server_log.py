"""The server's log: a line an event, as text or JSON; nobody waits for its reader."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import NoReturn

import pytest
from peers import ferry_command, free_port, http_call

from cli.log import Log
from registry.net.listener.record import AccessRecord

RECORD = AccessRecord(
    id="0123",
    peer="10.0.0.1",
    address="1.2.3.4",
    method="GET",
    path="/v2/acme/tiny/blobs/x",
    route="blob",
    repository="acme/tiny",
    user="ada",
    credential="SHA256:abc",
    status=200,
    received=0,
    sent=5,
    seconds=0.25,
    whole=False,
)


class Reader:
    """Whoever reads the log, when allowed to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.may_read = threading.Event()
        self.may_read.set()

    def __call__(self, lines: str) -> None:
        assert self.may_read.wait(20)
        self.lines += lines.split("\n")


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    before = {name: logging.getLogger(name) for name in ("registry", "aiohttp", "asyncio")}
    kept = {name: (logger.handlers, logger.propagate) for name, logger in before.items()}
    yield
    for name, (handlers, propagate) in kept.items():
        before[name].handlers, before[name].propagate = handlers, propagate


def test_a_request_is_a_line_of_text(reader: Reader) -> None:
    log = Log(reader, clock=lambda: 0.0).start()
    log.request(RECORD)
    log.close()
    assert reader.lines == [
        "1970-01-01T00:00:00Z 1.2.3.4 ada SHA256:abc GET /v2/acme/tiny/blobs/x 200 0>5 cut 0.250s 0123"
    ]


def test_a_request_is_a_line_of_json_with_everything_but_secrets(reader: Reader) -> None:
    log = Log(reader, as_json=True, clock=lambda: 0.0).start()
    log.request(RECORD)
    log.complain("two\nlines")
    log.close()
    told, complaint = map(json.loads, reader.lines)
    assert told["address"] == "1.2.3.4"
    assert {key: told[key] for key in ("id", "user", "credential", "repository", "whole")} == {
        "id": "0123",
        "user": "ada",
        "credential": "SHA256:abc",
        "repository": "acme/tiny",
        "whole": False,
    }
    assert complaint == {"time": "1970-01-01T00:00:00Z", "level": "error", "message": "two\\nlines"}


def test_nobody_waits_for_the_reader_and_what_is_dropped_is_counted_and_said(reader: Reader) -> None:
    log = Log(reader, most=10, clock=lambda: 0.0).start()
    reader.may_read.clear()
    for _ in range(100):
        log.request(RECORD)
    assert 80 <= log.dropped <= 90  # ten wait, and up to ten were taken out to be written
    assert log.gauges()["ferry_log_lines_dropped"][1] == log.dropped

    reader.may_read.set()
    log.close()

    assert len([line for line in reader.lines if "GET" in line]) == 100 - log.dropped
    assert f"{log.dropped} lines of this log were dropped" in reader.lines[-1]


def test_what_could_not_be_written_is_counted_and_said_when_it_can_be() -> None:
    lines: list[str] = []
    full = threading.Event()
    full.set()
    tried = threading.Semaphore(0)

    def write(text: str) -> bool:
        if not full.is_set():
            lines.extend(text.split("\n"))
        tried.release()
        return not full.is_set()

    log = Log(write, clock=lambda: 0.0).start()
    for _ in range(3):
        log.request(RECORD)
        assert tried.acquire(timeout=20)
    full.clear()
    log.request(RECORD)
    log.close()
    assert len(lines) == 2
    assert "3 lines of this log were dropped" in lines[-1]
    assert log.gauges()["ferry_log_lines_dropped"][1] == 3


def test_what_the_engine_complains_about_is_one_line_too(reader: Reader) -> None:
    log = Log(reader, as_json=True, clock=lambda: 0.0).start()
    try:
        raise ZeroDivisionError("a\nbug")
    except ZeroDivisionError:
        logging.getLogger("aiohttp.server").exception("Unhandled %s", "exception")
    logging.getLogger("asyncio").info("not worth a line")
    log.close()
    [line] = map(json.loads, reader.lines)
    assert line["level"] == "error"
    assert line["message"].startswith("Unhandled exception: ZeroDivisionError: a\\nbug (")
    assert "test_server_log.py:" in line["message"]


def test_quiet_leaves_only_complaints(reader: Reader) -> None:
    log = Log(reader, quiet=True, clock=lambda: 0.0).start()
    log.request(RECORD)
    log.complain("the disk is full")
    log.close()
    assert reader.lines == ["1970-01-01T00:00:00Z error: the disk is full"]


def test_a_line_has_the_time_of_its_event_and_is_spelled_by_the_thread_that_writes_it(reader: Reader) -> None:
    spelled_by: list[str] = []

    def text(request: AccessRecord) -> str:
        spelled_by.append(threading.current_thread().name)
        return request.path

    moments = iter((0.0, 60.0))
    log = Log(reader, text=text, clock=lambda: next(moments)).start()
    log.request(RECORD)
    log.complain("the disk is full")
    log.close()
    assert spelled_by == ["ferry-log"]
    assert reader.lines == [
        "1970-01-01T00:00:00Z /v2/acme/tiny/blobs/x",
        "1970-01-01T00:01:00Z error: the disk is full",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_line_that_cannot_be_made_is_told_and_the_next_ones_are_written(
    reader: Reader, as_json: bool
) -> None:
    def fails(_: AccessRecord) -> NoReturn:
        raise LookupError("no such field")

    log = Log(reader, as_json=as_json, clock=lambda: 0.0, text=fails, fields=fails).start()
    log.request(RECORD)
    log.note("and on it goes")
    log.close()
    told, next_one = reader.lines
    assert "a line of this log could not be made: LookupError('no such field')" in told
    assert "and on it goes" in next_one


def test_a_server_whose_first_lines_find_no_room_serves(tmp_path: Path) -> None:
    port = free_port()
    words = [*ferry_command(), "serve", "--data", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}"]
    with Path("/dev/full").open("w") as full, subprocess.Popen(words, stdout=full, stderr=PIPE) as server:
        assert server.stderr is not None
        assert b"No space left on device" in server.stderr.readline()
        assert http_call("GET", f"http://127.0.0.1:{port}/healthz").status == 200
        server.terminate()
