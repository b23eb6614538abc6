#!/usr/bin/env python3
"""Moves one model over a slow or distant link, and prints how much of it was used.

    PATH=…/peers:$PATH python tests/benchmarks/slow_link.py [--each 20] [--total 0] [--round-trip 0]
        [--work pull,push] [--client ferry,curl,…] [--size 1G] [--runs 3] [--json FILE] [--tls nginx]

Rates are MB/s, for each connection and for all together (0: no limit), the round trip milliseconds. The proxy
of the fault tests stands in front of registry v3, and with `--tls` nginx in front of both (`nginx-off`:
without `proxy_buffering`). Runs alternate. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import (
    REPOSITORY,
    Job,
    Task,
    aria2c_pull,
    curl_pull,
    curl_push,
    ferry_pull,
    ferry_push,
    oras_push,
)
from doors import door
from faultplan import Link
from faultproxy import FaultProxy
from load import Load, fill, make_load
from peers import cncf_registry
from pull_push import Row, measure, prepare, scratch_in, size_of

MB = 1e6


def with_jobs(count: int) -> Callable[[Task], Job]:
    def pull(task: Task) -> Job:
        job = ferry_pull(task)
        return replace(job, command=[*job.command, "--jobs", str(count)])

    return pull


def eight_of_aria2c(task: Task) -> Job | None:
    job = aria2c_pull(task)
    words = {"--split=4": "--split=8", "--max-connection-per-server=4": "--max-connection-per-server=8"}
    return job and replace(job, command=[words.get(str(word), word) for word in job.command])


CLIENTS: dict[str, dict[str, Callable[[Task], Job | None]]] = {
    "pull": {
        "ferry --jobs 1": with_jobs(1),
        "ferry --jobs 8": with_jobs(8),
        "ferry": ferry_pull,
        "curl": curl_pull,
        "aria2c, 8": eight_of_aria2c,
    },
    "push": {"ferry": ferry_push, "curl": curl_push, "oras": oras_push},
}


def once(row: Row, load: Load, link: Link, place: Path) -> None:
    """One run, over a new link to a new registry: empty for a push, full for a pull."""
    with scratch_in(place) as scratch, cncf_registry("registry", scratch / "registry") as registry:
        if row.work == "pull":
            fill(registry, load, REPOSITORY)
        with FaultProxy(link=link) as proxy:
            proxy.upstream = ("127.0.0.1", int(registry.host.rpartition(":")[2]))
            slow = replace(registry, host=f"127.0.0.1:{proxy.port}")
            with door(row.tls, slow, scratch / "door") as way:
                job = CLIENTS[row.work][row.client](Task(load, slow, way, scratch))
                assert job is not None
                measure(job, row, way.pid, scratch)


def listed(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=float, default=0, help="MB/s of each connection")
    parser.add_argument("--total", type=float, default=0, help="MB/s of all together")
    parser.add_argument("--round-trip", type=float, default=0, help="milliseconds")
    parser.add_argument("--work", type=listed, default=["pull", "push"], help="pull, push")
    parser.add_argument("--client", type=listed, help="which ones; all if not given")
    parser.add_argument("--tls", default="", choices=("nginx", "nginx-off"), help="over HTTPS")
    parser.add_argument("--size", type=size_of, default=size_of("1G"), help="bytes (K, M, G)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    parser.add_argument("--json", type=Path, help="write every figure there too")
    options = parser.parse_args()
    link = Link(options.each * MB, options.total * MB, options.round_trip / 1000)
    rows = [
        Row(work, "registry", client, options.size, options.tls)
        for work in options.work
        for client in CLIENTS[work]
        if not options.client or client in options.client
    ]
    prepare()
    place = Path(tempfile.mkdtemp(prefix="ferry-bench-", dir=options.place))
    try:
        load = make_load(place, 1, options.size)
        for _ in range(options.runs):
            for row in rows:
                once(row, load, link, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(
        f"{options.size} bytes, {options.each:g} MB/s each, {options.total:g} MB/s together,"
        f" {options.round_trip:g} ms, {options.runs} runs"
    )
    print(
        f"{'work':5} {'client':16} {'median s':>9} {'MB/s':>7} {'connections full':>17} {'of the link':>12}"
    )
    for row in rows:
        seconds = statistics.median(row.seconds) if row.seconds else float("nan")
        rate = row.size / seconds / MB
        streams = f"{rate / options.each:17.1f}" if options.each else " " * 17
        share = f"{rate / options.total:12.2f}" if options.total else ""
        print(f"{row.work:5} {row.client:16} {seconds:9.2f} {rate:7.0f} {streams} {share} {row.failed}")
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
