"""ferry mirror as a process: a service that ends well, killed at any moment, beside a registry that restarts.

By hand, for long: pytest tests/cli/test_mirror_processes.py --runs 100
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Registry, ferry_server, free_port, http_call
from person import Ferry, quick
from sample_models import Model, get, put

from registry.auth.credentials import Credentials
from registry.connect import HostSettings, Registries
from registry.errors import NotFoundError
from registry.model.names import Name

MODELS = 6  # more than move at once
SIZE = 400_000
RATE = "8M"  # bytes a second: the whole of it takes about half a second
ARRIVES = 0.9  # seconds within which a mirror is killed
SHARED = Model.random(99, SIZE)


def model(number: int) -> Model:
    """Each with a large blob of its own, and one that all share."""
    own = Model.random(number, SIZE)
    return Model.of(*(data for each in (own, SHARED) for data in each.blobs.values() if len(data) == SIZE))


@pytest.fixture
def connections() -> Iterator[Registries]:
    opened = Registries(lambda _: HostSettings(), Credentials())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def source(lab_registry: Registry) -> str:
    """A namespace of so many models."""
    opened = Registries(lambda _: HostSettings(), Credentials())
    for number in range(MODELS):
        name = Name.parse(f"{lab_registry.host}/killed/m{number}:1")
        put(opened.remote(name), name, model(number))
    opened.close()
    return f"{lab_registry.host}/killed"


def names(host: str, namespace: str) -> list[Name]:
    return [Name.parse(f"{host}/{namespace}/m{number}:1") for number in range(MODELS)]


def check_what_is_there(connections: Registries, there: list[Name]) -> int:
    """Every name that is there is whole; how many are."""
    found = 0
    for number, name in enumerate(there):
        remote = connections.remote(name)
        with contextlib.suppress(NotFoundError):
            assert remote.resolve(name).raw == model(number).manifest.raw
            assert get(remote, name) == model(number)
            found += 1
    return found


def wait_for(registry: Registry, namespace: str) -> None:
    """Until the first byte for a namespace has come: then both ends have answered."""
    place = registry.data / "docker" / "registry" / "v2" / "repositories" / namespace
    deadline = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def words(source: str, destination: str, *more: str) -> list[str]:
    return ["mirror", source, destination, "--keep-going", "--format", "json", *more]


@pytest.mark.seeds(1)
def test_a_mirror_of_many_that_is_killed_twice_is_finished_by_the_third(
    seed: int, source: str, docker_registry: Registry, connections: Registries, ferry: Ferry
) -> None:
    chance = random.Random(seed)
    namespace = f"seed-{seed}"
    there = names(docker_registry.host, namespace)
    destination = f"{docker_registry.host}/{namespace}"

    for _ in range(2):
        process = ferry.start(*words(source, destination, "--limit-rate", RATE))
        time.sleep(0.25 + chance.uniform(0, ARRIVES))
        process.kill()
        process.communicate()
        check_what_is_there(connections, there)
    done = ferry(*words(source, destination)).well()

    assert check_what_is_there(connections, there) == MODELS
    assert {row["how"] for row in done.json} <= {"copied", "present"}
    assert len(done.json) == MODELS


def test_a_source_that_restarts_in_the_middle_costs_no_name(
    docker_registry: Registry, connections: Registries, ferry: Ferry, tmp_path: Path
) -> None:
    port = free_port()
    with ferry_server(tmp_path / "far", port=port) as far:
        for number, name in enumerate(names(far.host, "up")):
            put(connections.remote(name), name, model(number))
        process = ferry.start(
            *words(f"{far.host}/up", f"{docker_registry.host}/restarted", "--limit-rate", RATE)
        )
        wait_for(docker_registry, "restarted")
    with ferry_server(tmp_path / "far", port=port):
        out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert {row["how"] for row in json.loads(out)} == {"copied"}
    assert check_what_is_there(connections, names(docker_registry.host, "restarted")) == MODELS


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    """The first lines of a process's output, within 30 s."""
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    assert process.stdout is not None
    found = [process.stdout.readline() for _ in range(count)]
    watchdog.cancel()
    return found


@pytest.fixture
def watching(
    source: str, docker_registry: Registry, ferry: Ferry
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> subprocess.Popen[str]:
        there = f"{docker_registry.host}/watched"
        running.append(ferry.start("mirror", source, there, "--watch", "1s", *more, program=quick()))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_a_watch_says_one_line_a_round_tells_its_numbers_and_ends_with_0(
    watching: Callable[..., subprocess.Popen[str]], source: str
) -> None:
    port = free_port()
    process = watching("--format", "json", "--metrics-listen", f"127.0.0.1:{port}")

    first, second = (json.loads(line) for line in lines_of(process, 2))
    page = http_call("GET", f"http://127.0.0.1:{port}/metrics")
    elsewhere = http_call("GET", f"http://127.0.0.1:{port}/")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)

    assert first["copied"] + first["present"] == MODELS
    assert (second["copied"], second["present"], second["failed"]) == (0, MODELS, 0)
    assert second["failures"] == []
    assert process.returncode == 0, err
    assert (page.status, elsewhere.status) == (200, 404)
    text = page.body.decode()
    pattern = rf'^ferry_mirror_last_success_timestamp_seconds{{source="{re.escape(source)}/m0"}} \d{{10}}\.'
    assert re.search(pattern, text, re.MULTILINE)
    assert re.search(r"^ferry_mirror_rounds_total [12]$", text, re.MULTILINE)


def test_a_signal_in_the_middle_of_a_round_ends_a_watch_with_0_too(
    docker_registry: Registry, source: str, ferry: Ferry
) -> None:
    process = ferry.start(
        "mirror", source, f"{docker_registry.host}/slow", "--watch", "1h", "--limit-rate", "100K"
    )
    wait_for(docker_registry, "slow")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert out == ""
    assert "told to stop" in err


def test_a_watch_that_is_stopped_before_its_first_round_ends_with_0_too(ferry: Ferry, tmp_path: Path) -> None:
    """It reads its file, which is a pipe from which nothing comes yet."""
    pipe = tmp_path / "sync.toml"
    os.mkfifo(pipe)
    process = ferry.start("mirror", "--file", pipe, "--watch", "1h")

    with pipe.open("wb"):  # opened once it reads
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
