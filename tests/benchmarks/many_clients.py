#!/usr/bin/env python3
"""Very many clients pull one model at once from `ferry serve` and from registry v3, in turn.

    PATH=…/peers:$PATH python tests/benchmarks/many_clients.py [--clients 200] [--size 100M] [--runs 3]
        [--server registry,ferry] [--json FILE]

A client is one connection: it asks for the manifest, then for every blob, and hashes what comes; nothing is
written. A few threads drive all of them, so that it is the server that is measured. Every client begins at
the same moment. Beside bytes a second stand the time of the slowest client, the server's processor seconds
for a gigabyte, and the most memory its process ever had. Answers that are no 200 and bodies that are not the
digest's are counted; there should be none. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import selectors
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import REPOSITORY
from load import MANIFEST, TAG, Load, fill, make_load
from peers import Registry
from pull_push import peak_mib, prepare, server, size_of
from small_requests import used

THREADS = 4
PIECE = 256 * 1024
PATIENCE = 300  # seconds without a byte for anybody
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_HEAD_BYTES = 16 * 1024


@dataclass
class Row:
    """One server: megabytes a second of all clients together, seconds of the slowest, and what it cost."""

    server: str
    rate: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Client:
    """One connection that asks for one thing after the other."""

    def __init__(self, host: str, load: Load) -> None:
        self.socket = socket.socket()
        name, _, port = host.rpartition(":")
        self.socket.connect((name, int(port)))
        self.socket.setblocking(False)
        self.wrong = ""
        self.took = 0.0
        self._host = host
        manifest = "sha256:" + hashlib.sha256(load.manifest).hexdigest()
        paths = [(f"manifests/{TAG}", manifest), *((f"blobs/{each}", each) for each, _ in load.blobs)]
        self._wanted: Iterator[tuple[str, str]] = iter(paths)
        self._digest = ""
        self._head = b""
        self._left = 0
        self._seen = hashlib.sha256()

    def ask(self) -> bool:
        """The next thing; False if that was all."""
        path, self._digest = next(self._wanted, ("", ""))
        if not path:
            return False
        self._head, self._left, self._seen = b"", 0, hashlib.sha256()
        words = f"GET /v2/{REPOSITORY}/{path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {MANIFEST}\r\n\r\n"
        self.socket.send(words.encode())
        return True

    def read(self, piece: memoryview) -> bool:
        """Take what is there; False at the end, or when it went wrong."""
        try:
            count = self.socket.recv_into(piece)
        except BlockingIOError:
            return True
        except OSError as error:
            return self._failed(str(error))
        if not count:
            return self._failed("the connection was closed")
        data = piece[:count]
        if not self._left:
            return self._begin(bytes(data))
        return self._take(data)

    def _begin(self, data: bytes) -> bool:
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return len(self._head) < _HEAD_BYTES or self._failed("a head without an end")
        length = _LENGTH.search(head)
        if b" 200 " not in head[:16] or length is None:
            return self._failed(head[:60].decode("latin-1").splitlines()[0])
        self._left = int(length[1])
        return self._take(memoryview(body))

    def _take(self, data: memoryview) -> bool:
        self._seen.update(data)
        self._left -= len(data)
        if self._left > 0:
            return True
        if self._left < 0 or "sha256:" + self._seen.hexdigest() != self._digest:
            return self._failed(f"other bytes than those of {self._digest[:19]}")
        return self.ask()

    def _failed(self, why: str) -> bool:
        self.wrong = why
        return False


def drive(clients: list[Client], together: threading.Barrier) -> None:
    """All of these, to their ends."""
    piece = memoryview(bytearray(PIECE))
    with selectors.DefaultSelector() as waiting:
        for each in clients:
            waiting.register(each.socket, selectors.EVENT_READ, each)
        together.wait()
        began = time.monotonic()
        for each in clients:
            each.ask()
        while waiting.get_map():
            ready = waiting.select(PATIENCE)
            if not ready:
                for each in clients:
                    each.wrong = each.wrong or ("" if each.took else f"nothing came for {PATIENCE} s")
                return
            for key, _ in ready:
                if not key.data.read(piece):
                    key.data.took = time.monotonic() - began
                    waiting.unregister(key.fileobj)


def pull(registry: Registry, load: Load, count: int, row: Row) -> None:
    """One run of one row."""
    clients = [Client(registry.host, load) for _ in range(count)]
    together = threading.Barrier(THREADS)
    threads = [
        threading.Thread(target=drive, args=(clients[each::THREADS], together)) for each in range(THREADS)
    ]
    before, began = used(registry.process.pid), time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    seconds = time.monotonic() - began
    for client in clients:
        client.socket.close()
    moved = load.size * count
    row.rate.append(moved / seconds / 1e6)
    row.slowest.append(max(client.took for client in clients))
    row.cpu.append((used(registry.process.pid) - before) / (moved / 1e9))
    row.rss_mib.append(peak_mib(registry.process.pid))
    row.wrong += [client.wrong for client in clients if client.wrong]


def table(rows: list[Row]) -> str:
    lines = [
        "| server | MB/s | slowest s | CPU s per GB | peak MiB | not whole |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        rate, slowest, cpu = (statistics.median(each) for each in (row.rate, row.slowest, row.cpu))
        figures = f"{rate:,.0f} | {slowest:.1f} | {cpu:.2f} | {max(row.rss_mib):.0f} | {len(row.wrong)}"
        lines.append(f"| {row.server} | {figures} |")
    return "\n".join([*lines, *sorted({f"{row.server}: {why}" for row in rows for why in row.wrong})])


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--size", type=size_of, default=size_of("100M"), help="bytes of the model (K, M, G)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server", type=lambda text: text.split(","), default=["registry", "ferry"])
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    prepare()
    place = Path(tempfile.mkdtemp(prefix="ferry-clients-", dir=told.place))
    rows = [Row(kind) for kind in told.server]
    try:
        load = make_load(place, 1, told.size)
        with contextlib.ExitStack() as stack:
            registries = [stack.enter_context(server(row.server, place)) for row in rows]
            for registry in registries:
                fill(registry, load, REPOSITORY)
            for number in range(told.runs):
                for row, registry in zip(rows, registries, strict=True):
                    print(row.server, f"{number + 1}/{told.runs}", file=sys.stderr)
                    pull(registry, load, told.clients, row)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(table(rows))
    if told.json:
        told.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
