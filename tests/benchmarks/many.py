#!/usr/bin/env python3
"""What is asked of mirrors of many, of verify and of repair, beside what this machine does, in one table.

    PATH=…/peers:$PATH python tests/benchmarks/many.py [--runs 2] [--size 2G] [--tags 1000] [--place /var/tmp]

Takes about eight minutes on two quiet cores. Where a figure is missed, the line below it says what the bare
work costs that no client can save: `heads.py`, which asks for every tag once at each end and does nothing
else, and plain Python that reads and hashes the same files. Ratios are of medians of runs in turn; `cpu` are
those of processor seconds, which hold on a busy machine too. mirror.py and verify.py have more to choose.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mirror
import verify
from mirror import Bench, Row

AWAY = 20.0  # milliseconds there and back, where registries are far apart
_Seconds = tuple[float, float]  # of the wall, of the processors


@dataclass(frozen=True)
class Figure:
    """One line: what is asked, what was found, and what else there is to say."""

    what: str
    asked: str
    found: str
    good: bool | None = None
    limit: str = ""


def ratio(row: Row, others: list[Row]) -> float:
    """Of the seconds to those of the fastest other."""
    return row.median / min(other.median for other in others if other.seconds)


def models(bench: Bench) -> list[Figure]:
    bench.options.client = ["ferry", "oras", "regctl"]
    bench.models()
    found = []
    for tls in bench.options.tls:
        ferry, *others = (bench.row("models", client, tls) for client in bench.options.client)
        if not ferry.seconds:
            return [Figure("mirror of many models", "", ferry.failed, good=False)]
        what = f"{bench.options.models} models, {bench.options.size}, {'TLS' if tls else 'plain'}"
        found.append(Figure(f"{what}: moved", "1.0", f"{ferry.moved:.2f}", 0.99 < ferry.moved < 1.01))
        best = ratio(ferry, others)
        told = ", ".join(f"{row.client} {row.median:.1f} s" for row in (ferry, *others) if row.seconds)
        found.append(Figure(f"{what}: time", "<= 0.8 of the faster", f"{best:.2f}", best <= 0.8, told))
    return found


def inside(bench: Bench) -> list[Figure]:
    bench.options.client, bench.options.tls, tls = ["ferry"], [""], bench.options.tls
    bench.models(inside=True)
    bench.options.tls = tls
    moved = bench.row("inside", "ferry").moved
    return [Figure("inside one registry: blob bytes", "0", f"{moved:.3f}", moved < 0.001)]


def unchanged(bench: Bench) -> list[Figure]:
    bench.options.client = ["ferry", "regsync"]
    bench.unchanged()
    found = []
    for away, tls in [(0.0, tls) for tls in bench.options.tls] + [(AWAY, "")]:
        ferry, regsync, heads = (
            bench.row(bench.unchanged_at(away), client, tls) for client in ("ferry", "regsync", "heads")
        )
        what = f"{bench.options.tags} tags unchanged, {'TLS' if tls else 'plain'}"
        what += f", {away:.0f} ms away" if away else ""
        if not ferry.seconds:
            found.append(Figure(what, "", ferry.failed, good=False))
            continue
        if not away:
            good = ferry.asked <= bench.options.tags + 10
            found.append(Figure(f"{what}: requests", "<= tags + 10", str(ferry.asked), good))
        if regsync.seconds:
            best, least = ratio(ferry, [regsync]), ratio(heads, [regsync])
            told = f"bare questions {least:.2f} ({heads.median:.1f} s of regsync's {regsync.median:.1f} s)"
            found.append(Figure(f"{what}: time", "<= 0.3 of regsync", f"{best:.2f}", best <= 0.3, told))
    return found


def scale(bench: Bench) -> list[Figure]:
    bench.scale()
    rows = {count: bench.row(f"{count} models", "ferry") for count in bench.counts}
    if any(not row.seconds for row in rows.values()):
        return [Figure("cost per model", "", next(row.failed for row in rows.values() if row.failed), False)]
    few, some, many = ((count, row) for count, row in rows.items())

    def grows(before: tuple[int, Row], after: tuple[int, Row]) -> _Seconds:
        """Seconds that each further model costs."""
        more = after[0] - before[0]
        return (after[1].median - before[1].median) / more, (after[1].used - before[1].used) / more

    first, last = grows(few, some), grows(some, many)
    told = ", ".join(
        f"{count}: {row.median / count * 1000:.1f} ms, cpu {row.used / count * 1000:.1f}"
        for count, row in rows.items()
    )
    wall, cpu = last[0] / first[0], last[1] / first[1]
    peak = max(many[1].rss_mib)
    return [
        Figure(
            f"a further model, of {some[0]} on / of {few[0]} on",
            "<= 1.1",
            f"{wall:.2f}, cpu {cpu:.2f}",
            min(wall, cpu) <= 1.1,
            f"a model with what starting costs: {told}",
        ),
        Figure(f"memory at {many[0]} models", "<= 80 MiB", f"{peak:.0f} MiB", peak <= 80),
    ]


def verified(place: Path, size: int, runs: int) -> list[Figure]:
    medians = verify.verify(place, size, verify.BLOBS, runs)
    start = medians["start"]

    def rates(bare: str, work: str) -> _Seconds:
        """A work's rate as a part of the bare one's, without what starting costs."""
        wall, cpu = (medians[bare][kind] / (medians[work][kind] - start[kind]) for kind in (0, 1))
        return wall, cpu

    found = []
    for work, what in (("first", "verify, sums not kept yet"), ("again", "verify")):
        (wall, cpu), (by_files, cpu_files) = rates("hash", work), rates("files", work)
        plain = f"of plain Python that reads and hashes: {by_files:.2f}, cpu {cpu_files:.2f}"
        told = f"{wall:.2f}, cpu {cpu:.2f}"
        asked = ">= 0.9 of SHA-256 in memory" if work == "again" else ""
        good = max(wall, cpu) >= 0.9 if asked else None
        found.append(Figure(what, asked, told, good, f"{plain}; starting costs {start[0]:.2f} s"))
    return found


def repaired(place: Path, size: int) -> Figure:
    said, written = verify.repair(place, size)
    moved = said.rpartition("; ")[2]
    good = moved.startswith("16.8 MB") and written <= 32
    return Figure("one flipped bit repaired", "<= 32 MiB", f"{moved}, {written:.1f} MiB written", good)


def show(figures: list[Figure]) -> None:
    for each in figures:
        verdict = {True: "yes", False: "NO", None: ""}[each.good]
        print(f"{each.what:<44} {each.asked:<28} {each.found:<38} {verdict}", flush=True)
        if each.limit:
            print(f"    {each.limit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", default=2, type=int)
    parser.add_argument("--size", default="2G")
    parser.add_argument("--models", default=20, type=int)
    parser.add_argument("--tags", default=1000, type=int)
    parser.add_argument("--place", default="/var/tmp")
    options = parser.parse_args()
    options.source = options.destination = "registry"
    options.tls, options.round_trip, options.away = ["", "own"], 0.0, AWAY
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="ferry-many-", dir=options.place))
    try:
        print(f"{'':<44} {'asked':<28} {'found':<38}")
        bench = Bench(options, place)
        for work in (models, inside, unchanged, scale):
            show(work(bench))
        size = mirror.size_of(options.size)
        show(verified(place, size, options.runs))
        show([repaired(place, size)])
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
