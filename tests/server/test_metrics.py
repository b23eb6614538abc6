"""What is counted, and under which name: a running service asked over sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import free_port, http_call

from registry.model.digests import Digest
from registry.net.listener.address import Address
from registry.net.listener.record import AccessRecord
from registry.server.principal import Right
from registry.server.service import Plan, Service

DATA = b"x" * 1000
DIGEST = Digest.of(DATA)
BLOB = f"/v2/acme/tiny/blobs/{DIGEST}"


class Running:
    """A lab registry with one blob, and what it told of each request."""

    def __init__(self, directory: Path, metrics: Address | None = None) -> None:
        self.records: list[AccessRecord] = []
        plan = Plan(directory / "data", anonymous=Right.WRITE, record=self.records.append, metrics=metrics)
        self.service = Service(plan)
        self.url = self.service.start()
        http_call("POST", f"{self.url}/v2/acme/tiny/blobs/uploads/?digest={DIGEST}", DATA)

    def metrics(self, url: str = "") -> dict[str, float]:
        answer = http_call("GET", f"{url or self.url}/metrics")
        assert answer.status == 200
        lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in lines}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(metrics: Address | None = None) -> Running:
        started.append(Running(tmp_path, metrics))
        return started[-1]

    yield begin
    for each in started:
        each.service.stop()


def test_each_request_counts_under_its_route_and_a_link_under_its_own(run: Callable[..., Running]) -> None:
    running = run()
    link = http_call("GET", running.url + BLOB).headers["location"]
    for _ in range(2):
        assert http_call("GET", running.url + link).body == DATA

    numbers = running.metrics()

    assert numbers['ferry_requests_total{method="GET",route="blob",status="200"}'] == 1
    assert numbers['ferry_requests_total{method="GET",route="capability",status="200"}'] == 2
    assert numbers['ferry_requests_total{method="POST",route="uploads",status="201"}'] == 1
    assert numbers['ferry_sent_bytes_total{route="capability"}'] == 2 * len(DATA)
    assert numbers['ferry_received_bytes_total{route="uploads"}'] == len(DATA)
    assert numbers['ferry_request_seconds_bucket{le="+Inf",method="GET",route="blob"}'] == 1
    assert {each.repository for each in running.records[:4]} == {"acme/tiny"}


def test_what_is_here_now_is_shown(run: Callable[..., Running]) -> None:
    running = run()
    http_call("POST", f"{running.url}/v2/acme/tiny/blobs/uploads/")

    numbers = running.metrics()

    assert (numbers["ferry_repositories"], numbers["ferry_blobs"], numbers["ferry_uploads"]) == (1, 1, 1)
    assert numbers["ferry_blob_bytes"] == len(DATA)
    assert numbers["ferry_disk_free_bytes"] > 0
    assert numbers["ferry_connections"] >= 1


def test_a_break_in_the_middle_is_counted_with_its_bytes(run: Callable[..., Running]) -> None:
    running = run()
    large = b"\0" * 30_000_000
    digest = Digest.of(large)
    http_call("POST", f"{running.url}/v2/acme/tiny/blobs/uploads/?digest={digest}", large)
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as opened:
        asked = f"GET /v2/acme/tiny/blobs/{digest} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        opened.sendall(asked.encode())
        taken = 0
        while taken < 5_000_000:
            taken += len(opened.recv(1_000_000))
    while len(running.records) < 3:
        http_call("GET", f"{running.url}/healthz")
    numbers = running.metrics()
    assert numbers['ferry_broken_answers_total{route="blob"}'] == 1
    assert 4_000_000 < numbers['ferry_sent_bytes_total{route="blob"}'] < len(large)


def test_metrics_with_an_address_of_their_own_are_at_no_other(run: Callable[..., Running]) -> None:
    port = free_port()
    running = run(Address(port=port))
    assert http_call("GET", f"{running.url}/metrics").status == 404
    assert running.metrics(f"http://127.0.0.1:{port}")["ferry_blobs"] == 1
    assert http_call("GET", f"http://127.0.0.1:{port}/v2/").status == 404
