#!/usr/bin/env python3
"""Every figure that issue 16 asks of pulls and pushes, measured and judged, in about ten minutes.

    PATH=…/peers:$PATH python tests/benchmarks/figures.py [--runs 3] [--only tls,push,plain,layers]

Each line has what was asked, what Ferry reached, and what the bare loop reaches beside the same peer
(`baseline.py`: no guarantees, its own start included, as Ferry's is). Where the bare loop misses what was
asked too, a program in Python cannot reach it: that is said as the limit. Nothing here fails a test run.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_push import Row, prepare, run, scratch_in, size_of, table

OTHERS = ("crane", "oras")


@dataclass(frozen=True)
class Measured:
    """The rows of one part; times and processor seconds are medians."""

    rows: Sequence[Row]

    def seconds(self, work: str, tls: str, *clients: str) -> float:
        """The fastest of `clients`."""
        return min(statistics.median(row.seconds) for row in self._of(work, tls, clients))

    def cpu(self, work: str, tls: str, client: str) -> float:
        return min(statistics.median(row.cpu) for row in self._of(work, tls, (client,)))

    def _of(self, work: str, tls: str, clients: Sequence[str]) -> Iterator[Row]:
        for row in self.rows:
            if (row.work, row.tls) == (work, tls) and row.client in clients:
                if not row.seconds:
                    sys.exit(f"{work} {tls} {row.client}: {row.failed}")
                yield row


@dataclass(frozen=True)
class Figure:
    """One thing that is asked for: no more than `asked`."""

    what: str
    asked: float
    ferry: float
    loop: float | None = None  # what the bare loop reaches; None where it is what Ferry is compared with

    def __str__(self) -> str:
        loop = "" if self.loop is None else f"{self.loop:9.2f}"
        return f"{self.what:52} {self.asked:6.2f} {self.ferry:7.2f} {loop:>9}  {self._verdict}"

    @property
    def _verdict(self) -> str:
        if round(self.ferry, 2) <= self.asked:
            return "reached"
        limit = self.loop is not None and round(self.loop, 2) > self.asked
        return "limit: the bare loop misses it too" if limit else "missed"


def beside(found: Measured, what: str, asked: float, work: str, tls: str, *peers: str) -> Figure:
    """Ferry's time, and the bare loop's, as multiples of the fastest peer's."""
    peer = found.seconds(work, tls, *peers)
    ferry, loop = (found.seconds(work, tls, client) / peer for client in ("ferry", "loop"))
    return Figure(what, asked, ferry, loop)


def tls(found: Measured) -> Iterator[Figure]:
    for door, name, asked in (
        ("own", "v3's own TLS", 0.9),
        ("nginx", "nginx, buffering on", 1.0),
        ("nginx-off", "nginx, records of 4 KiB", 1.25),
    ):
        ratio = found.seconds("pull", door, "ferry") / found.seconds("pull", door, "loop")
        yield Figure(f"HTTPS pull, {name}: x the bare loop", 1.15, ratio)
        yield beside(found, f"HTTPS pull, {name}: x crane or oras", asked, "pull", door, *OTHERS)


def push(found: Measured) -> Iterator[Figure]:
    for door, name in (("own", "v3's own TLS"), ("nginx", "nginx, buffering on")):
        yield beside(found, f"HTTPS push, {name}: x crane or oras", 0.95, "push", door, *OTHERS)


def plain(found: Measured) -> Iterator[Figure]:
    yield beside(found, "plain pull of 2 GiB: x crane or oras", 0.75, "pull", "", *OTHERS)
    yield beside(found, "plain pull of 2 GiB: x curl", 1.5, "pull", "", "curl")
    ferry, loop = (found.cpu("pull", "", client) for client in ("ferry", "loop"))
    yield Figure("plain pull of 2 GiB: CPU seconds", 3.2, ferry, loop)


def layers(found: Measured) -> Iterator[Figure]:
    for work in ("pull", "push"):
        yield beside(found, f"2,000 layers of 64 KiB, {work}: x oras", 1.0, work, "", "oras")


@dataclass(frozen=True)
class Part:
    """What is measured together, turn by turn, and what is read from it."""

    figures: Callable[[Measured], Iterator[Figure]]
    work: Sequence[str]
    doors: Sequence[str]
    clients: Sequence[str]
    size: int
    layers: int = 1

    def measured(self, runs: int, place: Path) -> Measured:
        options = argparse.Namespace(
            work=self.work,
            server=["registry"],
            client=self.clients,
            tls=self.doors,
            size=self.size,
            layers=self.layers,
            runs=runs,
        )
        with scratch_in(place) as scratch:
            return Measured(run(options, scratch))


FOUR = ("ferry", "loop", *OTHERS)
PARTS = {
    "tls": Part(tls, ["pull"], ["own", "nginx", "nginx-off"], FOUR, size_of("1G")),
    "push": Part(push, ["push"], ["own", "nginx"], FOUR, size_of("1G")),
    "plain": Part(plain, ["pull"], [""], (*FOUR, "curl"), size_of("2G")),
    "layers": Part(layers, ["pull", "push"], [""], ("ferry", "loop", "oras"), size_of("64K"), 2000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="a memory-backed directory")
    options = parser.parse_args()
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place, began = Path(tempfile.mkdtemp(prefix="ferry-bench-", dir=options.place)), time.monotonic()
    figures: list[Figure] = []
    try:
        for name in options.only:
            found = PARTS[name].measured(options.runs, place)
            print(table(found.rows), end="\n\n")
            figures += PARTS[name].figures(found)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{'':52} {'asked':>6} {'ferry':>7} {'bare loop':>9}  medians of {options.runs}")
    print("\n".join(map(str, figures)))
    print(f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
