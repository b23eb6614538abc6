#!/usr/bin/env python3
"""How long the sign-in page takes while very many clients pull: it should come within 50 ms.

    PATH=…/peers:$PATH python tests/benchmarks/sign_in_page.py [--clients 100] [--size 100M] [--asks 200]

The clients are those of `many_clients`, in a process of their own; they pull one model from `ferry serve` as
fast as it comes, over and over. Meanwhile this process asks for the page on one connection, and prints
milliseconds alone and beside the clients: the median, the 99th percentile. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import REPOSITORY
from load import Load, fill, make_load
from many_clients import Row, pull
from peers import Registry, ferry_command, ferry_server
from pull_push import prepare, size_of

PAUSE = 0.02  # seconds between two asks: a person, not a second load


def pull_on(registry: Registry, load: Load, clients: int, begun: Event, enough: Event) -> None:
    """Pull over and over until it is enough."""
    while not enough.is_set():
        begun.set()
        pull(registry, load, clients, Row("ferry"))


def ask(host: str, times: int) -> list[float]:
    """Milliseconds of each answer."""
    name, _, port = host.rpartition(":")
    connection = http.client.HTTPConnection(name, int(port))
    took = []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("GET", "/signin")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(PAUSE)
    connection.close()
    return took


def line(name: str, took: list[float]) -> str:
    took = sorted(took)
    return f"| {name} | {statistics.median(took):.1f} | {took[int(len(took) * 0.99)]:.1f} |"


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--size", type=size_of, default=size_of("100M"), help="bytes of the model (K, M, G)")
    parser.add_argument("--asks", type=int, default=200)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    told = parser.parse_args()
    prepare()
    place = Path(tempfile.mkdtemp(prefix="ferry-sign-in-", dir=told.place))
    fork = multiprocessing.get_context("fork")  # what it is given cannot be sent
    begun, enough = fork.Event(), fork.Event()
    try:
        load = make_load(place, 1, told.size)
        with ferry_server(place / "serve", program=ferry_command()) as registry:
            fill(registry, load, REPOSITORY)
            ask(registry.host, 5)
            alone = ask(registry.host, told.asks)
            others = fork.Process(target=pull_on, args=(registry, load, told.clients, begun, enough))
            others.start()
            begun.wait()
            time.sleep(0.5)
            beside = ask(registry.host, told.asks)
            enough.set()
            others.join()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print("| GET /signin | median ms | 99th percentile ms |\n| --- | ---: | ---: |")
    print(line("alone", alone))
    print(line(f"beside {told.clients} pulling clients", beside))


if __name__ == "__main__":
    main()
