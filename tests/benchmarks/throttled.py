#!/usr/bin/env python3
"""Pulls one model over a link that gives each connection 20 MB/s, and prints how many streams' worth came.

    PATH=…/peers:$PATH python tests/benchmarks/throttled.py [--size 1G] [--rate 20] [--runs 3] [--json FILE]

The proxy of the fault tests stands in front of registry v3 and holds each connection to the rate (nginx
holds each request, and gives its first second at once). Runs alternate; the figure is a ratio to
`ferry pull --jobs 1` in the same run. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import REPOSITORY, Job, Task, aria2c_pull, curl_pull, ferry_pull
from faultproxy import FaultProxy, Link
from load import fill, make_load
from peers import cncf_registry
from pull_push import Row, measure, scratch_in, size_of


def with_jobs(task: Task, count: int) -> Job:
    job = ferry_pull(task)
    return replace(job, command=[*job.command, "--jobs", str(count)])


def eight_of_aria2c(task: Task) -> Job | None:
    job = aria2c_pull(task)
    words = {"--split=4": "--split=8", "--max-connection-per-server=4": "--max-connection-per-server=8"}
    return job and replace(job, command=[words.get(str(word), word) for word in job.command])


CLIENTS = {
    "ferry --jobs 1": lambda task: with_jobs(task, 1),
    "ferry --jobs 8": lambda task: with_jobs(task, 8),
    "ferry": ferry_pull,
    "curl": curl_pull,
    "aria2c, 8": eight_of_aria2c,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=size_of, default=size_of("1G"), help="bytes (K, M, G)")
    parser.add_argument("--rate", type=float, default=20, help="MB a second for each connection")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    parser.add_argument("--json", type=Path, help="write every figure there too")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="ferry-bench-", dir=options.place))
    rows = [Row("pull", "throttled", name, options.size) for name in CLIENTS]
    try:
        load = make_load(place, 1, options.size)
        with (
            cncf_registry("registry", place / "registry") as registry,
            FaultProxy(link=Link(per_connection=options.rate * 1e6)) as proxy,
        ):
            fill(registry, load, REPOSITORY)
            proxy.upstream = ("127.0.0.1", int(registry.host.rpartition(":")[2]))
            slow = replace(registry, host=f"127.0.0.1:{proxy.port}")
            for _ in range(options.runs):
                for row in rows:
                    with scratch_in(place) as scratch:
                        job = CLIENTS[row.client](Task(load, slow, scratch))
                        assert job is not None
                        measure(job, row, slow, scratch)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    one = statistics.median(rows[0].seconds)
    print(f"{options.size} bytes, {options.rate:g} MB/s for each connection, {options.runs} runs")
    print(f"{'client':16} {'median s':>9} {'MB/s':>7} {'times one stream':>17}")
    for row in rows:
        seconds = statistics.median(row.seconds) if row.seconds else float("nan")
        line = f"{row.client:16} {seconds:9.2f} {row.size / seconds / 1e6:7.0f} {one / seconds:17.1f}"
        print(f"{line} {row.failed}")
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
